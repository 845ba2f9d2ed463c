/// Rules of the catalogue that average gradients.
module internal Optim.Core.MomentumFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts

let private rule = define RuleFamily.Momentum

let private accSGD =
    rule
        "AccSGD"
        "Jain, Kakade, Kidambi, Netrapalli, Sidford 2017, arXiv:1704.08227"
        "Accelerated SGD: a short step and a long one, whose running average it leans to."
        [ "pytorch_optimizer.AccSGD" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let kappa = r.Number("kappa", 1000.0, positive)
            let xi = r.Number("xi", 10.0, nonNegative)
            let constant = r.Number("constant", 0.7, positive)
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let beta = xi * constant * constant / kappa
            let zeta = constant / (constant + beta)
            let x = r.Parameter
            let g = fma decay x r.Gradient
            let struct (column, average) = startingAt r "momentum_buffer" x
            // Each from where it is: what stands still stays as it is, to the bit.
            let average' =
                kept r column (average + beta * ((x - lr * kappa / constant * g) - average))

            x - zeta * lr * g + (1.0 - zeta) * (average' - x))

let private aggMo =
    rule
        "AggMo"
        "Lucas, Sun, Zemel, Grosse 2018, arXiv:1804.00325"
        "The mean of steps by three momenta, of which the quick ones damp what the slow ones make swing."
        [ "pytorch_optimizer.AggMo" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2, beta3) = threeBetas r 0.0 0.9 0.99
            let decay = weightDecay r 0.0 false
            let x, g = decay.Applied(r, lr)

            let sum =
                [ beta1; beta2; beta3 ]
                |> List.mapi (fun index beta ->
                    let buffer = r.Column $"momentum_buffer{index + 1}"
                    kept r buffer (fma beta buffer g))
                |> List.reduce (+)

            x - lr / 3.0 * sum)
    |> differs "there are three momenta; the paper takes any number"

let all = [ accSGD; aggMo ]
