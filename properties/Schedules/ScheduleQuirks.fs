/// Where schedulers are better than PyTorch's, and what they promise beside their values.
module ScheduleQuirks

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Reference
open Kit
open ScheduleKit

let private lr (optimizer: Optimizer) = List.head (rates optimizer)

let private steps (scheduler: LRScheduler) count =
    [
        lr scheduler.Optimizer

        for _ in 1..count do
            scheduler.Step()
            lr scheduler.Optimizer
    ]

let private expect what actual expected = expectNear 1e-14 actual expected what

/// A scheduler of a user's own, which writes what it is told.
type private Told(optimizer: Optimizer) =
    inherit LRScheduler(optimizer, -1)
    static member val Next = 0.1 with get, set
    override _.GetLr() = [| Told.Next |] :> IReadOnlyList<float>

[<Tests>]
let tests =
    testList
        "quirks of schedulers"
        [
            test "OneCycleLR holds the last rate for one call, and then refuses and changes nothing" {
                for anneal in [ Anneal.Linear; Anneal.Cosine ] do
                    let optimizer = sgd 0.1

                    let cycle =
                        OneCycleLR(optimizer, all 25.0, totalSteps = Nullable 10, annealStrategy = anneal, finalDivFactor = 2.0)

                    let rows = steps cycle 10
                    Expect.equal rows[10] rows[9] "one call more"
                    refuses<OptionException> "two calls more" [ "total_steps is 10" ] (fun () -> cycle.Step())
                    Expect.equal (lr optimizer, cycle.LastEpoch) (rows[10], 10.0) "unchanged"
            }

            test "CosineAnnealingWarmRestarts finds every restart" {
                let optimizer = sgd 0.1
                let restarts = CosineAnnealingWarmRestarts(optimizer, 10, 3)
                restarts.Step 1210.0
                Expect.equal (lr optimizer) 0.1 "epoch 1210"
            }

            test "a sequence in a sequence, first or later, skips no step" {
                let sequence (optimizer: Optimizer) (inside: LRScheduler list) milestones =
                    SequentialLR(optimizer, inside, milestones) :> LRScheduler

                let constant optimizer =
                    ConstantLR(optimizer, 0.5, 2) :> LRScheduler

                let decay optimizer =
                    ExponentialLR(optimizer, 0.9) :> LRScheduler

                let o = sgd 0.1

                let first = sequence o [ sequence o [ constant o; decay o ] [ 2 ]; decay o ] [ 4 ]

                expect "first" (steps first 6) [ 0.05; 0.05; 0.1; 0.09; 0.1; 0.09; 0.081 ]
                let o = sgd 0.1

                let later =
                    sequence
                        o
                        [
                            decay o
                            sequence o [ ChainedScheduler [ constant o; decay o ]; decay o ] [ 3 ]
                        ]
                        [ 2 ]

                expect "later" (steps later 6) [ 0.1; 0.09; 0.05; 0.045; 0.081; 0.1; 0.09 ]
            }

            test "milestone 0 begins with the second scheduler" {
                let optimizer = sgd 0.1

                let sequence =
                    SequentialLR(optimizer, [ ConstantLR(optimizer, 0.5, 9); ExponentialLR(optimizer, 0.5) ], [ 0 ])

                expect "rates" (steps sequence 2) [ 0.1; 0.05; 0.025 ]
            }

            test "ReduceLROnPlateau in a sequence and in a chain takes the metric; without one nothing moves" {
                let optimizer = sgd 0.1
                let plateau = ReduceLROnPlateau(optimizer, factor = 0.5, patience = 0)

                let sequence =
                    SequentialLR(optimizer, [ LinearLR(optimizer, 0.5, 1.0, 2); plateau ], [ 2 ])

                sequence.Step()
                expect "warm-up" (rates optimizer) [ 0.075 ]
                sequence.Step()
                expect "its own first rate" (rates optimizer) [ 0.1 ]
                refuses<InvalidOperationException> "no metric" [ "metric" ] (fun () -> sequence.Step())
                Expect.equal sequence.LastEpoch 2.0 "unchanged"
                sequence.Step 1.0
                sequence.Step 1.0
                expect "reduced" (rates optimizer) [ 0.05 ]

                let optimizer = sgd 0.1
                let decay = ExponentialLR(optimizer, 0.9)

                let chain =
                    ChainedScheduler [ decay; ReduceLROnPlateau(optimizer, factor = 0.5, patience = 0) ]

                refuses<InvalidOperationException> "no metric" [ "metric" ] (fun () -> chain.Step())
                Expect.equal (lr optimizer, decay.LastEpoch) (0.1, 0.0) "unchanged"
                chain.Step 1.0
                chain.Step 1.0
                expect "chained" (rates optimizer) [ 0.1 * 0.9 * 0.9 * 0.5 ]
                let plain = ChainedScheduler [ ExponentialLR(sgd 0.1, 0.9) ]
                refuses<OptionException> "a metric for nobody" [ "metric" ] (fun () -> plain.Step 1.0)
            }

            test "degenerate lengths: ConstantLR and LinearLR" {
                expect "factor 0" (steps (ConstantLR(sgd 0.1, 0.0, 2)) 3) [ 0.0; 0.0; 0.1; 0.1 ]
                expect "total_iters 0" (steps (ConstantLR(sgd 0.1, 0.5, 0)) 2) [ 0.05; 0.05; 0.05 ]
                expect "LinearLR total_iters 0" (steps (LinearLR(sgd 0.1, 0.1, 0.5, 0)) 2) [ 0.05; 0.05; 0.05 ]
                expect "PolynomialLR total_iters 0" (steps (PolynomialLR(sgd 0.1, 0)) 2) [ 0.1; 0.1; 0.1 ]
            }

            test "chained after a cosine came to 0, the distance is added" {
                let optimizer = sgd 0.1
                let cosine = CosineAnnealingLR(optimizer, 2, 0.02)
                optimizer.ParamGroups[0]["lr"] <- OptionValue.Float 0.2
                expect "rates" (steps cosine 3) [ 0.2; 0.11; 0.02; 0.06 ]
            }

            test "a group that is added later begins with its rate as base" {
                for make in
                    [
                        (fun (o: Optimizer) -> ExponentialLR(o, 0.5) :> LRScheduler)
                        (fun o -> LambdaLR(o, Func<int, float>(fun epoch -> Math.Pow(0.5, float epoch - 1.0))))
                        (fun o -> ChainedScheduler [ ExponentialLR(o, 0.5) ])
                    ] do
                    let optimizer = sgd 0.1
                    let scheduler = make optimizer
                    scheduler.Step()
                    optimizer.AddParamGroup(group [ vector "later" [ 0.0 ] ] [ "lr", Number 0.4 ])
                    scheduler.Step()
                    expectNear 1e-14 [ List.last (rates optimizer) ] [ 0.2 ] (scheduler.GetType().Name)
                    Expect.equal scheduler.BaseLrs.Count 2 "base rates"

                for make in
                    [
                        (fun (o: Optimizer) -> OneCycleLR(o, all 0.5, totalSteps = Nullable 10) :> LRScheduler)
                        (fun o -> CyclicLR(o, all 0.01, all 0.5))
                        (fun o -> SWALR(o, all 0.01))
                        (fun o -> CosineAnnealingWarmRestarts(o, 3))
                        (fun o -> SequentialLR(o, [ LinearLR o; CosineAnnealingLR(o, 9) ], [ 2 ]))
                    ] do
                    let optimizer = sgd 0.1
                    let scheduler = make optimizer
                    scheduler.Step()
                    optimizer.AddParamGroup(group [ vector "later" [ 0.0 ] ] [ "lr", Number 0.4 ])

                    for _ in 1..5 do
                        scheduler.Step()

                    Expect.equal (scheduler.GetLastLr().Count) 2 (scheduler.GetType().Name)

                let optimizer = sgd 0.1

                let plateau =
                    ReduceLROnPlateau(optimizer, factor = 0.1, patience = 0, minLr = PerGroup.op_Implicit [| 0.05 |])

                optimizer.AddParamGroup(group [ vector "later" [ 0.0 ] ] [ "lr", Number 0.4 ])
                plateau.Step 1.0
                plateau.Step 1.0
                expect "min_lr 0 for the new one" (rates optimizer) [ 0.05; 0.04 ]
            }

            test "the threshold of negative metrics: PyTorch's, and relative to the magnitude" {
                let reduced mode =
                    let optimizer = sgd 0.1

                    let plateau =
                        ReduceLROnPlateau(optimizer, patience = 0, threshold = 0.1, thresholdMode = mode)

                    for metric in [ -10.0; -10.5 ] do
                        plateau.Step metric

                    plateau.Best

                Expect.equal (reduced ThresholdMode.Relative) -10.5 "half a unit counts"
                Expect.equal (reduced ThresholdMode.RelativeToMagnitude) -10.0 "a tenth is a whole unit"
            }

            test "NaN is a metric that is no better" {
                let plateau = ReduceLROnPlateau(sgd 0.1, patience = 1)

                for _ in 1..2 do
                    plateau.Step nan

                expect "rate" (rates plateau.Optimizer) [ 0.01 ]
            }

            test "the order is told once, as a warning that can be listened to" {
                let optimizer = sgd 0.1
                let first, second = ExponentialLR(optimizer, 0.9), StepLR(optimizer, 3)
                let told, later = warningsOf first, warningsOf second
                first.Step()
                second.Step()
                first.Step()
                Expect.equal (told.Count, later.Count) (1, 0) "wrong order"
                Expect.stringContains told[0] "ExponentialLR" "who"
                let optimizer = sgd 0.1
                let scheduler = ExponentialLR(optimizer, 0.9)
                let told = warningsOf scheduler
                optimizer.Step()
                scheduler.Step()
                Expect.isEmpty told "right order"
            }

            test "any option that is a number is scheduled" {
                let optimizer =
                    optimizer "Adam" [ "weight_decay", Number 0.5 ] [ vector "w" [ 0.0 ] ]

                let decay = OptionSchedule(optimizer, "weight_decay", Schedule.linear 1.0 0.0 4.0)
                let beta = OptionSchedule(optimizer, "betas[1]", Schedule.constant 0.5)

                for _ in 1..2 do
                    decay.Step()

                Expect.equal optimizer.ParamGroups[0].["weight_decay"] (OptionValue.Float 0.25) "weight_decay"
                Expect.equal optimizer.ParamGroups[0].["betas"] (OptionValue.op_Implicit (struct (0.9, 0.5))) "betas"
                Expect.equal (List.ofSeq beta.BaseLrs) [ 0.999 ] "base value"
                refuses<OptionException> "a pair" [ "betas[0]" ] (fun () -> OptionSchedule(optimizer, "betas", Schedule.keep) |> ignore)
                refuses<OptionException> "a flag" [ "amsgrad" ] (fun () -> OptionSchedule(optimizer, "amsgrad", Schedule.keep) |> ignore)
                refuses<OptionException> "unknown" [ "decay" ] (fun () -> OptionSchedule(optimizer, "decay", Schedule.keep) |> ignore)
            }

            test "a rate that the optimizer refuses changes nothing" {
                let optimizer = optimizerOf "SGD" [] [ 0.1; 0.2 ]
                let bad = Func<int, float>(fun epoch -> if epoch = 1 then nan else 1.0)
                let good = Func<int, float>(fun _ -> 0.5)
                let scheduler = LambdaLR(optimizer, [ good; bad ])
                refuses<OptionException> "NaN" [ "lr" ] (fun () -> scheduler.Step())
                Expect.equal (rates optimizer, scheduler.LastEpoch) ([ 0.05; 0.2 ], 0.0) "unchanged"

                let chain =
                    ChainedScheduler [ ExponentialLR(optimizer, 0.5); LambdaLR(optimizer, [ good; bad ]) ]

                let before = rates optimizer
                refuses<OptionException> "NaN in a chain" [ "lr" ] (fun () -> chain.Step())
                Expect.equal (rates optimizer) before "unchanged by a chain"
                Expect.equal chain.Schedulers[0].LastEpoch 0.0 "the first of the chain is where it was"
                refuses<OptionException> "epoch -1" [ "epoch is -1" ] (fun () -> ExponentialLR(sgd 0.1, 0.5).Step -1.0)
            }

            test "a rate below 0, with which PyTorch goes on, is refused by scheduler, epoch and group, in containers, too" {
                let sinking o =
                    LambdaLR(o, Func<int, float>(fun epoch -> if epoch = 2 then -1.0 else 1.0))

                let refusal words (scheduler: LRScheduler) =
                    scheduler.Step()
                    let before = rates scheduler.Optimizer
                    refuses<OptionException> "below 0" ("lr is -0." :: words) scheduler.Step
                    Expect.equal (rates scheduler.Optimizer) before "unchanged"

                refusal [ "LambdaLR in epoch 2, parameter group 0: SGD" ] (sinking (sgd 0.1))
                let o = sgd 0.1

                refusal
                    [ "ChainedScheduler, schedulers[1]: LambdaLR in epoch 2, parameter group 0" ]
                    (ChainedScheduler [ ExponentialLR(o, 0.5); sinking o ])

                let o = sgd 0.1
                refusal [ "SequentialLR in epoch 2: LambdaLR in epoch 2" ] (SequentialLR(o, [ sinking o; ExponentialLR(o, 0.5) ], [ 5 ]))
            }

            test "a scheduler of one's own writes what GetLr gives" {
                Told.Next <- 0.25
                let own = Told(sgd 0.1)
                Expect.equal (lr own.Optimizer) 0.25 "constructor"
                Told.Next <- 0.5
                own.Step()
                Expect.equal (lr own.Optimizer, own.LastEpoch) (0.5, 1.0) "step"
            }

            test "warm-up-stable-decay and inverse square root" {
                expect
                    "wsd"
                    (steps (WarmupStableDecayLR(sgd 0.1, 2, 2, 2, endFactor = 0.1)) 7)
                    [ 0.0; 0.05; 0.1; 0.1; 0.1; 0.055; 0.01; 0.01 ]

                expect "inverse-sqrt" (steps (InverseSqrtLR(sgd 0.1, 4)) 16 |> List.item 16 |> List.singleton) [ 0.05 ]
                let optimizer = sgd 0.1

                let chain =
                    ChainedScheduler [ WarmupStableDecayLR(optimizer, 2, 2, 2); ExponentialLR(optimizer, 0.5) ]

                expect "from 0, chained" (steps chain 3) [ 0.0; 0.025; 0.025; 0.0125 ]
            }
        ]
