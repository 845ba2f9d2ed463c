/// optim train on several ranks.
module RanksCommandTests

open System
open System.Collections.Immutable
open System.Diagnostics
open System.IO
open Expecto
open Optim.Cli.Training
open Optim.Core
open Optim.Distributed
open Command
open DistributedKit
open ShardedCheckpointTests

let private settingsOf (hidden: int) options (rule: string) (clip: double) (world: World | null) =
    TrainingSettings(
        Rule = Algorithms.Find rule,
        Options = ImmutableArray.CreateRange options,
        Epochs = 1,
        BatchSize = 480,
        Hidden = ImmutableArray.Create hidden,
        ThreadCount = 1,
        Clip = (if clip > 0.0 then Nullable clip else Nullable()),
        Ema = Nullable 0.9,
        Leaves = Nullable 8,
        World = world
    )

let private settings = settingsOf 16 []

let private losses (result: TrainingResult) = List.ofSeq result.History.Losses

let private launchers =
    [ "mpirun.openmpi"; "mpirun.mpich" ]
    |> List.map (fun name ->
        name,
        (string (Environment.GetEnvironmentVariable "PATH")).Split ':'
        |> Array.map (fun folder -> Path.Combine(folder, name))
        |> Array.tryFind File.Exists)

/// Exit code, output and errors of the command as a process, with an environment of its own.
let private started (environment: (string * string) list) (arguments: string list) =
    let start =
        ProcessStartInfo(nonNull Environment.ProcessPath, RedirectStandardOutput = true, RedirectStandardError = true)

    start.ArgumentList.Add(Path.Combine(AppContext.BaseDirectory, "optim.dll"))

    for argument in arguments do
        start.ArgumentList.Add argument

    for name, value in environment do
        start.Environment[name] <- value

    use running = nonNull (Process.Start start)
    let errors = running.StandardError.ReadToEndAsync()
    let output = running.StandardOutput.ReadToEnd()
    running.WaitForExit()
    running.ExitCode, output, errors.Result

[<Tests>]
let tests =
    testList
        "distributed command"
        [
            for rule, clip in
                [
                    "adamw", 0.0
                    "adamw", 0.5
                    "muon", 0.5
                    "lbfgs", 0.0
                    "lbfgs", 5.0
                    "sgd", 1.0
                ] do
                test $"{rule}, clipped to {clip}: the same losses and accuracies on 1, 2, 4 and 8 ranks" {
                    let alone = Trainer.Run(settings rule clip null)

                    for ranks in [ 2; 4; 8 ] do
                        for result in onRanks ranks (fun world -> Trainer.Run(settings rule clip world)) do
                            Expect.equal (losses result) (losses alone) $"losses on {ranks} ranks"
                            Expect.equal result.TestAccuracy alone.TestAccuracy "test accuracy"
                            Expect.equal result.AveragedTestAccuracy alone.AveragedTestAccuracy "that of the average"
                }

            test "narrow state: the same losses on 1, 2 and 4 ranks" {
                // The first layer has 5120 weights, above the least for narrow state.
                let run (storage: string) world =
                    Trainer.Run(settingsOf 80 [ struct ("state_storage", OptionValue.Text storage) ] "adamw" 0.5 world)

                let alone = run "blockwise8" null
                Expect.notEqual (losses alone) (losses (run "float32" null)) "state is narrow"

                for ranks in [ 2; 4 ] do
                    for result in onRanks ranks (run "blockwise8") do
                        Expect.equal (losses result) (losses alone) $"{ranks} ranks"
            }

            test "a run that is saved on 4 ranks goes on with 1, and with 2" {
                inFolder (fun folder ->
                    let file = Path.Combine(folder, "run.pt")

                    let part epochs (world: World | null) resume =
                        TrainingSettings(
                            Epochs = epochs,
                            BatchSize = 480,
                            Hidden = ImmutableArray.Create 16,
                            ThreadCount = 1,
                            Leaves = Nullable 8,
                            World = world,
                            Checkpoint = file,
                            Resume = resume
                        )

                    let whole = Trainer.Run(part 4 null false)
                    File.Delete file
                    onRanks 4 (fun world -> Trainer.Run(part 2 world false)) |> ignore
                    let third = onRanks 2 (fun world -> Trainer.Run(part 3 world true))
                    Expect.equal (losses third[1]) (List.take 9 (losses whole)) "three epochs"
                    Expect.equal (losses (Trainer.Run(part 4 null true))) (losses whole) "the fourth, in one process")
            }

            test "leaves that are no power of two for each rank, or more than the smallest batch has rows, are refused" {
                refused [ "train"; "--leaves"; "6" ] [ "--leaves is '6'"; "1 times a power of two" ]
                refused [ "train"; "--ranks"; "3"; "--leaves"; "8" ] [ "--leaves is '8'"; "on 3 ranks"; "3, 6, 12" ]
                refused [ "train"; "--leaves"; "32" ] [ "--leaves is '32'"; "at most 29"; "last batch" ]
                refused [ "train"; "--ranks"; "0" ] [ "--ranks is '0'" ]
            }

            test "without a launcher it says what to install" {
                let code, output, error =
                    started [ "PATH", "/nowhere"; "OPTIM_MPIRUN", "" ] [ "train"; "--ranks"; "2" ]

                Expect.equal (code, output) (1, "") error

                for word in [ "no mpirun"; "openmpi-bin"; "mpich"; "OPTIM_MPIRUN" ] do
                    Expect.stringContains error word "what to do"
            }

            for name, launcher in launchers do
                test $"{name}: --ranks 2 --leaves 8 prints once, and gives the losses of --leaves 8 alone" {
                    match launcher with
                    | None when Environment.GetEnvironmentVariable "OPTIM_REQUIRE_MPI" = "1" -> failtest $"there is no {name}"
                    | None -> skiptest $"there is no {name}"
                    | Some launcher ->
                        inFolder (fun folder ->
                            let one, two = Path.Combine(folder, "one.json"), Path.Combine(folder, "two.json")

                            let arguments =
                                [
                                    "train"
                                    "--epochs"
                                    "1"
                                    "--hidden"
                                    "16"
                                    "--batch-size"
                                    "480"
                                    "--leaves"
                                    "8"
                                ]

                            succeeds "" (arguments @ [ "--json"; one ]) |> ignore

                            let code, output, error =
                                started [ "OPTIM_MPIRUN", launcher ] (arguments @ [ "--ranks"; "2"; "--threads"; "3"; "--json"; two ])

                            Expect.equal code 0 $"{output}\n{error}"
                            Expect.equal (output.Split("test accuracy").Length) 2 $"one summary: {output}"

                            Expect.equal (numbersOf "losses" (readJson two)) (numbersOf "losses" (readJson one)) "the same losses"
                            Expect.equal ((readJson two).GetProperty("threads").GetInt32()) 1 "each rank has its share of the threads")
                }
        ]
