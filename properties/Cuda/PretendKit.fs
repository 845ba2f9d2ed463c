/// What tests of steps on a device that is none share: devices, tensors there, and what differs.
module PretendKit

open System
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx

let mutable private made = 0

/// A device of its own for each test.
let fresh () =
    let number = Threading.Interlocked.Increment &made
    let heap = PretendHeap()
    let gpu = InterpretedGpu heap
    struct (PretendDevice($"pretend-cuda-{number}", heap, gpu), gpu)

let shapes = [ [| 3L; 50L |]; [| 7L |]; [| 5000L |]; [| 2L; 3L; 4L |] ]

let tensors dtype seed =
    let random = Random(seed: int)

    [
        for shape in shapes ->
            let count = int (Array.fold (*) 1L shape) * (dtype: DType).Parts()

            let flat =
                Tensor.ofFloats dtype (Array.init count (fun _ -> Palette.ordinary random dtype))

            TensorView(flat.Address, Layout.Contiguous(dtype, ReadOnlySpan shape), flat.Owner)
    ]

let sameState what (expected: State) (found: State) =
    for a, b in Seq.zip expected.Columns found.Columns do
        for row in 0 .. expected.RowCount - 1 do
            if not (a[row].IsAbsent && b[row].IsAbsent) then
                ProgramKit.difference [| [| a[row].ToDoubles() |] |] [| [| b[row].ToDoubles() |] |]
                |> Option.iter (failtestf "%s, %s of %d: %s" what a.Name row)

let sameTensors what (expected: TensorView seq) (found: TensorView seq) =
    for a, b in Seq.zip expected found do
        ProgramKit.difference [| [| a.ToDoubles() |] |] [| [| b.ToDoubles() |] |]
        |> Option.iter (failtestf "%s: %s" what)
