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
