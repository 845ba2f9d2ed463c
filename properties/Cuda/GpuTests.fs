/// What runs where there is a GPU: nvidia-smi says so.
module GpuTests

open System
open System.IO
open Expecto
open Optim.Cli.Commands
open Optim.Cuda

/// What compute-sanitizer says about the check of a device, tool by tool; none where it is not installed.
let private sanitize (sanitizer: string) (command: string list) =
    [ "memcheck"; "racecheck"; "initcheck"; "synccheck" ]
    |> List.choose (fun tool ->
        PtxToolTests.run sanitizer ([ "--tool"; tool; "--error-exitcode"; "86" ] @ command)
        |> Option.map (fun (code, output, errors) -> tool, code, output + errors))

let private sanitizerTests =
    testSequenced
    <| test "with a GPU: compute-sanitizer finds nothing in the kernels" {
        let optim = Path.Combine(AppContext.BaseDirectory, "optim.dll")

        let check =
            [ "dotnet"; optim; "gpu-check"; "--repetitions"; "1"; "--elements"; "65536" ]
            @ [
                for rule in [ "Adam"; "Lamb"; "AdamP"; "AdamW, surrounded" ] do
                    "--rule"
                    rule
            ]

        match PtxToolTests.run "nvidia-smi" [ "-L" ] with
        | Some(0, _, _) ->
            match sanitize "compute-sanitizer" check with
            | [] -> skiptest "compute-sanitizer is not on the path"
            | found ->
                for tool, code, output in found do
                    Expect.equal code 0 $"{tool}: {output}"

                    let summary =
                        if tool = "racecheck" then
                            "RACECHECK SUMMARY: 0 hazards"
                        else
                            "ERROR SUMMARY: 0 errors"

                    Expect.stringContains output summary tool
        | _ -> skiptest "there is no GPU here: nvidia-smi does not run"
    }

let private deviceTests =
    testSequenced
    <| test "with a GPU: every kernel has the processor's bits, a hundred times, in two streams, and on all devices together" {
        match PtxToolTests.run "nvidia-smi" [ "-L" ], CudaDriver.TryLoad() with
        | Some(0, _, _), NonNull driver ->
            let lines = ResizeArray<string>()

            for ordinal in 0 .. driver.Devices - 1 do
                let check = GpuCheck(driver, DriverHost driver, ordinal, Action<string> lines.Add)

                let good = check.Run(GpuCheckCommand.Programs(), 100, 1L <<< 26)
                let output = String.Join('\n', lines)
                printfn "%s" output
                Expect.isTrue good output

            if driver.Devices > 1 then
                lines.Clear()

                let good =
                    GpuCheckCommand.Together(driver, DriverHost driver, Action<string> lines.Add)

                Expect.isTrue good (String.Join('\n', lines))
            else
                printfn "one device: nothing to step on several together"
        | _ -> skiptest "there is no GPU here: nvidia-smi does not run"
    }

[<Tests>]
let tests = testList "cuda gpu" [ deviceTests; sanitizerTests ]
