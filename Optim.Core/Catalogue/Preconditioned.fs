/// Rules of the catalogue with roots or eigenvectors of matrices for the sides of a tensor.
module internal Optim.Core.PreconditionedFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Matrix

/// A tensor with a dimension as rows, and all others as columns.
let private asRows (dimension: int) (x: WholeTensor) =
    let order =
        [|
            dimension
            for i in 0 .. x.Rank - 1 do
                if i <> dimension then
                    i
        |]

    (x.Permuted order).Reshaped(x.Length dimension, int64 x.Count / max 1L (x.Length dimension))

/// A matrix times a tensor along a dimension.
let private along (dimension: int) (matrix: WholeTensor) (x: WholeTensor) =
    let order =
        [|
            dimension
            for i in 0 .. x.Rank - 1 do
                if i <> dimension then
                    i
        |]

    let shape =
        [| for i in order -> if i = dimension then matrix.Length 0 else x.Length i |]

    let back = [| for i in 0 .. x.Rank - 1 -> Array.IndexOf(order, i) |]
    ((matrix @. asRows dimension x).Reshaped shape).Permuted back

/// The products of a tensor's slices along a dimension.
let private gram (dimension: int) (x: WholeTensor) =
    let rows = asRows dimension x
    rows @. transposed rows

let private shampoo =
    rule
        "Shampoo"
        "Gupta et al. 2018, arXiv:1802.09568"
        "The gradient times an inverse root of the sum of its squares as a matrix, along every dimension."
        [ "pytorch_optimizer.Shampoo" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.0, fraction)
            let decay = weightDecay r 0.0 false
            let every = r.Whole("preconditioning_compute_steps", 1, Interval.atLeast 1.0)
            let eps = r.Number("matrix_eps", 1e-6, positive)
            turnsElements r

            let g =
                if momentum > 0.0 then
                    let before = r.Column("momentum_buffer", (fun () -> r.Gradient))
                    moved momentum before r.Gradient
                else
                    r.Gradient

            let x, g = decay.Parameter(r.Parameter, lr), decay.Gradient(r.Parameter, g)
            let rank = g.Rank

            let u =
                (g, [ 0 .. rank - 1 ])
                ||> List.fold (fun u i ->
                    let n = g.Length i
                    let sum = r.Column($"pre_cond_{i}", [ n; n ], (fun () -> eps * g.Identity n))
                    let sum = sum + gram i g
                    r.Set($"pre_cond_{i}", sum)
                    let known = r.Column($"inv_pre_cond_{i}", [ n; n ])

                    // In the first step, too: without a root nothing would move.
                    let root =
                        if r.IsFirst || r.Step % int64 every = 0L then
                            let struct (values, vectors) = sum.Eigenvectors()

                            (vectors * ((values |> atLeast eps) ** (-0.5 / double rank)))
                            @. transposed vectors
                        else
                            known

                    r.Set($"inv_pre_cond_{i}", root)
                    along i root u)

            if momentum > 0.0 then
                r.Set("momentum_buffer", u)

            x - lr * u)
    |> differs
        "Statistics are of the gradient with momentum and decay; the momentum is of the preconditioned gradient. Roots are taken in the first step, too, where the package stands still until preconditioning_compute_steps."

let private soap =
    rule
        "SOAP"
        "Vyas et al. 2024, arXiv:2409.11321"
        "Adam in the eigenvectors of Shampoo's matrices, which a QR iteration keeps up with."
        [ "pytorch_optimizer.SOAP" ]
        (fun r ->
            let lr = learningRate r 3e-3
            let struct (beta1, beta2) = betas r 0.95 0.95
            let ofSquares = r.NumberOrNone("shampoo_beta", Nullable(), fraction)
            let decay = r.Number("weight_decay", 1e-2, nonNegative)
            let every = r.Whole("precondition_frequency", 10, Interval.atLeast 1.0)
            let most = int64 (r.Whole("max_precondition_dim", 10000, nonNegative))
            let takesVectors = r.Flag("precondition_1d", false)
            let isCorrected = r.Flag("correct_bias", true)
            let isNormalized = r.Flag("normalize_gradient", false)
            let eps = r.Number("eps", 1e-8, nonNegative)
            turnsElements r
            r.OptOut("W4", "the first step makes matrices of the gradient, and moves nothing")
            let g = r.Gradient
            let kept = if ofSquares.HasValue then ofSquares.Value else beta2

            let sides =
                [
                    if r.Rank > 1 || takesVectors then
                        for i in 0 .. g.Rank - 1 do
                            if g.Length i <= most then
                                i
                ]

            let squares = [ for i in sides -> r.Column($"GG_{i}", [ g.Length i; g.Length i ]) ]
            let bases = [ for i in sides -> r.Column($"Q_{i}", [ g.Length i; g.Length i ]) ]
            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"

            let next = [ for i, old in List.zip sides squares -> moved kept old (gram i g) ]

            for i, square in List.zip sides next do
                r.Set($"GG_{i}", square)

            if r.IsFirst then
                for i, square in List.zip sides next do
                    let struct (_, vectors) = square.Eigenvectors()
                    r.Set($"Q_{i}", vectors)

                r.Set("exp_avg", m)
                r.Set("exp_avg_sq", v)
                r.Parameter
            else
                let rotated (x: WholeTensor) =
                    (x, List.zip sides bases)
                    ||> List.fold (fun x (i, basis) -> along i (transposed basis) x)

                let turned = rotated g
                let m, v = moved beta1 m g, moved beta2 v (turned * turned)

                let u =
                    (rotated m / (sqrt v + eps), List.zip sides bases)
                    ||> List.fold (fun x (i, basis) -> along i basis x)

                let u = if isNormalized then u / (rms u + eps) else u
                let t = double (r.Step - 1L)

                let rate =
                    if isCorrected then
                        lr * sqrt (1.0 - beta2 ** t) / (1.0 - beta1 ** t)
                    else
                        lr

                let renews = (r.Step - 1L) % int64 every = 0L

                let v =
                    (v, List.zip3 sides bases next)
                    ||> List.fold (fun v (i, basis, square) ->
                        if not renews then
                            r.Set($"Q_{i}", basis)
                            v
                        else
                            let image = square @. basis
                            let along = (basis * image).Sum(0, 0)
                            r.Set($"Q_{i}", image.Ordered(1, along).Orthonormal())
                            v.Ordered(i, along))

                r.Set("exp_avg", m)
                r.Set("exp_avg_sq", v)
                (r.Parameter - rate * u) * (1.0 - lr * decay))
    |> differs "A parameter's own first gradient makes its bases, and moves nothing, whenever it comes."

let private splus =
    rule
        "SPlus"
        "Frans et al. 2025, arXiv:2506.07254"
        "Signs of the momentum in the eigenvectors of Shampoo's matrices, with an average of the parameters."
        [ "pytorch_optimizer.SPlus" ]
        (fun r ->
            r.OptOut("U5", "a step is of signs, which jump")
            let lr = learningRate r 0.1
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 1e-2 true
            let kept = r.Number("ema_rate", 0.999, fraction)
            let every = r.Whole("inverse_steps", 100, Interval.atLeast 1.0)
            let otherRate = r.Number("nonstandard_constant", 1e-3, nonNegative)
            let most = int64 (r.Whole("max_dim", 10000, Interval.atLeast 1.0))
            let eps = r.Number("eps", 1e-30, nonNegative)
            turnsElements r
            let isMatrix = r.Rank = 2

            let rate =
                if isMatrix && r.Shape[0] <= most && r.Shape[1] <= most then
                    lr * 2.0 / double (r.Shape[0] + r.Shape[1])
                else
                    lr * otherRate

            let g = decay.Gradient(r.Parameter, r.Gradient)
            let m = average r "momentum" beta1 g

            let sides =
                if isMatrix then
                    [ 0; 1 ] |> List.filter (fun i -> r.Shape[i] < most)
                else
                    []

            let bases =
                [
                    for i in sides -> r.Column($"q_sides_{i}", [ r.Shape[i]; r.Shape[i] ], (fun () -> g.Identity r.Shape[i]))
                ]

            let turned =
                (m, List.zip sides bases)
                ||> List.fold (fun x (i, basis) -> along i (transposed basis) x)

            let u =
                (signs turned, List.zip sides bases)
                ||> List.fold (fun x (i, basis) -> along i basis x)

            for i, basis in List.zip sides bases do
                let side =
                    moved beta2 (r.Column($"sides_{i}", [ r.Shape[i]; r.Shape[i] ])) (gram i g)

                r.Set($"sides_{i}", side)

                let basis =
                    if r.IsFirst || r.Step % int64 every = 0L then
                        let side =
                            (side.To DType.Float32).To DType.Float64
                            + eps * (side.To DType.Float64).Identity r.Shape[i]

                        let struct (_, vectors) = side.Eigenvectors()
                        vectors
                    else
                        basis

                r.Set($"q_sides_{i}", basis.To g.DType)

            let x = r.Parameter - rate * u
            average r "ema" kept x |> ignore
            decay.Parameter(x, rate))
    |> differs
        "The average of the parameters is the column ema, to be divided by 1 - ema_rate^step; the package puts it in their place for evaluation."

let private conda =
    rule
        "Conda"
        "Wang et al. 2025, arXiv:2509.24218"
        "Adam whose second moment is of the gradient in the singular vectors of the momentum."
        [ "pytorch_optimizer.Conda" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let every = r.Whole("update_proj_gap", 2000, Interval.atLeast 1.0)
            let scale = r.Number("scale", 1.0, nonNegative)

            let kind =
                r.Choice("projection_type", "std", "std", "reverse_std", "left", "right", "full")

            let eps = r.Number("eps", 1e-8, nonNegative)
            turnsElements r
            let g = r.Gradient
            let m = firstMoment r beta1 g
            let rate = lr * sqrt (r.Correction beta2) / r.Correction beta1

            let update =
                if r.Rank <> 2 then
                    m / (sqrt (secondMoment r beta2 g) + eps)
                else
                    let rows, columns = r.Shape[0], r.Shape[1]
                    let few = min rows columns
                    let renews = r.IsFirst || r.Step % int64 every = 0L

                    /// Vectors of the longer side, each along the image of one of the shorter side.
                    let vectors isLeft =
                        if isLeft = (rows < columns) then
                            let struct (_, vectors) = (if isLeft then gram 0 m else gram 1 m).Eigenvectors()
                            vectors
                        else
                            let struct (_, other) = (if isLeft then gram 1 m else gram 0 m).Eigenvectors()
                            ((if isLeft then m else transposed m) @. other).Orthonormal()

                    let basis name isLeft =
                        let known = r.Column(name, [ (if isLeft then rows else columns); few ])
                        let basis = if renews then vectors isLeft else known
                        r.Set(name, basis)
                        basis

                    let isLeft =
                        match kind with
                        | "left" -> true
                        | "right" -> false
                        | "reverse_std" -> rows >= columns
                        | _ -> rows < columns

                    let project, back =
                        if kind = "full" then
                            let left, right = basis "projector_0" true, basis "projector_1" false
                            (fun (x: WholeTensor) -> transposed left @. x @. right), (fun x -> left @. x @. transposed right)
                        elif isLeft then
                            let left = basis "projector" true
                            (fun x -> transposed left @. x), (fun x -> left @. x)
                        else
                            let right = basis "projector" false
                            (fun x -> x @. right), (fun x -> x @. transposed right)

                    let turned, moment = project g, project m
                    let v = moved beta2 (r.Column("exp_avg_sq", turned.Shape)) (turned * turned)
                    r.Set("exp_avg_sq", v)
                    scale * back (moment / (sqrt v + eps))

            (r.Parameter - rate * update) * (1.0 - lr * decay))

let all = [ conda; shampoo; soap; splus ]
