/// A functional training pipeline: a run is a fold over batches. It fits a line to noisy points; nothing in it is mutable
/// but the elements of the parameters, which the step updates in place.
module Pipeline.Program

open System
open Optim.Core
open Optim.Kernels

/// Points on y = 3 x - 1 with a little noise, in batches.
let batches count size =
    let random = Random 7

    Seq.init count (fun _ ->
        Array.init size (fun _ ->
            let x = random.NextDouble() * 2.0 - 1.0
            struct (x, 3.0 * x - 1.0 + 0.01 * (random.NextDouble() - 0.5))))

let parameters () =
    Parameters.OfNamed
        [
            struct ("slope", TensorView.Zeros(DType.Float64, [||]))
            struct ("offset", TensorView.Zeros(DType.Float64, [||]))
        ]

let value (tensor: TensorView) = tensor.ToDoubles()[0]

/// The gradients of the mean squared error.
let gradients (parameters: Parameters) (batch: struct (double * double) array) =
    let slope, offset = value parameters[0], value parameters[1]

    let mean f =
        batch
        |> Array.averageBy (fun (struct (x, y)) -> 2.0 * (slope * x + offset - y) * f x)

    Gradients.OfDense
        [
            TensorView.Of([| mean id |], [||])
            TensorView.Of([| mean (fun _ -> 1.0) |], [||])
        ]

/// Trains and returns slope and offset.
let train options batches =
    let parameters = parameters ()
    let step = Adam.step options parameters // gradients -> state -> state

    let final =
        batches
        |> Seq.fold (fun state batch -> step (gradients parameters batch) state) (Adam.init options parameters)

    struct (value parameters[0], value parameters[1], final.Count 0)

/// The same with the form that copies: parameters and state go in and come out, and nothing that went in has changed.
let trainPurely options batches =
    let start = parameters ()

    let struct (trained, final) =
        batches
        |> Seq.fold
            (fun (struct (parameters, state)) batch -> Adam.pureStep options parameters (gradients parameters batch) state)
            (struct (start, Adam.init options start))

    struct (value trained[0], value trained[1], final.Count 0)

[<EntryPoint>]
let main _ =
    let options = { Adam.defaults with Lr = 0.05 }
    let struct (slope, offset, steps) = train options (batches 300 16)
    printfn "%s" (FormattableString.Invariant $"y = {slope:F3} x + {offset:F3} after {steps} steps")
    0
