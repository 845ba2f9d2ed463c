/// Rules of the catalogue with adaptive moments that hold gradients or steps to a size, tensor by tensor.
module internal Optim.Core.StableMomentsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

/// The gradient and what it changed by since the step before, times a factor, at most 1 long; the gradient is kept.
let private variance (r: RuleDefinition) (scale: Expression) (g: Expression) (fromFirst: bool) =
    let before = r.Column "last_grad"
    r.Set(before, g)
    let change = g + scale * (g - before)
    let change = if fromFirst then change else where (isFirst r) g change
    change / larger one (norm change)

let private mars =
    rule
        "MARS"
        "Yuan et al. 2024, arXiv:2411.10438"
        "Adam or Lion by gradients whose variance the gradient before makes less; vectors are stepped by AdamW."
        [ "pytorch_optimizer.MARS" ]
        (fun r ->
            let lr = learningRate r 3e-3
            let struct (beta1, beta2) = betas r 0.95 0.99
            let gamma = r.Number("gamma", 0.025, nonNegative)
            let kind = r.Choice("mars_type", "adamw", "adamw", "lion")
            let isForAll = r.Flag("optimize_1d", false)
            let lrOfVectors = r.Number("lr_1d", 3e-3, nonNegative)

            let struct (vectorBeta1, vectorBeta2) =
                r.Pair("betas_1d", 0.9, fraction, 0.95, fraction)

            let decay = weightDecay r 0.0 true

            let decayOfVectors =
                { decay with
                    Amount = r.Number("weight_decay_1d", 0.1, nonNegative)
                }

            let isBound = r.Flag("ams_bound", false)
            let isCautious = r.Flag("cautious", false)
            let eps = epsilon r 1e-8
            // lr_1d is relative to lr as it is at first, and follows its schedule.
            let first = firstRate r lr
            r.OptOut("U3", "vectors are decayed by weight_decay_1d, too")

            let adam beta1 beta2 u v =
                u
                / (denominator r isBound "max_exp_avg_sq" eps v * correction r beta1
                   / sqrt (correction r beta2))

            if isForAll || hasRows r then
                let x, g = decay.Applied(r, lr)
                let c = variance r (gamma * beta1 / (1.0 - beta1)) g true
                let m = firstMoment r beta1 c

                let u =
                    if isCautious then
                        let agrees = m * g |> isAbove zero
                        let share = Expression.Sum(where agrees one zero) + 1.0
                        where agrees (m * (Expression.ElementCount / share)) zero
                    else
                        m

                x
                - lr
                  * if kind = "lion" then
                        sign u
                    else
                        adam beta1 beta2 u (secondMoment r beta2 c)
            else
                let rate = where (first |> isAbove zero) (lr / first) zero * lrOfVectors
                let x, g = decayOfVectors.Applied(r, rate)
                let m, v = firstMoment r vectorBeta1 g, secondMoment r vectorBeta2 g
                x - rate * adam vectorBeta1 vectorBeta2 m v)
    |> differs
        "mars_type shampoo is left out; eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package puts it into the gradient before alone"

let private timmMars =
    rule "timm.mars" "Yuan et al. 2024, arXiv:2411.10438" "MARS with caution, by timm's options." [ "timm.mars" ] (fun r ->
        let lr = learningRate r 3e-3
        let struct (beta1, beta2) = betas r 0.9 0.99
        let eps = epsilon r 1e-8
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let gamma = r.Number("gamma", 0.025, nonNegative)
        let kind = r.Choice("mars_type", "adamw", "adamw", "lion")
        let isForAll = r.Flag("optimize_1d", false)
        let factor = r.Number("lr_1d_factor", 1.0, nonNegative)

        let struct (vectorBeta1, vectorBeta2) =
            r.Pair("betas_1d", 0.9, fraction, 0.99, fraction)

        let caution = TimmParts.caution r
        let x, g = r.Parameter, r.Gradient

        let adam beta1 beta2 m v =
            m / correction r beta1 / (sqrt v / sqrt (correction r beta2) + eps)

        if isForAll || hasRows r then
            let c = variance r (gamma * beta1 / (1.0 - beta1)) g false
            let m = caution g (firstMoment r beta1 c)

            let u =
                if kind = "lion" then
                    sign m
                else
                    adam beta1 beta2 m (secondMoment r beta2 c)

            x - lr * fma decay x u
        else
            let m = caution g (firstMoment r vectorBeta1 g)

            x
            - lr
              * factor
              * fma decay x (adam vectorBeta1 vectorBeta2 m (secondMoment r vectorBeta2 g)))
    |> also "timm.cmars" [ "caution", OptionValue.Bool true ]
    |> differs "the first step has no term of change; with mars_type lion caution leaves zeros alone, as signs follow it"

let private novoGrad =
    rule
        "NovoGrad"
        "Ginsburg et al. 2019, arXiv:1905.11286"
        "Momentum of gradients that an average of their tensor's squared norm has divided."
        [ "pytorch_optimizer.NovoGrad" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.95 0.98
            let decay = weightDecay r 0.0 false
            let averages = r.Switch("grad_averaging", false)
            let eps = epsilon r 1e-8
            let size, isFirst = norm r.Gradient, isFirst r
            let before, moments = r.TensorNumber("grads_ema", 0.0), r.Column "moments"

            let v =
                kept r before (where isFirst (size * size) (moved beta2 before (size * size)))

            let h = decay.Gradient(r.Parameter, r.Gradient / (sqrt v + eps))
            let share = where isFirst one (where averages (1.0 - beta1) one)

            decay.Parameter(r.Parameter, lr)
            - lr * kept r moments (fma beta1 moments (share * h)))

let private timmNovoGrad =
    rule "timm.novograd" "Ginsburg et al. 2019, arXiv:1905.11286" "NovoGrad by timm's options." [ "timm.novograd" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.95 0.98
        let eps = epsilon r 1e-8
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let averages = r.Switch("grad_averaging", false)
        let isBound = r.Flag("amsgrad", false)
        let isDecoupled = r.Switch("decoupled_decay", false)
        let rate = TimmParts.decayRate r lr
        let size, before = norm r.Gradient, r.TensorNumber("exp_avg_sq", 0.0)
        let hasAny = before |> isAbove zero

        let v =
            kept r before (where hasAny (moved beta2 before (size * size)) (size * size))

        let v =
            if isBound then
                let most = r.TensorNumber("max_exp_avg_sq", 0.0)
                kept r most (larger most v)
            else
                v

        let u = fma (where isDecoupled zero decay) r.Parameter (r.Gradient / (sqrt v + eps))
        let column = r.Column "exp_avg"
        let m = kept r column (fma beta1 column (where averages (1.0 - beta1) one * u))
        r.Parameter * (1.0 - where isDecoupled (rate * decay) zero) - lr * m)
    |> also "timm.novogradw" [ "decoupled_decay", OptionValue.Bool true ]

let private stableAdamW =
    rule
        "StableAdamW"
        "Wortsman et al. 2023, arXiv:2304.13013"
        "AdamW whose rate is less for tensors whose gradients exceed their second moment."
        [ "pytorch_optimizer.StableAdamW" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.99
            let isCompensated = r.Flag("kahan_sum", true)
            let decay = weightDecayOf r 1e-2 true
            let eps = epsilon r 1e-8
            let g = decay.Gradient(r.Parameter, r.Gradient)

            let debiased (beta: Expression) =
                (beta - beta ** r.Step) / correction r beta

            let m, v = firstMoment r (debiased beta1) g, secondMoment r (debiased beta2) g

            let excess =
                mean (where (g * g |> isAbove zero) (g * g / larger v (eps * eps)) zero)

            let rate = lr / larger one (sqrt excess)
            let x, step = decay.Parameter(r.Parameter, rate), rate * m / (sqrt v + eps)

            let isHalf =
                r.Asks("is of a half type", (fun parameter -> parameter.DType = DType.Float16 || parameter.DType = DType.BFloat16))

            if isCompensated && isHalf then
                // What rounding took off the steps so far, which the next one makes up for (Kahan 1965).
                let lost = r.Column "kahan_comp"
                let change = lost - step
                let next = Expression.Rounded(x + change)
                r.Set(lost, change + (x - next))
                next
            else
                x - step)

let all = [ mars; timmMars; novoGrad; timmNovoGrad; stableAdamW ]
