/// Narrow state in the command: training with it, and what `explain` and `inspect` say of it.
module NarrowTrainingTests

open System.Collections.Immutable
open Expecto
open Optim
open Optim.Core
open Optim.Cli.Training
open Command
open Kit

let private rules =
    [
        "AdamW", [ struct ("lr", OptionValue.Float 1e-3) ]
        "Lion", [ struct ("lr", OptionValue.Float 3e-4) ]
        "SGD",
        [
            struct ("lr", OptionValue.Float 0.05)
            struct ("momentum", OptionValue.Float 0.9)
        ]
    ]

/// Mean loss and accuracy over seeds, after an epoch on the digits.
let private trained rule options (storage: StateStorage) =
    let results =
        [
            for seed in 0L .. 4L ->
                Trainer.Run(
                    TrainingSettings(
                        Rule = Algorithms.Find rule,
                        Options = ImmutableArray.CreateRange(options @ [ struct ("state_storage", OptionValue.Text storage.Name) ]),
                        Epochs = 1,
                        Seed = seed
                    )
                )
        ]

    results |> List.averageBy (fun result -> Seq.average result.Losses), 100.0 * (results |> List.averageBy _.TestAccuracy)

[<Tests>]
let tests =
    testList
        "narrow state in the command"
        [
            for rule, options in rules do
                test $"{rule}: an epoch on the digits is as good as with float32 state" {
                    let loss, accuracy = trained rule options StateStorage.Float32

                    for storage in [ StateStorage.BFloat16; StateStorage.Blockwise8 ] do
                        let narrowLoss, narrowAccuracy = trained rule options storage
                        Expect.isLessThanOrEqual (abs (narrowLoss / loss - 1.0)) 0.01 $"{storage}: the loss"
                        Expect.isLessThanOrEqual (abs (narrowAccuracy - accuracy)) 0.3 $"{storage}: points of accuracy"
                        Expect.notEqual narrowLoss loss $"{storage}: state is narrow"
                }

            test "the seed of the rounding is set by name" {
                let losses options =
                    let result =
                        Trainer.Run(
                            TrainingSettings(
                                Options = ImmutableArray.CreateRange(struct ("state_storage", OptionValue.Text "blockwise8") :: options),
                                Epochs = 1
                            )
                        )

                    List.ofSeq result.Losses

                Expect.notEqual (losses [ struct ("state_storage_seed", OptionValue.Int 7L) ]) (losses []) "other losses"

                succeeds "train --epochs 1 --state-storage blockwise8 --set state_storage_seed=7" []
                |> ignore

                Command.refused
                    (words "train --state-storage blockwise8 --set state_storage_seed=-1")
                    [ "state_storage_seed is -1; it must be a whole number in [0, 4294967295]" ]
            }

            test "explain prints the bytes of state an element for each storage" {
                let output = succeeds "explain" [ "adamw" ]

                for text in [ "4 with state_storage bfloat16"; "2.03 with state_storage blockwise8" ] do
                    Expect.stringContains output text output
            }

            test "inspect shows the numbers of narrow columns, and their largest error" {
                inFolder (fun within ->
                    let file: string = within "run.pt"

                    let code, _, error =
                        run (words "train --epochs 1 --state-storage blockwise8 --checkpoint" @ [ file ])

                    Expect.equal code 0 error

                    let output = succeeds "inspect" [ file ]

                    for text in
                        [
                            "exp_avg.codes: uint8[128, 64] of optim.signed8.256, 32 blocks, min -"
                            "exp_avg_sq.codes: uint8[128, 64] of optim.nonnegative8.256, 32 blocks, min 0"
                            "largest error"
                        ] do
                        Expect.stringContains output text output

                    let json = succeeds "inspect --json" [ file ]

                    for text in
                        [
                            "\"narrow\""
                            "\"map\": \"optim.signed8.256\""
                            "\"blocks\": 32"
                            "\"largest_error\""
                        ] do
                        Expect.stringContains json text json)
            }

            test "train refuses an unknown storage, and rules that have none, by name" {
                let refused line (named: string list) =
                    let code, _, error = run (words line)
                    Expect.notEqual code 0 line

                    for word in named do
                        Expect.stringContains error word line

                refused "train --state-storage int4" [ "--state-storage"; "int4" ]
                refused "train --optimizer muon --state-storage bfloat16" [ "state_storage" ]
            }
        ]
