/// Rules of the catalogue with adaptive moments that look at whole tensors, or at all of them.
module internal Optim.Core.AdaptiveTensorsFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

let private adaGC =
    rule
        "AdaGC"
        "Wang et al. 2025, arXiv:2502.11034"
        "Adam with gradients clipped tensor by tensor, by an average of their own norms."
        [ "pytorch_optimizer.AdaGC" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let beta = r.Number("beta", 0.98, fraction)
            let absolute = r.Number("lambda_abs", 1.0, nonNegative)
            let relative = r.Number("lambda_rel", 1.05, nonNegative)
            let warmup = r.Whole("warmup_steps", 100, nonNegative)
            let decay = weightDecay r 0.1 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let before = r.TensorNumber("gamma", 0.0)
            let size = norm g
            let ofAll = smaller (absolute / (r.NormOverAll g + eps)) one
            let ofOwn = smaller (relative * larger before eps / larger size eps) one
            let isWarm = warmup |> isAbove r.Step
            let isFirst = isFirst r
            let clip = where isWarm ofAll (where isFirst ofAll ofOwn)
            let clipped = clip * size
            let least = where isFirst clipped (smaller before clipped)
            let average = where isFirst clipped (beta * before + (1.0 - beta) * clipped)
            r.Set(before, where isWarm least average)
            let m, v = firstMoment r beta1 (clip * g), secondMoment r beta2 (clip * g)
            x - lr / correction r beta1 * m / (sqrt v / sqrt (correction r beta2) + eps))

let private adaNorm =
    rule
        "AdaNorm"
        "Dubey, Singh, Chaudhuri 2022, arXiv:2210.06364"
        "Adam by gradients that are at least as long as they were on average."
        [ "pytorch_optimizer.AdaNorm" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.99
            let kept' = r.Number("r", 0.95, fraction)
            let decay = weightDecay r 0.0 true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let before, size = r.TensorNumber("exp_grad_norm", 0.0), norm g
            let average = kept r before (kept' * before + (1.0 - kept') * size)
            let isShort = (average |> isAbove size) &&& (size |> isAbove zero)
            let m = firstMoment r beta1 (where isShort (average / size) one * g)
            let column = r.Column "exp_avg_var"
            let v = kept r column (movedSquare beta2 column g)
            let root = denominator r isBound "max_exp_avg_var" eps v / sqrt (correction r beta2)
            x - lr / correction1 * m / root)

let private adaTAM =
    rule
        "AdaTAM"
        "Malviya et al. 2024, arXiv:2412.18790"
        "Adam with momentum that takes more of gradients that point along it."
        [ "pytorch_optimizer.AdaTAM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let rate = r.Number("decay_rate", 0.9, fraction)
            r.OptOut("U5", "the cosine of gradient and momentum jumps where the momentum is 0")
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let similarity, m = r.Column "s", r.Column "exp_avg"

            let s =
                kept r similarity (moved rate similarity (ofUnitColumns r m * ofUnitColumns r g))

            let m' = kept r m (beta1 * m + ((1.0 + s) / 2.0 + eps) * g)
            let v = secondMoment r beta2 g
            x - lr * m' / (sqrt v + eps))
    |> differs "each element has a similarity of its own, in place of the tensor's cosine"

let private adai =
    rule
        "Adai"
        "Xie et al. 2020, arXiv:2006.15815"
        "Momentum that is larger where gradients are small, in place of larger steps."
        [ "pytorch_optimizer.Adai" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta0, beta2) = betas r 0.1 0.99
            let decay = weightDecay r 0.0 false
            let isStable = r.Flag("stable_weight_decay", false)

            let struct (isOther, dampening) =
                r.NumberOr(OptionValue.Float 1.0, "dampening", OptionValue.Float 1.0, Interval.upTo 0.0 1.5)

            let eps = epsilon r 1e-3
            let x, g = decay.Applied(r, lr)
            let v = secondMoment r beta2 (if isStable then r.Gradient else g)
            let w = v / correction r beta2
            let average = larger (r.SumOverAll w / countOverAll r w) eps

            let size = w / average

            let size =
                if isOther then
                    Expression.Pow(size, 1.0 / (3.0 - 2.0 * dampening))
                else
                    size

            let beta = smaller (larger (1.0 - beta0 * size) zero) (1.0 - eps)
            let product, m = r.Column("beta1_prod", 1.0), r.Column "exp_avg"
            let product' = kept r product (product * beta)

            let share =
                if isOther then
                    Expression.Pow(1.0 - beta, dampening)
                else
                    1.0 - beta

            let m' = kept r m (beta * m + share * g)

            let scale =
                if isOther then
                    Expression.Pow(beta0, 1.0 - dampening)
                else
                    one

            let rest = 1.0 - product'
            // Where no momentum has ever taken a gradient nothing moves.
            where (rest |> isAbove zero) (x - lr * scale * m' / rest) x)
    |> differs "the mean second moment counts as eps at least"

let private adamP =
    rule
        "AdamP"
        "Heo et al. 2020, arXiv:2006.08217"
        "Adam without the part of its step that only grows weights which a normalization follows."
        [ "pytorch_optimizer.AdamP" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let delta = r.Number("delta", 0.1, nonNegative)
            let ratio = r.Number("wd_ratio", 0.1, nonNegative)
            let isNesterov = r.Flag("nesterov", false)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let g = decay.Gradient(r.Parameter, r.Gradient)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let n = if isNesterov then moved beta1 m g else m
            let u = sqrt (correction r beta2) * n / (sqrt v + eps)
            let struct (project, share) = projection r delta ratio eps g

            let decay =
                { decay with
                    Amount = decay.Amount * share
                }

            decay.Parameter(r.Parameter, lr) - lr / correction1 * project u)
    |> differs "eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package forgets it"

let private adamS =
    rule
        "AdamS"
        "Xie, Sato, Sugiyama 2020, arXiv:2011.11152"
        "Adam with decay in proportion to the mean step size of the whole model."
        [ "pytorch_optimizer.AdamS" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 1e-4 true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            r.OptOut("G5", "decay is divided by the mean step size, of which eps is the least")
            let g = decay.Gradient(r.Parameter, r.Gradient)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let v = largestSoFar r isBound "max_exp_avg_sq" v / correction r beta2
            let size = sqrt (r.SumOverAll v / countOverAll r v) + eps

            let decay =
                { decay with
                    Amount = decay.Amount / size
                }

            decay.Parameter(r.Parameter, lr) - lr / correction1 * m / (sqrt v + eps))

let private amos =
    rule
        "Amos"
        "Tian, Parikh 2022, arXiv:2210.11693"
        "A rate and a decay for each tensor, from its mean square gradient and its shape."
        [ "pytorch_optimizer.Amos" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let beta = r.Number("beta", 0.999, fraction)
            let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.0, fraction)
            let extra = r.Number("extra_l2", 0.0, nonNegative)
            let c = r.Number("c_coef", 0.25, nonNegative)
            let d = r.Number("d_coef", 0.25, nonNegative)
            let eps = epsilon r 1e-18
            r.OptOut("U3", "its decay is a part of the rule, and has no option that turns it off")
            r.OptOut("U4", "extra_l2 shrinks parameters, whatever the rate is")
            let x, g = r.Parameter, r.Gradient
            let second = Expression.LeadingCount 2 / Expression.LeadingCount 1

            let eta =
                if not (hasRows r) then
                    Expression.Of 0.5
                elif r.Asks("is a matrix", (fun parameter -> parameter.Shape.Length = 2)) then
                    sqrt (2.0 / second)
                else
                    sqrt (1.0 / second)

            let size = mean (g * g)
            let v, b = r.TensorNumber("exp_avg_sq", 0.0), r.TensorNumber("decay", 0.0)
            let v' = kept r v (beta * v + (1.0 - beta) * size)
            let divisor = (v' + eps) / correction r beta
            let gamma = lr * lr * size / divisor / sqrt (1.0 + c * sqrt lr * b)
            let shrink = (gamma + extra) / 2.0

            let step =
                (shrink * x + lr * eta * g / sqrt divisor) / (1.0 + d * sqrt (lr * eta) * b)

            r.Set(b, (1.0 + gamma) * b + gamma)

            if hasMomentum then
                let m = r.Column "exp_avg"
                x - kept r m (moved momentum m step)
            else
                x - step)
    |> differs "the scale eta follows from the shape alone, where the paper's is given by the user"

let private avaGrad =
    rule
        "AvaGrad"
        "Savarese, McAllester, Babu, Maire 2019, arXiv:1912.01823"
        "Adam whose rate does not depend on eps: step sizes are normalized over the whole model."
        [ "pytorch_optimizer.AvaGrad" ]
        (fun r ->
            let lr = learningRate r 0.1
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 0.1
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, r.Column "exp_avg_sq"
            r.OptOut("W4", movesLater)
            r.Set(v, movedSquare beta2 v g)
            let gamma, root = r.Kept("gamma", 0.0), sqrt v
            let inverse = 1.0 / (root / sqrt (correction r beta2) + eps)
            let average = r.SumOverAll(inverse * inverse) / countOverAll r inverse
            r.Set(gamma, 1.0 / sqrt average)
            let earlier = 1.0 - Expression.Pow(beta2, larger one (r.Step - 1.0))
            let step = gamma * lr / correction1 * m / (root / sqrt earlier + eps)
            where (isFirst r) x (x - step))
    |> differs "the normalization is by the second moments of two steps before; decay is decoupled by default, and of the first step, too"

let all = [ adaGC; adaNorm; adaTAM; adai; adamP; adamS; amos; avaGrad ]
