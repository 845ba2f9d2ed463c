/// Sums of rows and columns, and noise, as kernels for NVIDIA's devices: in an interpreter of PTX, against the processor.
module SpreadKernelTests

open System
open System.Collections.Immutable
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open ProgramKit
open PtxKit

let private e name = Expression.Input name

let private program changes =
    StepProgram([| "param"; "grad"; "column0"; "column1" |], [ for array, value in changes -> Assignment(array, value) ])

let private over operation dimensions elements =
    Expression.Spread(operation, dimensions, [| elements |])

let private rowSum = over Operation.SumOfRow 1
let private rowNorm = over Operation.SumOfSquaresOfRow 1 >> Expression.Sqrt
let private columnSum = over Operation.SumOfColumn 1
let private columnNorm = over Operation.SumOfSquaresOfColumn 1 >> Expression.Sqrt
let private moment = 0.9 * e "column0" + 0.1 * e "grad"

let private programs =
    [
        "a row's sum", [ "param", e "param" - rowSum (e "grad") ]
        "a row's norm, of a product", [ "param", e "param" - rowNorm (e "grad" * e "column0") * e "grad" ]
        "rows and columns, with what is made of each",
        [
            "column0", moment
            "param",
            e "param" - e "grad" / (rowNorm moment + 1e-6)
            + columnSum (e "param") * e "grad"
            + rowSum (e "grad")
        ]
        "a column's sum and norm",
        [
            "param", e "param" + columnSum (e "grad") - columnNorm (e "column1") * e "grad"
        ]
        "a sum of sums", [ "param", e "param" - e "grad" * rowSum (columnNorm (e "grad") * e "column0") ]
        "two dimensions and three",
        [
            "param",
            e "grad" * over Operation.SumOfRow 2 (e "param")
            + over Operation.SumOfColumn 2 (e "column0")
        ]
        "with numbers of tensors",
        [
            "param",
            e "param"
            - rowSum (Expression.Norm(e "grad") * e "column0") / Expression.Norm(e "param")
            + Expression.Sum(columnNorm (e "grad"))
        ]
        "noise",
        [
            "param",
            e "param"
            + Expression.Spread(Operation.Noise, 0, Expression.Of 7.0, Expression.StepCount)
        ]
        "noise in a row",
        [
            "param",
            e "param"
            * rowNorm (Expression.Spread(Operation.Noise, 0, Expression.Of 1.0, Expression.StepCount))
        ]
    ]

/// Rows and columns within blocks of 4096 elements, over their ends, at their ends; of one element, of none.
let private shapes: int64 list list =
    [
        [ 1L; 1L ]
        [ 3L; 50L ]
        [ 50L; 3L ]
        [ 1L; 9000L ]
        [ 9000L; 1L ]
        [ 2L; 4097L ]
        [ 4097L; 2L ]
        [ 130L; 70L ]
        [ 0L; 5L ]
        [ 3L; 4096L ]
        [ 70L ]
        [ 3L; 4L; 5L; 6L ]
    ]

let private few: int64 list list =
    [ [ 5L; 7L ]; [ 2L; 3000L ]; [ 5000L; 1L ]; [ 200L; 33L ] ]

/// What differs between the processor and kernels, if anything does; tensors are matrices of some shapes.
let private difference (interpreted: Interpreted) (program: StepProgram) dtype (shapes: int64 list list) apart shift waits =
    let lengths = shapes |> List.map (List.fold (*) 1L >> int)

    let spread =
        [|
            for row, shape in List.indexed shapes -> SpreadSlice(ImmutableArray.CreateRange shape, 77UL * uint64 row, row)
        |]

    let run (device: ProgramDevice | null) =
        let slices =
            Slices(interpreted.Heap, dtype, valuesOf dtype program.Arrays.Length true lengths, shift)

        let run = ProgramRun program
        let leaves = leavesOf run

        let segments =
            if apart then
                let half = slices.Count / 2

                [|
                    ProgramSegment(slices.Table, 0, half, dtype, leaves, spread, device)
                    ProgramSegment(slices.Table, half, slices.Count - half, dtype, leaves, spread, device)
                |]
            else
                [|
                    ProgramSegment(slices.Table, 0, slices.Count, dtype, leaves, spread, device)
                |]

        if not (isNull device) then
            for segment in segments do
                run.PrepareVisits &segment

        if waits then
            // Somebody looks at what each visit comes to: numbers of tensors are the processor's.
            ProgramParts.Run(
                [| run |],
                ReadOnlySpan segments,
                ReadOnlySpan(Array.zeroCreate segments.Length),
                Executor.Caller,
                [||],
                Action<int> ignore
            )
            |> ignore
        else
            run.Run(ReadOnlySpan segments, Executor.Caller) |> ignore

        slices.Read()

    ProgramKit.difference (run null) (run interpreted.Device)

let private spreadTests =
    test "sums of rows and columns and noise have the processor's bits in an interpreter, of every shape" {
        let interpreted = Interpreted()

        for index, (name, changes) in List.indexed programs do
            for dtype in
                (if isWhole then
                     allDTypes
                 elif index % 3 = 0 then
                     [ DType.Float32; DType.BFloat16; DType.Complex64 ]
                 else
                     [ DType.Float32; DType.Float64 ]) do
                for shapes, apart, shift in
                    [
                        if dtype = DType.Float32 || isWhole then
                            shapes, false, 0

                        few, true, 1
                    ] do
                    for waits in [ false; true ] do
                        difference interpreted (program changes) dtype shapes apart (fun array -> shift * (array % 3)) waits
                        |> Option.iter (failtestf "%s, %s, %A, waits %b: %s" name (dtype.Name()) shapes waits)
    }

let private noiseTests =
    test "noise is standard normal, the same in vectors of every width, and no place has another's" {
        let draw key count isDouble executor =
            let numbers = TensorView.Zeros(DType.Float64, ReadOnlySpan [| int64 count |])
            let single = TensorView.Zeros(DType.Float32, ReadOnlySpan [| int64 count |])
            let target = if isDouble then numbers else single
            Noise.Fill(key, target.Address, nativeint count, isDouble, executor)
            target.ToDoubles()

        let width = Lanes.Width

        try
            let expected = draw 5UL 1000 true Executor.Caller

            for width in [ Width.Single; Width.Bits128; Width.Bits256; Width.Bits512 ] do
                Lanes.Width <- width
                Expect.equal (draw 5UL 1000 true Executor.Caller) expected $"{width}"
                Expect.equal (draw 5UL 1000 true Executor.Team) expected $"{width}, by several threads"
                Expect.equal (draw 5UL 70 false Executor.Caller) (expected[..69] |> Array.map (float32 >> float)) $"{width}, float32"
        finally
            Lanes.Width <- width

        // Box and Muller by the system's functions.
        let mixed (z: uint64) =
            let z = z + 0x9E3779B97F4A7C15UL
            let z = (z ^^^ (z >>> 30)) * 0xBF58476D1CE4E5B9UL
            let z = (z ^^^ (z >>> 27)) * 0x94D049BB133111EBUL
            z ^^^ (z >>> 31)

        let uniform bits =
            float ((bits >>> 11) + 1UL) / float (1UL <<< 53)

        let numbers = draw 5UL 20000 true Executor.Caller

        for place in 0..999 do
            let a, b =
                uniform (mixed (5UL + 2UL * uint64 place)), uniform (mixed (5UL + 2UL * uint64 place + 1UL))

            let normal = sqrt (-2.0 * log a) * cos (2.0 * Math.PI * b)
            Expect.isTrue (abs (numbers[place] - normal) <= 4e-15) $"{place}: {numbers[place]}, {normal}"

        let mean = Array.average numbers
        let square = numbers |> Array.averageBy (fun x -> x * x)
        let fourth = numbers |> Array.averageBy (fun x -> x ** 4.0)
        Expect.isLessThan (abs mean) 0.03 "mean"
        Expect.isLessThan (abs (square - 1.0)) 0.05 "variance"
        Expect.isLessThan (abs (fourth - 3.0)) 0.25 "fourth moment"
        Expect.isGreaterThan (Seq.length (Seq.distinct numbers)) 19990 "all of them are others"
    }

/// A change to the text that must not go unseen.
let private mutants: (string * string * string) list =
    [
        "a column is another", @"(?s)(.*)selp\.b64 (\S+), 0, ", "$1selp.b64 $2, 1, "
        "a row goes on",
        @"setp\.ge\.u64 (\S+), (\S+), (\S+);\n\tadd\.s64 (\S+), (\S+), 1;\n\tselp",
        "setp.gt.u64 $1, $2, $3;\n\tadd.s64 $4, $5, 1;\n\tselp"
        "a part is in another block", @"shr\.u64 (\S+), (\S+), 12;", "shr.u64 $1, $2, 13;"
        "a part begins with its block", @"max\.u64 (\S+), (\S+), (\S+);", "mov.u64 $1, $2;"
        "a part ends with its block",
        @"min\.u64 (\S+), (\S+), (\S+);(?=\n\tsetp\.ge\.u64 \S+ \S+, \S+;\n\t@\S+ bra END;\n\tmov\.b64)",
        "mov.u64 $1, $2;"
        "halves are of other threads", @"shfl\.sync\.down\.b32 (\S+), (\S+), 16, ", "shfl.sync.down.b32 $1, $2, 8, "
        "half of a sum is another's", @"shfl\.sync\.down\.b32 (\S+), (\S+), 1, (.*)\n(\t.*\n)*?\tshfl", "mov.u32 $1, $2;\n$3\tshfl"
        "all threads store", @"setp\.ne\.u32 (\S+), (\S+), 0;", "setp.eq.u32 $1, $2, 77;"
        "parts are left out",
        @"\tadd\.s64 (\S+), (\S+), 1;\n\tadd\.s64 (\S+), (\S+), \1;\n\tmov\.u64",
        "\tadd.s64 $1, $2, 0;\n\tadd.s64 $3, $4, $1;\n\tmov.u64"
        "a band begins too late", @"selp\.b64 (%d\d+), (%d\d+), (%d\d+), (%p\d+);\n\tadd", "mov.u64 $1, $3;\n\tadd"
        "bands go in another order", @"and\.b64 (\S+), (\S+), (\S+);\n\tsetp\.ne\.s64", "mov.u64 $1, 0;\n\tsetp.ne.s64"
        "the last band is forgotten",
        @"setp\.ge\.u64 (\S+), (\S+), (\S+);(?=\n\t@\S+ bra END;\n\tmul\.lo\.s64 \S+, \S+, \S+;\n\tadd\.s64 \S+, \S+, \S+;\n\tld)",
        "setp.gt.u64 $1, $2, $3;"
        "totals are rounded elsewhere", @"cvt\.rn\.f32\.f64", "cvt.rz.f32.f64"
        "bits are mixed less", @"xor\.b64 (\S+), (\S+), (\S+);", "mov.u64 $1, $2;"
        "a uniform number is of other bits", @"shr\.u64 (\S+), (\S+), 11;", "shr.u64 $1, $2, 12;"
    ]

let private mutantTests =
    test "what is wrong in the text of sums of rows and columns and of noise is found" {
        let made =
            program
                [
                    "param",
                    e "param" - rowSum (e "grad") * columnNorm (e "column0")
                    + Expression.Spread(Operation.Noise, 0, Expression.Of 7.0, Expression.StepCount)
                ]

        let shapes: int64 list list =
            [ [ 5L; 7L ]; [ 3L; 4099L ]; [ 5000L; 1L ]; [ 600L; 50L ] ]

        let tells change =
            let interpreted = Interpreted()
            interpreted.Gpu.Change <- change

            difference interpreted made DType.Float32 shapes false (fun _ -> 0) false
            |> Option.isSome

        Expect.equal (survivors mutants tells) [] "mutants that live"
    }

let private commandTests =
    test "optim ptx prints sums of rows and columns" {
        let adamp = Command.succeeds "ptx adamp" []

        for words in [ "sums of rows, block by block"; "what rows come to"; "shfl.sync.down.b32" ] do
            Expect.stringContains adamp words words
    }

[<Tests>]
let tests =
    testList "ptx spreads" [ spreadTests; noiseTests; mutantTests; commandTests ]
