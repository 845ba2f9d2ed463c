/// A rule of one's own in F#: Lion (Chen et al., arXiv:2302.06675). The product makes kernels, state, checks and state dicts of it.
module OwnRuleFSharp.Lion

open Optim.Core
open Optim.Core.Definitions

/// x = x (1 - lr wd) - lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g.
let rule =
    Rule.define "Lion" (fun r ->
        let lr = r.Number("lr", 1e-4, Interval.atLeast 0.0)
        let decay = r.Number("weight_decay", 0.0, Interval.atLeast 0.0)

        let struct (beta1, beta2) =
            r.Pair("betas", 0.9, Interval.upTo 0.0 1.0, 0.99, Interval.upTo 0.0 1.0)

        let x, g, m = r.Parameter, r.Gradient, r.Column "exp_avg"
        r.OptOut("U5", "a step is lr times a sign, which jumps")
        r.Set(m, beta2 * m + (1.0 - beta2) * g)
        x * (1.0 - lr * decay) - lr * sign (beta1 * m + (1.0 - beta1) * g))
