/// `optim train` as a command: what it prints and writes, what it refuses, and how it reads options.
module TrainCommandTests

open System
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open Optim.Core
open Optim.Cli.Commands
open Optim.Cli.Training
open Kit
open Command

let private quick = words "train --epochs 1 --batch-size 256 --hidden 8 --threads 1"

let private results =
    [
        testCase "--json writes what was asked for" (fun () ->
            inFolder (fun file ->
                let path = file "results.json"
                File.WriteAllText(path, "what was there before")

                let output =
                    succeeds
                        ("train --optimizer ADAM --set lr=2e-3 --set betas=(0.8,0.99) --set amsgrad=true --set foreach=None --epochs 2"
                         + " --batch-size 500 --hidden 12,8 --seed 3 --dtype float64 --threads 1 --json")
                        [ path ]

                Expect.stringContains output "test accuracy" "summary"
                Expect.stringContains output "Adam" "summary"
                let json = readJson path
                let options = json.GetProperty "options"
                Expect.equal (json.GetProperty("losses").GetArrayLength()) 6 "a loss for every step"
                Expect.isTrue (number "test_accuracy" json > 0.0 && number "test_accuracy" json <= 1.0) "accuracy"
                Expect.isTrue (number "train_accuracy" json > 0.0) "accuracy"
                Expect.isGreaterThan (number "seconds" json) 0.0 "seconds"
                Expect.equal (number "lr" options) 2e-3 "lr"

                Expect.equal (numbersOf "betas" options) [ 0.8; 0.99 ] "betas"

                Expect.isTrue (options.GetProperty("amsgrad").GetBoolean()) "amsgrad"
                Expect.equal (options.GetProperty("foreach").ValueKind) JsonValueKind.Null "foreach"

                Expect.equal
                    [ for option in options.EnumerateObject() -> option.Name ]
                    (List.ofSeq (rule "Adam").OptionNames)
                    "all options, by PyTorch's names"

                Expect.equal (json.GetProperty("optimizer").GetString()) "Adam" "optimizer"
                Expect.equal (json.GetProperty("backend").GetString()) "host" "backend"
                Expect.equal (json.GetProperty("dtype").GetString()) "float64" "dtype"
                Expect.equal (json.GetProperty("version").GetString()) OptimCommand.Version "version"
                Expect.isFalse (json.GetProperty("interrupted").GetBoolean()) "interrupted"

                Expect.equal
                    [
                        for name in [ "seed"; "epochs"; "batch_size"; "threads" ] -> number name json
                    ]
                    [ 3.0; 2.0; 500.0; 1.0 ]
                    "settings"

                Expect.equal (numbersOf "hidden" json) [ 12.0; 8.0 ] "hidden"
                Expect.equal (Directory.GetFiles(file "").Length) 1 "nothing else was left"))

        testCase "LBFGS trains by name, with options, clipping and an average, and races" (fun () ->
            inFolder (fun file ->
                let output =
                    succeeds
                        ("train --optimizer lbfgs --set line_search_fn=strong_wolfe --set max_iter=8 --batch-size 1437 --epochs 6"
                         + " --hidden 16 --threads 1 --ema 0.5 --clip 10 --json")
                        [ file "run.json" ]

                Expect.stringContains output "max_eval=10" "settled by max_iter"
                let json = readJson (file "run.json")
                let losses = numbersOf "losses" json
                Expect.isLessThan (List.last losses) (0.5 * List.head losses) "the loss goes down"
                Expect.isGreaterThan (number "test_accuracy" json) 0.8 "accuracy"

                let output =
                    succeeds "race adam lbfgs:line_search_fn=strong_wolfe,max_iter=2 --epochs 1 --batch-size 718 --hidden 4" []

                Expect.stringContains output "lbfgs" "in the table"))

        testCase "after Ctrl-C there are a summary, the JSON, and exit code 130" (fun () ->
            inFolder (fun file ->
                use stop = new CancellationTokenSource()
                stop.Cancel()
                let path = file "results.json"
                let code, output, error = command stop.Token (quick @ [ "--json"; path ])
                Expect.equal code 130 "exit code"
                Expect.stringContains output "test accuracy" "summary"
                Expect.stringContains error "stopped after step 0 of 6" "says so"
                Expect.isTrue ((readJson path).GetProperty("interrupted").GetBoolean()) "interrupted"))

        testCase "losses that are not finite are written as text, and there is a warning" (fun () ->
            inFolder (fun file ->
                let path = file "results.json"

                let code, output, error =
                    run (quick @ words "--optimizer sgd --set lr=1e30 --json" @ [ path ])

                Expect.equal code 0 "exit code"
                Expect.stringContains error "the loss was not finite from step" "warning"
                Expect.stringContains output "nan" "shown"
                let last = (readJson path).GetProperty("losses").EnumerateArray() |> Seq.last
                Expect.equal (last.GetString()) "nan" "last loss"))

        testCase "help and version" (fun () ->
            let code, output, _ = run (words "train --help")
            Expect.equal code 0 "exit code"

            for rule in Algorithms.All do
                Expect.stringContains output $"{rule.Name}: lr=" "options of every rule"

            Expect.equal (run [ "--version" ]) (0, $"optim {OptimCommand.Version}{Environment.NewLine}", "") "version"
            let code, output, _ = run []
            Expect.equal code 0 "exit code"
            Expect.stringContains output "train" "commands")
    ]

let private refusals =
    [
        "train --optimizer adamx", [ "--optimizer"; "'adamx'"; "Adam, AdamW" ]
        "train --optimizer lbfgs --set line_search_fn=armijo", [ "line_search_fn"; "armijo"; "strong_wolfe" ]
        "train --optimizer lbfgs --scheduler onecycle --set-scheduler max_lr=1", [ "momentum" ]
        "train --set momentun=0.9 --optimizer sgd", [ "momentun"; "momentum"; "weight_decay" ]
        "train --set lr=-1", [ "lr"; "-1" ]
        "train --set lr=0.1,0.2", [ "lr"; "(0.1, 0.2)" ]
        "train --set lr=fast", [ "lr"; "fast"; "a number" ]
        "train --set lr=0x10", [ "lr=0x10"; "a number" ]
        "train --set lr", [ "--set lr"; "NAME=VALUE" ]
        "train --set lr=1 --set lr=2", [ "--set lr"; "2 times" ]
        "train --set betas=1,2,3", [ "betas"; "(1, 2, 3)"; "two numbers" ]
        "train --epochs 0", [ "--epochs"; "'0'"; "from 1" ]
        "train --epochs 1.5", [ "--epochs"; "'1.5'" ]
        "train --epochs 1 --epochs 2", [ "--epochs" ]
        "train --epochs", [ "--epochs" ]
        "train --epoch 3", [ "'--epoch'"; "--epochs" ]
        "train --batch-size 1438", [ "--batch-size"; "'1438'"; "1437" ]
        "train --hidden 64,0", [ "--hidden"; "'64,0'" ]
        "train --hidden 64 --hidden 32", [ "--hidden" ]
        "train --seed -1", [ "--seed"; "'-1'" ]
        "train --dtype float16", [ "--dtype"; "'float16'"; "float32 or float64" ]
        "train --threads 0", [ "--threads"; "'0'"; "1024" ]
        "train --backend cuda", [ "--backend"; "'cuda'"; "host or torchsharp" ]
        "train --json no/such/folder.json", [ "--json"; "there is no folder" ]
        "train --json .", [ "--json"; "is a folder" ]
        "train --svg no/such/folder.svg", [ "--svg"; "there is no folder" ]
        "train --data nowhere", [ "--data"; "'nowhere'"; "digits"; "fashion-mnist" ]
        "train --scheduler cosin", [ "cosin"; "'cosine'" ]
        "train --scheduler step", [ "StepLR needs step_size" ]
        "train --scheduler cosine --set-scheduler T_mx=3", [ "T_mx"; "T_max" ]
        "train --scheduler cosine --set-scheduler eta_min=-1", [ "eta_min"; "-1" ]
        "train --scheduler cosine --set-scheduler T_max", [ "--set-scheduler T_max"; "NAME=VALUE" ]
        "train --scheduler onecycle --set-scheduler max_lr=1 --set-scheduler total_steps=9", [ "total_steps is 9" ]
        "train --set-scheduler T_max=3", [ "--set-scheduler T_max=3"; "--scheduler" ]
        "train --ema 1.5", [ "--ema"; "'1.5'"; "0 to 1" ]
        "train --clip 0", [ "--clip"; "'0'"; "above 0" ]
        "race", [ "OPTIMIZER" ]
        "race adam adamx", [ "'adamx'"; "Adam" ]
        "race adam adam", [ "'adam'"; "2 times" ]
        "race adam:lr", [ "adam:lr"; "NAME=VALUE" ]
        "race adam:lr=1,lr=2", [ "lr"; "2 times" ]
        "race adam:lr=-1 sgd", [ "Adam"; "lr"; "-1" ]
        "race adam:momentum=0.9", [ "momentum"; "Adam" ]
        "race adam --set centred=True", [ "--set centred=True"; "There are: lr" ]
        "race adam --epochs 0", [ "--epochs" ]
        "race adam --json .", [ "--json"; "is a folder" ]
        "schedule", [ "SCHEDULE" ]
        "schedule cosin", [ "cosin"; "'cosine'" ]
        "schedule step", [ "StepLR needs step_size" ]
        "schedule cosine cosine", [ "'cosine'"; "2 times" ]
        "schedule cosine --set gamma=0.1", [ "--set gamma=0.1"; "T_max" ]
        "schedule cosine --steps 0", [ "--steps"; "'0'" ]
        "schedule cosine --lr -1", [ "--lr"; "'-1'" ]
        "schedule cosine --every 0", [ "--every"; "'0'" ]
        "schedule cosine --svg .", [ "--svg"; "is a folder" ]
        "train --like no-such-file", [ "--like"; "there is no such file" ]
        "trian", [ "'trian'"; "train" ]
    ]
    |> List.map (fun (line, why) -> testCase $"refused in one sentence: {line}" (fun () -> refused (words line) why))

let private values =
    [
        testCase "values of options are read as one writes them in Python" (fun () ->
            let pair a b =
                OptionValue.TupleOf [ OptionValue.Float a; OptionValue.Float b ]

            for text, expected in
                [
                    "1e-3", Some(OptionValue.Float 1e-3)
                    "5", Some(OptionValue.Int 5L)
                    "-.5", Some(OptionValue.Float -0.5)
                    "True", Some(OptionValue.Bool true)
                    "false", Some(OptionValue.Bool false)
                    "None", Some OptionValue.None
                    "null", Some OptionValue.None
                    "0.9,0.99", Some(pair 0.9 0.99)
                    "(0.9, 0.99)", Some(pair 0.9 0.99)
                    "[1, 2]", Some(pair 1.0 2.0)
                    "inf", Some(OptionValue.Float infinity)
                    "-inf", Some(OptionValue.Float -infinity)
                    "nan", Some(OptionValue.Float nan)
                    "0.9,", None
                    "(30,)", Some(OptionValue.TupleOf [ OptionValue.Int 30L ])
                    "[30]", Some(OptionValue.TupleOf [ OptionValue.Int 30L ])
                    "(0.9)", Some(OptionValue.Float 0.9)
                    "3.4445, -4.775, 2.0315",
                    Some(OptionValue.TupleOf [ OptionValue.Float 3.4445; OptionValue.Float -4.775; OptionValue.Float 2.0315 ])
                    "(None, 1e-3)", Some(OptionValue.TupleOf [ OptionValue.None; OptionValue.Float 1e-3 ])
                    "match_rms_adamw", Some(OptionValue.Text "match_rms_adamw")
                    "'cos'", Some(OptionValue.Text "cos")
                    "'cos", None
                    "", None
                    "()", None
                    "1,,2", None
                    "1 000", None
                    "0x10", None
                    "1e999", None
                    "a b", None
                ] do
                let read =
                    match OptionText.TryParse text with
                    | true, value -> Some value
                    | _ -> None

                Expect.equal read expected $"'{text}'")
    ]

let private environment =
    [
        test "a wrong OPTIM_THREADS is refused in one sentence" {
            let start =
                Diagnostics.ProcessStartInfo("dotnet", RedirectStandardError = true, RedirectStandardOutput = true)

            start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "optim.dll"))
            start.ArgumentList.Add "train"
            start.Environment["OPTIM_THREADS"] <- "many"
            use running = nonNull (Diagnostics.Process.Start start)
            let error = running.StandardError.ReadToEnd()
            running.WaitForExit()
            Expect.equal running.ExitCode 1 "the exit code"
            Expect.equal (error.Trim()) "optim: OPTIM_THREADS is 'many'; it must be a number in 1 to 1024." "the sentence"
        }
    ]

[<Tests>]
let tests =
    testSequenced
    <| testList
        "train"
        [
            testList "results" results
            testList "refusals" refusals
            testList "values" values
            testList "environment" environment
        ]
