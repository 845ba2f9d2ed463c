/// Tensors of more than 2^31 elements. They need 16 GB of memory and 5 GB of disk: OPTIM_LARGE=1 runs them.
module LargeTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

let private large name action =
    testCase name (fun () ->
        if Environment.GetEnvironmentVariable "OPTIM_LARGE" <> "1" then
            skiptest "it needs 16 GB of memory: OPTIM_LARGE=1 runs it"

        action ()
        collect ())

let private count = (1L <<< 31) + 1000L

/// Some elements of a tensor in a row, from one on.
let private part (view: TensorView) (at: int64) (length: int64) =
    TensorView(
        view.Address + nativeint at * nativeint (view.DType.Size()),
        Layout.Contiguous(view.DType, ReadOnlySpan [| length |]),
        view.Owner
    )

let private places =
    [ 0L; 1L <<< 30; (1L <<< 31) - 2L; (1L <<< 31) + 3L; count - 5L ]

[<Tests>]
let tests =
    testList
        "more than 2^31 elements"
        [
            large "a bfloat16 file loads into a float16 parameter" (fun () ->
                inFolder (fun within ->
                    let path = within "large.pt"

                    (let source = TensorView.Zeros(DType.BFloat16, ReadOnlySpan [| count |])

                     for i, place in List.indexed places do
                         (part source place 5L).CopyFrom(tensor DType.BFloat16 [| 5L |] (Array.init 5 (fun k -> float (10 * i + k + 1))))

                     Checkpoint.Save(path, struct ("model", box (Tree.Dict(struct ("w", Tree.Tensor source))))))

                    collect ()
                    use target = Param.Zeros("w", DType.Float16, [| count |])

                    let model = ParametersState [ target :> IParameter ]
                    Checkpoint.Load(path, struct ("model", box model)) |> ignore

                    for i, place in List.indexed places do
                        let found = (part (target :> IParameter).Data place 5L).ToDoubles()
                        Expect.equal found (Array.init 5 (fun k -> float (10 * i + k + 1))) $"elements from {place}"))

            large "columns of a state begin at another value than 0" (fun () ->
                let parameters =
                    Parameters.Of [ TensorView.Zeros(DType.BFloat16, ReadOnlySpan [| count |]) ]

                let options =
                    { Adagrad.defaults with
                        InitialAccumulatorValue = 0.5
                    }

                let state = Adagrad.init options parameters
                let sum = state["sum"].Rows[0]

                for place in places do
                    Expect.equal ((part sum place 5L).ToDoubles()) (Array.create 5 0.5) $"elements from {place}")

            large "an array and a span cannot hold them: the error says so" (fun () ->
                let view = TensorView.Zeros(DType.UInt8, ReadOnlySpan [| count |])
                refuses<InvalidOperationException> "an array" [ "2147484648"; "parts" ] (fun () -> view.ToDoubles() |> ignore)
                refuses<InvalidOperationException> "a span" [ "2147484648"; "parts" ] (fun () -> view.AsSpan<byte>().Length |> ignore))
        ]
    |> testSequenced
