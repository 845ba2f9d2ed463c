/// Kernels for NVIDIA's devices as text: in an interpreter of PTX, against the processor.
module PtxTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open Plain
open ProgramKit
open PtxKit

let private lengths = [ 1; 70; 4099; 5; 0; 1030 ]

let private formulaTests =
    test "every formula, under all switches, has the processor's bits in an interpreter: dtypes, what surrounds it, and any alignment" {
        let mutable cases = 0
        let interpreted = Interpreted()

        for name, driver, switches, _ in formulas do
            let last = (1 <<< switches) - 1

            for bits in 0..last do
                for around in arounds do
                    for dtype in allDTypes do
                        for shifted in [ false; true ] do
                            // Of the sample: every switch, then every surrounding and dtype with all switches on.
                            let plain = around.IsNothing && dtype = DType.Float32 && not shifted

                            let full =
                                bits = last
                                && (around.IsNothing || dtype = DType.Float32 || dtype = DType.BFloat16)
                                && (not shifted || around = arounds[0])

                            if isWhole || plain || full then
                                let program = driver.Surrounded(bits, around)
                                let shift array = if shifted then 1 + array % 3 else 0

                                let sizes =
                                    if isWhole || (plain && bits = last) then lengths
                                    elif shifted then [ 3; 261 ]
                                    else [ 5; 33; 0; 1 ]

                                compare interpreted program dtype sizes shift
                                |> Option.iter (failtestf "%s, switches %d, %O, %s, shifted %b: %s" name bits around (dtype.Name()) shifted)

                                cases <- cases + 1

        Cases.add "kernels of formulas" cases
    }

let private definitionTests =
    test "definitions with norms, numbers of tensors and reductions over all have the processor's bits in an interpreter" {
        let interpreted = Interpreted()
        let e name = Expression.Input name

        let program changes =
            StepProgram([| "param"; "grad"; "column0"; "column1" |], [ for array, value in changes -> Assignment(array, value) ])

        let ratio = Expression.Norm(e "param") / (Expression.Norm(e "grad") + 1e-6)
        let moment = 0.9 * e "column0" + 0.1 * e "grad"

        let programs =
            [
                [ "param", e "param" - ratio * e "grad" ]
                [
                    "column0", moment
                    "param", e "param" - Expression.Norm moment * Expression.Sqrt(Expression.Abs moment)
                ]
                [
                    "param",
                    Expression.Largest(e "grad" - e "param") * e "param"
                    + Expression.Sum(e "column1")
                ]
                [
                    "param",
                    e "param" / Expression.NormOverAll(e "grad" * e "grad")
                    + Expression.LargestOverAll(e "column0")
                ]
                [
                    "param", Expression.Exp(e "grad") + Expression.Log(Expression.Abs(e "param"))
                ]
                [
                    "param",
                    Expression.Cbrt(e "grad") * Expression.Sign(e "param")
                    + Expression.Mean(Expression.Exp(e "column0"))
                ]
                [
                    "param", Expression.Max(e "grad", e "param") - Expression.Min(e "column0", e "column1")
                ]
                [
                    "param", Expression.Norm(Expression.Norm(e "grad") * e "param" + e "column0") * e "grad"
                ]
            ]

        for changes in programs do
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ] do
                for sizes, isFinite in
                    [
                        if dtype = DType.Float32 || isWhole then
                            [ 1; 31; 8200; 70; 0; 4096 ], true

                        [ 40; 4100 ], true
                        [ 70; 33 ], false
                    ] do
                    compareValues isFinite interpreted (program changes) dtype sizes (fun array -> array % 2)
                    |> Option.iter (
                        failtestf "%A, %s: %s" (changes |> List.map (fun (array, value) -> $"{array} = {value}")) (dtype.Name())
                    )
    }

let private roundingTests =
    test "every operation of kernels rounds by itself, to nearest, and keeps subnormal numbers" {
        for text in
            [
                for _, driver, switches, _ in formulas do
                    for dtype in allDTypes do
                        for visit in driver.Surrounded((1 <<< switches) - 1, arounds[2]).VisitsFor dtype do
                            (ElementKernel.Render(visit.Code, false)).Text
                (JoinKernel.OfBlocks false).Text
                (JoinKernel.OfSlices true).Text
                (TotalsKernel.OfParts false).Text
                (TotalsKernel.OfGradients(true, true)).Text
            ] do
            for line in text.Split '\n' do
                if Regex.IsMatch(line, @"\t(add|sub|mul|div|sqrt|fma)\.\S*f(32|64) ") then
                    Expect.isTrue (Regex.IsMatch(line, @"\t\w+\.rn\.f(32|64) ")) line

                Expect.isFalse (line.Contains ".ftz" || line.Contains ".sat" || line.Contains ".approx") line
    }

/// Some kernels of which the text is kept: what changes it is seen.
let private goldenKernels =
    lazy
        let visit index (program: StepProgram) dtype = program.VisitsFor(dtype).[index].Code

        let element program dtype =
            ElementKernel.Render(visit 0 program dtype, false)

        let yes = OptionValue.Bool true
        let lamb = programOf "LAMB" []
        let adamw = programOf "AdamW" []

        [
            "sgd-float32", element (programOf "SGD" []) DType.Float32
            "sgd-momentum-float64",
            element (programOf "SGD" [ setting "momentum" (OptionValue.Float 0.9); setting "nesterov" yes ]) DType.Float64
            "adam-float32", element (programOf "Adam" []) DType.Float32
            "adamw-amsgrad-bfloat16", element (programOf "AdamW" [ setting "amsgrad" yes ]) DType.BFloat16
            "rmsprop-float16", element (programOf "RMSprop" []) DType.Float16
            "adagrad-complex64", element (programOf "Adagrad" []) DType.Complex64
            "lion-float32", element (programOf "Lion" []) DType.Float32
            "adamw-surrounded-float32", element (arounds[2].Around adamw) DType.Float32
            "lamb-sums-float32", SumsKernel.Render(visit 0 lamb DType.Float32, false)
            "lamb-numbers-float32", NumbersKernel.Render((ProgramRun lamb).NumbersFor(1, DType.Float32).Code, Nullable())
            "adamw-guarded-float32", ElementKernel.Render(visit 0 (arounds[1].Around adamw) DType.Float32, false, Nullable(Guard 1))
            "adamw-capturable-numbers-float32", (let struct (_, kernel) = (capturableKernels "AdamW" [] DType.Float32)[0] in kernel)
            "join-slices", JoinKernel.OfSlices true
            "norm-of-gradients", TotalsKernel.OfGradients(false, true)
            "adafactor-rows-bfloat16", FactorKernels.Sums(AdafactorPrograms.SquaresOf DType.BFloat16, true)
            "adafactor-columns-float32", FactorKernels.Sums(AdafactorPrograms.SquaresOf DType.Float32, false)
            "adafactor-means-float32", FactorKernels.Means(false, true)
            "adafactor-expected-float64", FactorKernels.Expected true
        ]

let private goldenTests =
    test "the text of some kernels is as it was (OPTIM_PTX=properties/Cuda/ptx writes it anew)" {
        for name, kernel in goldenKernels.Value do
            golden name kernel
    }

let private commandTests =
    test "optim ptx prints the kernels of a rule, and refuses what has none" {
        let output = Command.succeeds "ptx adamw:amsgrad=True --dtype bfloat16" []

        let _, kernel =
            goldenKernels.Value
            |> List.find (fun (name, _) -> name = "adamw-amsgrad-bfloat16")

        Expect.equal (output.Replace("\r", "")) ("// AdamW, bfloat16, visit 1 of 1: each element\n" + kernel.Text) "the kernel that runs"
        let lamb = Command.succeeds "ptx lamb" []

        for words in
            [
                "visit 1 of 2"
                "visit 2 of 2"
                "32 running sums"
                "the blocks of each tensor"
            ] do
            Expect.stringContains lamb words words

        let capturable = Command.succeeds "ptx radam:capturable=True" []
        Expect.stringContains capturable "the numbers of the step, and those of the next one" "numbers"
        Expect.stringContains capturable "p_leaves" "leaves"
        let narrow = Command.succeeds "ptx adam:state_storage=blockwise8" []
        let _, kernel = NarrowKernelTests.kernels.Value[0]
        Expect.stringContains narrow "whose state is narrow" "the kernel of narrow state"
        Expect.stringContains (narrow.Replace("\r", "")) kernel.Text "the one that runs"
        Command.refused [ "ptx"; "adam:state_storage=blockwise8"; "--dtype"; "float64" ] [ "state_storage is blockwise8"; "float64" ]
        Command.refused [ "ptx"; "muon" ] [ "Muon"; "whole tensors" ]
        Command.refused [ "ptx"; "adam"; "--dtype"; "int8" ] [ "int8"; "bfloat16" ]
        Command.refused [ "ptx"; "adam"; "--step"; "0" ] [ "--step is 0"; "at least 1" ]
    }

let private indexTests =
    test "places are worked out in 64 bits: the last elements of 2^40 and a few more are found and stored, and no others" {
        let code = (programOf "Adam" []).VisitsFor(DType.Float32).[0].Code
        let kernel = ElementKernel.Render(code, false)
        let program = PtxProgram kernel.Text
        let elements = (1UL <<< 40) + 3UL
        let bases = [ for array in 0..3 -> uint64 (array + 1) <<< 44 ]

        for block in [ 1u <<< 28; (1u <<< 28) - 1u; 1u <<< 27; 0u ] do
            let memory = SparseMemory()
            let table = 0x1000UL
            // A slice of one block before it, where the search begins.
            let entry = 48UL
            memory.Set(table, 0UL)
            memory.Set(table + 8UL, 5UL)
            memory.Set(table + entry, 1UL)
            memory.Set(table + entry + 8UL, elements)

            for array in 0..3 do
                memory.Set(table + 16UL + 8UL * uint64 array, 0x10_0000UL * uint64 (array + 1))
                memory.Set(table + entry + 16UL + 8UL * uint64 array, bases[array])

            memory.Content <- Func<_, _, _>(fun _ _ -> Nullable(uint64 (BitConverter.SingleToUInt32Bits 0.5f)))
            let parameters: byte array = Array.zeroCreate program.ParameterBytes
            BitConverter.TryWriteBytes(Span(parameters, 0, 8), table) |> ignore
            BitConverter.TryWriteBytes(Span(parameters, 8, 4), 2) |> ignore
            BitConverter.TryWriteBytes(Span(parameters, 12, 4), uint32 entry) |> ignore
            PtxRun(program, memory).Run(block + 1u, 1u, kernel.Threads, ReadOnlySpan parameters)

            let first = uint64 block * 4096UL
            let count = min 4096UL (elements - first)

            let expected =
                [
                    for array in [ 0; 2; 3 ] do
                        for i in 0UL .. count - 1UL -> bases[array] + 4UL * (first + i)
                ]

            Expect.sequenceEqual (List.sort (List.ofSeq memory.Stored)) (List.sort expected) $"block {block}"
    }

/// A change to a kernel's text that must not go unseen.
let private mutants: (string * string * string) list =
    [
        "a difference is a sum", @"sub\.rn\.f32", "add.rn.f32"
        "a product is not fused", @"fma\.rn\.f32 (\S+), (\S+), (\S+), (\S+);", "mul.rn.f32 $1, $2, $3;"
        "a root is a magnitude", @"sqrt\.rn\.f32", "abs.f32"
        "a quotient is turned over", @"div\.rn\.f32 (\S+), (\S+), (\S+);", "div.rn.f32 $1, $3, $2;"
        "the last four are left out", @"setp\.gt\.u64 (\S+), (\S+), (\S+);(?=\n\t@)", "setp.ge.u64 $1, $2, $3;"
        "the rest begins too early", @", -4;", ", -8;"
        "the rest begins too late", @"and\.b64 (\S+), (\S+), -4;", "mov.u64 $1, $2;"
        "threads begin too far apart",
        @"shl\.b64 (\S+), (\S+), 2;\n\tadd\.s64 (\S+), (\S+), \1;\nSEVERAL",
        "shl.b64 $1, $2, 3;\n\tadd.s64 $3, $4, $1;\nSEVERAL"
        "threads go on too little", @", 1024;", ", 512;"
        "blocks are short", @"mul\.lo\.s64 (\S+), (\S+), 4096;", "mul.lo.s64 $1, $2, 2048;"
        "blocks are long", @"add\.s64 (\S+), (\S+), 4096;", "add.s64 $1, $2, 8192;"
        "the search goes the other way", @"setp\.le\.u64", "setp.gt.u64"
        "the slice's end is not its own", @"min\.u64 (\S+), (\S+), (\S+);", "mov.u64 $1, $2;"
        "gradient and parameter change places", @"\+16\]", "+24]"
        "a number is another", @"p_numbers\+4\]", "p_numbers+8]"
        "four are stored in another order", @"st\.global\.v4\.f32 (\S+) \{(\S+), (\S+), ", "st.global.v4.f32 $1 {$3, $2, "
        "addresses are not looked at", @"setp\.ne\.s64 (\S+), (\S+), 0;", "setp.eq.u64 $1, $2, 1;"
        "a register is never set", @"\tsub\.s32 (\S+), (\S+), 1;\n\tcvt", "\tcvt"
        "the slice of a block's own number is taken for granted", @"setp\.gt\.u64 (\S+), (\S+), (\S+);(?=\n\tsub)", "setp.ge.u64 $1, $2, 0;"
        "32 bits of 64", @"ld\.global\.u64 (\S+), \[(\S+)\+8\];", "ld.global.f32 $1, [$2+8];"
        "subnormal numbers are flushed", @"mul\.rn\.f32", "mul.rn.ftz.f32"
    ]

let private halfMutants =
    [
        "ties go away from zero", "0x00007FFF", "0x00008000"
        "NaN is not kept", "0x00007FC0", "0x00007F80"
        "words are elsewhere", @"shl\.b32 (\S+), (\S+), 16;", "shl.b32 $1, $2, 15;"
        "two words change places", @"st\.global\.v4\.u16 (\S+) \{(\S+), (\S+), ", "st.global.v4.u16 $1 {$3, $2, "
    ]

let private sumMutants =
    [
        "sums are joined in another order", @"add\.rn\.f64 (\S+), (\S+), (\S+);(?=\n\tadd)", "sub.rn.f64 $1, $2, $3;"
        "running sums are skipped", @"add\.s64 (\S+), \1, 128;", "add.s64 $1, $1, 160;"
        "blocks are counted wrong", @"shr\.u64 (\S+), (\S+), 12;", "shr.u64 $1, $2, 13;"
        "squares are not", @"fma\.rn\.f64 (\S+), (\S+), (\S+), (\S+);", "add.rn.f64 $1, $2, $4;"
        "nobody waits", @"\tbar\.sync 0;\n", ""
        "warps overlap", @", 31;", ", 15;"
        "the second reduction is over the first", @"\tadd\.s64 (\S+), \1, (\S+);\n\tst\.global\.f64 \[\1\]", "\tst.global.f64 [$1]"
    ]

let private mutantTests =
    test "what is wrong in the text of a kernel is found" {
        let adam = programOf "Adam" [ setting "weight_decay" (OptionValue.Float 0.1) ]
        let half = programOf "AdamW" []
        let e name = Expression.Input name

        let norms =
            StepProgram(
                [| "param"; "grad" |],
                [
                    Assignment(
                        "param",
                        Expression.Norm(e "param") / Expression.Norm(e "grad") * e "param"
                        + Expression.Sum(e "grad")
                    )
                ]
            )

        for program, dtype, mutants in
            [
                adam, DType.Float32, mutants
                half, DType.BFloat16, halfMutants
                norms, DType.Float64, sumMutants
            ] do
            let tells change =
                let interpreted = Interpreted()
                interpreted.Gpu.Change <- change

                [ [ 0; 5000; 1; 70 ], 0; [ 90 ], 1; [ 13000 ], 0 ]
                |> List.tryPick (fun (sizes, shift) -> compare interpreted program dtype sizes (fun _ -> shift))
                |> Option.isSome

            Expect.equal (survivors mutants tells) [] "mutants that live"
    }

[<Tests>]
let tests =
    testList
        "ptx"
        [
            formulaTests
            definitionTests
            roundingTests
            goldenTests
            commandTests
            indexTests
            mutantTests
        ]
