/// The command race: several optimizers from the same weights over the same batches.
module RaceTests

open System
open System.Collections.Immutable
open System.IO
open Expecto
open Optim
open Optim.Cli.Training
open Optim.Core
open Command
open Kit
open SvgKit

let tests =
    [
        testCase "a race runs every optimizer from the same weights over the same batches, and draws them together" (fun () ->
            inFolder (fun file ->
                let names = [ "adam"; "SGD:lr=0.1,momentum=0.9"; "adamw:betas=(0.8,0.9),lr=0.01" ]

                let output =
                    succeeds
                        "race --set weight_decay=0 --epochs 2 --threads 1 --chart"
                        (names @ [ "--svg"; file "a.svg"; "--json"; file "a.json" ])

                let runs = (readJson (file "a.json")).GetProperty("runs")
                Expect.equal [ for run in runs.EnumerateArray() -> run.GetProperty("name").GetString() ] names "runs"

                let firsts =
                    [ for run in runs.EnumerateArray() -> List.head (numbersOf "losses" run) ]

                Expect.equal firsts (List.replicate 3 firsts.Head) "the same first loss"
                Expect.equal (number "weight_decay" (runs[2].GetProperty "options")) 0.0 "an option for all"
                Expect.equal (number "lr" (runs[1].GetProperty "options")) 0.1 "an option of its own"

                let alone =
                    Trainer.Run(
                        TrainingSettings(
                            Rule = Rules.Find "Adam",
                            Options = [| struct ("weight_decay", OptionValue.Int 0L) |].ToImmutableArray(),
                            Epochs = 2,
                            ThreadCount = 1
                        )
                    )

                Expect.equal (numbersOf "losses" runs[0]) (List.ofSeq alone.Losses) "the losses of the run alone"

                let document = svg (File.ReadAllText(file "a.svg"))
                Expect.containsAll (texts document) names "legend"
                Expect.isGreaterThanOrEqual (lines document) 6 "losses and accuracies of all"

                for name in names do
                    Expect.stringContains output name "table"))

        testCase "the table has the best first" (fun () ->
            let output = succeeds "race sgd:lr=1e-6 adam --epochs 3 --threads 1" []

            let table = output.Substring(output.IndexOf "test accuracy")
            Expect.isLessThan (table.IndexOf "adam") (table.IndexOf "sgd:lr=1e-6") "order")

        testCase "a race that is stopped shows what is there" (fun () ->
            use stop = new Threading.CancellationTokenSource()
            stop.Cancel()
            let code, output, _ = command stop.Token (words "race adam sgd")
            Expect.equal code 130 "exit code"
            Expect.stringContains output "test accuracy" "table")

        testCase "losses that are not finite are warned of by name" (fun () ->
            let code, _, error = run (words "race adam sgd:lr=1e30 --epochs 1 --threads 1")

            Expect.equal code 0 "exit code"
            Expect.stringContains error "sgd:lr=1e30: the loss was not finite from step" "warning")
    ]
