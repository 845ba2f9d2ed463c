/// The runner of all tests: `./optim test [--filter TEXT]`, TEXT being any part of a test's dotted name, in any case.
/// Other arguments are Expecto's. The last line is "N passed, N failed" (and ", N skipped").
///
/// Environment variables:
///   OPTIM_LARGE=1             also the tests of tensors of more than 2^31 elements: 16 GB of memory, 5 GB of disk
///   OPTIM_CASES, OPTIM_SEED   times as many cases of the laws; the seed that they, and properties, are drawn with: `./optim test` gives the same each time
///   OPTIM_MUTATIONS           random changes to each kind of checkpoint file
///   OPTIM_KILLS               savers that are killed
///   OPTIM_GOLDEN              another folder of recordings: see golden/README.md
///   OPTIM_PTX_ALL=1           all kernels for NVIDIA's devices in the interpreter, and not a sample: minutes
///   OPTIM_PTXAS               NVIDIA's assembler, where it is not on the path
///   OPTIM_PTX                 a folder into which the texts of some kernels are written anew: properties/Cuda/ptx
///   OPTIM_API                 a folder into which the files of the public API are written anew: see Shell/ApiTests.fs
///   OPTIM_MPI_FAULTS=all      every fault in every call on every rank under MPI launchers: half an hour
///   OPTIM_REQUIRE_MPI=1       fail, instead of skipping tests, where there are no MPI launchers
///   OPTIM_REQUIRE_LIBTORCH=1, OPTIM_REQUIRE_TORCH=1   fail, instead of skipping tests, where libtorch or Python's torch is missing
module Main

open System
open System.IO
open Expecto
open Expecto.Impl

/// The arguments without `--filter TEXT`, and TEXT.
let private filterOf (arguments: string list) =
    let rec split before arguments =
        match arguments with
        | "--filter" :: text :: rest -> List.rev before @ rest, Some text
        | (argument: string) :: rest when argument.StartsWith("--filter=", StringComparison.Ordinal) ->
            List.rev before @ rest, Some(argument.Substring "--filter=".Length)
        | argument :: rest -> split (argument :: before) rest
        | [] -> List.rev before, None

    split [] arguments

let private run arguments =
    let arguments, filter = filterOf (List.ofArray arguments)

    if arguments |> List.contains "--filter" then
        eprintfn "--filter needs the text to look for, as in: --filter adam"
        1
    else
        // Those marked [<Tests>], and TorchSharp's, which are asked for last: finding out whether libtorch loads takes a while.
        let all =
            TestList(
                [
                    yield! Option.toList (testFromThisAssembly ())
                    TorchSharpTests.tests
                    TorchAverageTests.tests TorchSharpTests.loads
                    HostileCalls.tests
                ],
                Normal
            )

        let tests =
            match filter with
            | None -> all
            | Some text ->
                all
                |> Test.filter "." (fun names -> String.Join(".", names).Contains(text, StringComparison.OrdinalIgnoreCase))

        let mutable summary = None

        // Failures only; Expecto's adapter for FsCheck puts the seed and the line to replay it with into a failure.
        let printer =
            { TestPrinters.silent with
                failed = TestPrinters.defaultPrinter.failed
                exn = TestPrinters.defaultPrinter.exn
            }

        let handler = SummaryHandler(fun run -> summary <- Some run)

        let settings =
            [
                CLIArguments.No_Spinner
                CLIArguments.Colours 0
                CLIArguments.Printer printer
                CLIArguments.Append_Summary_Handler handler
            ]

        let code = runTestsWithCLIArgs settings (Array.ofList arguments) tests

        match summary with
        | None -> code // --list-tests, --help
        | Some run ->
            let passed, failed, skipped =
                run.passed.Length, run.failed.Length + run.errored.Length, run.ignored.Length

            use out = new StreamWriter(Console.OpenStandardOutput())

            for line in GoldenTests.differences () do
                out.WriteLine line

            match Plain.Cases.summary () with
            | "" -> ()
            | cases -> out.WriteLine $"cases: {cases}"

            // Failures once more, shortened: where only the end of a long output is kept, their names must be in it.
            for test, outcome in run.failed @ run.errored do
                out.WriteLine("failed: " + String.Join(".", test.name))

                let said =
                    match outcome.result with
                    | Failed text -> text
                    | other -> string other

                for line in said.Split '\n' |> Seq.truncate 12 do
                    out.WriteLine("    " + line.Substring(0, min line.Length 300))

            if passed + failed = 0 then
                out.WriteLine "no test ran"

            out.WriteLine(
                $"{passed} passed, {failed} failed"
                + if skipped > 0 then $", {skipped} skipped" else ""
            )

            if failed > 0 || passed + failed = 0 then 1 else 0

[<EntryPoint>]
let main arguments =
    match ProcessorTests.runChild arguments, SavingKit.runChild arguments, RankChild.runChild arguments with
    | ValueSome code, _, _
    | _, ValueSome code, _
    | _, _, ValueSome code -> code
    | _ -> run arguments
