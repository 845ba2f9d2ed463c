/// Each law of schedulers can fail: beside it stands a defect that it finds.
module ScheduleMutants

open System
open Expecto
open Optim
open Optim.Core
open Optim.Laws
open Plain

let private real = SchedulerShell.real
let private number = OptionValue.Float
let private lr (group: ParameterGroup) : float = OptionValue.op_Explicit group["lr"]

let private each (scheduler: LRScheduler) change =
    for group in scheduler.Optimizer.ParamGroups do
        group["lr"] <- number (change (lr group))

/// A setting changed on its way.
let private setting name (change: float -> float) =
    { real with
        Make =
            fun optimizer kind settings ->
                real.Make
                    optimizer
                    kind
                    (settings
                     |> List.map (fun (key, value) ->
                         if key = name then
                             key, number (change (OptionValue.op_Explicit value))
                         else
                             key, value))
    }

/// After a step something happens to the rate.
let private after change =
    { real with
        Step =
            fun scheduler ->
                real.Step scheduler
                change scheduler
    }

/// A number in a scheduler's state.
let private saved (name: string) (scheduler: LRScheduler) : float =
    let state = real.Save scheduler
    Tree.op_Explicit state[name]

/// LinearLR's next rate from the one before, with a pair of parentheses too few.
let private withoutParentheses =
    { real with
        Step =
            fun scheduler ->
                let before = [ for group in scheduler.Optimizer.ParamGroups -> lr group ]
                real.Step scheduler

                if scheduler :? LinearLR && scheduler.LastEpoch <= saved "total_iters" scheduler then
                    let start, steps = saved "start_factor" scheduler, saved "total_iters" scheduler
                    let way = saved "end_factor" scheduler - start

                    for group, rate in Seq.zip scheduler.Optimizer.ParamGroups before do
                        group["lr"] <- number (rate * (1.0 + way / steps * start + (scheduler.LastEpoch - 1.0) * way))
    }

/// Writes the current rates where the first ones were kept.
let private overwriteInitial (optimizer: Optimizer) =
    let dict = optimizer.StateDict()

    for group in dict.ParamGroups do
        if group.ContainsKey "initial_lr" then
            group["initial_lr"] <- group["lr"]

    optimizer.LoadStateDict dict |> ignore

/// A scheduler over groups whose lr_scale is taken away while it is made.
let private unscaled =
    { real with
        Make =
            fun optimizer kind settings ->
                let scales =
                    [
                        for group in optimizer.ParamGroups do
                            match group.Custom.TryGetValue "lr_scale" with
                            | true, scale ->
                                group.Custom.Remove "lr_scale" |> ignore
                                group, scale
                            | _ -> ()
                    ]

                let scheduler = real.Make optimizer kind settings

                for group, scale in scales do
                    group.Custom["lr_scale"] <- scale

                scheduler
    }

let private table: (ScheduleStatement * string * SchedulerShell) list =
    [
        Schedules.recursion,
        "the current rate is overwritten by the closed form",
        { real with
            Step = fun scheduler -> real.StepTo scheduler (scheduler.LastEpoch + 1.0)
        }
        Schedules.recursion, "a pair of parentheses is missing", withoutParentheses
        Schedules.ends, "the end is at a factor of its own", setting "end_factor" (fun _ -> 0.5)
        Schedules.ends, "the way is one step longer", setting "total_iters" (fun steps -> steps + 1.0)
        Schedules.range, "triangles are a little too high", setting "max_lr" (fun rate -> rate * 1.001)
        Schedules.monotone,
        "the third step restores the base rate",
        after (fun scheduler ->
            if scheduler.LastEpoch = 3.0 then
                for group in scheduler.Optimizer.ParamGroups do
                    group["lr"] <- group["initial_lr"])
        Schedules.bounded,
        "the second step is two",
        after (fun scheduler ->
            if scheduler.LastEpoch = 2.0 then
                real.Step scheduler)
        Schedules.periods, "the first period is one step longer", setting "T_0" (fun steps -> steps + 1.0)
        Schedules.homogeneous, "a small number is added", after (fun scheduler -> each scheduler (fun rate -> rate + 1e-12))
        Schedules.expressible, "the rate drifts", after (fun scheduler -> each scheduler (fun rate -> rate * (1.0 + 1e-6)))
        Schedules.transparent,
        "a sequence of one has made a step already",
        { real with
            Sequence =
                fun optimizer schedulers milestones ->
                    let sequence = real.Sequence optimizer schedulers milestones

                    if schedulers.Length = 1 then
                        sequence.Step()

                    sequence
        }
        Schedules.construction,
        "a second scheduler overwrites initial_lr",
        { real with
            Make =
                fun optimizer kind settings ->
                    overwriteInitial optimizer
                    real.Make optimizer kind settings
        }
        Schedules.construction,
        "initial_lr is what lr is",
        { real with
            Make =
                fun optimizer kind settings ->
                    let scheduler = real.Make optimizer kind settings
                    overwriteInitial optimizer
                    scheduler
        }
        Schedules.product,
        "only the last one counts",
        { real with
            Chain = fun schedulers -> real.Chain [ List.last schedulers ]
        }
        Schedules.oneCycle, "the rate at the end is divided once", setting "final_div_factor" (fun _ -> 1.0)
        Schedules.plateau, "patience is one less", setting "patience" (fun patience -> max 0.0 (patience - 1.0))
        Schedules.handOver,
        "the milestone is one step later",
        { real with
            Sequence = fun optimizer schedulers milestones -> real.Sequence optimizer schedulers (List.map ((+) 1) milestones)
        }
        Schedules.stepTo,
        "an epoch is counted from 1",
        { real with
            StepTo = fun scheduler epoch -> real.StepTo scheduler (epoch + 1.0)
        }
        Schedules.groups,
        "all groups have the rate of the last one",
        after (fun scheduler ->
            let last = scheduler.Optimizer.ParamGroups |> Seq.last |> lr
            each scheduler (fun _ -> last))
        Schedules.resume, "a state is not loaded", { real with Load = fun _ _ -> () }
        Schedules.made, "a state is not loaded", { real with Load = fun _ _ -> () }
        Schedules.pure', "powers are whole", setting "power" Math.Floor
        Schedules.plateau,
        "thresholds are relative, which turns round below 0",
        { real with
            Make =
                fun optimizer kind settings ->
                    real.Make
                        optimizer
                        kind
                        [
                            for key, value in settings do
                                key,
                                (if key = "threshold_mode" then
                                     OptionValue.Text "rel"
                                 else
                                     value)

                            if kind = "ReduceLROnPlateau" then
                                "threshold", number 0.1
                        ]
        }
        Schedules.scaled,
        "lr_scale counts again at each step",
        after (fun scheduler ->
            for group in scheduler.Optimizer.ParamGroups do
                match group.Custom.TryGetValue "lr_scale" with
                | true, scale -> group["lr"] <- number (lr group * OptionValue.op_Explicit scale)
                | _ -> ())
        Schedules.scaled, "the constructor forgets lr_scale", unscaled
        Schedules.greedy, "patience is one less", setting "patience" (fun patience -> max 0.0 (patience - 1.0))
        Schedules.greedy, "the highest rate is not looked at", setting "max_lr" (fun _ -> 1e6)
        Schedules.pure', "a warm-up is one step longer", setting "num_warmup_steps" (fun steps -> steps + 1.0)
        Schedules.pure', "cycles decay less", setting "cycle_decay" Math.Sqrt
        Schedules.pure', "the rate drifts", after (fun scheduler -> each scheduler (fun rate -> rate * (1.0 + 1e-6)))
    ]

[<Tests>]
let tests =
    testList
        "mutants of schedulers"
        [
            test "every law of schedulers has a mutant" {
                Expect.equal (set [ for law, _, _ in table -> law.Id ]) (set [ for law in Schedules.all -> law.Id ]) "laws"
            }

            for law, defect, shell in table do
                testCase $"\"{law.Says}\" ({law.Id}) finds: {defect}" (fun () ->
                    let trial = (law.On shell).Try (Subject.ofRule (Rules.Find "SGD")) 100 20261125UL
                    Cases.add "mutants" 1
                    Expect.isNotEmpty trial.Broken "the law held"
                    let why = Array.head (trial.Broken.Split '\n')
                    Expect.isFalse (why.Contains "Exception: ") trial.Broken)
        ]
