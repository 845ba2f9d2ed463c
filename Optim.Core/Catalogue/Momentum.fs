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
            let average' = (1.0 - beta) * average + beta * (x - lr * kappa / constant * g)
            r.Set(column, average')
            zeta * (x - lr * g) + (1.0 - zeta) * average')

let all = [ accSGD ]
