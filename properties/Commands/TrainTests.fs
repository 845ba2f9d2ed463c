/// `optim train`: the model's gradients, what a run gives, what it writes and refuses, and the recorded runs.
module TrainTests

open System
open System.Collections.Generic
open System.Collections.Immutable
open System.Diagnostics
open System.IO
open System.Text.Json
open System.Threading
open Expecto
open Optim
open Optim.Core
open Optim.Cli.Commands
open Optim.Cli.Data
open Optim.Cli.Models
open Optim.Cli.Training
open Optim.Kernels
open Kit
open Command

// What the tests share

let private backward (model: IModel) (rows: int[]) = model.Backward(ReadOnlySpan rows)

let private countRight (model: IModel) (rows: int[]) = model.CountRight(ReadOnlySpan rows)

let private weightsOf (sizes: int[]) seed =
    let random = SplitMix seed
    InitialWeights.Draw(ReadOnlySpan sizes, Func<float>(random.NextSigned))

/// Two epochs of a small model.
let private small =
    TrainingSettings(Epochs = 2, BatchSize = 64, Hidden = ImmutableArray.Create 16, ThreadCount = 1)

let private train (settings: TrainingSettings) = Trainer.Run settings

let private sameLosses (a: IReadOnlyList<float>) (b: IReadOnlyList<float>) =
    sameBits (Array.ofSeq a) (Array.ofSeq b)

let private quick =
    [
        "train"
        "--epochs"
        "1"
        "--batch-size"
        "256"
        "--hidden"
        "8"
        "--threads"
        "1"
    ]

/// Whether libtorch can be loaded here.
let private libtorch =
    lazy
        (try
            train (TrainingSettings(Epochs = 1, BatchSize = 1437, Backend = Backend.TorchSharp))
            |> ignore

            true
         with :? NotSupportedException ->
             false)

// The data and the model

let private data =
    [
        testCase "the digits are all there" (fun () ->
            let digits = Digits.Load()
            Expect.equal digits.Count 1797 "rows"

            let perLabel =
                Seq.init digits.Count digits.Label |> Seq.countBy id |> Seq.sort |> List.ofSeq

            // As the archive says of this file.
            Expect.equal
                perLabel
                [
                    0, 178
                    1, 182
                    2, 177
                    3, 183
                    4, 181
                    5, 182
                    6, 181
                    7, 179
                    8, 174
                    9, 180
                ]
                "labels"

            let images = digits.All<float>()
            Expect.equal (Array.sub images 0 6) [| 0.0; 0.0; 0.3125; 0.8125; 0.5625; 0.0625 |] "first pixels"
            Expect.equal (Array.min images, Array.max images) (0.0, 1.0) "range")

        testCase "an epoch of shuffled batches holds every row once, and no two epochs are in the same order" (fun () ->
            let rows = [| 0..99 |]

            let batches =
                Batches.Shuffled(rows, 32, 3, SplitMix 1L) |> Seq.map List.ofSeq |> List.ofSeq

            let epochs = batches |> List.chunkBySize 4 |> List.map List.concat
            Expect.equal (batches |> List.map List.length) (List.replicate 3 [ 32; 32; 32; 4 ] |> List.concat) "sizes"

            for epoch in epochs do
                Expect.equal (List.sort epoch) (List.ofArray rows) "rows"

            Expect.equal (List.distinct epochs).Length 3 "orders"
            Expect.equal rows [| 0..99 |] "what was given is as it was")

        testCase "the generator gives SplitMix64's numbers on every machine" (fun () ->
            // The published sequence from seed 0 begins E220A8397B1DCDAF, 6E789E6AA1B965F4, 06C45D188009454F.
            let random = SplitMix 0L
            let expected = [ 0xE220A8397B1DCDAFUL; 0x6E789E6AA1B965F4UL; 0x06C45D188009454FUL ]

            for bits in expected do
                let unit = float (bits >>> 11) * Math.ScaleB(1.0, -53)
                Expect.equal (random.NextSigned()) (2.0 * unit - 1.0) "number")
    ]

let private gradients =
    let rows = [| 3; 500; 17; 1200; 42 |]
    let hidden = [| 6; 5 |]
    let digits = lazy Digits.Load()

    let weights () =
        weightsOf [| digits.Value.Features; 6; 5; digits.Value.Classes |] 7L

    let double () =
        new Mlp<float>(digits.Value, ReadOnlySpan hidden, weights ())

    let single () =
        new Mlp<float32>(digits.Value, ReadOnlySpan hidden, weights ())

    let all (model: Mlp<float>) =
        model.Parameters
        |> Seq.map (fun p -> (p :?> Param).Gradient<float>().ToArray())
        |> Array.concat

    [
        testCase "the gradients are those of central differences" (fun () ->
            use model = double ()
            use probe = double ()
            backward model rows |> ignore
            let step = 1e-6

            for i in 0 .. model.Parameters.Count - 1 do
                let parameter, moved = model.Parameters[i] :?> Param, probe.Parameters[i] :?> Param
                let gradient = parameter.Gradient<float>().ToArray()
                Expect.isTrue (gradient |> Array.exists (fun g -> abs g > 1e-3)) $"parameter {i} has a gradient"

                for k in 0 .. max 1 (gradient.Length / 40) .. gradient.Length - 1 do
                    let value = parameter.Data<float>()[k]

                    let loss x =
                        moved.Data<float>()[k] <- x
                        backward probe rows

                    let difference = (loss (value + step) - loss (value - step)) / (2.0 * step)
                    moved.Data<float>()[k] <- value
                    Expect.floatClose { absolute = 1e-8; relative = 1e-6 } gradient[k] difference $"parameter {i}, element {k}")

        testCase "gradients add up, and float32 agrees with float64" (fun () ->
            use model = double ()
            use narrow = single ()
            let loss = backward model rows
            let once = all model
            Expect.equal (backward model rows) loss "the same loss again"
            let twice = all model
            Expect.all (Array.zip once twice) (fun (a, b) -> abs (2.0 * a - b) <= 1e-14) "twice the gradient"
            Expect.floatClose Accuracy.medium (backward narrow rows) loss "loss"

            let singles =
                narrow.Parameters
                |> Seq.map (fun p -> (p :?> Param).Gradient<float32>().ToArray() |> Array.map float)
                |> Array.concat

            Expect.all (Array.zip once singles) (fun (a, b) -> abs (a - b) <= 1e-6) "gradients")

        testCase "counting right answers does not depend on how many rows are asked for at once" (fun () ->
            use model = single ()
            let rows = [| 0 .. digits.Value.Count - 1 |]
            let alone = rows |> Array.sumBy (fun row -> countRight model [| row |])
            Expect.equal (countRight model rows) alone "right answers")
    ]

// Runs

let private runs =
    [
        testCase "with its defaults it reaches 96 % in ten seconds" (fun () ->
            let clock = Stopwatch.StartNew()
            let result = train TrainingSettings.Defaults
            Expect.isGreaterThanOrEqual result.TestAccuracy 0.96 "test accuracy"
            Expect.isLessThan clock.Elapsed.TotalSeconds 10.0 "seconds"
            Expect.isFalse result.Interrupted "ran to its end")

        testCase "every rule trains, in both dtypes" (fun () ->
            for rule in Kit.denseRules @ [ Rules.Find "Adafactor"; Rules.Find "Muon" ] do
                for dtype in [ DType.Float32; DType.Float64 ] do
                    let result =
                        train (TrainingSettings(Rule = rule, DType = dtype, Epochs = 5, Hidden = ImmutableArray.Create 16))

                    let losses = Array.ofSeq result.Losses
                    let count = losses.Length / 5

                    let first, last =
                        Array.averageBy id losses[.. count - 1], Array.averageBy id losses[losses.Length - count ..]

                    Expect.isLessThan last first $"{rule.Name}, {dtype}: the loss goes down")

        testCase "LBFGS trains by name, with options, clipping and an average, and races" (fun () ->
            inFolder (fun file ->
                let json = file "run.json"

                let code, output, error =
                    run (
                        [
                            "train"
                            "--optimizer"
                            "lbfgs"
                            "--set"
                            "line_search_fn=strong_wolfe"
                            "--set"
                            "max_iter=8"
                        ]
                        @ [ "--batch-size"; "1437"; "--epochs"; "6"; "--hidden"; "16"; "--threads"; "1" ]
                        @ [ "--ema"; "0.5"; "--clip"; "10"; "--json"; json ]
                    )

                Expect.equal (code, error) (0, "") "train"
                Expect.stringContains output "max_eval=10" "settled by max_iter"

                let losses =
                    [
                        for loss in (readJson json).GetProperty("losses").EnumerateArray() -> loss.GetDouble()
                    ]

                Expect.isLessThan (List.last losses) (0.5 * List.head losses) "the loss goes down"
                Expect.isGreaterThan ((readJson json).GetProperty("test_accuracy").GetDouble()) 0.8 "accuracy"

                let code, output, error =
                    run
                        [
                            "race"
                            "adam"
                            "lbfgs:line_search_fn=strong_wolfe,max_iter=2"
                            "--epochs"
                            "1"
                            "--batch-size"
                            "718"
                            "--hidden"
                            "4"
                        ]

                Expect.equal (code, error) (0, "") "race"
                Expect.stringContains output "lbfgs" "in the table"))

        testCase "the same settings give the same bits, with any number of threads; another seed does not" (fun () ->
            let settings threads seed =
                TrainingSettings(Epochs = 2, Hidden = ImmutableArray.Create(96, 32), ThreadCount = threads, Seed = seed)

            let one = train (settings 1 5L)
            Expect.isTrue (sameLosses one.Losses (train (settings 1 5L)).Losses) "again"
            Expect.isTrue (sameLosses one.Losses (train (settings 2 5L)).Losses) "two threads"
            Expect.isTrue (sameLosses one.Losses (train (settings 3 5L)).Losses) "three threads"
            Expect.isFalse (sameLosses one.Losses (train (settings 1 6L)).Losses) "another seed")

        testCase "the number of threads is as it was afterwards" (fun () ->
            let before = Threads.Count

            train (TrainingSettings(Epochs = 1, BatchSize = 1437, ThreadCount = before + 1))
            |> ignore

            Expect.equal Threads.Count before "threads")

        testCase "a run that is stopped has the results so far, and they are those of the whole run" (fun () ->
            let whole = train small
            use stop = new CancellationTokenSource()

            let stopped =
                Trainer.Run(
                    small,
                    (fun progress ->
                        if progress.Step = 7 then
                            stop.Cancel()),
                    stop.Token
                )

            Expect.isTrue stopped.Interrupted "says so"
            Expect.equal stopped.Losses.Count 7 "steps"
            Expect.isTrue (sameLosses stopped.Losses (Seq.take 7 whole.Losses |> ResizeArray)) "losses"
            Expect.isFalse whole.Interrupted "the whole one does not")

        testCase "an average is tested beside the parameters, and moves none of them; clipping does" (fun () ->
            for rule in [ "AdamW"; "Muon" ] do
                let settings ema clip =
                    TrainingSettings(
                        Rule = Rules.Find rule,
                        Epochs = 10,
                        Hidden = ImmutableArray.Create 16,
                        Ema = Option.toNullable ema,
                        Clip = Option.toNullable clip
                    )

                let plain = train (settings None None)
                let averaged = train (settings (Some 0.9) None)
                let last = train (settings (Some 0.0) None)
                let clipped = train (settings None (Some 1e-3))
                Expect.isFalse plain.AveragedTestAccuracy.HasValue $"{rule}: no average"
                Expect.isTrue (sameLosses plain.Losses averaged.Losses) $"{rule}: the same run"
                Expect.equal averaged.TestAccuracy plain.TestAccuracy $"{rule}: the parameters are back"
                Expect.isGreaterThan averaged.AveragedTestAccuracy.Value 0.5 $"{rule}: the average has learnt"
                Expect.equal last.AveragedTestAccuracy.Value last.TestAccuracy $"{rule}: with decay 0 it is the last parameters"
                Expect.isFalse (sameLosses plain.Losses clipped.Losses) $"{rule}: another run")

        testCase "autograd gives the losses of the model over host arrays" (fun () ->
            if not libtorch.Value then
                skiptest "libtorch does not load"

            let settings backend =
                TrainingSettings(Epochs = 3, Hidden = ImmutableArray.Create(24, 16), DType = DType.Float64, Backend = backend)

            let host, autograd =
                train (settings Backend.Host), train (settings Backend.TorchSharp)

            Expect.equal autograd.Losses.Count host.Losses.Count "steps"

            for a, b in Seq.zip host.Losses autograd.Losses do
                Expect.isLessThan (abs (a - b)) 1e-9 "loss"

            Expect.equal autograd.TestAccuracy host.TestAccuracy "accuracy")
    ]

// The command

let private results =
    [
        testCase "--json writes what was asked for" (fun () ->
            inFolder (fun file ->
                let path = file "results.json"
                File.WriteAllText(path, "what was there before")

                let code, output, error =
                    run
                        [
                            "train"
                            "--optimizer"
                            "ADAM"
                            "--set"
                            "lr=2e-3"
                            "--set"
                            "betas=(0.8, 0.99)"
                            "--set"
                            "amsgrad=true"
                            "--set"
                            "foreach=None"
                            "--epochs"
                            "2"
                            "--batch-size"
                            "500"
                            "--hidden"
                            "12,8"
                            "--seed"
                            "3"
                            "--dtype"
                            "float64"
                            "--threads"
                            "1"
                            "--json"
                            path
                        ]

                Expect.equal (code, error) (0, "") "exit code and errors"
                Expect.stringContains output "test accuracy" "summary"
                Expect.stringContains output "Adam" "summary"
                let json = readJson path
                let options = json.GetProperty "options"
                Expect.equal (json.GetProperty("losses").GetArrayLength()) 6 "a loss for every step"
                Expect.isTrue (number "test_accuracy" json > 0.0 && number "test_accuracy" json <= 1.0) "accuracy"
                Expect.isTrue (number "train_accuracy" json > 0.0) "accuracy"
                Expect.isGreaterThan (number "seconds" json) 0.0 "seconds"
                Expect.equal (number "lr" options) 2e-3 "lr"

                Expect.equal
                    [
                        for beta in options.GetProperty("betas").EnumerateArray() -> beta.GetDouble()
                    ]
                    [ 0.8; 0.99 ]
                    "betas"

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

                Expect.equal [ for size in json.GetProperty("hidden").EnumerateArray() -> size.GetInt32() ] [ 12; 8 ] "hidden"
                Expect.equal (Directory.GetFiles(file "").Length) 1 "nothing else was left"))

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
                    run (quick @ [ "--optimizer"; "sgd"; "--set"; "lr=1e30"; "--json"; path ])

                Expect.equal code 0 "exit code"
                Expect.stringContains error "the loss was not finite from step" "warning"
                Expect.stringContains output "nan" "shown"
                let last = (readJson path).GetProperty("losses").EnumerateArray() |> Seq.last
                Expect.equal (last.GetString()) "nan" "last loss"))

        testCase "help and version" (fun () ->
            let code, output, _ = run [ "train"; "--help" ]
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
        [ "train"; "--optimizer"; "adamx" ], [ "--optimizer"; "'adamx'"; "Adam, AdamW" ]
        [ "train"; "--optimizer"; "lbfgs"; "--set"; "line_search_fn=armijo" ], [ "line_search_fn"; "armijo"; "strong_wolfe" ]
        [
            "train"
            "--optimizer"
            "lbfgs"
            "--scheduler"
            "onecycle"
            "--set-scheduler"
            "max_lr=1"
        ],
        [ "momentum" ]
        [ "train"; "--set"; "momentun=0.9"; "--optimizer"; "sgd" ], [ "momentun"; "momentum"; "weight_decay" ]
        [ "train"; "--set"; "lr=-1" ], [ "lr"; "-1" ]
        [ "train"; "--set"; "lr=0.1,0.2" ], [ "lr"; "(0.1, 0.2)" ]
        [ "train"; "--set"; "lr=fast" ], [ "lr"; "fast"; "a number" ]
        [ "train"; "--set"; "lr=0x10" ], [ "lr=0x10"; "a number" ]
        [ "train"; "--set"; "lr" ], [ "--set lr"; "NAME=VALUE" ]
        [ "train"; "--set"; "lr=1"; "--set"; "lr=2" ], [ "--set lr"; "2 times" ]
        [ "train"; "--set"; "betas=1,2,3" ], [ "betas"; "(1, 2, 3)"; "two numbers" ]
        [ "train"; "--epochs"; "0" ], [ "--epochs"; "'0'"; "from 1" ]
        [ "train"; "--epochs"; "1.5" ], [ "--epochs"; "'1.5'" ]
        [ "train"; "--epochs"; "1"; "--epochs"; "2" ], [ "--epochs" ]
        [ "train"; "--epochs" ], [ "--epochs" ]
        [ "train"; "--epoch"; "3" ], [ "'--epoch'"; "--epochs" ]
        [ "train"; "--batch-size"; "1438" ], [ "--batch-size"; "'1438'"; "1437" ]
        [ "train"; "--hidden"; "64,0" ], [ "--hidden"; "'64,0'" ]
        [ "train"; "--hidden"; "64"; "--hidden"; "32" ], [ "--hidden" ]
        [ "train"; "--seed"; "-1" ], [ "--seed"; "'-1'" ]
        [ "train"; "--dtype"; "float16" ], [ "--dtype"; "'float16'"; "float32 or float64" ]
        [ "train"; "--threads"; "0" ], [ "--threads"; "'0'"; "1024" ]
        [ "train"; "--backend"; "cuda" ], [ "--backend"; "'cuda'"; "host or torchsharp" ]
        [ "train"; "--json"; Path.Combine("no", "such", "folder.json") ], [ "--json"; "there is no folder" ]
        [ "train"; "--json"; "." ], [ "--json"; "is a folder" ]
        [ "train"; "--svg"; Path.Combine("no", "such", "folder.svg") ], [ "--svg"; "there is no folder" ]
        [ "train"; "--data"; "nowhere" ], [ "--data"; "'nowhere'"; "digits"; "fashion-mnist" ]
        [ "train"; "--scheduler"; "cosin" ], [ "cosin"; "'cosine'" ]
        [ "train"; "--scheduler"; "step" ], [ "StepLR needs step_size" ]
        [ "train"; "--scheduler"; "cosine"; "--set-scheduler"; "T_mx=3" ], [ "T_mx"; "T_max" ]
        [ "train"; "--scheduler"; "cosine"; "--set-scheduler"; "eta_min=-1" ], [ "eta_min"; "-1" ]
        [ "train"; "--scheduler"; "cosine"; "--set-scheduler"; "T_max" ], [ "--set-scheduler T_max"; "NAME=VALUE" ]
        [
            "train"
            "--scheduler"
            "onecycle"
            "--set-scheduler"
            "max_lr=1"
            "--set-scheduler"
            "total_steps=9"
        ],
        [ "total_steps is 9" ]
        [ "train"; "--set-scheduler"; "T_max=3" ], [ "--set-scheduler T_max=3"; "--scheduler" ]
        [ "train"; "--ema"; "1.5" ], [ "--ema"; "'1.5'"; "0 to 1" ]
        [ "train"; "--clip"; "0" ], [ "--clip"; "'0'"; "above 0" ]
        [ "race" ], [ "OPTIMIZER" ]
        [ "race"; "adam"; "adamx" ], [ "'adamx'"; "Adam" ]
        [ "race"; "adam"; "adam" ], [ "'adam'"; "2 times" ]
        [ "race"; "adam:lr" ], [ "adam:lr"; "NAME=VALUE" ]
        [ "race"; "adam:lr=1,lr=2" ], [ "lr"; "2 times" ]
        [ "race"; "adam:lr=-1"; "sgd" ], [ "Adam"; "lr"; "-1" ]
        [ "race"; "adam:momentum=0.9" ], [ "momentum"; "Adam" ]
        [ "race"; "adam"; "--set"; "centred=True" ], [ "--set centred=True"; "There are: lr" ]
        [ "race"; "adam"; "--epochs"; "0" ], [ "--epochs" ]
        [ "race"; "adam"; "--json"; "." ], [ "--json"; "is a folder" ]
        [ "schedule" ], [ "SCHEDULE" ]
        [ "schedule"; "cosin" ], [ "cosin"; "'cosine'" ]
        [ "schedule"; "step" ], [ "StepLR needs step_size" ]
        [ "schedule"; "cosine"; "cosine" ], [ "'cosine'"; "2 times" ]
        [ "schedule"; "cosine"; "--set"; "gamma=0.1" ], [ "--set gamma=0.1"; "T_max" ]
        [ "schedule"; "cosine"; "--steps"; "0" ], [ "--steps"; "'0'" ]
        [ "schedule"; "cosine"; "--lr"; "-1" ], [ "--lr"; "'-1'" ]
        [ "schedule"; "cosine"; "--every"; "0" ], [ "--every"; "'0'" ]
        [ "schedule"; "cosine"; "--svg"; "." ], [ "--svg"; "is a folder" ]
        [ "train"; "--like"; "no such file" ], [ "--like"; "there is no such file" ]
        [ "trian" ], [ "'trian'"; "train" ]
    ]
    |> List.map (fun (arguments, words) ->
        let name = String.Join(" ", arguments)

        testCase $"refused in one sentence: {name}" (fun () -> refused arguments words))

// Recorded runs

let private golden = Path.Combine(Golden.folder, "training_digits.json")

/// The recording with only those runs, changed; written to a file.
let private recording path (pick: JsonElement -> bool) (change: string -> string) =
    if not (File.Exists golden) then
        skiptestf "there is no %s" golden

    let runs =
        (readJson golden).GetProperty("runs").EnumerateArray()
        |> Seq.filter pick
        |> Seq.map (fun run -> change (run.GetRawText()))

    let runs = String.Join(", ", runs)
    File.WriteAllText(path, $"""{{"runs": [{runs}]}}""")

let private isOf name dtype (run: JsonElement) =
    Golden.text (run.GetProperty "optimizer") = name
    && Golden.text (run.GetProperty "dtype") = dtype
    && not (run.TryGetProperty "scheduler" |> fst)

let private recorded =
    [
        testCase "a recorded run is repeated within rounding" (fun () ->
            inFolder (fun file ->
                let path = file "runs.json"
                recording path (isOf "AdamW" "float64") id
                let report = Replay.Run path
                Expect.isTrue report.Passed "as recorded"

                for row in report.Rows do
                    Expect.isLessThan row.LargestLossDifference 1e-12 "losses"
                    Expect.equal row.TestAccuracy row.Run.TestAccuracy "accuracy"))

        testCase "LBFGS as recorded, by the model over host arrays and by autograd" (fun () ->
            inFolder (fun file ->
                let path = file "runs.json"

                recording path (fun run -> Golden.text (run.GetProperty "optimizer") = "LBFGS") id

                let backends =
                    if libtorch.Value then
                        [ Backend.Host; Backend.TorchSharp ]
                    else
                        [ Backend.Host ]

                for backend in backends do
                    let report = Replay.Run(path, backend)
                    Expect.isEmpty report.Skipped "skipped"
                    Expect.isTrue report.Passed $"{[ for row in report.Rows -> List.ofSeq row.Failures ]}"

                    for row in report.Rows do
                        for ours, theirs in Seq.zip row.Losses row.Run.Losses |> Seq.truncate 10 do
                            Expect.isLessThan (abs (ours - theirs)) (if row.Run.DType = "float32" then 1e-3 else 1e-7) "loss"))

        testCase "by autograd, too" (fun () ->
            if not libtorch.Value then
                skiptest "libtorch does not load"

            inFolder (fun file ->
                let path = file "runs.json"
                recording path (isOf "SGD" "float64") id
                Expect.isTrue (Replay.Run(path, Backend.TorchSharp)).Passed "as recorded"))

        testCase "a run that came out otherwise fails, and the command says where" (fun () ->
            inFolder (fun file ->
                let path, json = file "runs.json", file "report.json"
                recording path (isOf "Adam" "float64") (fun run -> run.Replace("0.001", "0.0011"))
                let code, output, error = run [ "train"; "--like"; path; "--json"; json ]
                Expect.equal code 1 "exit code"
                Expect.stringContains output "failed" "table"
                Expect.stringContains error "losses off by" "message"
                Expect.isFalse ((readJson json).GetProperty("passed").GetBoolean()) "JSON"))

        testCase "runs that cannot be repeated are skipped, counted and named" (fun () ->
            inFolder (fun file ->
                let path, json = file "runs.json", file "report.json"

                recording path (isOf "SGD" "float32") id
                let sgd = File.ReadAllText path
                let other = sgd.Replace("\"SGD\"", "\"Nonesuch\"")

                let scheduled =
                    sgd.Replace("\"float32\"", "\"float32\", \"scheduler\": \"NonesuchLR\"")

                let runs (text: string) = text.Substring(10, text.Length - 12)
                File.WriteAllText(path, $"""{{"runs": [{runs sgd}, {runs other}, {runs scheduled}]}}""")
                let code, output, error = run [ "train"; "--like"; path; "--json"; json ]
                Expect.equal (code, error) (0, "") "exit code and errors"
                Expect.stringContains output "Nonesuch (no such rule)" "named"
                Expect.stringContains output "SGD (schedule NonesuchLR)" "named"
                let repeated = (readJson json).GetProperty("rows").GetArrayLength()
                Expect.equal ((readJson json).GetProperty("skipped").GetArrayLength()) (2 * repeated) "counted"))

        testCase "a file that is no recording is refused in one sentence" (fun () ->
            inFolder (fun file ->
                for content, words in
                    [
                        "", "not JSON"
                        "[1, 2", "not JSON"
                        "[]", "not a JSON object"
                        "{}", "runs is missing"
                        """{"runs": 3}""", "runs is not a list"
                        """{"runs": []}""", "runs is empty"
                        """{"runs": [{"optimizer": "SGD"}]}""", "runs[0].losses is missing"
                        """{"runs": [{"losses": [1, "x"], "steps": 2}]}""", "runs[0].losses[1] is not a number"
                        """{"runs": [{"losses": [1, 2], "steps": 3}]}""", "runs[0] has 2 losses for 3 steps"
                    ] do
                    let path = file "runs.json"
                    File.WriteAllText(path, content)
                    let code, output, error = run [ "train"; "--like"; path ]
                    Expect.equal (code, output) (1, "") "exit code"
                    Expect.stringContains error words "message"
                    Expect.equal (error.TrimEnd().Split('\n').Length) 1 $"one line: {error}"))

        testCase "--like says what cannot be given with it" (fun () ->
            inFolder (fun file ->
                let path = file "runs.json"
                File.WriteAllText(path, "{}")

                for option, value in
                    [
                        "--optimizer", "sgd"
                        "--set", "lr=1"
                        "--epochs", "3"
                        "--batch-size", "3"
                        "--hidden", "3"
                        "--data", "digits"
                        "--scheduler", "cosine"
                        "--svg", "curves.svg"
                        "--seed", "3"
                        "--dtype", "float64"
                    ] do
                    let code, _, error = run [ "train"; "--like"; path; option; value ]
                    Expect.equal code 1 "exit code"
                    Expect.stringContains error $"{option} cannot be given with --like" "message"

                let code, _, error = run [ "train"; "--like"; path; "--json"; path ]
                Expect.equal code 1 "exit code"
                Expect.stringContains error "overwrite" "message"))
    ]

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
            testList "data" data
            testList "gradients" gradients
            testList "runs" runs
            testList "results" results
            testList "refusals" refusals
            testList "recorded" recorded
            testList "values" values
            testList "environment" environment
        ]
