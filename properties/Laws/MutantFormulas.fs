/// Formulas with a defect.
module MutantFormulas

open System
open Optim.Core.Formula
open Optim.Kernels

/// Plain descent that adds the decay before it negates the gradient.
[<Struct>]
type DecayFirst =
    interface IFormula0<DecayFirst> with
        static member Update<'v, 'is when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'is :> ISwitches>
            (coefficients: inref<Coefficients<'v>>, param: byref<'v>, grad: 'v)
            =
            let mutable lr = Unchecked.defaultof<'v>
            let mutable decay = Unchecked.defaultof<'v>
            coefficients.Deconstruct(&lr, &decay)
            let decayed = 'v.Fma(decay, param, grad)
            let signed = if 'is.On 0 then -decayed else decayed
            param <- param - lr * signed

/// Plain descent with a small number added to every step.
[<Struct>]
type Lopsided =
    interface IFormula0<Lopsided> with
        static member Update<'v, 'is when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'is :> ISwitches>
            (coefficients: inref<Coefficients<'v>>, param: byref<'v>, grad: 'v)
            =
            param <- param - (coefficients.First * grad + 'v.Of 1e-3)

/// Adam that adds eps after the reciprocal root.
[<Struct>]
type EpsAfterRoot =
    interface IFormula2<EpsAfterRoot> with
        static member Update<'v, 'is when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'is :> ISwitches>
            (coefficients: inref<Coefficients<'v>>, param: byref<'v>, grad: 'v, mean: byref<'v>, square: byref<'v>)
            =
            let mutable stepSize, scale, eps, beta1, alpha1 = grad, grad, grad, grad, grad
            let mutable beta2, alpha2, decay, keep = grad, grad, grad, grad
            coefficients.Deconstruct(&stepSize, &scale, &eps, &beta1, &alpha1, &beta2, &alpha2, &decay, &keep)
            mean <- beta1 * mean + alpha1 * grad
            square <- beta2 * square + alpha2 * grad * grad
            let root = 'v.Of 1.0 / ('v.Sqrt square * scale)
            param <- param - stepSize * mean * (root + eps)
