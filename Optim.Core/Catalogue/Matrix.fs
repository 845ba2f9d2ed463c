/// Rules of the catalogue that take products, roots and eigenvectors of matrices.
module internal Optim.Core.MatrixFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Matrix

/// Rules whose step is of a matrix as a whole.
let private turnsElements (r: WholeDefinition) =
    r.OptOut("U3", "the step is of the matrix as a whole, which turns single elements against their sign")

// Muon and its relatives.

/// Options of Newton and Schulz's iteration, as pytorch_optimizer has them: its coefficients.
let private iteration (r: WholeDefinition) =
    let steps = r.Whole("ns_steps", 5, Interval.within 0.0 99.0)
    coefficients (r.Choice("ns_coeffs", "original", "original", "quintic")) steps

/// Options of groups that are not stepped as matrices: the step of AdamW, which vectors take in any case.
[<NoEquality; NoComparison>]
type private Otherwise =
    {
        UsesMuon: bool
        Lr: double
        Betas: struct (double * double)
        Decay: double
    }

    member otherwise.Takes(r: WholeDefinition) = not otherwise.UsesMuon || r.Rank < 2

    member otherwise.Step(r: WholeDefinition, eps, decay: WholeDecay) =
        adamW r otherwise.Lr otherwise.Betas eps { decay with Amount = otherwise.Decay }

let private otherwise (r: WholeDefinition) beta2 =
    r.OptOut("U4", "what is no matrix moves at adamw_lr, whatever lr is")

    {
        UsesMuon = r.Flag("use_muon", true)
        Lr = r.Number("adamw_lr", 3e-4, nonNegative)
        Betas = r.Pair("adamw_betas", 0.9, fraction, beta2, fraction)
        Decay = r.Number("adamw_wd", 0.0, nonNegative)
    }

/// By what the rate of a matrix is multiplied.
let private shapeFactor isAdjusted (struct (rows, columns)) =
    if isAdjusted then
        0.2 * sqrt (max rows columns)
    else
        sqrt (max 1.0 (rows / columns))

let private lookedAhead isNesterov momentum (g: WholeTensor) m =
    if isNesterov then moved momentum m g else m

let private muon =
    rule
        "pytorch_optimizer.Muon"
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon"
        "Momentum made orthogonal, with AdamW for what is no matrix, and for groups that say so."
        [ "pytorch_optimizer.Muon" ]
        (fun r ->
            let lr = learningRate r 0.02
            let momentum = r.Number("momentum", 0.95, fraction)
            let decay = decoupling r 0.0 true
            let isNesterov = r.Flag("nesterov", true)
            let iteration = iteration r
            let isAdjusted = r.Flag("use_adjusted_lr", false)
            let otherwise = otherwise r 0.95
            let eps = r.Number("adamw_eps", 1e-10, nonNegative)
            let isCautious = r.Flag("cautious", false)

            if otherwise.Takes r then
                otherwise.Step(r, eps, decay)
            else
                let x, g = decay.Applied(r, lr)
                let m = average r "momentum_buffer" momentum g

                let u =
                    ((lookedAhead isNesterov momentum g m).Flattened |> orthogonalized iteration 1e-7).To x.DType

                let rate = lr * shapeFactor isAdjusted (sides u)
                let u = shapedAs x u
                x - rate * (if isCautious then cautious u g else u))
    |> differs "The momentum is an average, and not a sum, which makes no difference but to Nesterov's."

let private norMuon =
    rule
        "NorMuon"
        "Li et al. 2025, arXiv:2510.05491"
        "Muon whose rows are divided by the roots of their own second moments."
        [ "pytorch_optimizer.NorMuon" ]
        (fun r ->
            let lr = learningRate r 0.02
            let momentum = r.Number("momentum", 0.95, fraction)
            let beta2 = r.Number("beta2", 0.95, fraction)
            let decay = decoupling r 0.0 true
            let isNesterov = r.Flag("nesterov", true)
            let iteration = iteration r

            let keepsNorm =
                r.Choice("update_scale", "preserve_norm", "preserve_norm", "match_rms") = "preserve_norm"

            let isAdjusted = r.Flag("use_adjusted_lr", false)
            let otherwise = otherwise r 0.95
            let adamEps = r.Number("adamw_eps", 1e-10, nonNegative)
            let eps = r.Number("eps", 1e-10, nonNegative)

            if otherwise.Takes r then
                otherwise.Step(r, adamEps, decay)
            else
                let x, g = decay.Applied(r, lr)
                let m = average r "momentum_buffer" momentum g

                let u =
                    ((lookedAhead isNesterov momentum g m).Flattened |> orthogonalized iteration 1e-7).To x.DType

                let old = r.Column("second_momentum_buffer", [ u.Length 0; 1L ])
                let second = moved beta2 old ((u * u).Mean(1, 1))
                r.Set("second_momentum_buffer", second)
                let y = u / (sqrt second + eps)

                let length =
                    if keepsNorm then
                        shapeFactor isAdjusted (sides u) * norm u
                    else
                        u.Constant(0.2 * sqrt (double u.Count))

                x - shapedAs x (lr * length * y / (norm y + eps)))
    |> differs "update_scale match_rms is the paper's algorithm; preserve_norm, the default, is that of the authors' code."

let private adaMuon =
    rule
        "AdaMuon"
        "Si, Zhang, Shen 2025, arXiv:2507.11005 (version 1)"
        "Muon whose elements are divided by the roots of their second moments."
        [ "pytorch_optimizer.AdaMuon" ]
        (fun r ->
            let lr = learningRate r 0.02
            let struct (beta1, beta2) = betas r 0.9 0.95
            let decay = decoupling r 0.0 true
            let iteration = iteration r
            let isAdjusted = r.Flag("use_adjusted_lr", true)
            let otherwise = otherwise r 0.999
            let eps = r.Number("eps", 1e-10, nonNegative)

            if otherwise.Takes r then
                otherwise.Step(r, eps, decay)
            else
                let x, g = decay.Applied(r, lr)

                let o =
                    ((firstMoment r beta1 g).Flattened |> orthogonalized iteration 1e-7).To x.DType

                let struct (rows, columns) = sides o
                let v = secondMoment r beta2 (shapedAs x o)

                let u = (shapedAs x o / (sqrt (v / r.Correction beta2) + eps)).To DType.BFloat16

                // Number after number is rounded, as the matrix is.
                // An eps that is lost in bfloat16 would divide by 0.
                let length = sqrt (min rows columns) * (1.0 / (norm u + max eps 1e-37))
                let u = (u * length).To x.DType
                x - lr * shapeFactor isAdjusted (struct (rows, columns)) * u)
    |> differs "Later versions of the paper make the signs of the momentum orthogonal."

let private adaGO =
    rule
        "AdaGO"
        "Zhang, Liu, Schaeffer 2025, arXiv:2509.02981"
        "Muon at a rate that falls with the squares of the gradients' norms, as AdaGrad's does."
        [ "pytorch_optimizer.AdaGO" ]
        (fun r ->
            let lr = learningRate r 0.05
            let momentum = r.Number("momentum", 0.95, fraction)
            let decay = decoupling r 0.0 true
            let gamma = r.Number("gamma", 10.0, positive)
            let eps = r.Number("eps", 5e-4, nonNegative)
            let start = r.Number("v", 1e-6, positive)
            let isNesterov = r.Flag("nesterov", false)
            let iteration = iteration r
            let isAdjusted = r.Flag("use_adjusted_lr", false)
            let otherwise = otherwise r 0.95
            let adamEps = r.Number("adamw_eps", 1e-10, nonNegative)

            if otherwise.Takes r then
                otherwise.Step(r, adamEps, decay)
            else
                let x, g = decay.Applied(r, lr)
                let m = average r "momentum_buffer" momentum g
                let length = norm g
                let capped = WholeTensor.Min(length, gamma)
                let v = number r "v" start + (capped * capped).Reshaped 1L
                r.Set("v", v)
                let u = lookedAhead isNesterov momentum g m

                let capped =
                    if isNesterov then
                        WholeTensor.Min(norm u, gamma)
                    else
                        capped

                let o = (u.Flattened |> orthogonalized iteration 1e-7).To x.DType
                let rate = lr * shapeFactor isAdjusted (sides o)
                x - ((rate * capped / v) |> atLeast eps) * shapedAs x o)
    |> differs "The step is divided by the sum of squares, in the paper by its root: steps soon sit at their floor, eps."

/// Whether a matrix of these sides is for Muon, as timm has it.
let private isFit (r: WholeDefinition) =
    let long = r.Shape |> Seq.filter (fun length -> length > 1L) |> Seq.length

    r.Rank > 1
    && long > 1
    && r.Shape[0] > 1L
    && r.Shape[1] > 1L
    && (let rows = r.Shape[0]
        let columns = Seq.fold (*) 1L r.Shape / rows
        min rows columns >= 4L && max rows columns <= 128L * min rows columns)

let private timmMuon name isAdaptive summary paper published (scales: string array) =
    rule name paper summary published (fun r ->
        let lr = learningRate r 0.02

        let decay =
            {
                Amount = r.Number("weight_decay", 0.0, nonNegative)
                IsDecoupled = true
                IsFixed = false
            }

        let momentum = r.Number("momentum", 0.95, fraction)
        let isNesterov = r.Flag("nesterov", false)
        let steps = r.Whole("ns_steps", 5, Interval.within 0.0 99.0)

        let iteration =
            coefficients (r.Choice("ns_coefficients", "quintic", "quintic", "original")) steps

        let eps = r.Number("eps", 1e-7, nonNegative)
        let safety = r.Number("safety_factor", 1.0, positive)
        let scale = r.Choice("adjust_lr_fn", "match_rms_adamw", scales)
        let fallbackScale = r.Number("fallback_lr_scale", 1.0, nonNegative)
        let struct (beta1, beta2) = betas r 0.9 0.95
        let scalesEps = r.Flag("scale_eps", false)
        let usesFallback = r.Flag("use_fallback", false)

        if usesFallback || not (isFit r) then
            let lr = lr * fallbackScale
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let m = lookedAhead isNesterov beta1 g m

            x - lr / r.Correction beta1 * m / (sqrt v / sqrt (r.Correction beta2) + eps)
        else
            let x, g = decay.Applied(r, lr)
            let m = average r "momentum_buffer" momentum g
            let u = (lookedAhead isNesterov momentum g m).Flattened
            let struct (rows, columns) = sides u

            let divisor (norm: WholeTensor) =
                if scalesEps then
                    norm * safety + eps * sqrt (max rows columns / min rows columns)
                else
                    norm * safety |> atLeast eps

            let o =
                u.Orthogonalized(ReadOnlySpan iteration, DType.BFloat16, Func<_, _> divisor).To x.DType

            let factor =
                match scale with
                | "match_rms_adamw" -> 0.2 * sqrt (if isAdaptive then double x.Count else max rows columns)
                | "original" -> sqrt (max 1.0 (rows / columns))
                | "rms_to_rms" -> sqrt (rows / columns)
                | "rsqrt_in" -> 1.0 / sqrt columns
                | _ -> 1.0

            let o =
                if not isAdaptive then
                    o
                else
                    let v = (secondMoment r beta2 (shapedAs x o)).Flattened

                    if scale = "match_rms_adamw" then
                        let w = o / (sqrt v + eps)
                        w / (norm w + eps)
                    else
                        o / (sqrt (v / r.Correction beta2) + eps)

            x - lr * factor * shapedAs x o)

let private timmMuonEntry =
    timmMuon
        "timm.muon"
        false
        "Muon as timm has it: other coefficients, the rate of AdamW, and AdamW for what is no matrix of some size."
        "Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982"
        []
        [| "match_rms_adamw"; "original"; "rms_to_rms"; "" |]
    |> also "timm.muon" [ "momentum", OptionValue.Float 0.9 ]
    |> also "timm.nmuon" [ "momentum", OptionValue.Float 0.9; "nesterov", OptionValue.Bool true ]

let private timmAdaMuonEntry =
    timmMuon
        "timm.adamuon"
        true
        "AdaMuon as timm has it: second moments without correction, of a matrix whose root mean square is then 0.2."
        "Si, Zhang, Shen 2025, arXiv:2507.11005"
        []
        [| "match_rms_adamw"; "rms_to_rms"; "rsqrt_in"; "" |]
    |> also "timm.adamuon" [ "momentum", OptionValue.Float 0.9 ]
    |> also "timm.nadamuon" [ "momentum", OptionValue.Float 0.9; "nesterov", OptionValue.Bool true ]
    |> differs "Later versions of the paper make the signs of the momentum orthogonal."

let private optaxMuon =
    rule
        "optax.muon"
        "Jordan et al. 2024, kellerjordan.github.io/posts/muon"
        "Muon as optax has it: corrected momentum, in the parameter's own type, for matrices of inputs by outputs; AdamW for all others."
        [ "optax.muon" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let steps = r.Whole("ns_steps", 5, Interval.within 0.0 99.0)
            let beta = r.Number("beta", 0.95, fraction)
            let eps = r.Number("eps", 1e-8, nonNegative)

            let decay =
                {
                    Amount = r.Number("weight_decay", 0.0, nonNegative)
                    IsDecoupled = true
                    IsFixed = false
                }

            let isNesterov = r.Flag("nesterov", true)

            let beta1, beta2 =
                r.Number("adam_b1", 0.9, fraction), r.Number("adam_b2", 0.999, fraction)

            let adamDecay = r.Number("adam_weight_decay", 0.0, nonNegative)
            let g = r.Gradient

            /// The momentum, corrected for where it began, and looked ahead.
            let corrected beta (m: WholeTensor) =
                if isNesterov then
                    m * (beta / (1.0 - beta ** double (r.Step + 1L)))
                    + g * ((1.0 - beta) / r.Correction beta)
                else
                    m / r.Correction beta

            if r.Rank <> 2 then
                let decay = { decay with Amount = adamDecay }
                let m, v = firstMoment r beta1 g, secondMoment r beta2 g
                let u = corrected beta1 m / (sqrt (v / r.Correction beta2) + eps)
                decay.Parameter(r.Parameter, lr) - lr * u
            else
                let u = corrected beta (firstMoment r beta g)
                let struct (rows, columns) = sides u

                let o =
                    u.Orthogonalized(
                        ReadOnlySpan(coefficients "original" steps),
                        u.DType,
                        Func<_, _>(fun (norm: WholeTensor) -> norm + eps)
                    )

                decay.Parameter(r.Parameter, lr) - lr * sqrt (max 1.0 (columns / rows)) * o)

// Steps by the linear minimization oracles of norms.

/// Options of SCION's norm, and its oracle.
let private oracle (r: WholeDefinition) (scale: double) =
    let kind = r.Whole("norm_type", 1, Interval.within 0.0 7.0)
    let isOfInputs = r.Flag("normalize", true)
    let isNormalized = r.Choice("normalized", "", "", "true", "false")
    let hasLeastScale = r.Flag("max_scale", false)
    let isTransposed = r.Flag("transpose", false)
    let isSpectral = kind = 1 || kind = 2
    let isOfLines = kind = 6 || kind = 7
    r.Require("normalize", isOfInputs || isSpectral || kind = 4, "it is for norm_type 1 and 2, the spectral norm, and 4, that of signs")
    r.Require("max_scale", not hasLeastScale || isSpectral, "it is for norm_type 1 and 2, the spectral norm")
    r.Require("normalized", isNormalized = "" || isOfLines, "it is for norm_type 6 and 7, norms of columns and rows")
    r.Require("transpose", not isTransposed || isOfLines, "it is for norm_type 6 and 7, norms of columns and rows")

    let normalized usually =
        isNormalized = "true" || isNormalized = "" && usually

    let kind =
        match kind, r.Rank with
        | 1, (0 | 1) -> 5
        | 1, 2 -> 2
        | 1, _ -> 3
        | kind, _ -> kind

    fun (d: WholeTensor) ->
        let own (u: WholeTensor) = scale * u

        // All numbers are rounded to bfloat16, and each product.
        let narrow (factor: double) =
            let o = d.Flattened |> orthogonalized (coefficients "original" 5) 1e-7
            let rounded (x: double) = o.Constant(WholeTensor.ToBFloat16 x)
            (o * rounded factor * rounded scale).To d.DType |> shapedAs d

        match kind with
        | 0 -> own d
        | 5 -> own (d / (sqrt ((d * d).Mean(0, 0)) + 1e-8))
        | 2 ->
            let struct (rows, columns) = sides d.Flattened
            let factor = sqrt (if isOfInputs then rows / columns else rows)
            narrow (if hasLeastScale then max 1.0 factor else factor)
        | 3 when r.Rank > 1 ->
            let places = r.Shape |> Seq.skip 2 |> Seq.fold (*) 1L
            narrow (sqrt (double r.Shape[0] / double r.Shape[1]) / double places)
        | 3 -> narrow 1.0
        | 4 ->
            let inputs = if r.Rank > 1 && isOfInputs then double r.Shape[1] else 1.0

            own (signs d / inputs)
        | kind ->
            let matrix = if isTransposed then d.Flattened.Transposed else d.Flattened
            let struct (rows, columns) = sides matrix

            let length =
                if kind = 6 then
                    matrix.Norm(0, 0) / sqrt rows * (if normalized false then columns else 1.0)
                else
                    matrix.Norm(1, 1) * (if normalized true then sqrt columns else 1.0)

            let u = matrix / (length + 1e-8)
            own ((if isTransposed then u.Transposed else u) |> shapedAs d)

let private scionStep
    (direction: WholeDecay -> WholeTensor * WholeTensor)
    (lr: double)
    isConstrained
    (decay: WholeDecay)
    (oracle: WholeTensor -> WholeTensor)
    =
    let decay = if isConstrained then { decay with Amount = 0.0 } else decay
    let x, d = direction decay
    (if isConstrained then x * (1.0 - lr) else x) - lr * oracle d

let private scion =
    rule
        "SCION"
        "Pethick et al. 2025, arXiv:2502.07529"
        "Momentum by the linear minimization oracle of a norm: orthogonal for matrices, of root mean square 1 for vectors."
        [ "pytorch_optimizer.SCION" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.1, Interval.aboveUpTo 0.0 1.0)
            let isConstrained = r.Flag("constraint", false)
            let scale = r.Number("scale", 1.0, nonNegative)
            let oracle = oracle r scale
            let decay = decoupling r 0.0 true
            turnsElements r
            r.Require("constraint", not isConstrained || decay.Amount = 0.0, "it takes the place of weight_decay, which must be 0 then")

            let direction (decay: WholeDecay) =
                let x, g = decay.Applied(r, lr)
                x, average r "d" (1.0 - momentum) g

            scionStep direction lr isConstrained decay oracle)

let private scionLight =
    rule
        "SCIONLight"
        "Pethick et al. 2025, arXiv:2502.07529"
        "SCION without any state: the linear minimization oracle of the gradient itself."
        [ "pytorch_optimizer.SCIONLight" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let isConstrained = r.Flag("constraint", false)
            let scale = r.Number("scale", 1.0, nonNegative)
            let oracle = oracle r scale
            let decay = decoupling r 0.0 true
            turnsElements r
            r.Require("constraint", not isConstrained || decay.Amount = 0.0, "it takes the place of weight_decay, which must be 0 then")
            scionStep (fun decay -> decay.Applied(r, lr)) lr isConstrained decay oracle)
    |> differs "The package keeps momentum in gradients that nobody may clear; gradients are not written to here."

// Preconditioners of the sides of a tensor.

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
            let lr = learningRate r 0.1
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 1e-2 true
            let kept = r.Number("ema_rate", 0.999, fraction)
            let every = r.Whole("inverse_steps", 100, Interval.atLeast 1.0)
            let otherRate = r.Number("nonstandard_constant", 1e-3, nonNegative)
            let most = int64 (r.Whole("max_dim", 10000, Interval.atLeast 1.0))
            let eps = r.Number("eps", 1e-30, nonNegative)
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

let all =
    [
        adaGO
        adaMuon
        conda
        muon
        norMuon
        optaxMuon
        scion
        scionLight
        shampoo
        soap
        splus
        timmAdaMuonEntry
        timmMuonEntry
    ]
