/// What the F# blocks of the pages take as given.
module Given

open Optim.Core
open Optim.Kernels

let parameters =
    Parameters.OfNamed
        [
            struct ("weight", TensorView.Of([| 0.5; -0.25; 1.0; 2.0 |], [| 2L; 2L |]))
            struct ("bias", TensorView.Of [| 0.1; 0.2 |])
        ]

/// A model's backward pass: here the gradient of the sum of squares.
let gradientsAt (parameters: Parameters) (_batch: int) =
    Gradients.OfDense
        [
            for i in 0 .. parameters.Count - 1 ->
                TensorView.Of([| for value in parameters[i].ToDoubles() -> 2.0 * value |], Seq.toArray parameters[i].Layout.Shape)
        ]

let gradients = gradientsAt parameters 0
let batches = seq { 1..4 }
