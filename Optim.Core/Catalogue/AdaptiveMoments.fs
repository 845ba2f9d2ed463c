// Long, because the rules of a family are read side by side.
/// Rules of the catalogue that are Adam's relatives: averages of gradients, divided by the root of an average of their squares.
module internal Optim.Core.AdaptiveMomentsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

let private adaBound =
    rule
        "AdaBound"
        "Luo, Xiong, Liu, Sun 2019, ICLR, OpenReview Bkg3g2R9FX"
        "Adam whose step sizes are held between bounds that close in on those of SGD."
        [ "pytorch_optimizer.AdaBound" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let finalLr = r.Number("final_lr", 0.1, nonNegative)
            let struct (beta1, beta2) = betas r 0.9 0.999
            let gamma = r.Number("gamma", 1e-3, positive)
            let decay = weightDecay r 0.0 true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            // Bounds follow the rate as a schedule moves it from where it began, which is not 0 for those that warm up.
            let before = r.Kept("base_lr", 0.0)
            let began = kept r before (where (isAbove zero before) before lr)
            let final = where (isAbove zero began) (finalLr * lr / began) zero
            let lowest = final * (1.0 - 1.0 / (gamma * r.Step + 1.0))
            let highest = final * (1.0 + 1.0 / (gamma * r.Step))
            let size = lr * sqrt (correction r beta2) / correction r beta1
            let size = size / denominator r isBound "max_exp_avg_sq" eps v
            x - smaller (larger size lowest) highest * m)
    |> differs "decay is decoupled by default; the authors' is L2"

let private adaDelta =
    rule
        "pytorch_optimizer.AdaDelta"
        "Zeiler 2012, arXiv:1212.5701"
        "Adadelta with weight decay of three kinds."
        [ "pytorch_optimizer.AdaDelta" ]
        (fun r ->
            let lr = learningRate r 1.0
            let rho = r.Number("rho", 0.9, fraction)
            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-6
            let x, g = decay.Applied(r, lr)
            let v, delta = r.Column "square_avg", r.Column "acc_delta"
            // Steps feed what makes them long, so that noise in either grows.
            r.KeepWide v
            r.KeepWide delta
            let v' = kept r v (movedSquare rho v g)
            let step = sqrt (delta + eps) / sqrt (v' + eps) * g
            r.Set(delta, movedSquare rho delta step)
            x - lr * step)

let private adaMax =
    rule
        "pytorch_optimizer.AdaMax"
        "Kingma and Ba 2014, arXiv:1412.6980, 7.1"
        "Adamax with weight decay of three kinds."
        [ "pytorch_optimizer.AdaMax" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m, most = firstMoment r beta1 g, r.Column "exp_inf"
            let most' = kept r most (larger (beta2 * most) (abs g + eps))
            x - lr / correction1 * m / most')

let private adaMod =
    rule
        "AdaMod"
        "Ding, Ren, Luo, Sun 2019, arXiv:1910.12249"
        "Adam whose step sizes are at most their own running average."
        [ "pytorch_optimizer.AdaMod" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2, beta3) = threeBetas r 0.9 0.99 0.9999
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            r.OptOut("G5", "step sizes without a gradient are kept, and as large as eps is small")
            let size = lr * sqrt (correction r beta2) / correction1 / (sqrt v + eps)
            let average = r.Column "exp_avg_lr"
            let average' = kept r average (moved beta3 average size)
            x - smaller size average' * m)
    |> differs "the authors' defaults of the second and third beta are 0.999"

let private adaPNM =
    rule
        "AdaPNM"
        "Xie, Yuan, Zhu, Sugiyama 2021, arXiv:2103.17182"
        "Adam by the difference of two momenta, of odd and of even steps, which makes its noise larger."
        [ "pytorch_optimizer.AdaPNM" ]
        (fun r ->
            let lr = learningRate r 1e-3

            let struct (beta1, beta2, beta3) =
                r.Triple("betas", 0.9, fraction, 0.999, fraction, 1.0, nonNegative)

            let decay = weightDecay r 0.0 true
            let isBound = r.Flag("ams_bound", true)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let positive = positiveNegativeMomentum r "exp_avg" "neg_exp_avg" beta1 beta3 g
            let v = secondMoment r beta2 g
            let root = denominator r isBound "max_exp_avg_sq" eps v / sqrt (correction r beta2)
            x - lr / correction1 * positive / root)
    |> differs "eps is inside the division by the second moment's correction"

let private adamC =
    rule
        "AdamC"
        "Defazio 2025, arXiv:2506.02285"
        "AdamW whose decay of weights that a normalization follows shrinks with the rate's square."
        [ "pytorch_optimizer.AdamC" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let normalized = r.Switch("normalized", false)
            let correction1 = correction r beta1
            let most = r.Kept("max_lr", 0.0)
            let most' = kept r most (larger most lr)
            let rate = where (isAbove zero most') (lr * lr / most') zero
            let x, g = decay.Applied(r, where normalized rate lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let root = denominator r isBound "max_exp_avg_sq" eps v / sqrt (correction r beta2)
            x - lr / correction1 * m / root)
    |> differs "eps is inside the division by the second moment's correction; the largest rate is that of the steps so far"

let private adamG =
    rule
        "AdamG"
        "Pang et al. 2024, arXiv:2405.04376"
        "Adam whose momentum takes gradients in proportion to a power of their size: its rate needs no search."
        [ "pytorch_optimizer.AdamG" ]
        (fun r ->
            let lr = learningRate r 1.0
            let struct (beta1, beta2, beta3) = threeBetas r 0.95 0.999 0.95
            let factor = r.Number("p", 0.2, nonNegative)
            let power = r.Number("q", 0.24, positive)
            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let v = secondMoment r beta2 g
            let size, average = r.Column "r", r.Column "exp_avg"

            // What does not need the power is worked out beside it, as little as can be after it.
            let size' =
                kept r size (fma ((1.0 - beta3) * factor) (Expression.Pow(v, power)) (beta3 * size))

            let m = kept r average (fma size' ((1.0 - beta1) * g) (beta1 * average))
            let rate = smaller lr (1.0 / sqrt r.Step) / correction r beta1
            let factor2 = 1.0 / correction r beta2
            x - rate * m / (sqrt (factor2 * v) + eps))

let private adan =
    rule
        "Adan"
        "Xie, Zhou, Li, Lin, Yan 2022, arXiv:2208.06677"
        "Adam with Nesterov's momentum from averages of gradients and of their differences."
        [ "pytorch_optimizer.Adan" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2, beta3) = threeBetas r 0.98 0.92 0.99
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let isDecoupled = r.Flag("weight_decouple", false)
            let struct (isClipped, most) = r.NumberOrZero("max_grad_norm", 0.0, nonNegative)
            let eps = epsilon r 1e-8

            r.OptOut("U5", "max_grad_norm 0 stands for no clipping")

            let g =
                if isClipped then
                    smaller one (most / (r.NormOverAll r.Gradient + eps)) * r.Gradient
                else
                    r.Gradient

            // The state has the gradient before with the other sign, as the package has.
            let negated = r.Column "previous_grad"
            r.Set(negated, -g)
            let change = where (isFirst r) zero (g + negated)
            let m, difference = firstMoment r beta1 g, r.Column "exp_avg_diff"
            let n = kept r difference (moved beta2 difference change)
            let v = secondMoment r beta3 (g + beta2 * change)
            let root = sqrt v / sqrt (correction r beta3) + eps
            let step = lr * (m / correction r beta1 + beta2 / correction r beta2 * n) / root

            if isDecoupled then
                r.Parameter * (1.0 - lr * decay) - step
            else
                (r.Parameter - step) / (1.0 + lr * decay))
    |> differs "betas are 1 - beta of the paper"

let private ademamix =
    rule
        "AdEMAMix"
        "Pagliardini, Ablin, Grangier 2024, arXiv:2409.03137"
        "Adam with a second momentum that remembers ten thousand gradients."
        [ "pytorch_optimizer.AdEMAMix" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2, beta3) = threeBetas r 0.9 0.999 0.9999
            let decay = weightDecay r 0.0 false
            let alpha = r.Number("alpha", 5.0, nonNegative)
            let struct (warmsUp, warmup) = r.NumberOrNone("t_alpha_beta3", Nullable(), positive)
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)

            let m, v, slow =
                firstMoment r beta1 g, secondMoment r beta2 g, r.Column "exp_avg_slow"

            let alpha, beta3 =
                if warmsUp then
                    let share = r.Step / warmup
                    let log1, log3 = Expression.Log beta1, Expression.Log beta3
                    let between = Expression.Exp(log1 * log3 / ((1.0 - share) * log3 + share * log1))
                    smaller (share * alpha) alpha, where (share |> isAbove one) beta3 (smaller between beta3)
                else
                    alpha, beta3

            let slow' = kept r slow (moved beta3 slow g)
            let root = sqrt v / sqrt (correction r beta2) + eps
            x - lr * (m / correction r beta1 + alpha * slow') / root)
    |> differs "decay is L2 by default, and there are no warm-ups by default"

let private adopt =
    rule
        "ADOPT"
        "Taniguchi et al. 2024, arXiv:2411.02853"
        "Adam that divides by the second moment before the gradient, and averages what it has divided: it converges for any second beta."
        [ "pytorch_optimizer.ADOPT" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.9999

            let struct (isClipped, power) =
                r.NumberOrNone("clip_exp", Nullable 0.25, nonNegative)

            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-6
            r.OptOut("W4", movesLater)
            let x, g = decay.Applied(r, lr)
            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
            r.Set(v, movedSquare (where (isFirst r) zero beta2) v g)
            let u = g / larger (sqrt v) eps
            let most = r.Step ** power
            let u = if isClipped then smaller (larger u -most) most else u
            // The first step does nothing but begin the second moment.
            let m' = kept r m (where (isFirst r) m (moved beta1 m u))
            x - lr * m')
    |> differs "the first update is clipped at 2^0.25 and not at 1, as steps are counted from the first gradient"

let private ano =
    rule
        "Ano"
        "Kegreisz 2025, arXiv:2508.18258"
        "The gradient's size along the momentum's sign, divided by the root of a second moment as Yogi's."
        [ "pytorch_optimizer.Ano" ]
        (fun r ->
            let lr = learningRate r 1e-4
            // Below a half the second moment could turn negative.
            let struct (beta1, beta2) =
                r.Pair("betas", 0.92, fraction, 0.99, Interval.upTo 0.5 1.0)

            let decay = weightDecay r 0.0 true
            r.OptOut("U5", jumps)
            let isLogarithmic = r.Switch("logarithmic_schedule", false)
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let scheduled = 1.0 - 1.0 / Expression.Log(larger (Expression.Of 2.0) r.Step)
            let m = firstMoment r (where isLogarithmic scheduled beta1) g
            let v, square = r.Column "exp_avg_sq", g * g
            // A step may take more off it than there is.
            r.KeepWide v
            let v' = kept r v (beta2 * v + (1.0 - beta2) * (sign (square - v) * square))
            x - lr * abs g * sign m / (sqrt (v' / correction r beta2) + eps))
    |> differs "the second moment is corrected for its start; with the logarithmic schedule the first two steps weigh the momentum by -0.44"

let private dualAdam =
    rule
        "DualAdam"
        "arXiv:2603.07122"
        "Adam that multiplies by the root of the second moment at first, and goes over to dividing by it."
        [ "pytorch_optimizer.DualAdam" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let switchRate = r.Number("switch_rate", 0.01, nonNegative)
            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let root = sqrt (v / correction r beta2) + eps
            let share = larger zero (1.0 - r.Step * switchRate)
            let share = where (switchRate |> isAbove share) zero share
            x - lr / correction r beta1 * ((1.0 - share) * m / root + share * m * root))
    |> differs "decay is L2 by default; the authors' is decoupled"

let private exAdam =
    rule
        "EXAdam"
        "Adly 2024, arXiv:2412.20302"
        "Adam whose moments correct each other, with the gradient added to the momentum."
        [ "pytorch_optimizer.EXAdam" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let k1 = 1.0 + beta2 ** r.Step * v / (v + eps)
            let k2 = 1.0 + beta1 ** r.Step * (m * m) / (m * m + eps)
            let root = sqrt (v / correction r beta2 * k2) + eps
            x - lr / correction r beta1 * (m + g) * k1 / root)

let private grams =
    rule
        "Grams"
        "Cao, Li, Song 2024, arXiv:2412.17107"
        "Adam's step sizes along the gradient's signs."
        [ "pytorch_optimizer.Grams" ]
        (fun r ->
            r.OptOut("U5", jumps)
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecayOf r 0.0 true
            let eps = epsilon r 1e-6
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let root = sqrt v / sqrt (correction r beta2) + eps
            x - lr / correction r beta1 * (abs m / root * sign g))

let private grokFast =
    rule
        "GrokFastAdamW"
        "Lee, Kang, Kim, Lee 2024, arXiv:2405.20233"
        "AdamW by gradients to which their own slow average is added."
        [ "pytorch_optimizer.GrokFastAdamW" ]
        (fun r ->
            let lr = learningRate r 1e-4
            let struct (beta1, beta2) = betas r 0.9 0.99
            let isOn = r.Flag("grokfast", true)
            let alpha = r.Number("grokfast_alpha", 0.98, fraction)
            let lamb = r.Number("grokfast_lamb", 2.0, nonNegative)
            let after = r.Whole("grokfast_after_step", 0, nonNegative)
            let decay = weightDecay r 0.0 true
            let normalizes = r.Switch("normalize_lr", true)
            let eps = epsilon r 1e-8
            let lr = if isOn then where normalizes (lr / (1.0 + lamb)) lr else lr
            let x, g = decay.Applied(r, lr)

            let g =
                if isOn then
                    let struct (column, slow) = startingAt r "grok_exp_avg" r.Gradient
                    let begun = r.Step |> isAbove after
                    let slow' = kept r column (moved (where begun alpha one) slow g)
                    fma (where begun lamb zero) slow' g
                else
                    g

            let m, v = firstMoment r beta1 g, secondMoment r beta2 g

            x
            - lr / correction r beta1 * m / larger (sqrt v / sqrt (correction r beta2)) eps)
    |> differs "eps is a floor of the divisor; the rate is divided by 1 + grokfast_lamb in every group, and not in the constructor alone"

let all =
    [
        adaBound
        adaDelta
        adaMax
        adaMod
        adaPNM
        adamC
        adamG
        adan
        ademamix
        adopt
        ano
        dualAdam
        exAdam
        grams
        grokFast
    ]
