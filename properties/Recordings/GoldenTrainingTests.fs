/// PyTorch's recorded training runs, as `optim train --like` repeats them. Names begin with "golden".
module GoldenTrainingTests

open System
open System.IO
open Expecto
open Optim.Cli.Data
open Optim.Cli.Training
open Golden

/// Whole training runs, as `optim train --like` repeats them: those of rules, dtypes and schedules that exist, and on Fashion-MNIST where that is installed.
[<Tests>]
let tests =
    let ofFile (path: string) =
        let file = Path.GetFileName path

        let hasData =
            file.StartsWith("training_digits", StringComparison.Ordinal)
            || Directory.Exists DataSets.FashionMnistFolder

        try
            let runs = RecordedRun.ReadAll path
            let report = lazy (Replay.Run runs) // all at once: the data are read once

            let check (run: RecordedRun) () =
                let row = report.Value.Rows |> Seq.find (fun row -> row.Run = run)
                Expect.isEmpty row.Failures $"largest difference of a loss: {row.LargestLossDifference}"

                if not (isNull run.Scheduler) then
                    Expect.isLessThanOrEqual row.LargestRateDifference 1e-12 "rates"

            let test i (run: RecordedRun) =
                let options = String.Join(" ", run.OptionTexts)
                let name = $"#{i} {run.Optimizer} {run.DType} {options} {run.Scheduler}"

                if hasData && isNull (Replay.WhyNot run) then
                    testCase name (check run)
                else
                    ptestCase name ignore

            // One after the other: each sets the number of threads.
            testSequenced (testList $"golden training {file}" [ for i, run in Seq.indexed runs -> test i run ])
        with e ->
            testCase $"golden training {file}" (fun () -> failtestf "%s cannot be read: %s" path e.Message)

    match files "training*.json" with
    | [] -> ptestCase "golden training*.json: no such file" ignore
    | files -> TestList(files |> List.map ofFile, Normal)
