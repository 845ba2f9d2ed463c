/// Rules of the catalogue that divide by the root of a second moment.
module internal Optim.Core.AdaptiveMomentsFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts

let private rule = define RuleFamily.AdaptiveMoments

let private adaBelief =
    rule
        "AdaBelief"
        "Zhuang et al. 2020, arXiv:2010.07468"
        "Adam by the squares of what the first moment did not expect: small steps where gradients surprise."
        [ "pytorch_optimizer.AdaBelief" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let rectification = rectification r false true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-16
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m, variance = firstMoment r beta1 g, r.Column "exp_avg_var"
            let s = kept r variance (movedSquare beta2 variance (g - m) + eps)
            let root = sqrt (largestSoFar r isBound "max_exp_avg_var" s)

            let step =
                match rectification with
                | ValueSome rectification -> rectification.Step(r, beta2, m / (root + eps), m)
                | ValueNone -> m / (root / sqrt (correction r beta2) + eps)

            x - lr / correction1 * step)

let private grams =
    rule "Grams" "Cao, Li, Song 2024, arXiv:2412.17107" "Adam's lengths along the gradient's signs." [ "pytorch_optimizer.Grams" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (beta1, beta2) = betas r 0.9 0.999
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let isDecoupled = r.Flag("weight_decouple", true)
        let eps = epsilon r 1e-6

        let decay =
            {
                Amount = decay
                IsDecoupled = isDecoupled
                IsFixed = never
            }

        let x, g = decay.Applied(r, lr)
        let m, v = firstMoment r beta1 g, secondMoment r beta2 g
        let root = sqrt v / sqrt (correction r beta2) + eps
        x - lr / correction r beta1 * (abs m / root * sign g))

let all = [ adaBelief; grams ]
