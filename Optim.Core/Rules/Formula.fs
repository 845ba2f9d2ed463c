/// Operators on lanes and on the numbers of coefficients, for formulas in F#: open it where a formula is written, and nowhere else.
/// F# does not resolve a * b + c on a type parameter by itself; these do, and inline to the same instructions as in C#.
module Optim.Core.Formula

open Optim.Kernels

/// Sum.
let inline (+) (left: 'v :> IArithmetic<'v>) (right: 'v) : 'v = 'v.op_Addition (left, right)
/// Difference.
let inline (-) (left: 'v :> IArithmetic<'v>) (right: 'v) : 'v = 'v.op_Subtraction (left, right)
/// Product.
let inline (*) (left: 'v :> IArithmetic<'v>) (right: 'v) : 'v = 'v.op_Multiply (left, right)
/// Quotient.
let inline (/) (left: 'v :> IArithmetic<'v>) (right: 'v) : 'v = 'v.op_Division (left, right)
/// The other sign.
let inline (~-) (value: 'v :> IArithmetic<'v>) : 'v = 'v.op_UnaryNegation value
