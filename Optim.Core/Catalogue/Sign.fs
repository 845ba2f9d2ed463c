/// Rules of the catalogue that step by signs.
module internal Optim.Core.SignFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts

let private rule = define RuleFamily.Sign

let private focus =
    rule
        "FOCUS"
        "Liu, Liu, Gore 2025, arXiv:2501.12243"
        "The momentum's sign, and a smaller one towards the average of past parameters."
        [ "pytorch_optimizer.FOCUS" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let struct (beta1, beta2) = betas r 0.9 0.999
            let gamma = r.Number("gamma", 0.1, nonNegative)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let m, average = firstMoment r beta1 r.Gradient, r.Column "pbar"
            let average' = kept r average (moved beta2 average r.Parameter)
            // The first average is the parameter: the sign of a rounding error would count in full.
            let center = where (isFirst r) r.Parameter (average' / correction r beta2)
            let x = r.Parameter - lr * decay * center
            x - lr * (sign m + gamma * sign (x - center)))
    |> differs "decay comes before the step, and not after it"

let all = [ focus ]
