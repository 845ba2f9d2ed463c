/// States of schedulers: loaded twice, in PyTorch's kinds of numbers, without functions, and those that do not fit.
module ScheduleStateTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Kit
open ScheduleKit

[<Tests>]
let tests =
    testList
        "quirks of schedulers"
        [
            test "a state is loaded twice, and not changed by it" {
                let cyclic = CyclicLR(sgd 0.1, all 0.01, all 0.1)
                cyclic.Step()
                let state = cyclic.StateDict()
                let text = string state

                for _ in 1..2 do
                    CyclicLR(sgd 0.1, all 0.01, all 0.1).LoadStateDict state |> ignore

                Expect.equal (string state) text "the state"
            }

            test "last_epoch is saved as a whole number when it is one: PyTorch's functions index tables with it" {
                let half = Func<int, float>(fun _ -> 0.5)

                let schedulers: (Optimizer -> LRScheduler) list =
                    [
                        fun o -> LambdaLR(o, half)
                        fun o -> MultiplicativeLR(o, half)
                        fun o -> StepLR(o, 2)
                        fun o -> CosineAnnealingWarmRestarts(o, 3)
                        fun o -> SequentialLR(o, [ StepLR(o, 2) :> LRScheduler; StepLR(o, 3) ], [ 2 ])
                        fun o -> ReduceLROnPlateau o
                    ]

                for create in schedulers do
                    let optimizer = sgd 0.1
                    let scheduler = create optimizer
                    optimizer.Step()

                    match scheduler with
                    | :? ReduceLROnPlateau as plateau -> plateau.Step 1.0
                    | _ -> scheduler.Step()

                    Expect.equal (scheduler.StateDict().["last_epoch"]) (Tree.Int 1L) (scheduler.GetType().Name)

                let fraction = StepLR(sgd 0.1, 2)
                fraction.Step 1.5
                Expect.equal (fraction.StateDict().["last_epoch"]) (Tree.Float 1.5) "a fraction"
            }

            test "functions are not saved, and loading says so" {
                let half = Func<int, float>(fun _ -> 0.5)
                let state = LambdaLR(sgd 0.1, half).StateDict()
                Expect.equal (string state["lr_lambdas"]) "[None]" "saved"
                let report = LambdaLR(sgd 0.1, half).LoadStateDict state
                Expect.stringContains (Seq.head report.Missing) "functions are not saved" "said"

                let chain () =
                    let o = sgd 0.1 in ChainedScheduler [ LambdaLR(o, half) ]

                let report = chain().LoadStateDict(chain().StateDict())
                Expect.stringContains (Seq.head report.Missing) "_schedulers[0]" "said where"
            }

            test "a state that does not fit is refused, and nothing changes" {
                let step () = StepLR(sgd 0.1, 3)
                let state = step().StateDict()

                let wrong key value =
                    [
                        for entry in state.AsMap().Entries ->
                            if string entry.Key = $"'{key}'" then
                                KeyValuePair(entry.Key, value)
                            else
                                entry
                    ]

                let load entries =
                    step().LoadStateDict(Tree.MapOf(MapKind.Dict, entries)) |> ignore

                for key, value, words in
                    [
                        "gamma", Tree.Text "x", [ "gamma" ]
                        "step_size", Tree.Int 0L, [ "step_size is 0"; "at least 1" ]
                        "last_epoch", Tree.Float nan, [ "last_epoch" ]
                        "base_lrs", Tree.ListOf [ Tree.Float 0.1; Tree.Float 0.2 ], [ "base_lrs"; "1 parameter groups" ]
                        "base_lrs", Tree.Int 3L, [ "base_lrs"; "list" ]
                    ] do
                    refuses<ArgumentException> key words (fun () -> load (wrong key value))

                refuses<ArgumentException> "another's" [ "unknown keys" ] (fun () ->
                    step().LoadStateDict(CosineAnnealingLR(sgd 0.1, 3).StateDict()) |> ignore)

                refuses<ArgumentException> "no map" [ "dict" ] (fun () -> step().LoadStateDict(Tree.Int 3L) |> ignore)
            }
        ]
