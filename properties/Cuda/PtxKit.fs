/// What the tests of kernels for NVIDIA's devices share: slices that both the processor and an interpreter of kernels go over, and what differs.
module PtxKit

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open ProgramKit

/// Whether everything is compared, and not a sample.
let isWhole = Environment.GetEnvironmentVariable "OPTIM_PTX_ALL" = "1"

/// An interpreter of kernels, and what runs programs by it.
type Interpreted() =
    let heap = PretendHeap()
    let gpu = InterpretedGpu heap
    let device = CudaDevice gpu
    member _.Heap = heap
    member _.Gpu = gpu
    member _.Device = device

/// Tensors of one dtype in a slice table, each array so many elements behind a multiple of 256 bytes.
type Slices(heap: PretendHeap, dtype: DType, tensors: float[][][], shift: int -> int) =
    let views =
        tensors
        |> Array.map (
            Array.mapi (fun array values ->
                let made =
                    Tensor.ofFloats (if array < 2 then dtype else dtype.ToStateDType()) values

                let size = made.DType.Size() / made.DType.Parts()
                let memory = heap.Allocate(nativeint (size * (values.Length + shift array)))

                let view =
                    TensorView(memory.Address + nativeint (size * shift array), made.Layout, memory)

                view.CopyFrom made
                view)
        )

    let table = SliceTable()

    do
        table.Reset(views.Length, tensors[0].Length - 2)

        for arrays in views do
            table.Add(arrays[0].Count * nativeint (dtype.Parts()), arrays[0].Address, arrays[1].Address)

            for column in 2 .. arrays.Length - 1 do
                table.SetColumn(column - 2, arrays[column].Address)

    member _.Table = table
    member _.Count = views.Length

    member _.Read() =
        views |> Array.map (Array.map _.ToDoubles())

/// Values of arrays, the same ones each time. Where they are summed up, one that is not finite would hide all others.
let valuesOf dtype arrays isFinite (lengths: int list) =
    let random = Random 7

    [|
        for length in lengths ->
            Array.init arrays (fun _ ->
                values random dtype (length * dtype.Parts())
                |> Array.map (fun value ->
                    if isFinite && not (Double.IsFinite value) then
                        0.75
                    else
                        value))
    |]

/// What the leaves of a program are, by their names.
let leavesOf (run: ProgramRun) =
    run.Leaves
    |> Array.map (fun leaf ->
        match leaf.Operation with
        | Operation.StepCount -> 3.0
        | Operation.Given when leaf.Name[0] = 'c' && Char.IsDigit leaf.Name[leaf.Name.Length - 1] ->
            numbers[Driver.CoefficientOf leaf.Name]
        | _ ->
            float (1 + abs (Seq.fold (fun sum letter -> (31 * sum + int letter) % 97) 7 leaf.Name))
            / 130.0)

/// Runs a program, on a device or on the processor.
let runOn (device: ProgramDevice | null) (program: StepProgram) dtype (slices: Slices) =
    let run = ProgramRun program

    run.Run(
        ReadOnlySpan
            [|
                ProgramSegment(slices.Table, 0, slices.Count, dtype, leavesOf run, null, device)
            |],
        Executor.Caller
    )
    |> ignore

/// What differs between the processor and kernels, if anything does.
let compareValues isFinite (interpreted: Interpreted) (program: StepProgram) dtype (lengths: int list) shift =
    let fresh () =
        Slices(interpreted.Heap, dtype, valuesOf dtype program.Arrays.Length isFinite lengths, shift)

    let expected, found = fresh (), fresh ()
    runOn null program dtype expected
    runOn interpreted.Device program dtype found
    difference (expected.Read()) (found.Read())

/// The same, of finite values where there are reductions.
let compare interpreted (program: StepProgram) dtype lengths shift =
    compareValues program.HasReductions interpreted program dtype lengths shift

/// What surrounds a step in tests: nothing, some, all.
let arounds =
    let averaged (weights: float list) (around: Surroundings) =
        weights
        |> List.fold (fun (around: Surroundings) weight -> around.With(Surroundings.MoveOf weight)) around

    [
        Surroundings()
        Surroundings(true, true, false, false) |> averaged [ 1e-3 ]
        Surroundings(true, false, true, true) |> averaged [ 0.7; 1.0 ]
        Surroundings(false, true, true, true)
    ]

let allDTypes =
    [
        DType.Float32
        DType.Float64
        DType.BFloat16
        DType.Float16
        DType.Complex64
        DType.Complex128
    ]

/// The program of a rule as it steps.
let programOf (name: string) settings =
    let rule = Rules.Find name
    let options = rule.Replace(rule.Defaults, settings)
    (rule :> obj :?> IRecorded).Recorded(options, 1000L)

/// The kernels of a rule whose steps a graph repeats.
let capturableKernels (name: string) settings dtype =
    let rule = Rules.Find name
    let options = rule.Replace(rule.Defaults, settings)
    let program = CapturableStep.programOf rule options
    ProgramKernels.OnLeaves(program, CapturableStep.leavesOf rule program, dtype)

/// Compares the text of a kernel with the one that is kept, or writes it anew.
let golden (name: string) (kernel: PtxKernel) =
    match Environment.GetEnvironmentVariable "OPTIM_PTX" with
    | null ->
        let path = Path.Combine(AppContext.BaseDirectory, "Cuda", "ptx", $"{name}.ptx")
        Expect.equal kernel.Text (File.ReadAllText path) name
    | folder -> File.WriteAllText(Path.Combine(folder, $"{name}.ptx"), kernel.Text)

let setting (name: string) (value: OptionValue) =
    Collections.Generic.KeyValuePair(name, value)

/// The mutants of a text, by name, that nothing tells from it. Each replaces what a pattern finds first, and must change something.
let survivors (mutants: (string * string * string) list) (tells: Func<string, string> -> bool) =
    [
        for name, pattern, replacement in mutants do
            let changed = ref false

            let change =
                Func<_, _>(fun text ->
                    let mutant = Regex(pattern).Replace(text, replacement, 1)
                    changed.Value <- changed.Value || mutant <> text
                    mutant)

            let isFound =
                try
                    tells change
                with :? PtxException ->
                    true

            if not changed.Value then
                failtestf "%s: changes nothing" name

            if not isFound then
                name
    ]
