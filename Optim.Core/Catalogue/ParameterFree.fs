/// Rules of the catalogue that find their rate while they train.
module internal Optim.Core.ParameterFreeFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.ParameterFree

let private asgd =
    rule
        "pytorch_optimizer.ASGD"
        "Malitsky and Mishchenko 2019, arXiv:1910.09529"
        "Gradient descent whose rate grows until it meets the curvature that norms of parameters and gradients show."
        [ "pytorch_optimizer.ASGD" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let amplifier = r.Number("amplifier", 0.02, nonNegative)
            let decay = weightDecay r 0.0 true
            let theta = r.Number("theta", 1.0, nonNegative)
            let dampening = r.Number("dampening", 1.0, positive)
            let eps = epsilon r 1e-5
            let isFirst = isFirst r

            let lastSize, lastSteepness =
                r.Kept("prev_param_norm", 0.0), r.Kept("prev_grad_norm", 0.0)

            let size, steepness = r.NormOverAll r.Parameter, r.NormOverAll r.Gradient
            r.Set(lastSize, size)
            r.Set(lastSteepness, steepness)
            // The rate found so far, to that of the options, which a schedule may move.
            let scale, ratio = r.Kept("scale", 1.0), r.Kept("theta", 1.0)
            let before = lr * scale
            let grown = before * sqrt (1.0 + amplifier * where isFirst theta ratio)
            let change, difference = size - lastSize, steepness - lastSteepness
            let bothGrow = (change |> isAbove zero) &&& (difference |> isAbove zero)
            let bound = smaller grown (change / (dampening * difference)) + eps
            let rate = where isFirst grown (where bothGrow bound grown)
            let hasRate = before |> isAbove zero
            r.Set(ratio, where hasRate (rate / before) one)
            r.Set(scale, where hasRate (rate / lr) scale)
            let x, g = decay.Applied(r, rate)
            x - rate * g)
    |> differs "norms' differences stand for the norms of differences, and bound the rate where both grow; theta counts amplifier times"

/// The parameter where it started, which is kept, and the distance of all parameters from there.
let private distance (r: RuleDefinition) (column: string) =
    let struct (start, x0) = startingAt r column r.Parameter
    r.Set(start, x0)
    struct (x0, r.NormOverAll(r.Parameter - x0))

let private prodigy =
    rule
        "Prodigy"
        "Mishchenko, Defazio 2023, arXiv:2306.06101"
        "Adam whose rate is the distance to the solution, as far as gradients have shown it, and grows quicker than by D-Adaptation."
        [ "pytorch_optimizer.Prodigy"; "prodigyopt.Prodigy" ]
        (fun r ->
            let lr = learningRate r 1.0
            let struct (beta1, beta2) = betas r 0.9 0.999
            let struct (isGiven, beta3) = r.NumberOrNone("beta3", Nullable(), fraction)
            let beta3 = if isGiven then beta3 else sqrt beta2
            let start = r.Number("d0", 1e-6, positive)
            let coefficient = r.Number("d_coef", 1.0, positive)
            let growth = r.Number("growth_rate", infinity, Interval.atLeast 1.0)
            let decay = weightDecay r 0.0 true
            let isCorrected = r.Switch("bias_correction", false)
            let isWarm = r.Switch("safeguard_warmup", false)
            let eps = r.Number("eps", 1e-8, positive)
            let isFirst = isFirst r
            let before, mostBefore = r.Kept("d", 0.0), r.Kept("d_max", 0.0)
            let d = where isFirst start before
            let corrected = sqrt (correction r beta2) / correction r beta1
            let rate = d * lr * where isCorrected corrected one
            let g = decay.Gradient(r.Parameter, r.Gradient)
            let struct (column, x0) = startingAt r "p0" r.Parameter
            r.Set(column, x0)
            let numerator = r.Kept("d_numerator", 0.0)
            let agreement = d / start * rate * r.SumOverAll(g * (x0 - r.Parameter))
            let numerator' = kept r numerator (beta3 * numerator + agreement)
            let m = firstMoment r beta1 (d * g)
            let v = secondMoment r beta2 (d * g)
            let sum = r.Column "s"
            let s = kept r sum (fma (d / start * where isWarm d rate) g (beta3 * sum))
            let size = r.SumOverAll(abs s)
            let hat = coefficient * numerator' / size
            let isAny = size |> isAbove zero
            let atStart = where (d |> isAbove start) d (larger d hat)
            let most = larger (where isFirst start mostBefore) hat
            let next = where isAny (smaller most (growth * atStart)) d
            r.Set(mostBefore, where isAny most (where isFirst start mostBefore))
            r.Set(before, next)
            let x = decay.Parameter(r.Parameter, rate)
            where isAny (x - rate * m / (sqrt v + next * eps)) r.Parameter)
    |> also "optax.prodigy" [ "bias_correction", OptionValue.Bool true ]

let private dog =
    rule
        "DoG"
        "Ivgi, Hinder, Carmon 2023, arXiv:2302.12022"
        "SGD whose rate is the largest distance from the start, over the root of the sum of squared gradients."
        [ "optax.dog" ]
        (fun r ->
            let lr = learningRate r 1.0
            let first = r.Number("reps_rel", 1e-6, positive)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let eps = epsilon r 1e-8
            let x = r.Parameter
            let g = fma decay x r.Gradient
            let struct (_, distance) = distance r "init_buffer"
            let before, sum = r.Kept("rbar", 0.0), r.Kept("G", 0.0)
            let isFirst, size = isFirst r, r.NormOverAll g

            let most =
                kept r before (where isFirst (first * (1.0 + r.NormOverAll x)) (larger before distance))

            let sum' = kept r sum (sum + size * size)
            x - lr * where (sum' |> isAbove zero) (most / sqrt (sum' + eps)) zero * g)

let private dowg =
    rule
        "DoWG"
        "Khaled, Mishchenko, Jin 2023, arXiv:2305.16284"
        "SGD whose rate is the largest squared distance from the start, over the root of the sum of squared gradients, weighted by it."
        [ "optax.dowg" ]
        (fun r ->
            let lr = learningRate r 1.0
            let first = r.Number("init_estim_sq_dist", 1e-4, positive)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let eps = epsilon r 1e-4
            let x = r.Parameter
            let g = fma decay x r.Gradient
            let struct (_, distance) = distance r "init_params"

            let before, sum =
                r.Kept("estim_sq_dist", 0.0), r.Kept("weighted_sq_norm_grads", 0.0)

            let most =
                kept r before (where (isFirst r) first (larger before (distance * distance)))

            let size = r.NormOverAll g
            let sum' = kept r sum (sum + most * size * size)
            x - lr * where (sum' |> isAbove zero) (most / (sqrt sum' + eps)) zero * g)

let private cocob =
    rule
        "COCOB"
        "Orabona, Tommasi 2017, arXiv:1705.07795"
        "Bets on coins: each element moves from its start by what it would have won, in proportion to the sum of its gradients."
        [ "optax.cocob" ]
        (fun r ->
            let lr = learningRate r 1.0
            let alpha = r.Number("alpha", 100.0, positive)
            r.OptOut("SP1", "parameters go on towards their bet without a gradient")
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let eps = epsilon r 1e-8
            let x = r.Parameter
            let g = fma decay x r.Gradient
            let struct (start, x0) = startingAt r "init_particles" x
            r.Set(start, x0)
            let sum, scale = r.Column "cumulative_gradients", r.Column("scale", eps)
            let sizes, reward = r.Column "subgradients", r.Column "reward"
            // What is won by a bet is bet again: an error of these grows with the steps.
            [ sum; scale; sizes; reward ] |> List.iter r.KeepWide
            let scale' = kept r scale (larger scale (abs g))
            let sizes' = kept r sizes (sizes + abs g)
            let reward' = kept r reward (larger (reward - g * (x - x0)) zero)
            let sum' = kept r sum (sum - g)
            // Quotients first: products of small gradients would be 0.
            let wealth = (scale' + reward') / larger (sizes' + scale') (alpha * scale')
            let bet = where (scale' |> isAbove zero) (sum' / scale' * wealth) zero
            fma lr (x0 + bet - x) x)

let all = [ asgd; prodigy; dog; dowg; cocob ]
