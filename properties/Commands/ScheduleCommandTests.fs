/// The command schedule: the values of learning-rate schedules, printed and drawn; and schedules of a run.
module ScheduleCommandTests

open System
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
        testCase "the values of a schedule are printed, drawn, and written as JSON and SVG" (fun () ->
            inFolder (fun file ->
                let output =
                    succeeds "schedule cosine --set T_max=50 --steps 100 --chart" [ "--svg"; file "a.svg"; "--json"; file "a.json" ]

                Expect.isFalse (output.Contains '\u001b') "no colours where there is no terminal"
                Expect.stringContains output "┤" "a chart"
                let json = ((readJson (file "a.json")).GetProperty "schedules")[0]

                let rates = numbersOf "lrs" json
                Expect.equal rates.Length 100 "a value for each step"

                for step, rate in List.indexed rates do
                    Expect.floatClose Accuracy.high rate ((1.0 + cos (Math.PI * float step / 50.0)) / 2.0) $"step {step}"
                    Expect.stringContains output $"{step, 6}  " "printed"

                Expect.containsAll (texts (svg (File.ReadAllText(file "a.svg")))) [ "cosine"; "learning rate"; "step" ] "picture"))

        testCase "several schedules are compared, each with settings of its own or common ones" (fun () ->
            inFolder (fun file ->
                let output =
                    succeeds
                        "schedule step:step_size=2 exponential step:step_size=3,gamma=0.1 --set gamma=0.5 --steps 4 --lr 0.8 --svg"
                        [ file "a.svg" ]

                let rows =
                    output.Split('\n')
                    |> Array.skip 4 // what the columns are, and their heads
                    |> Array.map _.Split(' ', StringSplitOptions.RemoveEmptyEntries)
                    |> Array.takeWhile (fun cells -> cells.Length = 4)

                Expect.equal
                    rows
                    [|
                        [| "0"; "0.8"; "0.8"; "0.8" |]
                        [| "1"; "0.8"; "0.4"; "0.8" |]
                        [| "2"; "0.4"; "0.2"; "0.8" |]
                        [| "3"; "0.4"; "0.1"; "0.08" |]
                    |]
                    "values"

                let document = svg (File.ReadAllText(file "a.svg"))
                Expect.containsAll (texts document) [ "step:step_size=2"; "exponential"; "step:step_size=3,gamma=0.1" ] "legend"
                Expect.equal (lines document) 3 "curves"))

        testCase "--every leaves values out, from the picture not" (fun () ->
            let output = succeeds "schedule cosine --every 30" []

            Expect.equal
                [
                    for line in output.Trim().Split('\n') |> Array.skip 1 -> line.Trim().Split(' ')[0]
                ]
                [ "0"; "30"; "60"; "90" ]
                "steps")

        testCase "every schedule of the catalogue is drawn, as soon as it has what it needs" (fun () ->
            let needed =
                Map
                    [
                        "step_size", "10"
                        "milestones", "[30,80]"
                        "gamma", "0.9"
                        "T_0", "20"
                        "max_lr", "0.5"
                        "base_lr", "0.1"
                        "swa_lr", "0.05"
                        "warmup_iters", "10"
                        "stable_iters", "20"
                        "decay_iters", "30"
                    ]

            for kind in Seq.concat [ Schedulers.All; Schedulers.OfHuggingFace; Schedulers.OfTimm ] do
                let settings =
                    [
                        for setting in kind.Settings do
                            if isNull (box setting.Default) && needed.ContainsKey setting.Name then
                                $"{setting.Name}={needed[setting.Name]}"
                    ]

                let settings =
                    if kind.Settings |> Seq.exists (fun setting -> setting.Name = "min_lr_rate") then
                        "min_lr_rate=0.1" :: settings
                    else
                        settings

                let label =
                    kind.ShortName
                    + (if settings.IsEmpty then
                           ""
                       else
                           ":" + String.Join(",", settings))

                Expect.stringContains (succeeds "schedule" [ label; "--chart" ]) "learning rate" label)

        testCase "a schedule moves the rates of a run, and its length is that of the run" (fun () ->
            let settings =
                TrainingSettings(Epochs = 2, BatchSize = 64, ThreadCount = 1, Schedule = Scheduling(Schedulers.Find "cosine", [||]))

            let result = Trainer.Run settings
            let steps = float settings.Steps

            for step, rate in Seq.indexed result.History.Rates[0] do
                Expect.floatClose Accuracy.high rate (1e-3 * (1.0 + cos (Math.PI * float step / steps)) / 2.0) $"step {step}"

            let lr =
                result.Optimizers[0].Options
                |> Seq.pick (fun struct (name, value) -> if name = "lr" then Some value else None)

            Expect.equal lr (OptionValue.Float 1e-3) "the option is reported as it was given")

        testCase "a schedule of transformers warms up over --warmup steps, and greedy follows the loss of each step" (fun () ->
            let rates schedule =
                let mutable seen = [||]

                inFolder (fun file ->
                    succeeds $"train --epochs 1 --threads 1 --set lr=0.01 --scheduler {schedule} --json" [ file "a.json" ]
                    |> ignore

                    seen <- Array.ofList (numbersOf "lrs" (readJson (file "a.json"))))

                seen

            let cosine = rates "hf:cosine --warmup 10"

            for step in 0..9 do
                Expect.floatClose Accuracy.high cosine[step] (0.01 * float step / 10.0) $"step {step}"

            let count = cosine.Length

            Expect.floatClose
                Accuracy.high
                cosine[count - 1]
                (0.01 * (1.0 + cos (Math.PI * float (count - 11) / float (count - 10))) / 2.0)
                "the last step"

            Expect.isGreaterThan (Array.distinct (rates "hf:greedy --set-scheduler patience=0")).Length 5 "greedy changes the rate often")

        testCase "--warmup is refused where nothing warms up, or where it is said twice" (fun () ->
            for line, why in
                [
                    "--warmup 5", [ "--warmup 5"; "--scheduler" ]
                    "--scheduler cosine --set-scheduler T_max=5 --warmup 5", [ "--warmup 5"; "cosine"; "hf:cosine" ]
                    "--scheduler hf:cosine --set-scheduler num_warmup_steps=3 --warmup 5", [ "num_warmup_steps" ]
                ] do
                refused (words $"train {line}") why)

        testCase "--group sets options by name, prints what went where, and is refused where it fits nothing" (fun () ->
            inFolder (fun file ->
                let quick = "train --epochs 1 --threads 1 --hidden 8"

                let output =
                    succeeds
                        $"{quick} --group *.bias:weight_decay=0 --group layer1.weight:lr=0,weight_decay=0"
                        [ "--checkpoint"; file "run.pt"; "--json"; file "a.json" ]

                Expect.stringContains output "'layer1.weight'" "table"
                let json = readJson (file "a.json")
                let first = (json.GetProperty "groups")[0]
                Expect.equal (first.GetString()) "*.bias:weight_decay=0" "JSON"
                let saved = Checkpoint.Read(file "run.pt")
                let optimizer = saved["optimizer"]
                let groups = optimizer["param_groups"].AsItems()
                Expect.equal groups.Length 3 "groups"
                let second = groups[1]
                Expect.equal (Tree.op_Explicit second["lr"]: float) 0.0 "rate"

                for line, why in
                    [
                        "--group *.gamma:lr=1", [ "*.gamma"; "layer1.bias" ]
                        "--group *.bias:lr=1 --group layer1.*:lr=2", [ "layer1.bias"; "*.bias"; "layer1.*" ]
                        "--group *.bias", [ "--group"; "*.bias"; "PATTERN" ]
                        "--group *.bias:rate=1", [ "rate" ]
                        "--group-order first", [ "--group-order" ]
                        "--optimizer lbfgs --group *.bias:lr=1", [ "LBFGS" ]
                    ] do
                    refused (words $"{quick} {line}") why

                succeeds $"{quick} --group *.bias:lr=1 --group layer1.*:lr=2 --group-order last" []
                |> ignore))

        testCase "--scheduler and --set-scheduler reach the run, the summary and the JSON" (fun () ->
            inFolder (fun file ->
                let output =
                    succeeds
                        "train --epochs 1 --threads 1 --scheduler exponential --set-scheduler gamma=0.5 --chart"
                        [ "--json"; file "a.json"; "--svg"; file "a.svg" ]

                Expect.stringContains output "ExponentialLR: gamma=0.5" "summary"
                let json = readJson (file "a.json")
                Expect.equal (json.GetProperty("scheduler").GetString()) "ExponentialLR" "scheduler"
                Expect.equal (number "gamma" (json.GetProperty "scheduler_args")) 0.5 "argument"
                Expect.equal (List.truncate 3 (numbersOf "lrs" json)) [ 1e-3; 5e-4; 2.5e-4 ] "rates"

                for panel in [ "training loss"; "test accuracy (%)"; "learning rate" ] do
                    Expect.stringContains output panel "chart"
                    Expect.stringContains (File.ReadAllText(file "a.svg")) panel "picture"))
    ]
