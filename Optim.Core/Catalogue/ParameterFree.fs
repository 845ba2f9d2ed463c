/// Rules of the catalogue that find their rate while they train.
module internal Optim.Core.ParameterFreeFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts

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
            r.OptOut("P3", "without momentum decay of the gradient and of the parameter are the same")
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

let all = [ asgd ]
