/// Functions to minimize, with their gradients, for the tests of optimizers that ask for them.
module Objectives

open System
open Optim.Core
open Optim.Kernels

/// The value at a point, and the gradient there.
type Objective = float[] -> float * float[]

/// sum of 100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2.
let rosenbrock: Objective =
    fun x ->
        let gradient = Array.zeroCreate x.Length
        let mutable value = 0.0

        for i in 0 .. x.Length - 2 do
            let off, rest = x[i + 1] - x[i] * x[i], 1.0 - x[i]
            value <- value + 100.0 * off * off + rest * rest
            gradient[i] <- gradient[i] - 400.0 * off * x[i] - 2.0 * rest
            gradient[i + 1] <- gradient[i + 1] + 200.0 * off

        value, gradient

let dot (a: float[]) (b: float[]) =
    Array.fold2 (fun sum x y -> sum + x * y) 0.0 a b

let times (m: float[][]) (x: float[]) = m |> Array.map (fun row -> dot row x)

/// x'Ax / 2 - b'x.
let quadratic (a: float[][]) (b: float[]) : Objective =
    fun x ->
        let ax = times a x
        dot x ax / 2.0 - dot b x, Array.map2 (-) ax b

/// sum of log cosh x.
let logcosh: Objective =
    fun x -> x |> Array.sumBy (fun x -> log (cosh x)), x |> Array.map tanh

let negated (f: Objective) : Objective =
    fun x ->
        let value, gradient = f x
        -value, Array.map (~-) gradient

let private set (view: TensorView) (values: float[]) =
    match view.DType with
    | DType.Float64 -> values.CopyTo(view.AsSpan<float>())
    | _ -> (values |> Array.map float32).CopyTo(view.AsSpan<float32>())

/// The objective over a list of parameters, one after the other in row-major order, as a step of LBFGS asks for it. Its gradients are
/// written into the same memory at every call; `seen` is told of each.
let over (f: Objective) (seen: float[] -> float -> float[] -> unit) (parameters: Parameters) =
    let views =
        Array.init parameters.Count (fun k -> TensorView.Zeros(parameters[k].Layout.ToContiguous()))

    let gradients = Gradients.OfDense views

    fun (parameters: Parameters) ->
        let x = Array.init parameters.Count (fun k -> parameters[k].ToDoubles())
        let value, gradient = f (Array.concat x)
        seen (Array.concat x) value gradient
        let mutable start = 0

        for k in 0 .. views.Length - 1 do
            set views[k] gradient[start .. start + x[k].Length - 1]
            start <- start + x[k].Length

        struct (value, gradients)

let unseen (_: float[]) (_: float) (_: float[]) = ()

/// One parameter of one dimension.
let point dtype (x: float[]) =
    let view = TensorView.Zeros(dtype, ReadOnlySpan [| x.LongLength |])
    set view x
    Parameters.Of [ view ]
