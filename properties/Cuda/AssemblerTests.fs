/// Kernels by NVIDIA's assembler and disassembler, where they are installed, and how what these say is read.
module AssemblerTests

open System
open System.IO
open System.Text.RegularExpressions
open Expecto
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open ProgramKit
open PtxKit
open PtxToolTests

let private kernels =
    lazy
        let rules =
            if isWhole then
                Catalogue.All |> Seq.map _.Rule.Name |> Seq.toList
            else
                [ "AdamP"; "TAM" ]

        [
            for name, driver, switches, _ in formulas do
                for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ] do
                    for around in (if isWhole then arounds else [ arounds[2] ]) do
                        let code = driver.Surrounded((1 <<< switches) - 1, around).VisitsFor(dtype).[0].Code

                        $"{name}-{dtype.Name()}", ElementKernel.Render(code, false)
            let lamb = PtxKit.programOf "LAMB" []

            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                for index, struct (purpose, kernel) in Seq.indexed (ProgramKernels.Of(lamb, dtype)) do
                    $"lamb-{dtype.Name()}-{index} ({purpose})", kernel

                let guarded = (PtxKit.arounds[1].Around lamb).VisitsFor dtype
                $"lamb-guarded-sums-{dtype.Name()}", SumsKernel.Render(guarded[0].Code, false, Nullable(Guard 0))
                $"lamb-guarded-{dtype.Name()}", ElementKernel.Render(guarded[1].Code, true, Nullable(Guard 0))

                $"lamb-guarded-numbers-{dtype.Name()}",
                NumbersKernel.Render((ProgramRun lamb).NumbersFor(1, dtype).Code, Nullable(Guard(-1)))

            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Float16 ] do
                for ofWarps in [ false; true ] do
                    $"adafactor-squares-{dtype.Name()}-{ofWarps}", FactorKernels.Sums(AdafactorPrograms.SquaresOf dtype, ofWarps)

            for isDouble in [ false; true ] do
                for yes in [ false; true ] do
                    $"adafactor-rows-{isDouble}-{yes}", FactorKernels.Sums(AdafactorPrograms.RowsOf isDouble, yes)
                    $"adafactor-means-{isDouble}-{yes}", FactorKernels.Means(isDouble, yes)
                    $"adafactor-means-guarded-{isDouble}-{yes}", FactorKernels.Means(isDouble, yes, Nullable(Guard(-1)))

                $"adafactor-scales-{isDouble}", FactorKernels.Scales isDouble
                $"adafactor-expected-{isDouble}", FactorKernels.Expected isDouble

            for isLargest in [ false; true ] do
                $"totals-{isLargest}", TotalsKernel.OfParts isLargest
                $"norm-of-gradients-{isLargest}", TotalsKernel.OfGradients(isLargest, true)

            for name in rules do
                match Rules.Find name :> obj with
                | :? IRecorded as rule ->
                    for dtype in [ DType.Float32; DType.Float64 ] do
                        for struct (purpose, kernel) in ProgramKernels.Of(rule.Recorded((Rules.Find name).Defaults, 1000L), dtype) do
                            $"{name}-{dtype.Name()}, {purpose}", kernel
                | _ -> ()

            for rule in Rules.All do
                if rule.Has "capturable" then
                    for dtype in [ DType.Float32; DType.Float64 ] do
                        for struct (purpose, kernel) in capturableKernels rule.Name [] dtype do
                            $"{rule.Name}-capturable-{dtype.Name()}, {purpose}", kernel

            yield! NarrowKernelTests.kernels.Value

            for name, driver, switches, columns in formulas do
                for kind in [ NarrowKind.BFloat16; NarrowKind.Signed8; NarrowKind.NonNegative8 ] do
                    if not columns.IsEmpty then
                        let code =
                            driver.Surrounded((1 <<< switches) - 1, arounds[2]).VisitsFor(DType.Float32).[0].Code

                        let narrow = NarrowColumns [| for _ in columns -> kind |]
                        $"{name}-{kind}", NarrowKernel.Render(code, narrow, false)

            "join-blocks", JoinKernel.OfBlocks false
            "join-slices", JoinKernel.OfSlices true
        ]

/// What an assembler and a disassembler say about a kernel for an architecture: its registers and bytes of spills, or what is wrong.
let private assembleOne (assembler: string) (disassembler: string) (folder: string) index architecture (name, kernel: PtxKernel) =
    let source, target =
        Path.Combine(folder, $"{architecture}-{index}.ptx"), Path.Combine(folder, $"{architecture}-{index}.cubin")

    File.WriteAllText(source, kernel.Text)

    match run assembler [ $"-arch={architecture}"; "-v"; source; "-o"; target ] with
    | Some(0, output, errors) ->
        let number (pattern: string) =
            Regex.Matches(output + errors, pattern)
            |> Seq.sumBy (fun found -> int found.Groups[1].Value)

        // What was not fused in the text is not fused in the instructions, where no division or root has some of its own.
        let fused =
            if Regex.IsMatch(kernel.Text, @"\t(div|sqrt)\.rn|\tdiv\.u64") then
                None
            else
                match run disassembler [ target ] with
                | Some(0, code, _) ->
                    let found = Regex.Matches(code, @"\b[FD]FMA\b").Count
                    let written = Regex.Matches(kernel.Text, @"\tfma\.rn\.").Count

                    if found = written then
                        None
                    else
                        Some $"%s{name}, {architecture}: {found} FFMA and DFMA, and {written} fma in the text"
                | _ -> None

        match fused with
        | Some wrong -> Error wrong
        | None -> Ok(number @"Used (\d+) registers", number @"(\d+) bytes spill stores")
    | result -> Error $"%s{name}, {architecture}: %A{result}"

/// Every kernel through an assembler and a disassembler: for each architecture a line about registers and spills, and what is wrong.
let private assemble (assembler: string) (disassembler: string) (kernels: (string * PtxKernel) list) =
    let folder = Directory.CreateTempSubdirectory("optim-ptxas")

    try
        [
            for architecture in [ "sm_75"; "sm_80"; "sm_90"; "sm_100"; "sm_120" ] do
                let answers =
                    kernels
                    |> List.toArray
                    |> Array.Parallel.mapi (fun index kernel ->
                        assembleOne assembler disassembler folder.FullName index architecture kernel)

                for answer in answers do
                    match answer with
                    | Error wrong -> Error wrong
                    | Ok _ -> ()

                let good = answers |> Array.choose Result.toOption
                let most = good |> Seq.map fst |> Seq.fold max 0
                let spilled = good |> Seq.filter (fun (_, bytes) -> bytes > 0) |> Seq.length
                Ok $"{architecture}: {kernels.Length} kernels, at most {most} registers, {spilled} with spills"
        ]
    finally
        folder.Delete true

let private assemblerTests =
    testSequenced
    <| test "NVIDIA's assembler takes every kernel, for sm_75 to sm_120; registers and spills are printed" {
        let assembler =
            match Environment.GetEnvironmentVariable "OPTIM_PTXAS" with
            | null -> "ptxas"
            | path -> path

        match run assembler [ "--version" ] with
        | Some(0, _, _) ->
            let lines = assemble assembler "nvdisasm" kernels.Value

            let wrong =
                [
                    for line in lines do
                        match line with
                        | Ok line -> printfn "%s" line
                        | Error wrong -> wrong
                ]

            if not wrong.IsEmpty then
                failtest (String.Join('\n', wrong))
        | _ -> skiptest "there is no ptxas: OPTIM_PTXAS may name it"
    }

let private pretendAssemblerTests =
    testSequenced
    <| test "what an assembler says is read: registers, spills, refusals, and instructions that are fused and are not in the text" {
        if OperatingSystem.IsWindows() then
            skiptest "it is a shell's script"

        let folder = Directory.CreateTempSubdirectory("optim-pretend")

        let script name (lines: string list) =
            let path = Path.Combine(folder.FullName, name)
            File.WriteAllText(path, String.Join('\n', "#!/bin/sh" :: lines) + "\n")
            File.SetUnixFileMode(path, UnixFileMode.UserRead ||| UnixFileMode.UserWrite ||| UnixFileMode.UserExecute)
            path

        try
            // Called as NVIDIA's is: the architecture, -v, the text, -o and the target.
            let assembler =
                script
                    "ptxas"
                    [
                        "[ \"$2\" = -v ] && [ \"$4\" = -o ] || exit 2"
                        "grep -q refuse_this \"$3\" && { echo 'ptxas error: told to' >&2; exit 255; }"
                        "spills=0; [ \"$1\" = -arch=sm_90 ] && spills=8"
                        "echo \"ptxas info    : 0 bytes stack frame, $spills bytes spill stores, 0 bytes spill loads\" >&2"
                        "echo \"ptxas info    : Used $(grep -c reg \"$3\") registers\" >&2"
                        "cp \"$3\" \"$5\""
                    ]

            let faithful =
                script
                    "nvdisasm"
                    [
                        "sed -n 's/.*fma\\.rn\\.f32 .*/ FFMA R1, R2 ;/p; s/.*fma\\.rn\\.f64 .*/ DFMA R1 ;/p' \"$1\""
                    ]

            let fusing =
                script "nvdisasm-fusing" [ $"'{faithful}' \"$1\""; "echo ' FFMA R0, R0 ;'" ]

            let some =
                kernels.Value
                |> List.filter (fun (name, _) -> name = "SGD-float32" || name = "join-slices")
                // All of them have several of a name.
                |> List.distinctBy fst

            Expect.equal some.Length 2 "kernels"
            let lines = assemble assembler faithful some

            Expect.equal
                lines
                [
                    for architecture in [ "sm_75"; "sm_80"; "sm_90"; "sm_100"; "sm_120" ] do
                        let most =
                            some
                            |> Seq.map (fun (_, kernel) -> Regex.Matches(kernel.Text, "\n.*reg.*").Count)
                            |> Seq.max

                        let spilled = if architecture = "sm_90" then 2 else 0
                        Ok $"{architecture}: 2 kernels, at most {most} registers, {spilled} with spills"
                ]
                "registers and spills"

            let wrong =
                assemble assembler fusing some
                |> List.choose (function
                    | Error words -> Some words
                    | Ok _ -> None)

            Expect.equal wrong.Length 10 "each kernel for each architecture"
            Expect.stringContains wrong[0] "FFMA and DFMA" "what is wrong"

            let refused =
                "refused", PtxKernel((snd some[0]).Text + "// refuse_this\n", [||], 256)

            match assemble assembler faithful [ refused ] with
            | Error words :: _ -> Expect.stringContains words "told to" "what the assembler says"
            | other -> failtestf "%A" other
        finally
            folder.Delete true
    }

[<Tests>]
let tests = testList "ptx assembler" [ assemblerTests; pretendAssemblerTests ]
