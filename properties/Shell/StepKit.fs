/// What the tests of surrounded steps share: parameters and gradients laid in several ways, and what surrounds their steps.
module StepKit

open Optim.Core
open Optim.Core.Step
open Optim.Kernels
open Kit

/// How tensors lie, and which gradients are sparse.
type Lay =
    | Contiguous
    | Strided
    | SparseRows

let shapes = [ [| 3L; 4L |]; [| 5L; 7L |]; [| 2L; 2L |] ]

let made lay dtype =
    let tensor seed (shape: int64[]) =
        let values = noise seed (int (Array.fold (*) 1L shape))

        if lay = Strided then
            Optim.Laws.Memory.lay (seed % 3) shape dtype values
        else
            tensor dtype shape values

    let parameters =
        Parameters.Of(shapes |> List.mapi (fun row shape -> tensor (1 + row) shape))

    let gradients step (scale: float) =
        Gradients.Of
            [
                for row, shape in List.indexed shapes do
                    let values = noise (10 * step + row) (int (Array.fold (*) 1L shape))
                    let scaled = values |> Array.map (fun x -> scale * x)

                    if row = 2 && step % 2 = 0 && lay <> SparseRows then
                        Gradient.Absent
                    elif lay = SparseRows && row < 2 then
                        Gradient.OfSparse(
                            TensorView.Of [| 1L; 0L; 1L |],
                            Kit.tensor dtype [| 3L; shape[1] |] (Array.truncate (3 * int shape[1]) scaled)
                        )
                    elif lay = Strided then
                        Gradient.OfDense(Optim.Laws.Memory.lay (step % 3) shape dtype scaled)
                    else
                        Gradient.OfDense(Kit.tensor dtype shape scaled)
            ]

    parameters, gradients

let limit, maxNorm, scale = 0.6, 2.5, 1024.0

let scaling =
    LossScaling.make
        { LossScaling.defaults with
            Scale = scale
            GrowthInterval = 2L
        }

let averagings =
    [
        Averaging.exponential 0.9
        { Averaging.exponential 0.99 with
            Warmup = true
        }
        { Averaging.equal with Every = 2L }
    ]

/// Averages of which the last lie in row-major order, whatever the order of the parameters.
let averagesOf (parameters: Parameters) =
    let rowMajor =
        Average.over
            (Parameters.Of
                [
                    for row in 0 .. parameters.Count - 1 ->
                        TensorView.Zeros(parameters[row].DType.ToStateDType(), parameters[row].Shape.AsSpan())
                ])
            0L
            0L

    [ Average.init parameters; Average.init parameters; rowMajor ]

let around' scaling averages =
    around
        [
            unscale scaling
            clipByGlobalNorm maxNorm
            clipByValue limit
            yield! List.map2 averageBy averagings averages
        ]

let adam (parameters: Parameters) = Adam.init Adam.defaults parameters

let one (values: float list) =
    Parameters.Of [ TensorView.Of(List.toArray values) ]

let of' (values: float list) =
    Gradients.OfDense [ TensorView.Of(List.toArray values) ]
