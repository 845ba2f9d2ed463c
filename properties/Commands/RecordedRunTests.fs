/// `optim train --like`: recorded runs repeated, and what is no recording.
module RecordedRunTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim.Cli.Training
open Kit
open Command

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

                for backend in
                    [
                        Backend.Host
                        if Result.isOk TorchSharpTests.loads.Value then
                            Backend.TorchSharp
                    ] do
                    let report = Replay.Run(path, backend)
                    Expect.isEmpty report.Skipped "skipped"
                    Expect.isTrue report.Passed $"{[ for row in report.Rows -> List.ofSeq row.Failures ]}"

                    for row in report.Rows do
                        for ours, theirs in Seq.zip row.Losses row.Run.Losses |> Seq.truncate 10 do
                            Expect.isLessThan (abs (ours - theirs)) (if row.Run.DType = "float32" then 1e-3 else 1e-7) "loss"))

        testCase "by autograd, too" (fun () ->
            TorchSharpTests.skipWithoutLibtorch ()

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

[<Tests>]
let tests = testSequenced <| testList "train" [ testList "recorded" recorded ]
