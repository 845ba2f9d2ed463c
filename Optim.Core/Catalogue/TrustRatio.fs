/// Rules of the catalogue whose steps are in proportion to a norm of the parameter.
module internal Optim.Core.TrustRatioFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.TrustRatio

let private fromage =
    rule
        "Fromage"
        "Bernstein, Vahdat, Yue, Liu 2020, arXiv:2002.03432"
        "A step of lr times the parameter's norm along the gradient, scaled back so that norms do not grow."
        [ "pytorch_optimizer.Fromage" ]
        (fun r ->
            let lr = learningRate r 1e-2
            let struct (isBound, bound) = r.NumberOrNone("p_bound", Nullable(), nonNegative)
            let x, g = r.Parameter, r.Gradient
            let size, steepness = norm x, norm g
            let both = (size |> isAbove zero) &&& (steepness |> isAbove zero)
            let ratio = where both (size / steepness) one
            let next = (x - lr * ratio * g) / sqrt (1.0 + lr * lr)

            if isBound then
                let before = r.TensorNumber("max", 0.0)
                let most = kept r before (where (isFirst r) (bound * size) before)
                let reached = norm next
                where (reached |> isAbove most) (most / reached) one * next
            else
                next)

let all = [ fromage ]
