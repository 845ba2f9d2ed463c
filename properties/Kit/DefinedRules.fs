/// Rules by definition, as tests need them: of elements, of norms, and with numbers that are kept.
module DefinedRules

open Optim.Core
open Optim.Core.Definitions
open Optim.Kernels

let private nonNegative = Interval.atLeast 0.0
let private fraction = Interval.upTo 0.0 1.0

/// AdaBelief of the catalogue.
let adaBelief = Rules.Find "AdaBelief" :?> DefinedRule

/// LAMB (You et al., arXiv:1904.00962), as pytorch_optimizer has it: no correction of the second moment, and norms of the parameter up to 10.
let lamb =
    Rule.define "LAMB" (fun r ->
        let lr = r.Number("lr", 1e-3, nonNegative)
        let struct (beta1, beta2) = r.Pair("betas", 0.9, fraction, 0.999, fraction)
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let eps = r.Number("eps", 1e-6, nonNegative)
        let g, x = r.Gradient, r.Parameter * (1.0 - lr * decay)
        let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
        let m' = beta1 * m + (1.0 - beta1) * g
        let v' = beta2 * v + (1.0 - beta2) * g * g
        r.Set(m, m')
        r.Set(v, v')
        let u = m' / (sqrt v' + eps)
        let zero, one = Expression.Of 0.0, Expression.Of 1.0
        let size, step = norm x, norm u
        let ratio = smaller size (Expression.Of 10.0) / (step + eps)
        let trust = where (isAbove zero size &&& isAbove zero step) ratio one
        x - lr / (1.0 - beta1 ** r.Step) * trust * u)

/// NAdam (Dozat 2016) with the product of its momenta as a number that is kept.
let nAdam =
    Rule.define "NAdam by definition" (fun r ->
        let lr = r.Number("lr", 2e-3, nonNegative)
        let struct (beta1, beta2) = r.Pair("betas", 0.9, fraction, 0.999, fraction)
        let eps = r.Number("eps", 1e-8, nonNegative)
        let momentumDecay = r.Number("momentum_decay", 4e-3, nonNegative)
        let decay = r.Number("weight_decay", 0.0, nonNegative)
        let product = r.Kept("mu_product", 1.0)
        let x, t = r.Parameter, r.Step
        let g = r.Gradient + decay * x
        let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"

        let momentum (t: Expression) =
            beta1 * (1.0 - 0.5 * Expression.Pow(Expression.Of 0.96, t * momentumDecay))

        let mu, next = momentum t, momentum (t + 1.0)
        let product' = product * mu
        let m' = beta1 * m + (1.0 - beta1) * g
        let v' = beta2 * v + (1.0 - beta2) * g * g
        r.Set(product, product')
        r.Set(m, m')
        r.Set(v, v')
        let denominator = sqrt (v' / (1.0 - beta2 ** t)) + eps

        x
        - (lr * (1.0 - mu) / (1.0 - product') * g
           + lr * next / (1.0 - product' * next) * m')
          / denominator)

/// NovoGrad of the catalogue, whose second moment is one number for a parameter.
let novoGrad = Rules.Find "NovoGrad" :?> DefinedRule
