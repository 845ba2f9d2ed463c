/// Rules of the catalogue that average what has been divided by second moments, or weigh averages in ways of their own.
module internal Optim.Core.AveragedMomentsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

let private acProp =
    rule
        "ACProp"
        "Zhuang et al. 2021, arXiv:2110.05454"
        "The gradient by what earlier ones differed from their averages: the divisor does not know the gradient."
        [ "optax.acprop" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let eps = epsilon r 1e-16
            let x, g = r.Parameter * (1.0 - lr * decay), r.Gradient
            let m, variance = r.Column "exp_avg", r.Column "exp_avg_var"
            r.Set(m, moved beta1 m g)
            r.Set(variance, movedSquare beta2 variance (g - m) + eps)
            let earlier = 1.0 - Expression.Pow(beta2, larger one (r.Step - 1.0))
            x - lr * where (isFirst r) g (g / (sqrt (variance / earlier) + eps)))
    |> differs "as in optax: the surprise is relative to the average before the gradient, and the first step is lr times the gradient"

let private kate =
    rule
        "Kate"
        "Choudhury et al. 2024, arXiv:2403.02648"
        "AdaGrad without the root of its denominator, which makes it free of the gradient's scale."
        [ "pytorch_optimizer.Kate" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let delta = r.Number("delta", 0.0, nonNegative)
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let m, b = r.Column "m", r.Column "b"
            let square = g * g
            let sum = b * b + square + eps
            r.Set(b, sqrt sum)
            x - lr * kept r m (sqrt (m * m + delta * square + square / sum)) * g / sum)
    |> differs "eps is added to the sum in every step, and so adds up"

let private laProp =
    rule
        "LaProp"
        "Ziyin, Wang, Ueda 2020, arXiv:2002.04839"
        "Momentum of gradients that have been divided by the root of their second moment, in place of Adam's order."
        [ "pytorch_optimizer.LaProp" ]
        (fun r ->
            let lr = learningRate r 4e-4
            let struct (beta1, beta2) = betas r 0.9 0.999
            let isCentered = r.Flag("centered", false)
            let wait = r.Whole("steps_before_using_centered", 10, nonNegative)
            let decay = weightDecay r 0.0 true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-15
            let g = decay.Gradient(r.Parameter, r.Gradient)
            let square = r.Column "exp_avg_sq"
            let v = kept r square (movedSquare beta2 square g)

            let v =
                if isCentered then
                    let average = r.Column "exp_mean_avg_beta2"
                    // Their difference counts.
                    r.KeepWide square
                    r.KeepWide average
                    let a = kept r average (moved beta2 average g)
                    where (r.Step |> isAbove wait) (v - a * a) v
                else
                    v

            let root = denominator r isBound "max_exp_avg_sq" eps v / sqrt (correction r beta2)
            let m = firstMoment r beta1 (lr * g / root)
            let before = r.Kept("exp_avg_lr_1", 0.0)
            let rates = kept r before (moved beta1 before lr)
            let x = r.Parameter - where (rates |> isAbove zero) (lr / rates) zero * m
            decay.Parameter(x, lr))
    |> differs "eps is inside the division by the second moment's correction; weight_decouple False is L2, where the package forgets it"

let private timmLaProp =
    rule
        "timm.laprop"
        "Ziyin, Wang, Ueda 2020, arXiv:2002.04839"
        "LaProp with caution and corrected weight decay."
        [ "timm.laprop" ]
        (fun r ->
            let lr = learningRate r 4e-4
            let struct (beta1, beta2) = betas r 0.9 0.999
            let eps = epsilon r 1e-15
            let factor, caution = TimmParts.decayFactor r lr, TimmParts.caution r
            let first, second = r.Kept("exp_avg_lr_1", 0.0), r.Kept("exp_avg_lr_2", 0.0)
            let rates = kept r first (moved beta1 first lr)
            let corrected = kept r second (moved beta2 second one)
            let g = r.Gradient
            let v = secondMoment r beta2 g
            let m = firstMoment r beta1 (lr * g / (sqrt (v / corrected) + eps))
            let step = where (rates |> isAbove zero) (lr / rates) zero * caution g m
            (r.Parameter - step) * factor)
    |> also "timm.claprop" [ "caution", OptionValue.Bool true ]
    |> also "timm.lapropc" [ "corrected_weight_decay", OptionValue.Bool true ]

/// The point that dual averaging by cube roots moves to from a start: what is divided is 0 where it is nothing.
let private averaged (start: Expression) (sum: Expression) (squares: Expression) (eps: Expression) =
    let root = cbrt squares + eps
    start - where (root |> isAbove zero) (sum / root) zero

/// lr and eps together; a rate of 0 moves nothing.
let private rateOf (lr: Expression) (eps: Expression) =
    where (lr |> isAbove zero) (lr + eps) zero

/// The step of MADGRAD by a rate: towards the point of dual averaging, by momentum.
let private madgradStep (r: RuleDefinition) struct (hasMomentum: bool, momentum: Expression) rate eps (x: Expression) (g: Expression) =
    let squares, sum = r.Column "grad_sum_sq", r.Column "s"
    let q = rate * sqrt r.Step

    let start =
        if hasMomentum then
            let struct (column, x0) = startingAt r "x0" r.Parameter
            kept r column x0
        else
            x - averaged zero sum squares eps

    let next =
        averaged start (kept r sum (fma q g sum)) (kept r squares (squares + q * g * g)) eps

    if hasMomentum then moved momentum x next else next

let private madgrad =
    rule
        "MADGRAD"
        "Defazio, Jelassi 2021, arXiv:2101.11075"
        "Momentum towards the point of dual averaging, by cube roots of squared gradients."
        [ "pytorch_optimizer.MADGRAD"; "optax.madgrad" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.NumberOrZero("momentum", 0.9, fraction)
            let decay = weightDecayOf r 0.0 false
            let eps = epsilon r 1e-6
            let rate = rateOf lr eps
            let x, g = r.Parameter, decay.Gradient(r.Parameter, r.Gradient)
            let next = madgradStep r momentum rate eps x g

            if decay.IsDecoupled then
                next - rate * decay.Amount * x
            else
                next)
    |> differs "eps is added to lr, too"

let private timmMadgrad =
    rule "timm.madgrad" "Defazio, Jelassi 2021, arXiv:2101.11075" "MADGRAD by timm's options." [ "timm.madgrad" ] (fun r ->
        let lr = learningRate r 1e-2
        let momentum = r.NumberOrZero("momentum", 0.9, fraction)

        let decay =
            {
                Amount = r.Number("weight_decay", 0.0, nonNegative)
                IsDecoupled = r.Flag("decoupled_decay", false)
                IsFixed = never
            }

        let eps = epsilon r 1e-6
        let x, g = decay.Applied(r, lr)
        madgradStep r momentum (rateOf lr eps) eps x g)
    |> also "timm.madgradw" [ "decoupled_decay", OptionValue.Bool true ]
    |> differs "eps is added to lr, too; with momentum, decoupled decay does not reach the point that the parameter moves to"

let private pAdam =
    rule
        "PAdam"
        "Chen et al. 2018, arXiv:1806.06763"
        "Adam by a power of the second moment between none, as SGD, and a half."
        [ "pytorch_optimizer.PAdam" ]
        (fun r ->
            let lr = learningRate r 0.1
            let struct (beta1, beta2) = betas r 0.9 0.999
            let quarter = OptionValue.Float 0.25

            let struct (isOther, partial) =
                r.NumberOr(quarter, "partial", quarter, Interval.within 0.0 0.5)

            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            let size = sqrt v + eps

            let root =
                if isOther then
                    Expression.Pow(size, 2.0 * partial)
                else
                    sqrt size

            x - lr * sqrt (correction r beta2) / correction r beta1 * m / root)
    |> differs "the second moment's largest value so far is not kept, and its correction is the root's, whatever the power"

let private qhAdam =
    rule
        "QHAdam"
        "Ma, Yarats 2018, arXiv:1810.06801"
        "Adam whose two moments are weighted means of the gradient and of its averages."
        [ "pytorch_optimizer.QHAdam" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999

            let struct (nu1, nu2) =
                r.Pair("nus", 1.0, Interval.within 0.0 1.0, 1.0, Interval.within 0.0 1.0)

            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-8
            let x, g = decay.Applied(r, lr)
            let first, second = r.Kept("beta1_weight", 0.0), r.Kept("beta2_weight", 0.0)
            let weight1 = kept r first (beta1 * first + 1.0)
            let weight2 = kept r second (beta2 * second + 1.0)
            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
            r.KeepWide v
            let m' = kept r m (m + 1.0 / weight1 * (g - m))
            let v' = kept r v (movedSquare (1.0 - 1.0 / weight2) v g)
            let size = sqrt (nu2 * v' + (1.0 - nu2) * (g * g)) + eps
            x - lr * (nu1 * m' + (1.0 - nu1) * g) / size)

let private simplifiedAdEMAMix =
    rule
        "SimplifiedAdEMAMix"
        "Morwani et al. 2025, arXiv:2502.02431"
        "Adam with one long momentum, and the gradient beside it."
        [ "pytorch_optimizer.SimplifiedAdEMAMix" ]
        (fun r ->
            let lr = learningRate r 1e-4
            let struct (beta1, beta2) = betas r 0.99 0.95
            let decay = weightDecay r 0.0 true
            let alpha = r.Number("alpha", 0.0, nonNegative)
            let struct (isWarmed, warmup) = r.NumberOrNone("beta1_warmup", Nullable(), positive)
            let least = r.Number("min_beta1", 0.9, fraction)
            let eps = epsilon r 1e-8

            let beta1 =
                if isWarmed then
                    let half = log (Expression.Of 0.5)
                    let steps (beta: Expression) = half / log (beta + 1e-8) - 1.0
                    let share = smaller one (r.Step / warmup)
                    let length = (1.0 - share) * steps least + share * steps beta1
                    where (warmup |> isAbove r.Step) (Expression.Pow(Expression.Of 0.5, 1.0 / (length + 1.0))) beta1
                else
                    beta1

            let x, g = decay.Applied(r, lr)
            let m, v = firstMoment r beta1 g, secondMoment r beta2 g
            x - lr * fma alpha g m / (sqrt v / sqrt (correction r beta2) + eps))
    |> differs
        "the momentum takes in 1 - beta1 of the gradient; the second moment is corrected as the authors do, where the package corrects the other way round: its first step is twenty times too long"

let private vsgd =
    rule
        "VSGD"
        "Chen et al. 2024, OpenReview xu4ATNjcdy"
        "The gradient as the mean of a distribution that each noisy one is a sample of."
        [ "pytorch_optimizer.VSGD" ]
        (fun r ->
            let lr = learningRate r 0.1
            let ratio = r.Number("ghattg", 30.0, positive)
            let strength = r.Number("ps", 1e-8, positive)
            let tau1 = r.Number("tau1", 0.81, nonNegative)
            let tau2 = r.Number("tau2", 0.9, nonNegative)
            let decay = weightDecayOf r 0.0 true
            let eps = epsilon r 1e-8
            r.OptOut("G4", "squares of gradients weigh samples, and overflow")
            let x, g = decay.Applied(r, lr)

            let shape, ofGradient, ofNoise =
                2.0 * strength + 1.0001, 2.0 * strength, 2.0 * ratio * strength

            let u, b, h = r.Column "mug", r.Column "bg", r.Column "bhg"
            r.KeepWide b
            r.KeepWide h
            let isFirst = isFirst r
            let sg = where isFirst (ofGradient / (shape - 1.0)) (b / shape)
            let sh = where isFirst (ofNoise / (shape - 1.0)) (h / shape)
            let u' = kept r u ((u * sh + g * sg) / (sg + sh))
            let square = u' * u' + sg * sh / (sg + sh)
            let share (tau: Expression) = Expression.Pow(r.Step, -tau)
            r.Set(b, moved (1.0 - share tau1) b (ofGradient + square - 2.0 * u' * u + u * u))
            r.Set(h, moved (1.0 - share tau2) h (ofNoise + square - 2.0 * g * u' + g * g))
            x - lr * u' / (sqrt square + eps))

let private yogi =
    rule
        "Yogi"
        "Zaheer et al. 2018, NeurIPS"
        "Adam whose second moment moves by the gradient's square alone, so that it falls no faster than it grows."
        [ "pytorch_optimizer.Yogi" ]
        (fun r ->
            r.OptOut("U5", "the second moment moves by a sign, which jumps")
            let lr = learningRate r 1e-2
            let struct (beta1, beta2) = betas r 0.9 0.999
            let start = r.Number("initial_accumulator", 1e-6, nonNegative)
            let decay = weightDecay r 0.0 true
            let eps = epsilon r 1e-3
            let correction1 = firstCorrection r beta1
            r.OptOut("SP1", "the first moment starts at initial_accumulator, and moves rows without a gradient")
            r.OptOut("E4", "the first moment starts at initial_accumulator, which has a sign")
            r.OptOut("G1", "the first moment starts at initial_accumulator, and moves parameters without a gradient")
            let x, g = decay.Applied(r, lr)
            let m, v = r.Column("exp_avg", start), r.Column("exp_avg_sq", start)
            // A step may take more off it than there is.
            r.KeepWide v
            let m' = kept r m (moved beta1 m g)
            let v' = kept r v (v - (1.0 - beta2) * (sign (v - g * g) * (g * g)))
            x - lr / correction1 * m' / (sqrt v' / sqrt (correction r beta2) + eps))
    |> differs "both moments start at initial_accumulator, and are corrected as if they had started at 0"

let all =
    [
        acProp
        kate
        laProp
        timmLaProp
        madgrad
        timmMadgrad
        pAdam
        qhAdam
        simplifiedAdEMAMix
        vsgd
        yogi
    ]
