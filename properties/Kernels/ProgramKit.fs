/// What the tests of programs share: engines, memory, formulas to record, and what differs.
module ProgramKit

open System
open Optim.Kernels
open Optim.Laws
open Kit
open KernelRuns

/// Runs with an engine.
let withEngine engine (run: unit -> 'a) =
    let before = ProgramEngine.Current

    try
        ProgramEngine.Current <- engine
        run ()
    finally
        ProgramEngine.Current <- before

/// Every engine at every width.
let settings = List.allPairs widths [ Engine.Emitted; Engine.Blocks ]

let inSetting (width, engine) run =
    Setting.withWidth width (fun () -> withEngine engine run)

/// Tensors of one dtype in a slice table: for each its parameter, gradient and columns.
type Memory(dtype: DType, tensors: float[][][]) =
    let views =
        tensors
        |> Array.map (Array.mapi (fun i values -> Tensor.ofFloats (if i < 2 then dtype else dtype.ToStateDType()) values))

    let table = SliceTable()

    do
        table.Reset(views.Length, tensors[0].Length - 2)

        for arrays in views do
            table.Add(arrays[0].Count * nativeint (dtype.Parts()), arrays[0].Address, arrays[1].Address)

            for column in 2 .. arrays.Length - 1 do
                table.SetColumn(column - 2, arrays[column].Address)

    member _.Table = table

    /// A table in which some of the arrays stand for parameters, gradients and a column: for passes of their own.
    member _.Over(parameter: int, gradient: int, column: int) =
        let table = SliceTable()
        table.Reset(views.Length, 1)

        for arrays in views do
            table.Add(arrays[0].Count * nativeint (dtype.Parts()), arrays[parameter].Address, arrays[gradient].Address)
            table.SetColumn(0, arrays[column].Address)

        table

    /// What an array holds, and the way back to it.
    member _.Keep(array: int) =
        let copies = views |> Array.map (fun arrays -> arrays[array].Copy())
        fun () -> Array.iter2 (fun (arrays: TensorView array) copy -> arrays[array].CopyFrom copy) views copies

    member _.Clear(array: int) =
        for arrays in views do
            arrays[array].Clear()

    member _.Count = views.Length

    member _.Read() =
        views |> Array.map (Array.map _.ToDoubles())

let same (a: float) (b: float) =
    (Double.IsNaN a && Double.IsNaN b)
    || BitConverter.DoubleToInt64Bits a = BitConverter.DoubleToInt64Bits b

/// What differs between arrays of tensors, if anything does.
let difference (expected: float[][][]) (actual: float[][][]) =
    seq {
        for tensor in 0 .. expected.Length - 1 do
            for array in 0 .. expected[tensor].Length - 1 do
                for i in 0 .. expected[tensor].[array].Length - 1 do
                    let a, b = expected[tensor].[array].[i], actual[tensor].[array].[i]

                    if not (same a b) then
                        sprintf "tensor %d, array %d, element %d: %s instead of %s" tensor array i (text b) (text a)
    }
    |> Seq.tryHead

let formulas: (string * Driver * int * string list) list =
    [
        "ASGD", Driver<ASGDFormula>.Instance, 2, [ "ax" ]
        "Adadelta", Driver<AdadeltaFormula>.Instance, 2, [ "square_avg"; "acc_delta" ]
        "Adagrad", Driver<AdagradFormula>.Instance, 2, [ "sum" ]
        "Adam", Driver<AdamFormula>.Instance, 5, [ "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ]
        "Adamax", Driver<AdamaxFormula>.Instance, 3, [ "exp_avg"; "exp_inf" ]
        "NAdam", Driver<NAdamFormula>.Instance, 4, [ "exp_avg"; "exp_avg_sq" ]
        "RAdam", Driver<RAdamFormula>.Instance, 5, [ "exp_avg"; "exp_avg_sq" ]
        "RMSprop", Driver<RMSpropFormula>.Instance, 5, [ "square_avg"; "momentum_buffer"; "grad_avg" ]
        "Rprop", Driver<RpropFormula>.Instance, 1, [ "prev"; "step_size" ]
        "SGD", Driver<SGDFormula>.Instance, 4, [ "momentum_buffer" ]
        "SparseAdam", Driver<SparseAdamFormula>.Instance, 2, [ "exp_avg"; "exp_avg_sq" ]
        "scale", Driver<ScaleFormula>.Instance, 0, []
        "clamp", Driver<ClampFormula>.Instance, 0, []
        "average", Driver<AverageFormula>.Instance, 1, [ "average" ]
    ]

/// Numbers as they come, and now and then a zero, an infinity or a NaN.
let values (random: Random) dtype length =
    Array.init length (fun _ ->
        match random.Next 60 with
        | 0 -> nan
        | 1 -> infinity
        | 2 -> -0.0
        | _ -> Palette.ordinary random dtype)

let memory dtype arrays (lengths: int list) =
    let random = Random 5

    Memory(
        dtype,
        [|
            for length in lengths -> Array.init arrays (fun _ -> values random dtype (length * dtype.Parts()))
        |]
    )

/// The numbers that formulas are tried with.
let numbers = Array.init 12 (fun i -> float (i + 1) / 14.0)

let coefficients =
    let n i = Real numbers[i]
    Coefficients<Real>(n 0, n 1, n 2, n 3, n 4, n 5, n 6, n 7, n 8, n 9, n 10, n 11)
