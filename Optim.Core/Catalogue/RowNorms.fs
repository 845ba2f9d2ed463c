/// Rules of adaptive moments by norms of rows and by numbers over all parameters.
module internal Optim.Core.RowNormsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

/// The rate of a step: up in the first ones, and down in the last ones of a run.
let private rateAt (r: WholeDefinition) (lr: double) least (steps: int) beta2 (up: Nullable<double>) (down: Nullable<double>) =
    let t, all = double r.Step, double steps
    let usual = ceil (2.0 / (1.0 - beta2))

    let up =
        if up.HasValue then up.Value
        elif usual > 0.45 * all then floor (0.22 * all)
        else usual

    let down =
        if down.HasValue then
            down.Value
        else
            all - floor (0.72 * all)

    let start = all - down

    if t >= start then
        max (lr - (lr - least) * min 1.0 ((t + 1.0 - start) / (down + 1.0))) least
    elif t <= up then
        lr * t / up
    else
        lr

let private ranger21 =
    defineWhole
        RuleFamily.AdaptiveMoments
        "Ranger21"
        "Wright, Demeure 2021, arXiv:2106.13731"
        "AdamW with everything: clipping by rows, centred gradients, positive and negative momentum, a softened divisor, norms of rows that are held, lookahead, warm-up and warm-down."
        [ "pytorch_optimizer.Ranger21" ]
        (fun r ->
            let steps = r.Whole("num_iterations", 10000, Interval.atLeast 1.0)
            let lr = learningRate r 1e-3
            let beta0 = r.Number("beta0", 0.9, nonNegative)
            let struct (beta1, beta2) = betas r 0.9 0.999
            let isSoft = r.Flag("use_softplus", true)
            let softness = r.Number("beta_softplus", 50.0, positive)
            let isSteady = r.Flag("disable_lr_scheduler", false)
            let up = r.NumberOrNone("num_warm_up_iterations", Nullable(), nonNegative)
            let down = r.NumberOrNone("num_warm_down_iterations", Nullable(), nonNegative)
            let leastRate = r.Number("warm_down_min_lr", 3e-5, nonNegative)
            let clip = r.Number("agc_clipping_value", 1e-2, positive)
            let leastNorm = r.Number("agc_eps", 1e-3, positive)
            let isCentred = r.Flag("centralize_gradients", true)
            let isNormalized = r.Flag("normalize_gradients", true)
            let merge = r.Whole("lookahead_merge_time", 5, Interval.atLeast 1.0)
            let blend = r.Number("lookahead_blending_alpha", 0.5, Interval.within 0.0 1.0)
            let decay = weightDecay r 1e-4 true
            let normLoss = r.Number("norm_loss_factor", 1e-4, nonNegative)
            let eps = r.Number("eps", 1e-8, nonNegative)
            r.OptOut("U1", "gradients are centred by rows, and a row of one element does not move")
            r.OptOut("U3", "the mean of a row is taken off its gradient, which turns single elements against their sign")

            let lr =
                if isSteady then
                    lr
                else
                    rateAt r lr leastRate steps beta2 up down

            let rowNorm (x: WholeTensor) =
                match r.Rank with
                | 0
                | 1 -> x.Norm()
                | 2
                | 3 -> x.Norm(1, 1)
                | _ -> x.Norm(1, -1)

            let tidied (g: WholeTensor) =
                let g = if isCentred && r.Rank > 1 then g - g.Mean(1, -1) else g

                if isNormalized && g.Count > 2n then
                    let away = g - g.Mean()
                    g / (norm away / sqrt (double g.Count - 1.0) + 1e-8)
                else
                    g

            let p, g = r.Parameter, decay.Gradient(r.Parameter, r.Gradient)

            let most, length =
                clip * (rowNorm p |> atLeast leastNorm), rowNorm g |> atLeast 1e-6

            let g = tidied (WholeTensor.WhereGreater(length, most, g * (most / length), g))
            let v = average r "variance_ma" beta2 (g * g)
            let count = r.SumOverAll(p.Constant(double p.Count))
            let all = sqrt ((1.0 + r.SumOverAll(v / r.Correction beta2)) / count)

            let p =
                if decay.IsDecoupled && decay.Amount <> 0.0 then
                    p * (1.0 - (if decay.IsFixed then decay.Amount else lr * decay.Amount) / all)
                else
                    p

            let p = p * (1.0 - 2.0 * lr * normLoss * (1.0 - 1.0 / (rowNorm p + eps)))
            let largest = largestSoFar r true "max_variance_ma" v
            let root = sqrt largest / sqrt (r.Correction beta2) + eps

            let root =
                if isSoft then
                    // Where the power would overflow it is the number itself.
                    let scaled = softness * root
                    WholeTensor.WhereGreater(scaled, 20.0, root, log (1.0 + exp (WholeTensor.Min(scaled, 20.0))) / softness)
                else
                    root

            let isOdd = r.Step % 2L = 1L
            let positive, negative = r.Column "grad_ma", r.Column "neg_grad_ma"
            let next = moved (beta1 * beta1) (if isOdd then positive else negative) (tidied g)
            r.Set("grad_ma", (if isOdd then next else positive))
            r.Set("neg_grad_ma", (if isOdd then negative else next))
            let other = if isOdd then negative else positive

            let u =
                ((1.0 + beta0) * next - beta0 * other)
                / sqrt ((1.0 + beta0) * (1.0 + beta0) + beta0 * beta0)

            let p = p - lr / r.Correction beta1 * u / root
            let slow = r.Column("lookahead_params", (fun () -> r.Parameter))

            if r.Step % int64 merge = 0L then
                let p = blend * p + (1.0 - blend) * slow
                r.Set("lookahead_params", p)
                p
            else
                r.Set("lookahead_params", slow)
                p)
    |> differs
        "The sum of second moments over all parameters begins at 1, and gradients are centred and scaled twice. weight_decouple False is L2, where the package forgets it, and the warm-down begins at the group's own rate."

let private apollo =
    define
        RuleFamily.AdaptiveMoments
        "APOLLO"
        "Zhu et al. 2024, arXiv:2412.05270"
        "Adam whose decay comes after the step: what APOLLO is where no projection to a rank is asked for."
        [ "pytorch_optimizer.APOLLO" ]
        (fun r ->
            let lr = Parts.learningRate r 1e-2
            let struct (beta1, beta2) = Parts.betas r 0.9 0.999
            let decay = Parts.weightDecay r 0.0 true
            let isCorrected = r.Flag("correct_bias", true)
            let eps = Parts.epsilon r 1e-6
            let g = decay.Gradient(r.Parameter, r.Gradient)

            let m, v =
                TransformParts.firstMoment r beta1 g, TransformParts.secondMoment r beta2 g

            let rate =
                if isCorrected then
                    lr * sqrt (correction r beta2) / correction r beta1
                else
                    lr

            decay.Parameter(r.Parameter - rate * m / (sqrt v + eps), rate))
    |> differs
        "There is no rank: the package's projections draw random matrices, and scale what they project, where the paper scales the gradient."

let all = [ apollo; ranger21 ]
