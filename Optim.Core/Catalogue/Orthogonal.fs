// Long, because the relatives of Muon are read side by side.
/// Rules of the catalogue that make the momentum orthogonal: Muon and its relatives.
module internal Optim.Core.OrthogonalFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Matrix

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
    turnsElements r
    r.OptOut("U4", "what is no matrix moves at adamw_lr, whatever lr is")
    r.OptOut("U5", "the iteration is rounded to bfloat16, which jumps")

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
            turnsElements r
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


let all =
    [ adaGO; adaMuon; muon; norMuon; optaxMuon; timmAdaMuonEntry; timmMuonEntry ]
