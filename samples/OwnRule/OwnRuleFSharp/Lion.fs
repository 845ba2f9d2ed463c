/// A rule of one's own in F#: Lion (Chen et al., arXiv:2302.06675). One formula; the product makes kernels, state, checks and state dicts of it.
namespace OwnRuleFSharp

open System
open System.Runtime.CompilerServices
open Optim.Core
open Optim.Kernels

/// The options of Lion.
type LionOptions =
    {
        Lr: double
        Betas: struct (double * double)
        WeightDecay: double
    }

/// The arithmetic. Its operators work on any lane and any number, and would hide the usual ones further down.
[<AutoOpen>]
module Arithmetic =
    open Optim.Core.Formula

    /// x = x (1 - lr wd) - lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g.
    [<Struct>]
    type LionFormula =
        interface IFormula1<LionFormula> with
            [<MethodImpl(MethodImplOptions.AggressiveInlining)>]
            static member Update<'v, 's
                when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 's :> ISwitches>
                (coefficients: inref<Coefficients<'v>>, param: byref<'v>, grad: 'v, momentum: byref<'v>)
                =
                let mutable lr, alpha1, alpha2, keep = grad, grad, grad, grad
                coefficients.Deconstruct(&lr, &alpha1, &alpha2, &keep)
                let direction = 'v.Fma(alpha1, grad - momentum, momentum)
                let zero, one = 'v.Of 0.0, 'v.Of 1.0

                let sign =
                    'v.Select('v.Greater(direction, zero), one, 'v.Select('v.Greater(zero, direction), -one, zero))

                param <- 'v.Fma(keep, param, -(lr * sign))
                momentum <- 'v.Fma(alpha2, grad - momentum, momentum)

    let arithmetic =
        { new Arithmetic<LionOptions>() with
            member _.Switches _ = 0

            member _.Coefficients<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
                (read: Reader<'n>, o, _)
                =
                let struct (beta1, beta2) = o.Betas
                let one, lr = 'n.Of 1.0, read.Of("lr", o.Lr)
                let alpha1, alpha2 = one - read.Of("beta1", beta1), one - read.Of("beta2", beta2)
                Coefficients<'n>(lr, alpha1, alpha2, one - lr * read.Of("weight_decay", o.WeightDecay))
        }

/// The rule, as the product's own are made.
module Lion =
    let defaults =
        {
            Lr = 1e-4
            Betas = struct (0.9, 0.99)
            WeightDecay = 0.0
        }

    let private options =
        [
            Field.number "lr" (Interval.atLeast 0.0) _.Lr (fun o v -> { o with Lr = v })
            Field.pair "betas" (Interval.upTo 0.0 1.0) (Interval.upTo 0.0 1.0) _.Betas (fun o v -> { o with Betas = v })
            Field.number "weight_decay" (Interval.atLeast 0.0) _.WeightDecay (fun o v -> { o with WeightDecay = v })
        ]

    let rule =
        Rule.elementWise<LionOptions, LionFormula> "Lion" defaults options [ zeros "exp_avg" always ] arithmetic
        |> Rule.declare
            [
                Declaration.StepBound(fun o _ -> o.Lr)
                Declaration.OptOut("U5", "a step is lr times a sign, which jumps")
            ]
