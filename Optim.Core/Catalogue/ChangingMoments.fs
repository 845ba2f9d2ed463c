/// Rules of the catalogue that begin their moments anew or go over to another rule while they train.
module internal Optim.Core.ChangingMomentsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

/// The cosine of a number of the step in [0, pi].
let private cosine (angle: Expression) =
    // 1 - 2 sin^2 of the half, by Taylor's series, which is short up to pi / 2.
    let half = angle / 2.0
    let square = half * half

    let sine =
        [ 2..2..24 ]
        |> List.rev
        |> List.fold (fun (sum: Expression) n -> 1.0 - square / double (n * (n + 1)) * sum) one

    1.0 - 2.0 * (half * sine) * (half * sine)

/// What is left after whole numbers of a length.
let private remainder (steps: Expression) (length: Expression) =
    steps - length * Expression.Floor(steps / length)

let private spam =
    rule
        "SPAM"
        "Huang et al. 2025, arXiv:2501.06842"
        "Adam that clips spikes of gradients and begins its moments anew from time to time, with a warm-up after that."
        [ "pytorch_optimizer.SPAM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let warmup = r.Whole("warmup_epoch", 50, nonNegative)
            let threshold = r.Number("threshold", 5000.0, nonNegative)
            let wait = r.Whole("grad_accu_steps", 20, nonNegative)
            let gap = r.Whole("update_proj_gap", 500, Interval.atLeast 1.0)
            let eps = epsilon r 1e-6
            // Steps before this one: of all, and since the moments began anew.
            let taken = r.Step - 1.0
            let since = remainder taken gap
            let isAnew = Expression.Of 0.5 |> isAbove since
            let isWarming = (warmup |> isAbove since) &&& (r.Step |> isAbove gap)

            let warming =
                1.0 - 0.99 * (1.0 + cosine (Math.PI * (since + 1.0) / (warmup + 1.0))) / 2.0

            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
            let before column = where isAnew zero column
            let bound = threshold * before v

            let isOpen =
                where (threshold |> isAbove zero) (where (since + 0.5 |> isAbove wait) one zero) zero

            let isSpike =
                (r.Gradient * r.Gradient |> isAbove bound) &&& (isOpen |> isAbove zero)

            let g = where isSpike (sign r.Gradient * sqrt bound) r.Gradient
            let m' = kept r m (moved beta1 (before m) g)
            let v' = kept r v (movedSquare beta2 (before v) g)
            let rate = lr * where isWarming warming one
            let step = sqrt (correction r beta2) / correction r beta1 * m' / (sqrt v' + eps)
            (r.Parameter - rate * step) * (1.0 - lr * decay))
    |> differs "density is left out: all elements are stepped; the correction goes on when the moments begin anew"

let private stableSpam =
    rule
        "StableSPAM"
        "Huang et al. 2025, arXiv:2502.17055"
        "Adam by gradients held to averages of their largest element and of their norm, with moments that begin anew from time to time."
        [ "pytorch_optimizer.StableSPAM" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999

            let struct (hasGamma1, gamma1) =
                r.NumberOr(OptionValue.Float -1.0, "gamma1", OptionValue.Float 0.7, fraction)

            let gamma2 = r.Number("gamma2", 0.9, fraction)
            let theta = r.Number("theta", 0.999, fraction)

            let struct (isScheduled, last) =
                r.NumberOrNone("t_max", Nullable(), Interval.atLeast 1.0)

            let least = r.Number("eta_min", 0.5, Interval.within 0.0 1.0)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let gap = r.Whole("update_proj_gap", 1000, Interval.atLeast 1.0)
            let eps = epsilon r 1e-8

            let scale =
                if isScheduled then
                    let wave steps =
                        1.0 + cosine (Math.PI * (smaller steps last + 1.0) / (last + 1.0))

                    let falling = least + (1.0 - least) * wave r.Step / wave zero
                    where (last |> isAbove r.Step) falling least
                else
                    one

            let beta1 = beta1 * scale
            let gamma1 = if hasGamma1 then gamma1 * scale else beta1
            let since = remainder r.Step gap
            let isAnew = Expression.Of 0.5 |> isAbove since
            let taken = where (gap |> isAbove r.Step) r.Step (since + 1.0)
            let corrected (beta: Expression) (steps: Expression) = 1.0 - beta ** steps

            let most, norms, squares =
                r.TensorNumber("m_max_t", 0.0), r.TensorNumber("m_norm_t", 0.0), r.TensorNumber("v_norm_t", 0.0)

            let largest = Expression.Largest r.Gradient
            let most' = kept r most (moved theta most largest)
            let cap = most' / corrected theta r.Step
            let isSpike = abs r.Gradient |> isAbove cap
            let g = where isSpike (r.Gradient / largest * cap) r.Gradient
            let size = norm g
            let norm' = moved gamma1 norms size
            let square' = moved gamma2 squares (size * size)
            let hasAny = size |> isAbove zero
            r.Set(norms, where hasAny norm' norms)
            r.Set(squares, where hasAny square' squares)

            let length =
                norm'
                / corrected gamma1 r.Step
                / (sqrt (square' / corrected gamma2 r.Step) + eps)

            let g = where hasAny (length / size) zero * g
            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
            let before column = where isAnew zero column
            let m' = moved beta1 (before m) g
            let v' = movedSquare beta2 (before v) g
            r.Set(m, where hasAny m' (before m))
            r.Set(v, where hasAny v' (before v))
            let x = r.Parameter * (1.0 - lr * decay)
            let root = sqrt v' / sqrt (corrected beta2 taken) + eps
            where hasAny (x - lr / corrected beta1 taken * m' / root) x)

let private swats =
    rule
        "SWATS"
        "Keskar, Socher 2017, arXiv:1712.07628"
        "Adam that goes over to SGD when the rate at which SGD would have made its steps has settled."
        [ "pytorch_optimizer.SWATS" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 false
            let isBound = r.Flag("ams_bound", false)
            let isNesterov = r.Switch("nesterov", false)
            let eps = epsilon r 1e-6
            let x, g = decay.Applied(r, lr)
            // The rate of SGD relative to lr, 0 as long as Adam steps.
            let ratio = r.Kept("rate", 0.0)
            let isSgd = ratio |> isAbove zero

            let m, v, momentum =
                r.Column "exp_avg", r.Column "exp_avg_sq", r.Column "momentum_buffer"

            let m', v' = moved beta1 m g, movedSquare beta2 v g
            r.Set(m, where isSgd m m')
            r.Set(v, where isSgd v v')
            let root = denominator r isBound "max_exp_avg_sq" eps v'
            let step = lr * sqrt (correction r beta2) / correction r beta1 * m' / root
            let b = where isSgd (fma beta1 momentum g) zero
            r.Set(momentum, b)
            let slow = where isNesterov (fma beta1 b g) b
            let agreement, size = r.SumOverAll(step * g), r.NormOverAll step
            let hasAny = agreement * agreement |> isAbove zero
            let found = size * size / agreement
            let average = r.Kept("exp_avg2", 0.0)
            let average' = where hasAny (moved beta2 average found) average
            r.Set(average, where isSgd average average')
            let rate = average' / correction r beta2
            let difference = rate - found

            let isNear =
                Expression.Of 1e-8 + eps * Expression.Abs found
                |> isAbove (Expression.Abs difference)

            let isSettled =
                hasAny
                &&& (r.Step |> isAbove (Expression.Of 1.5))
                &&& (rate |> isAbove zero)
                &&& isNear

            r.Set(ratio, where isSgd ratio (where isSettled (rate / lr) zero))
            where isSgd (x - lr * ratio * (1.0 - beta1) * slow) (x - step))
    |> differs "nesterov looks ahead by the momentum, where the package leaves the factor 1 - beta1 out"

let all = [ spam; stableSpam; swats ]
