/// D-Adaptation (Defazio, Mishchenko 2023): rules whose rate is a lower bound, found while they train, of the distance to the solution.
module internal Optim.Core.DAdaptationFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule name =
    define RuleFamily.ParameterFree name "Defazio, Mishchenko 2023, arXiv:2301.07733"

/// Option d0.
let private startOf (r: RuleDefinition) = r.Number("d0", 1e-6, positive)

/// Option growth_rate.
let private growthOf (r: RuleDefinition) =
    r.Number("growth_rate", infinity, Interval.atLeast 1.0)

/// The distance in this step, which starts at d0, and what moves it after the step: up to an estimate where there is one, by a bounded factor.
let private distance (r: RuleDefinition) (start: Expression) (growth: Expression) =
    let before = r.Kept("d", 0.0)
    let d = where (isFirst r) start before

    struct (d,
            fun (numerator: Expression) (denominator: Expression) ->
                let hat = smaller (numerator / denominator) (growth * d)
                r.Set(before, where (denominator |> isAbove zero) (larger d hat) d))

/// Options weight_decay and, for decoupled decay, one by this name.
let private decayBy (r: RuleDefinition) (isDecoupled: string) =
    {
        Amount = r.Number("weight_decay", 0.0, nonNegative)
        IsDecoupled = r.Flag(isDecoupled, false)
        IsFixed = never
    }

let private l2 (r: RuleDefinition) =
    {
        Amount = r.Number("weight_decay", 0.0, nonNegative)
        IsDecoupled = false
        IsFixed = never
    }

/// The step by moments that take in gradients times the rate; the estimate is by the gradients' agreement with their own weighted sum.
let private adamStep (r: RuleDefinition) (correction: string) (decayOf: RuleDefinition -> WeightDecay) =
    let lr = learningRate r 1.0
    let struct (beta1, beta2) = betas r 0.9 0.999
    // Divided by before there is a second moment.
    let eps = r.Number("eps", 1e-8, positive)
    let decay = decayOf r
    let isCorrected = r.Switch(correction, false)
    let struct (d, found) = distance r (startOf r) (growthOf r)

    let corrected =
        sqrt (TransformParts.correction r beta2) / TransformParts.correction r beta1

    let rate, root = d * lr * where isCorrected corrected one, sqrt beta2
    let x, g = decay.Applied(r, rate)
    let sum, m, v = r.Column "s", r.Column "exp_avg", r.Column "exp_avg_sq"
    let agreement = rate * r.SumOverAll(g * sum / (sqrt v + eps))
    let s = kept r sum (moved root sum (rate * g))
    let m', v' = kept r m (moved beta1 m (rate * g)), kept r v (movedSquare beta2 v g)
    let before = r.Kept("numerator_weighted", 0.0)
    found (kept r before (moved root before agreement)) ((1.0 - root) * r.SumOverAll(abs s))
    x - m' / (sqrt v' + eps)

let private adam =
    rule
        "DAdaptAdam"
        "Adam whose rate is the distance to the solution, as far as gradients have shown it."
        [ "pytorch_optimizer.DAdaptAdam" ]
        (fun r -> adamStep r "bias_correction" (fun r -> weightDecay r 0.0 false))
    |> also
        "optax.dadapt_adamw"
        [
            "bias_correction", OptionValue.Bool true
            "weight_decouple", OptionValue.Bool true
        ]

let private authorsAdam =
    rule "dadaptation.DAdaptAdam" "DAdaptAdam by the options of its authors' package." [ "dadaptation.DAdaptAdam" ] (fun r ->
        adamStep r "use_bias_correction" (fun r -> decayBy r "decouple"))

/// The step of dual averaging: from the start by the weighted sum of gradients over the root of their squares.
let private adaGradStep (r: RuleDefinition) (squares: string) eps (decayOf: RuleDefinition -> WeightDecay) =
    let lr = learningRate r 1.0
    let momentum = r.Number("momentum", 0.0, fraction)
    let decay, eps = decayOf r, epsilon r eps
    let struct (d, found) = distance r (startOf r) (growthOf r)
    let rate = d * lr
    let x, g = decay.Applied(r, lr)
    let alpha, sum = r.Column(squares, 1e-6), r.Column "sk"
    let struct (start, x0) = startingAt r "x0" r.Parameter
    r.Set(start, x0)
    let root = sqrt (kept r alpha (fma g g alpha)) + eps
    let s = kept r sum (fma rate g sum)
    let before = r.Kept("gsq_weighted", 0.0)
    let weighted = kept r before (before + rate * rate * r.SumOverAll(g * g / root))
    found (r.SumOverAll(s * s / root) - weighted) (r.SumOverAll(abs s))
    moved momentum x (x0 - s / root)

let private adaGrad =
    rule
        "DAdaptAdaGrad"
        "AdaGrad by dual averaging whose rate is the distance to the solution, as far as gradients have shown it."
        [ "pytorch_optimizer.DAdaptAdaGrad" ]
        (fun r -> adaGradStep r "alpha_k" 0.0 (fun r -> weightDecay r 0.0 false))
    |> differs "decoupled decay acts on the share of the parameter that momentum keeps, as the rest is made anew from the start"

let private authorsAdaGrad =
    rule "dadaptation.DAdaptAdaGrad" "DAdaptAdaGrad by the options of its authors' package." [ "dadaptation.DAdaptAdaGrad" ] (fun r ->
        adaGradStep r "alphak" 1e-6 l2)

/// The step from the start by the sum of gradients, in units of the first gradient's norm.
let private sgdStep (r: RuleDefinition) momentum (decayOf: RuleDefinition -> WeightDecay) =
    let lr = learningRate r 1.0
    let momentum = r.Number("momentum", momentum, fraction)
    let decay = decayOf r
    let struct (d, found) = distance r (startOf r) (growthOf r)
    r.OptOut("F8", "sums over all parameters are three, one more than fit in the bound")
    let first = r.Kept("g0_norm", 0.0)

    let unit =
        kept r first (where (first |> isAbove zero) first (r.NormOverAll r.Gradient))

    let rate = where (unit |> isAbove zero) (d * lr / unit) zero
    let x, g = decay.Applied(r, rate)
    let sum = r.Column "s"
    let struct (start, x0) = startingAt r "x0" r.Parameter
    r.Set(start, x0)
    let before = r.Kept("numerator_weighted", 0.0)
    let agreement = kept r before (before + rate * r.SumOverAll(g * sum))
    let s = kept r sum (fma rate g sum)
    found (2.0 * agreement) (r.NormOverAll s)
    moved momentum x (x0 - s)

let private isUnbounded =
    "the rate grows without bound where gradients are of no function"

let private sgd =
    rule
        "DAdaptSGD"
        "SGD whose rate is the distance to the solution, as far as gradients have shown it, over the first gradient's norm."
        [ "pytorch_optimizer.DAdaptSGD" ]
        (fun r ->
            r.OptOut("U2", isUnbounded)
            sgdStep r 0.9 (fun r -> weightDecay r 0.0 false))
    |> differs "decoupled decay acts on the share of the parameter that momentum keeps, as the rest is made anew from the start"

let private authorsSgd =
    rule "dadaptation.DAdaptSGD" "DAdaptSGD by the options of its authors' package." [ "dadaptation.DAdaptSGD" ] (fun r ->
        r.OptOut("U2", isUnbounded)
        sgdStep r 0.0 l2)
    |> differs "a first gradient of zeros is measured again in the next step"

/// The step by averages of gradients and of their differences; the gradient before is kept under a name and by a sign.
let private adanStep (r: RuleDefinition) (last: string) (sign: double) decay (isOutside: RuleDefinition -> bool) =
    let lr = learningRate r 1.0
    let struct (beta1, beta2, beta3) = threeBetas r 0.98 0.92 0.99
    let eps = r.Number("eps", 1e-8, positive)
    let decay = r.Number("weight_decay", decay, nonNegative)
    let isOutside = isOutside r
    let struct (d, found) = distance r (startOf r) (growthOf r)
    let rate, x, g = d * lr, r.Parameter, r.Gradient
    let before = r.Column last
    r.Set(before, sign * g)
    let difference = where (isFirst r) zero (g - sign * before)
    let m = firstMoment r beta1 (rate * g)
    let change, sum = r.Column "exp_avg_diff", r.Column "s"
    let n = kept r change (moved beta2 change (rate * difference))
    let root = sqrt (secondMoment r beta3 (fma beta2 difference g)) + eps
    let s = kept r sum (moved beta3 sum (rate * g))
    let weighted = r.Kept("gsq_weighted", 0.0)

    let weighted' =
        kept r weighted (moved beta3 weighted (rate * rate * r.SumOverAll(g * g / root)))

    found (r.SumOverAll(s * s / root) / (1.0 - beta3) - weighted') (r.SumOverAll(abs s))
    let u = (m + beta2 * n) / root

    if isOutside then
        x * (1.0 - rate * decay) - u
    else
        (x - u) / (1.0 + rate * decay)

let private adan =
    rule
        "DAdaptAdan"
        "Adan whose rate is the distance to the solution, as far as gradients have shown it."
        [ "pytorch_optimizer.DAdaptAdan" ]
        (fun r -> adanStep r "previous_grad" -1.0 0.0 (fun r -> r.Flag("weight_decouple", false)))
    |> differs "the second moment is of squares, where the package has fourth powers, which makes its steps scale as 1 / gradient"

let private authorsAdan =
    rule "dadaptation.DAdaptAdan" "DAdaptAdan by the options of its authors' package." [ "dadaptation.DAdaptAdan" ] (fun r ->
        adanStep r "pre_grad" 1.0 0.02 (fun r -> r.Flag("no_prox", false)))

/// The step by signs; the estimate is by their agreement with their own weighted sum.
let private lionStep (r: RuleDefinition) (beta2: double) (decayOf: RuleDefinition -> WeightDecay) =
    let lr = learningRate r 1.0
    let struct (beta1, beta2) = betas r 0.9 beta2
    let decay = decayOf r
    let struct (d, found) = distance r (startOf r) (Expression.Of infinity)
    let rate, root = d * lr, sqrt beta2
    let x, g = decay.Applied(r, rate)
    let m, sum = r.Column "exp_avg", r.Column "s"
    let u = sign (moved beta1 m g)
    r.Set(m, moved beta2 m (rate * g))
    let agreement = rate * r.SumOverAll(u * sum)
    let s = kept r sum (moved root sum (rate * u))
    let before = r.Kept("numerator_weighted", 0.0)
    found (kept r before (moved root before agreement)) ((1.0 - root) * r.SumOverAll(abs s))
    x - rate * u

let private lion =
    rule
        "DAdaptLion"
        "Lion whose rate is the distance to the solution, as far as gradients have shown it."
        [ "pytorch_optimizer.DAdaptLion" ]
        (fun r ->
            r.OptOut("P3", "the momentum counts for little beside the gradient while the rate is small, and the sign hides it")
            lionStep r 0.999 (fun r -> weightDecay r 0.0 false))
    |> differs "momentum takes in gradients times the rate, and counts for little in the sign while that is small"

let private authorsLion =
    rule "dadaptation.DAdaptLion" "DAdaptLion by the options of its authors' package." [ "dadaptation.DAdaptLion" ] (fun r ->
        lionStep r 0.99 (fun r ->
            {
                Amount = r.Number("weight_decay", 0.0, nonNegative)
                IsDecoupled = true
                IsFixed = never
            }))
    |> differs "momentum takes in gradients times the rate, and counts for little in the sign while that is small"

let all =
    [
        adam
        authorsAdam
        adaGrad
        authorsAdaGrad
        sgd
        authorsSgd
        adan
        authorsAdan
        lion
        authorsLion
    ]
