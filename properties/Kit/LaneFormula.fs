/// A formula that keeps what each operation of a lane gives, in a column of its own.
module LaneFormula

open System
open Optim.Core
open Optim.Kernels
open Optim.Laws

/// Columns: the larger, the smaller, the magnitude, the square root, the larger by comparison, a b + c rounded once.
[<Struct>]
type LaneFormula =
    interface IFormula6<LaneFormula> with
        static member Update<'v, 'is when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'is :> ISwitches>
            (
                coefficients: inref<Coefficients<'v>>,
                param: byref<'v>,
                grad: 'v,
                larger: byref<'v>,
                smaller: byref<'v>,
                magnitude: byref<'v>,
                root: byref<'v>,
                selected: byref<'v>,
                fused: byref<'v>
            ) =
            larger <- 'v.Max(param, grad)
            smaller <- 'v.Min(param, grad)
            magnitude <- 'v.Abs('v.op_UnaryNegation param)
            root <- 'v.op_Division ('v.Sqrt param, coefficients.First)
            selected <- 'v.Select('v.Greater(param, grad), param, grad)
            fused <- 'v.Fma(param, grad, 'v.op_Subtraction (param, grad))

/// The rule has no options.
type NoOptions =
    {
        Unused: unit
    }

    interface IOptimizerOptions

/// The formula as a rule.
let rule: Rule =
    let names = [ "larger"; "smaller"; "magnitude"; "root"; "selected"; "fused" ]

    let arithmetic =
        { new Arithmetic<NoOptions>() with
            member _.Switches _ = 0

            member _.Coefficients(read, _, _) = Coefficients<_>(read.Of("one", 1.0))
        }

    Rule.elementWise<NoOptions, LaneFormula> "Lanes" { Unused = () } [] (names |> List.map (fun name -> zeros name always)) arithmetic
    :> Rule

/// What each column must hold, from the parameter and the gradient before the step.
let expected dtype : (string * (float -> float -> float)) list =
    let either a b otherwise =
        if Double.IsNaN a || Double.IsNaN b then nan else otherwise

    [
        "larger", (fun a b -> either a b (if a > b then a else b))
        "smaller", (fun a b -> either a b (if b > a then a else b))
        "magnitude", (fun a _ -> abs a)
        "root", (fun a _ -> Number.round dtype (sqrt a))
        "selected", (fun a b -> if a > b then a else b)
        "fused", (fun a b -> Number.fma dtype a b (Number.round dtype (a - b)))
    ]
