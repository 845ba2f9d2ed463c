// Long, because codes, formulas, lengths and mutants are tried on the same tensors.
/// Narrow state by kernels for NVIDIA's devices: in an interpreter of PTX, against the processor, to the bit.
module NarrowKernelTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open ProgramKit
open PtxKit

/// How tensors of these tests lie.
type private Placed =
    {
        DType: DType
        Kinds: NarrowKind list
        Lengths: int list
        /// How many elements parameters, gradients and wide columns lie behind a multiple of 256 bytes, and codes two at a time.
        Shift: int -> int
        /// The place of the first block of each tensor in a whole parameter.
        FirstBlock: nativeint
        Seed: int64
    }

let private plainly dtype kinds lengths =
    {
        DType = dtype
        Kinds = kinds
        Lengths = lengths
        Shift = fun _ -> 0
        FirstBlock = 0n
        Seed = 0L
    }

/// Numbers of which each block is of another kind: zeros, denormal ones, an outlier, many powers of two, what is not finite.
let private motley (random: Random) isNonNegative length =
    let ofBlock = Array.init (length / 256 + 1) (fun _ -> random.Next 10)

    Array.init length (fun i ->
        let plain = random.NextDouble() + 1e-9
        let sign = if isNonNegative || random.Next 2 = 0 then 1.0 else -1.0

        match ofBlock[i / 256] with
        | 0 -> if random.Next 200 = 0 then -0.0 else 0.0
        | 1 -> sign * plain * 1e-41
        | 2 when i % 256 = 9 -> sign * plain * 1e9
        | 3 -> sign * plain * Math.Pow(2.0, float (random.Next 80 - 60))
        | 4 when random.Next 10 = 0 -> [| nan; infinity; sign * 3.4e38; 0.0 |][random.Next 4]
        | 5 -> sign * Math.Pow(10.0, -30.0 * plain)
        | 6 -> if random.Next 3 = 0 then 0.0 else sign * plain
        | 7 -> sign * plain * 1e38
        | 8 ->
            // The smallest number is just where another class of codes begins.
            let top, block = 0x60000000, i / 256

            if i % 256 = 17 then
                top - (59 <<< (17 + 2 * (block % 3))) + (block / 3 % 3 - 1)
            else
                top - random.Next 9
            |> BitConverter.Int32BitsToSingle
            |> float
        | _ -> sign * plain)

/// Bits of numbers. NaN is of one kind: of bfloat16 it has the sign that its maker gave it.
let private bitsOf (view: TensorView) : int64 array =
    match view.DType with
    | DType.UInt8 -> view.AsSpan<byte>().ToArray() |> Array.map int64
    | _ ->
        view.ToDoubles()
        |> Array.map (fun x -> BitConverter.DoubleToInt64Bits(if Double.IsNaN x then nan else x))

/// Bits of scales, which may be those of any float.
let private bitsOfScales (scales: TensorView) : int64 array =
    if scales.IsAbsent then
        [||]
    else
        scales.AsSpan<float32>().ToArray()
        |> Array.map (BitConverter.SingleToInt32Bits >> int64)

/// Tensors with narrow columns in memory of a heap; columns begin with codes of motley numbers.
type private NarrowSlices(heap: PretendHeap, placed: Placed, seed: int) =
    let random = Random(seed: int)
    let columns = List.toArray placed.Kinds

    let place (view: TensorView) shift =
        let memory =
            heap.Allocate(nativeint (view.DType.Size()) * (view.Count + nativeint shift))

        let placed =
            TensorView(memory.Address + nativeint (view.DType.Size() * shift), view.Layout, memory)

        placed.CopyFrom view
        placed

    let tensors =
        [|
            for length in placed.Lengths ->
                let given isNonNegative =
                    motley random isNonNegative length |> Array.map (float32 >> float)

                let wide array (values: float array) =
                    place (Tensor.ofFloats (if array < 2 then placed.DType else DType.Float32) values) (placed.Shift array)

                let both =
                    [| for array in 0..1 -> struct (wide array (given false), TensorView()) |]

                let ofColumn index kind =
                    let values = given (kind = NarrowKind.NonNegative8)

                    if kind = NarrowKind.Wide then
                        struct (wide (2 + index) values, TensorView())
                    else
                        let shape = [| int64 length |]
                        let codes = TensorView.Zeros(NarrowKinds.CodesOf kind, shape)
                        let blocks = int64 (NarrowKinds.Blocks(nativeint length))

                        let scales =
                            if NarrowKinds.HasScales kind then
                                TensorView.Zeros(DType.Float32, [| blocks |])
                            else
                                TensorView()

                        let wide = Tensor.ofFloats DType.Float32 values
                        NarrowMemory.Narrow(wide, kind, codes, scales, placed.Seed, 1L, index, placed.FirstBlock)
                        // Codes of bytes stay at an even address: the interpreter tells two of them apart no finer.
                        let codes = place codes (2 * placed.Shift(2 + index))
                        struct (codes, (if scales.IsAbsent then scales else place scales 0))

                Array.append both (Array.mapi ofColumn columns)
        |]

    let table, narrow = SliceTable(), NarrowTable()

    let isNarrow = placed.Kinds |> List.exists (fun kind -> kind <> NarrowKind.Wide)

    do
        table.Reset(tensors.Length, columns.Length)
        narrow.Reset(tensors.Length, columns.Length, placed.Seed)

        for index in 0 .. tensors.Length - 1 do
            let address array =
                let struct (view: TensorView, _) = tensors[index].[array] in view.Address

            table.Add(nativeint placed.Lengths[index], address 0, address 1)

            for column in 0 .. columns.Length - 1 do
                table.SetColumn(column, address (2 + column))

                if columns[column] <> NarrowKind.Wide then
                    let struct (_, scales) = tensors[index].[2 + column]
                    let at = if scales.IsAbsent then 0n else scales.Address
                    narrow.Set(index, column, columns[column], at, placed.FirstBlock)

    member _.Step(device: ProgramDevice | null, program: StepProgram, step: int64) =
        let run = ProgramRun program

        run.Run(
            ReadOnlySpan
                [|
                    ProgramSegment(
                        table,
                        0,
                        tensors.Length,
                        placed.DType,
                        leavesOf run,
                        null,
                        device,
                        (if isNarrow then narrow else null),
                        step
                    )
                |],
            Executor.Caller
        )
        |> ignore

        GC.KeepAlive tensors

    /// Bits of all parameters, gradients, codes and scales.
    member _.Bits =
        tensors
        |> Array.map (Array.map (fun (struct (view, scales)) -> bitsOf view, bitsOfScales scales))

/// What differs between the processor and kernels after some steps, if anything does.
let private compareNarrow (interpreted: Interpreted) (program: StepProgram) placed seed (steps: int64 list) =
    // A column that no step needs is none.
    let uses = program.VisitsFor(placed.DType).[0].Code.ArrayUses

    let isUsed array =
        uses |> Array.exists (fun use' -> use'.Array = array)

    let placed =
        { placed with
            Kinds =
                placed.Kinds
                |> List.mapi (fun column kind -> if isUsed (2 + column) then kind else NarrowKind.Wide)
        }

    let expected, found =
        NarrowSlices(interpreted.Heap, placed, seed), NarrowSlices(interpreted.Heap, placed, seed)

    steps
    |> List.tryPick (fun step ->
        expected.Step(null, program, step)
        found.Step(interpreted.Device, program, step)

        Seq.allPairs (Seq.indexed placed.Lengths) (seq { 0 .. 1 + placed.Kinds.Length })
        |> Seq.tryPick (fun ((tensor, length), array) ->
            let a, b = expected.Bits[tensor].[array], found.Bits[tensor].[array]

            if a = b then
                None
            else
                let differing (a: int64 array) (b: int64 array) =
                    Seq.zip a b
                    |> Seq.indexed
                    |> Seq.tryFind (fun (_, (a, b)) -> a <> b)
                    |> Option.map (fun (i, (a, b)) -> $"%d{i}: %x{b} instead of %x{a}")

                Some
                    $"step {step}, tensor of {length}, array {array}: element {differing (fst a) (fst b)}, scale {differing (snd a) (snd b)}"))

let private narrowKinds =
    [ NarrowKind.BFloat16; NarrowKind.Signed8; NarrowKind.NonNegative8 ]

/// A parameter that becomes what a column was, and the column what the gradient is: all that codes have to do.
let private exchange =
    StepProgram(
        [| "param"; "grad"; "column0" |],
        [
            Assignment("param", Expression.Input "column0")
            Assignment("column0", Expression.Input "grad")
        ]
    )

let private codeTests =
    test "codes and scales of numbers of every kind, and numbers of codes, have the processor's bits: 400,000 of each map" {
        let interpreted = Interpreted()

        for kind in narrowKinds do
            for trial in 0..7 do
                let placed =
                    { plainly DType.Float32 [ kind ] [ 49999; 1; 255; 256; 257; 0; 512 ] with
                        Seed = [| 0L; 7L; StateStorage.LargestSeed |][trial % 3]
                        FirstBlock = [| 0n; 16n; nativeint (1L <<< 33) |][trial % 3]
                        Shift = fun _ -> trial % 2
                    }

                compareNarrow interpreted exchange placed trial [ 2L + 1_000_003L * int64 trial ]
                |> Option.iter (failtestf "%A, trial %d: %s" kind trial)
    }

/// The kinds of a formula's columns in a trial: each of another map, and now and then one that is wide. Averages are wide.
let private kindsOf (columns: string list) (program: StepProgram) trial =
    [
        for array in 0 .. program.Arrays.Length - 3 do
            if array >= columns.Length then
                NarrowKind.Wide
            else
                match (array + trial) % 5 with
                | 0
                | 4 -> NarrowKind.Signed8
                | 1 -> NarrowKind.NonNegative8
                | 2 -> NarrowKind.BFloat16
                | _ ->
                    if columns.Length = 1 then
                        NarrowKind.NonNegative8
                    else
                        NarrowKind.Wide
    ]

let private formulaTests =
    test "every formula with narrow columns beside wide ones has the processor's bits: switches, surroundings, dtypes and alignments" {
        let interpreted = Interpreted()
        let mutable trial = 0

        for name, driver, switches, columns in formulas do
            if columns <> [] && name <> "average" then
                let last = (1 <<< switches) - 1

                for around in arounds do
                    for dtype in [ DType.Float32; DType.BFloat16; DType.Float16 ] do
                        for bits in
                            (if isWhole then
                                 [ 0..last ]
                             else
                                 [ 0; last ] |> List.distinct) do
                            if isWhole || dtype = DType.Float32 && bits = last || (trial + bits) % 3 = 0 then
                                let program = driver.Surrounded(bits, around)

                                let placed =
                                    { plainly dtype (kindsOf columns program trial) (if trial % 2 = 0 then [ 300; 1 ] else [ 255; 0; 520 ]) with
                                        Shift = fun array -> if trial % 4 = 3 then 1 + array % 3 else 0
                                        Seed = int64 (trial % 2)
                                    }

                                compareNarrow interpreted program placed trial [ 1L; 2L ]
                                |> Option.iter (
                                    failtestf
                                        "%s, switches %d, around %d, %s, %A: %s"
                                        name
                                        bits
                                        (List.findIndex ((=) around) arounds)
                                        (dtype.Name())
                                        placed.Kinds
                                )

                            trial <- trial + 1
    }

let private lengthTests =
    test "tensors of every length around blocks of state and of launches have the processor's bits" {
        let interpreted = Interpreted()

        let _, driver, _, columns =
            formulas |> List.find (fun (name, _, _, _) -> name = "Adam")

        let program = driver.Surrounded(0, Surroundings())
        let kinds = [ NarrowKind.Signed8; NarrowKind.NonNegative8 ]
        Expect.equal columns.Length 3 "columns"

        for lengths in
            [
                [ 1; 3; 4; 5; 127; 128; 129; 131; 132 ]
                [ 2047; 2048; 2049 ]
                [ 4095; 4097; 9000; 255 ]
            ] do
            compareNarrow
                interpreted
                program
                (plainly DType.Float32 (kinds @ [ for _ in 3 .. program.Arrays.Length - 2 -> NarrowKind.BFloat16 ]) lengths)
                lengths.Length
                [ 1L; 2L; 3L ]
            |> Option.iter (failtestf "%A: %s" lengths)
    }

let private adamCode (around: Surroundings) dtype =
    let program = programOf "Adam" []
    (if around.IsNothing then program else around.Around program).VisitsFor(dtype).[0].Code

/// The kernels of which the text is kept, and the assembler is asked about.
let kernels: Lazy<(string * PtxKernel) list> =
    lazy
        let blockwise =
            NarrowColumns(NarrowKind.Signed8, NarrowKind.NonNegative8, NarrowKind.Wide)

        let bfloat16 =
            NarrowColumns(NarrowKind.BFloat16, NarrowKind.BFloat16, NarrowKind.Wide)

        [
            "adam-blockwise8-float32", NarrowKernel.Render(adamCode (Surroundings()) DType.Float32, blockwise, false)
            "adam-bfloat16-bfloat16", NarrowKernel.Render(adamCode (Surroundings()) DType.BFloat16, bfloat16, false)
            "adam-blockwise8-guarded-float16",
            NarrowKernel.Render(adamCode arounds[1] DType.Float16, blockwise, true, true, Nullable(Guard 1))
        ]

let private goldenTests =
    test "the text of some kernels with narrow state is as it was (OPTIM_PTX=properties/Cuda/ptx writes it anew)" {
        for name, kernel in kernels.Value do
            golden name kernel
    }

let private indexTests =
    test
        "places of codes and scales are worked out in 64 bits: the last elements of 2^40 and a few more are found and stored, and no others" {
        let columns = NarrowColumns(NarrowKind.Signed8, NarrowKind.NonNegative8)

        let kernel =
            NarrowKernel.Render(adamCode (Surroundings()) DType.Float32, columns, false)

        let program = PtxProgram kernel.Text
        let elements = (1UL <<< 40) + 3UL
        let baseOf array = uint64 (array + 1) <<< 44

        for block in [ 1u <<< 28; (1u <<< 28) - 1u; 0u ] do
            let memory = SparseMemory()
            let table = 0x1000UL
            // The first block, the elements, four addresses; the first block in the whole, and where two columns have their scales.
            let words =
                [ 0UL; elements ]
                @ [ for array in 0..3 -> baseOf array ]
                @ [ 1UL <<< 36; baseOf 4; baseOf 5 ]

            words |> List.iteri (fun i word -> memory.Set(table + 8UL * uint64 i, word))

            memory.Content <-
                Func<_, _, _>(fun _ size ->
                    Nullable(
                        if size = 1 then
                            63UL
                        else
                            uint64 (BitConverter.SingleToUInt32Bits 0.5f)
                    ))

            let parameters: byte array = Array.zeroCreate program.ParameterBytes
            BitConverter.TryWriteBytes(Span(parameters, 0, 8), table) |> ignore
            BitConverter.TryWriteBytes(Span(parameters, 8, 4), 1) |> ignore
            BitConverter.TryWriteBytes(Span(parameters, 12, 4), 8 * words.Length) |> ignore
            PtxRun(program, memory).Run(block, 1u, kernel.Threads, ReadOnlySpan parameters)

            let first = uint64 block * 4096UL
            let last = min (first + 4096UL) elements - 1UL
            // Four codes together where a block is whole.
            let together = if last - first = 4095UL then 4UL else 1UL

            let expected =
                [
                    for i in first..last -> baseOf 0 + 4UL * i
                    for array in [ 2; 3 ] do
                        for i in first..together..last -> baseOf array + i
                    for scales in [ 4; 5 ] do
                        for i in first / 256UL .. last / 256UL -> baseOf scales + 4UL * i
                ]

            Expect.sequenceEqual (List.sort (List.ofSeq memory.Stored)) (List.sort expected) $"block {block}"
    }

/// Changes to a kernel's text that must not go unseen.
let private mutants =
    [
        "a code is not moved", @"shl\.b32 (\S+), (\S+), 18;", "shl.b32 $1, $2, 17;"
        "signs are lost", @"shl\.b32 (\S+), (\S+), 24;", "shl.b32 $1, $2, 23;"
        "the top is not rounded up", @"add\.s32 (\S+), (\S+), 7;", "add.s32 $1, $2, 0;"
        "no block has a zero", @"selp\.b32 (\S+), 4, 0,", "selp.b32 $1, 0, 0,"
        "NaN is a number", @"selp\.b32 (\S+), -2147483648, 0,", "selp.b32 $1, 0, 0,"
        "what is too large stays", @"min\.u32 (\S+), (\S+), 2139095032;", "min.u32 $1, $2, 2147483647;"
        "the largest is that of half a warp", @"shfl\.sync\.bfly\.b32 (\S+), (\S+), 16,", "shfl.sync.bfly.b32 $1, $2, 8,"
        "each thread asks itself", @"vote\.sync\.any\.pred (\S+), (\S+), -1;", "setp.eq.u32 $1, 0, 1;"
        "classes begin elsewhere", @"sub\.s32 (\S+), 7733247,", "sub.s32 $1, 7733248,"
        "the step is another", @"mul\.lo\.s32 (\S+), (\S+), -1640531527;", "mov.u32 $1, $2;"
        "places are another block's", @"and\.b32 (\S+), (\S+), 240;", "and.b32 $1, $2, 224;"
        "the second half has the noise of the first", @"add\.s32 (\S+), (\S+), 128;", "add.s32 $1, $2, 0;"
        "the second half is the first", @"add\.s64 (\S+), (\S+), 128;", "add.s64 $1, $2, 0;"
        "noise has too many bits", @"shr\.u32 (\S+), (\S+), 15;\n\tand\.b32 (\S+), \S+, -113;", "shr.u32 $1, $2, 15;\n\tmov.u32 $3, $1;"
        "warps begin too near", @"shl\.b64 (\S+), (\S+), 8;", "shl.b64 $1, $2, 7;"
        "warps go on too little", @", 1024;", ", 512;"
        "a short block is a whole one", @"selp\.b64 (\S+), 1, (\S+), (\S+);", "mov.b64 $1, $2;"
        "what is behind the end is not cleared", @"@!(\S+) mov\.b32 (%v\d+), 0;", "@!$1 mov.b32 $2, 1065353216;"
        "codes change places", @"shl\.b32 (\S+), (\S+), 8;\n\tor\.b32", "shl.b32 $1, $2, 16;\n\tor.b32"
        "every thread stores the scale", @"@\S+ st\.global\.u32", "st.global.u32"
        "scales are elsewhere",
        @"shl\.b64 (\S+), (\S+), 2;\n\tadd\.s64 (\S+), (\S+), \1;\n\tld\.global\.u32",
        "mov.u64 $1, 0;\n\tadd.s64 $3, $4, $1;\n\tld.global.u32"
    ]

let private bfloat16Mutants =
    [
        "what is small becomes 0", @"min\.u32 (\S+), (\S+), 1;", "min.u32 $1, $2, 0;"
        "what is large becomes infinite", @", 32639;", ", 32767;"
        "infinity is NaN", @"selp\.b32 (\S+), 32704, 32640,", "selp.b32 $1, 32704, 32704,"
        "words are not moved", @"shl\.b32 (\S+), (\S+), 16;", "shl.b32 $1, $2, 15;"
    ]

let private mutantTests =
    test "what is wrong in the text of a kernel with narrow state is found" {
        let tells (kinds: NarrowKind list) change =
            let interpreted = Interpreted()
            interpreted.Gpu.Change <- change

            [ [ 5000; 300; 1 ], 0; [ 260 ], 1 ]
            |> List.tryPick (fun (lengths, shift) ->
                kinds
                |> List.tryPick (fun kind ->
                    let placed =
                        { plainly DType.Float32 [ kind ] lengths with
                            Shift = fun _ -> shift
                        }

                    [ 0..3 ]
                    |> List.tryPick (fun seed -> compareNarrow interpreted exchange placed seed [ 3L; 4L ])))
            |> Option.isSome

        let survivors mutants kinds = survivors mutants (tells kinds)
        Expect.equal (survivors mutants [ NarrowKind.Signed8; NarrowKind.NonNegative8 ]) [] "mutants that live"
        Expect.equal (survivors bfloat16Mutants [ NarrowKind.BFloat16 ]) [] "mutants of bfloat16 that live"
    }

[<Tests>]
let tests =
    testList "ptx narrow" [ codeTests; formulaTests; lengthTests; goldenTests; indexTests; mutantTests ]
