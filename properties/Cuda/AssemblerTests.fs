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

/// Every kernel through an assembler and a disassembler: for each architecture a line about registers and spills, or what is wrong.
let private assemble (assembler: string) (disassembler: string) (kernels: (string * PtxKernel) list) =
    let folder = Directory.CreateTempSubdirectory("optim-ptxas")

    let source, target =
        Path.Combine(folder.FullName, "kernel.ptx"), Path.Combine(folder.FullName, "kernel.cubin")

    try
        [
            for architecture in [ "sm_75"; "sm_80"; "sm_90"; "sm_100"; "sm_120" ] do
                let mutable registers, spilled = 0, 0

                for name, kernel in kernels do
                    File.WriteAllText(source, kernel.Text)

                    match run assembler [ $"-arch={architecture}"; "-v"; source; "-o"; target ] with
                    | Some(0, output, errors) ->
                        let said = output + errors
                        let used = Regex.Match(said, @"Used (\d+) registers")
                        let spills = Regex.Match(said, @"(\d+) bytes spill stores")

                        if used.Success then
                            registers <- max registers (int used.Groups[1].Value)

                        if spills.Success && spills.Groups[1].Value <> "0" then
                            spilled <- spilled + 1
                    | result -> Error $"%s{name}, {architecture}: %A{result}"

                    // What was not fused in the text is not fused in the instructions, where no division or root has some of its own.
                    if not (Regex.IsMatch(kernel.Text, @"\t(div|sqrt)\.rn|\tdiv\.u64")) then
                        match run disassembler [ target ] with
                        | Some(0, code, _) ->
                            let found = Regex.Matches(code, @"\b[FD]FMA\b").Count
                            let written = Regex.Matches(kernel.Text, @"\tfma\.rn\.").Count

                            if found <> written then
                                Error $"%s{name}, {architecture}: {found} FFMA and DFMA, and {written} fma in the text"
                        | _ -> ()

                Ok $"{architecture}: {kernels.Length} kernels, at most {registers} registers, {spilled} with spills"
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
            for line in assemble assembler "nvdisasm" kernels.Value do
                match line with
                | Ok line -> printfn "%s" line
                | Error wrong -> failtest wrong
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
