/// Pictures of the command: SVG and charts of characters; and the commands that draw: schedule and race.
module PictureTests

open System
open System.Collections.Immutable
open System.IO
open System.Xml.Linq
open Expecto
open Optim
open Optim.Cli.Pictures
open Optim.Cli.Training
open Optim.Core
open Command
open Kit

let private curve name identity (ys: float list) =
    Curve(name, [| for i, y in List.indexed ys -> struct (float i, y) |], identity)

let private picture (panels: Panel list) =
    Picture("A title", "step", ResizeArray panels)

let private svg (text: string) = XDocument.Parse text

let private texts (document: XDocument) =
    document.Descendants()
    |> Seq.filter (fun element -> element.Name.LocalName = "text")
    |> Seq.map _.Value
    |> List.ofSeq

/// How often curves of a colour are drawn (their lines, not their sample in the legend, which is a line of two points).
let private lines (document: XDocument) =
    document.Descendants()
    |> Seq.filter (fun element -> element.Name.LocalName = "polyline")
    |> Seq.map (fun element -> element.Attribute(XName.Get "points").Value.Trim().Split(' ').Length)
    |> Seq.filter (fun points -> points > 2)
    |> Seq.length

let private drawing =
    [
        testCase "an SVG has title, axes, and every curve once in each panel and once in the legend" (fun () ->
            for count in [ 1; 2; 8; 20 ] do
                let names = List.init count (fun i -> $"curve {i} <&>")

                let curves =
                    names |> List.mapi (fun i name -> curve name i [ 1.0; 3.0; 2.0; float i ])

                let document =
                    Svg.Of(picture [ Panel("loss", ResizeArray curves); Panel("accuracy (%)", ResizeArray curves) ])
                    |> svg

                let found = texts document

                for text in [ "A title"; "step"; "loss"; "accuracy (%)" ] do
                    Expect.equal (found |> List.filter ((=) text)) [ text ] text

                for name in names do
                    Expect.equal (found |> List.filter ((=) name) |> List.length) (if count > 1 then 1 else 0) $"{name} in the legend"

                Expect.equal (lines document) (2 * count) "lines")

        testCase "no text begins left of the picture or above it, and none ends right of it or below" (fun () ->
            let long = String('w', 60)
            let curves = [ curve long 0 [ 1e-6; 1e-7 ]; curve $"{long}2" 1 [ 0.0; 2e-6 ] ]
            let document = Svg.Of(picture [ Panel("learning rate", ResizeArray curves) ]) |> svg

            let size (name: string) =
                float ((nonNull document.Root).Attribute(XName.Get name))

            for element in
                document.Descendants()
                |> Seq.filter (fun element -> element.Name.LocalName = "text") do
                let transform = element.Attribute(XName.Get "transform").Value
                let inside = transform.Substring(transform.IndexOf('(') + 1).Split([| ','; ')' |])
                let x, y = float inside[0], float inside[1]
                Expect.isTrue (x >= 0.0 && y >= 0.0 && x <= size "width" && y <= size "height") $"{element.Value} at {x}, {y}"
            // The longest name: letters as wide as those of usual fonts.
            Expect.isTrue (60.0 * 13.0 * 0.62 < size "width") "room for a long name")

        testCase "the last line of a legend has room below it, and a picture that is shown smaller is not cut off" (fun () ->
            for count in [ 1; 2; 3; 7; 20 ] do
                let curves = List.init count (fun i -> curve $"curve {i}" i [ 1.0; 2.0 ])

                let root =
                    nonNull (svg (Svg.Of(picture [ Panel("loss", ResizeArray curves) ]))).Root

                let attribute (name: string) = root.Attribute(XName.Get name).Value

                Expect.equal
                    (attribute "viewBox")
                    $"""0 0 {attribute "width"} {attribute "height"}"""
                    "all of it is seen, whatever size it is shown in"

                for element in
                    root.Descendants()
                    |> Seq.filter (fun element -> element.Name.LocalName = "text" && element.Value.StartsWith "curve ") do
                    let transform = element.Attribute(XName.Get "transform").Value
                    let y = float (transform.Split([| ','; ')' |])[1])
                    Expect.isLessThanOrEqual (y + 24.0) (float (attribute "height")) $"{element.Value} of {count}")

        testCase "one point, no point, constants, gaps and tiny numbers are drawn" (fun () ->
            for ys in
                [
                    []
                    [ 1.0 ]
                    [ nan ]
                    [ 2.0; 2.0; 2.0 ]
                    [ 0.0; 0.0 ]
                    [ 1.0; nan; infinity; -infinity; 3.0 ]
                    [ 1e-6; 2e-6; 1.5e-6 ]
                    [ 1e-300; 1e300 ]
                    [ -1.0; 5.0 ]
                ] do
                for logarithmic in [ true; false ] do
                    let picture = picture [ Panel("loss", ResizeArray [ curve "a" 0 ys ], logarithmic) ]
                    let text = Svg.Of picture
                    Expect.isFalse (text.Contains "NaN" || text.Contains "Infinity" || text.Contains "∞") $"{ys}"
                    Expect.contains (texts (svg text)) "loss" "axis"

                    for braille in [ true; false ] do
                        let chart = TerminalChart.Draw(picture, 60, 7, braille)
                        Expect.equal chart.Count 10 "lines"

                        for line in chart do
                            let width = line |> Seq.sumBy (fun struct (text, _) -> text.Length)
                            Expect.isTrue (width <= 60) $"{width} columns")

        testCase "a chart of characters has a letter for each curve, at its place" (fun () ->
            let chart =
                TerminalChart.Draw(
                    picture
                        [
                            Panel("y", ResizeArray [ curve "up" 0 [ 0.0; 4.0 ]; curve "down" 1 [ 4.0; 4.0 ] ])
                        ],
                    3 + 8,
                    5,
                    false
                )
                |> Seq.map (fun line -> String.Concat(line |> Seq.map (fun struct (text, _) -> text)).TrimEnd())
                |> List.ofSeq

            Expect.equal
                chart
                [
                    "  y"
                    "4 ┤bbbbbbbb"
                    "  │     aa"
                    "2 ┤   aa"
                    "  │ aa"
                    "0 ┤a"
                    "  └────────"
                    "   0 step 1"
                ]
                "chart")

        testCase "with Braille a rising line fills the dots of its diagonal" (fun () ->
            let chart =
                TerminalChart.Draw(picture [ Panel("y", ResizeArray [ curve "up" 0 [ 0.0; 1.0 ] ]) ], 3 + 8, 3, true)

            let rows =
                [
                    for line in Seq.take 3 (Seq.skip 1 chart) ->
                        String.Concat(line |> Seq.skip 1 |> Seq.map (fun struct (text, _) -> text))
                ]

            let dots =
                rows
                |> List.sumBy (
                    Seq.filter (fun c -> c >= '\u2800')
                    >> Seq.sumBy (fun c -> Numerics.BitOperations.PopCount(uint c - 0x2800u))
                )

            Expect.equal dots 16 "a dot for each of 16 columns"

            Expect.isTrue
                (rows[2][0] = '⣀' || rows[2][0] = '⡠' || rows[2][0] = '⢀' || rows[2][0] = '⠤')
                $"begins at the lower left: {rows[2]}")

        testCase "labels of axes are short" (fun () ->
            let chart =
                TerminalChart.Draw(picture [ Panel("lr", ResizeArray [ curve "a" 0 [ 1e-6; 123456789.0 ] ]) ], 60, 5, true)

            let text =
                String.Concat(chart |> Seq.collect (Seq.map (fun struct (text, _) -> text)))

            Expect.stringContains text "1.23e8" "large"
            Expect.stringContains text "1e-6" "small")
    ]

let private schedules =
    [
        testCase "the values of a schedule are printed, drawn, and written as JSON and SVG" (fun () ->
            inFolder (fun file ->
                let code, output, error =
                    run
                        [
                            "schedule"
                            "cosine"
                            "--set"
                            "T_max=50"
                            "--steps"
                            "100"
                            "--chart"
                            "--svg"
                            file "a.svg"
                            "--json"
                            file "a.json"
                        ]

                Expect.equal (code, error) (0, "") "exit code"
                Expect.isFalse (output.Contains '\u001b') "no colours where there is no terminal"
                Expect.stringContains output "┤" "a chart"
                let json = ((readJson (file "a.json")).GetProperty "schedules")[0]

                let rates =
                    [ for rate in json.GetProperty("lrs").EnumerateArray() -> rate.GetDouble() ]

                Expect.equal rates.Length 100 "a value for each step"

                for step, rate in List.indexed rates do
                    Expect.floatClose Accuracy.high rate ((1.0 + cos (Math.PI * float step / 50.0)) / 2.0) $"step {step}"
                    Expect.stringContains output $"{step, 6}  " "printed"

                Expect.containsAll (texts (svg (File.ReadAllText(file "a.svg")))) [ "cosine"; "learning rate"; "step" ] "picture"))

        testCase "several schedules are compared, each with settings of its own or common ones" (fun () ->
            inFolder (fun file ->
                let code, output, error =
                    run
                        [
                            "schedule"
                            "step:step_size=2"
                            "exponential"
                            "step:step_size=3,gamma=0.1"
                            "--set"
                            "gamma=0.5"
                            "--steps"
                            "4"
                            "--lr"
                            "0.8"
                            "--svg"
                            file "a.svg"
                        ]

                Expect.equal (code, error) (0, "") "exit code"

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
            let _, output, _ = run [ "schedule"; "cosine"; "--every"; "30" ]

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

                let code, output, error = run [ "schedule"; label; "--chart" ]
                Expect.equal (code, error) (0, "") label
                Expect.stringContains output "learning rate" label)

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
            let rates (name: string) (settings: string list) =
                let seen = ref [||]

                inFolder (fun file ->
                    let code, _, error =
                        run (
                            [
                                "train"
                                "--epochs"
                                "1"
                                "--threads"
                                "1"
                                "--set"
                                "lr=0.01"
                                "--scheduler"
                                name
                                "--json"
                                file "a.json"
                            ]
                            @ settings
                        )

                    Expect.equal (code, error) (0, "") name
                    let json = readJson (file "a.json")
                    seen.Value <- [| for rate in json.GetProperty("lrs").EnumerateArray() -> rate.GetDouble() |])

                seen.Value

            let cosine = rates "hf:cosine" [ "--warmup"; "10" ]

            for step in 0..9 do
                Expect.floatClose Accuracy.high cosine[step] (0.01 * float step / 10.0) $"step {step}"

            let count = cosine.Length

            Expect.floatClose
                Accuracy.high
                cosine[count - 1]
                (0.01 * (1.0 + cos (Math.PI * float (count - 11) / float (count - 10))) / 2.0)
                "the last step"

            Expect.isGreaterThan
                (Array.distinct (rates "hf:greedy" [ "--set-scheduler"; "patience=0" ])).Length
                5
                "greedy changes the rate often")

        testCase "--warmup is refused where nothing warms up, or where it is said twice" (fun () ->
            for arguments, words in
                [
                    [ "--warmup"; "5" ], [ "--warmup 5"; "--scheduler" ]
                    [ "--scheduler"; "cosine"; "--set-scheduler"; "T_max=5"; "--warmup"; "5" ], [ "--warmup 5"; "cosine"; "hf:cosine" ]
                    [
                        "--scheduler"
                        "hf:cosine"
                        "--set-scheduler"
                        "num_warmup_steps=3"
                        "--warmup"
                        "5"
                    ],
                    [ "num_warmup_steps" ]
                ] do
                let code, _, error = run ("train" :: arguments)
                Expect.isGreaterThan code 0 (String.Join(" ", arguments))

                for word in words do
                    Expect.stringContains error word (String.Join(" ", arguments)))

        testCase "--group sets options by name, prints what went where, and is refused where it fits nothing" (fun () ->
            inFolder (fun file ->
                let quick = [ "train"; "--epochs"; "1"; "--threads"; "1"; "--hidden"; "8" ]

                let code, output, error =
                    run (
                        quick
                        @ [
                            "--group"
                            "*.bias:weight_decay=0"
                            "--group"
                            "layer1.weight:lr=0,weight_decay=0"
                            "--checkpoint"
                            file "run.pt"
                            "--json"
                            file "a.json"
                        ]
                    )

                Expect.equal (code, error) (0, "") "exit code"
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

                for arguments, words in
                    [
                        [ "--group"; "*.gamma:lr=1" ], [ "*.gamma"; "layer1.bias" ]
                        [ "--group"; "*.bias:lr=1"; "--group"; "layer1.*:lr=2" ], [ "layer1.bias"; "*.bias"; "layer1.*" ]
                        [ "--group"; "*.bias" ], [ "--group"; "*.bias"; "PATTERN" ]
                        [ "--group"; "*.bias:rate=1" ], [ "rate" ]
                        [ "--group-order"; "first" ], [ "--group-order" ]
                        [ "--optimizer"; "lbfgs"; "--group"; "*.bias:lr=1" ], [ "LBFGS" ]
                    ] do
                    let code, _, error = run (quick @ arguments)
                    Expect.isGreaterThan code 0 (String.Join(" ", arguments))

                    for word in words do
                        Expect.stringContains error word (String.Join(" ", arguments))

                let code, _, error =
                    run (
                        quick
                        @ [
                            "--group"
                            "*.bias:lr=1"
                            "--group"
                            "layer1.*:lr=2"
                            "--group-order"
                            "last"
                        ]
                    )

                Expect.equal (code, error) (0, "") "an order"))

        testCase "--scheduler and --set-scheduler reach the run, the summary and the JSON" (fun () ->
            inFolder (fun file ->
                let code, output, error =
                    run
                        [
                            "train"
                            "--epochs"
                            "1"
                            "--threads"
                            "1"
                            "--scheduler"
                            "exponential"
                            "--set-scheduler"
                            "gamma=0.5"
                            "--json"
                            file "a.json"
                            "--svg"
                            file "a.svg"
                            "--chart"
                        ]

                Expect.equal (code, error) (0, "") "exit code"
                Expect.stringContains output "ExponentialLR: gamma=0.5" "summary"
                let json = readJson (file "a.json")
                Expect.equal (json.GetProperty("scheduler").GetString()) "ExponentialLR" "scheduler"
                Expect.equal (number "gamma" (json.GetProperty "scheduler_args")) 0.5 "argument"
                Expect.equal [ for i in 0..2 -> ((json.GetProperty "lrs")[i]).GetDouble() ] [ 1e-3; 5e-4; 2.5e-4 ] "rates"

                for panel in [ "training loss"; "test accuracy (%)"; "learning rate" ] do
                    Expect.stringContains output panel "chart"
                    Expect.stringContains (File.ReadAllText(file "a.svg")) panel "picture"))
    ]

let private races =
    [
        testCase "a race runs every optimizer from the same weights over the same batches, and draws them together" (fun () ->
            inFolder (fun file ->
                let code, output, error =
                    run
                        [
                            "race"
                            "adam"
                            "SGD:lr=0.1,momentum=0.9"
                            "adamw:betas=(0.8,0.9),lr=0.01"
                            "--set"
                            "weight_decay=0"
                            "--epochs"
                            "2"
                            "--threads"
                            "1"
                            "--chart"
                            "--svg"
                            file "a.svg"
                            "--json"
                            file "a.json"
                        ]

                Expect.equal (code, error) (0, "") "exit code"
                let names = [ "adam"; "SGD:lr=0.1,momentum=0.9"; "adamw:betas=(0.8,0.9),lr=0.01" ]
                let runs = (readJson (file "a.json")).GetProperty("runs")
                Expect.equal [ for run in runs.EnumerateArray() -> run.GetProperty("name").GetString() ] names "runs"

                let first (run: Text.Json.JsonElement) =
                    ((run.GetProperty "losses")[0]).GetDouble()

                Expect.equal [ for run in runs.EnumerateArray() -> first run ] (List.replicate 3 (first runs[0])) "the same first loss"
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

                Expect.equal
                    [
                        for loss in runs[0].GetProperty("losses").EnumerateArray() -> loss.GetDouble()
                    ]
                    (List.ofSeq alone.Losses)
                    "the losses of the run alone"

                let document = svg (File.ReadAllText(file "a.svg"))
                Expect.containsAll (texts document) names "legend"
                Expect.isGreaterThanOrEqual (lines document) 6 "losses and accuracies of all"

                for name in names do
                    Expect.stringContains output name "table"))

        testCase "the table has the best first" (fun () ->
            let _, output, _ =
                run [ "race"; "sgd:lr=1e-6"; "adam"; "--epochs"; "3"; "--threads"; "1" ]

            let table = output.Substring(output.IndexOf "test accuracy")
            Expect.isLessThan (table.IndexOf "adam") (table.IndexOf "sgd:lr=1e-6") "order")

        testCase "a race that is stopped shows what is there" (fun () ->
            use stop = new Threading.CancellationTokenSource()
            stop.Cancel()
            let code, output, _ = command stop.Token [ "race"; "adam"; "sgd" ]
            Expect.equal code 130 "exit code"
            Expect.stringContains output "test accuracy" "table")

        testCase "losses that are not finite are warned of by name" (fun () ->
            let code, _, error =
                run [ "race"; "adam"; "sgd:lr=1e30"; "--epochs"; "1"; "--threads"; "1" ]

            Expect.equal code 0 "exit code"
            Expect.stringContains error "sgd:lr=1e30: the loss was not finite from step" "warning")
    ]

[<Tests>]
let tests =
    testSequenced
    <| testList
        "pictures"
        [
            testList "drawing" drawing
            testList "schedule" schedules
            testList "race" races
        ]
