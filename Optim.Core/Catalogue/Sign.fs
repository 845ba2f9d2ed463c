/// Rules of the catalogue that step by signs.
module internal Optim.Core.SignFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

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
            r.OptOut("U5", jumps)
            r.OptOut("G1", "parameters go to their average without a gradient, too")
            let m, average = firstMoment r beta1 r.Gradient, r.Column "pbar"
            let average' = kept r average (moved beta2 average r.Parameter)
            // The first average is the parameter: the sign of a rounding error would count in full.
            let center = where (isFirst r) r.Parameter (average' / correction r beta2)
            let x = r.Parameter - lr * decay * center
            x - lr * (sign m + gamma * sign (x - center)))
    |> differs "decay comes before the step, and not after it"

/// The sign of one average, while another one is kept.
let private lionStep (r: RuleDefinition) beta1 beta2 g =
    let m = r.Column "exp_avg"
    r.Set(m, moved beta2 m g)
    sign (moved beta1 m g)

let private lion =
    rule
        "Lion"
        "Chen et al. 2023, arXiv:2302.06675"
        "The sign of an average of gradients that leans to the latest one."
        [ "pytorch_optimizer.Lion" ]
        (fun r ->
            let lr = learningRate r 1e-4
            let struct (beta1, beta2) = betas r 0.9 0.99
            let decay = weightDecay r 0.0 true
            r.OptOut("U5", jumps)
            let x, g = decay.Applied(r, lr)
            x - lr * lionStep r beta1 beta2 g)

let private timmLion =
    rule "timm.lion" "Chen et al. 2023, arXiv:2302.06675" "Lion with caution and corrected weight decay." [ "timm.lion" ] (fun r ->
        let lr = learningRate r 1e-4
        let struct (beta1, beta2) = betas r 0.9 0.99
        let factor, caution = TimmParts.decayFactor r lr, TimmParts.caution r

        factor * r.Parameter
        - lr * caution r.Gradient (lionStep r beta1 beta2 r.Gradient))
    |> also "timm.clion" [ "caution", OptionValue.Bool true ]
    |> also "timm.lionc" [ "corrected_weight_decay", OptionValue.Bool true ]

let private lionPytorch =
    rule
        "lion_pytorch.Lion"
        "Chen et al. 2023, arXiv:2302.06675"
        "Lion whose weight decay may be given as what it is at the first rate."
        [ "lion_pytorch.Lion" ]
        (fun r ->
            let lr = learningRate r 1e-4
            let struct (beta1, beta2) = betas r 0.9 0.99
            let decay = r.Number("weight_decay", 0.0, nonNegative)

            let isDecoupled = r.Switch("decoupled_weight_decay", false)
            r.OptOut("U5", jumps)
            let first = firstRate r lr
            let rate = where isDecoupled (where (first |> isAbove zero) (lr / first) zero) lr

            r.Parameter * (1.0 - rate * decay) - lr * lionStep r beta1 beta2 r.Gradient)
    |> differs "the first rate is that of the parameter's first step, where the package takes the constructor's for all groups"

let private signSGD =
    rule "SignSGD" "Bernstein et al. 2018, arXiv:1802.04434" "The sign of the gradient's average." [ "pytorch_optimizer.SignSGD" ] (fun r ->
        let lr = learningRate r 1e-3
        let struct (hasMomentum, momentum) = r.NumberOrZero("momentum", 0.9, fraction)
        let decay = weightDecayOf r 0.0 true
        r.OptOut("U5", jumps)
        let x, g = decay.Applied(r, lr)

        if hasMomentum then
            let buffer = r.Column "momentum_buffer"
            x - lr * sign (kept r buffer (moved momentum buffer g))
        else
            x - lr * sign g)

let private tiger =
    rule
        "Tiger"
        "Su 2023, github.com/bojone/tiger"
        "The sign of the gradient's average: Lion of one beta."
        [ "pytorch_optimizer.Tiger" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let beta = r.Number("beta", 0.965, fraction)
            let decay = weightDecay r 0.01 true
            r.OptOut("U5", jumps)
            let x, g = decay.Applied(r, lr)
            x - lr * sign (firstMoment r beta g))
    |> differs "rate and decay are the same for all kinds of parameters"

let all = [ focus; lion; timmLion; lionPytorch; signSGD; tiger ]
