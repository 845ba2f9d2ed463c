namespace Optim.Laws

open System
open Optim
open Optim.Core
open ScheduleLaw

/// Laws of schedulers with each other and with the optimizer: containers, construction, groups, scales, resuming.
[<RequireQualifiedAccess>]
module internal CombinationLaws =
    /// L9: containers of one.
    let transparent =
        law "L9" "a container of one is that one, nested or not, bit for bit" wide (fun shell subject case ->
            let inside wrap =
                let optimizer = opened subject case
                let scheduler = make shell optimizer case.Spec
                ScheduleCase.run shell optimizer (wrap optimizer scheduler) case.Steps

            let sequence optimizer scheduler =
                shell.Sequence optimizer [ scheduler ] []

            let expected = alone shell subject case

            [
                inside sequence
                inside (fun _ scheduler -> shell.Chain [ scheduler ])
                inside (fun optimizer scheduler -> sequence optimizer (sequence optimizer scheduler))
                inside (fun optimizer scheduler -> sequence optimizer (shell.Chain [ scheduler ]))
                inside (fun optimizer scheduler -> shell.Chain [ sequence optimizer scheduler ])
            ]
            |> List.map (same expected)
            |> Verdict.all)

    /// L10: what construction does.
    let construction =
        law
            "L10"
            "a constructor writes its first rate, and leaves the initial_lr of an earlier scheduler alone"
            any
            (fun shell subject case ->
                let optimizer = opened subject case

                let initial () =
                    [ for group in optimizer.ParamGroups -> get "initial_lr" group ]

                let first = make shell optimizer case.Spec
                let afterFirst, initialFirst = ScheduleCase.rates optimizer, initial ()
                let second = make shell optimizer case.Other

                Verdict.all
                    [
                        compare (4.0 * u) [ case.Rates |> List.map (fun rate -> case.Spec.Closed rate 0) ] [ afterFirst ]
                        compare
                            (4.0 * u)
                            [ afterFirst |> List.map (fun rate -> rate * case.Other.Closed 1.0 0) ]
                            [ ScheduleCase.rates optimizer ]
                        same [ case.Rates; case.Rates ] [ initialFirst; initial () ]
                        same [ case.Rates; case.Rates ] [ List.ofSeq first.BaseLrs; List.ofSeq second.BaseLrs ]
                    ])

    /// L11: factors multiply.
    let product =
        law
            "L11"
            "chained schedulers commute, and their factors multiply"
            (ScheduleCase.named [ "ExponentialLR"; "StepLR"; "MultiStepLR"; "ConstantLR"; "LinearLR" ])
            (fun shell subject case ->
                let other =
                    ScheduleCase.named [ "ExponentialLR"; "StepLR"; "MultiStepLR"; "ConstantLR"; "LinearLR" ] (Random case.Seed)

                let chained (specs: ScheduleSpec list) =
                    let optimizer = opened subject case
                    let inside = [ for spec in specs -> make shell optimizer spec ]
                    ScheduleCase.run shell optimizer (shell.Chain inside) case.Steps

                let expected =
                    [
                        for t in 0 .. case.Steps -> [ for rate in case.Rates -> rate * case.Spec.Closed 1.0 t * other.Closed 1.0 t ]
                    ]

                let tolerance = (8.0 + 4.0 * float case.Steps) * u

                Verdict.both
                    (chained [ case.Spec; other ] |> compare tolerance expected)
                    (chained [ other; case.Spec ] |> compare tolerance expected))

    /// L14: hand-over.
    let handOver =
        law "L14" "at a milestone the rate is the next scheduler's first, and then its own" wide (fun shell subject case ->
            let milestone = 1 + case.Seed % 12
            let optimizer = opened subject case
            let first = make shell optimizer case.Spec
            let second = make shell optimizer case.Other

            let rows =
                ScheduleCase.run shell optimizer (shell.Sequence optimizer [ first; second ] [ milestone ]) (milestone + case.Steps)

            let before = ScheduleCase.alone shell subject case.Rates case.Spec (milestone - 1)

            let after = ScheduleCase.alone shell subject case.Rates case.Other case.Steps
            same (before @ after) rows)

    /// L15: step(epoch).
    let stepTo =
        law "L15" "the step to epoch t is the same as t steps" wide (fun shell subject case ->
            let jumped (name, settings) =
                let optimizer = opened subject case
                let scheduler = shell.Make optimizer name settings
                shell.StepTo scheduler (float case.Steps)
                ScheduleCase.rates optimizer

            let stepped (name, settings) =
                let optimizer = opened subject case

                ScheduleCase.run shell optimizer (shell.Make optimizer name settings) case.Steps
                |> List.last

            let restarts =
                "CosineAnnealingWarmRestarts", [ "T_0", whole (1 + case.Seed % 5); "T_mult", whole (1 + case.Seed % 3) ]

            let spec = case.Spec.Name, case.Spec.Settings

            Verdict.both
                (compare (4.0 * float case.Steps * u) [ stepped spec ] [ jumped spec ])
                (same [ stepped restarts ] [ jumped restarts ]))

    /// L16: groups.
    let groups =
        law "L16" "the rate of a group depends on its own base rate only" wide (fun shell subject case ->
            let together = alone shell subject case

            [
                for i, rate in List.indexed case.Rates do
                    ScheduleCase.alone shell subject [ rate ] case.Spec case.Steps
                    |> same (together |> List.map (fun row -> [ row[i] ]))
            ]
            |> Verdict.all
            |> Verdict.tellingIf (changes together))

    /// Schedulers of all kinds over an optimizer: simple, absolute, containers, metric-driven.
    let private some (shell: SchedulerShell) (case: ScheduleCase) (optimizer: Optimizer) =
        let make = make shell optimizer

        match case.Seed % 8 with
        | 0 -> shell.Make optimizer "CosineAnnealingWarmRestarts" [ "T_0", whole 3; "T_mult", whole 2 ]
        | 1 -> shell.Make optimizer "OneCycleLR" [ "max_lr", number 0.3; "total_steps", whole 100 ]
        | 2 ->
            shell.Make
                optimizer
                "CyclicLR"
                [
                    "base_lr", number 0.01
                    "max_lr", number 0.2
                    "step_size_up", whole 4
                    "mode", OptionValue.Text "triangular2"
                ]
        | 3 -> shell.Make optimizer "SWALR" [ "swa_lr", number 0.03; "anneal_epochs", whole 7 ]
        | 4 -> shell.Chain [ make case.Spec; make case.Other ]
        | 5 -> shell.Sequence optimizer [ make case.Spec; make case.Other ] [ 4 ]
        | 6 ->
            shell.Sequence
                optimizer
                [
                    shell.Chain [ make case.Spec; make case.Other ]
                    shell.Sequence optimizer [ make case.Other; make case.Spec ] [ 2 ]
                ]
                [ 3 ]
        | _ -> make case.Spec

    /// One schedule on another may lead below 0, which the optimizer refuses: no run to compare.
    let private whereAllowed holds shell subject case =
        try
            holds shell subject case
        with :? OptionException as e when e.Option = "lr" ->
            Verdict.Trivial

    /// A run that is interrupted, its states then, and how it went on.
    let private interrupted (shell: SchedulerShell) (subject: Subject) (case: ScheduleCase) =
        let at = Random(case.Seed).Next(0, case.Steps)
        let optimizer = opened subject case
        let scheduler = some shell case optimizer
        let head = ScheduleCase.run shell optimizer scheduler at

        let saved, state =
            subject.Shell.Clone(subject.Shell.Save optimizer), shell.Save scheduler

        let tail = ScheduleCase.run shell optimizer scheduler (case.Steps - at)
        saved, state, tail, changes (head @ tail)

    /// An optimizer with other rates: everything comes from the states.
    let private other subject (case: ScheduleCase) =
        ScheduleCase.openWith subject (case.Rates |> List.map ((*) 0.7))

    /// L17 (and S2, S6 of schedulers): resuming.
    let resume =
        law
            "L17"
            "resumed at any step, whichever of optimizer and scheduler is restored first, a run goes on with the same bits; the last rates are those of the groups"
            wide
            (whereAllowed
             <| fun shell subject case ->
                 let saved, state, tail, isTelling = interrupted shell subject case

                 let resumed order =
                     let optimizer = other subject case
                     let fresh = some shell case optimizer

                     match order with
                     | 0 ->
                         subject.Shell.Load optimizer saved
                         shell.Load fresh state
                     | _ ->
                         shell.Load fresh state
                         subject.Shell.Load optimizer saved

                     let last = List.ofSeq (fresh.GetLastLr())
                     let rows = ScheduleCase.run shell optimizer fresh (tail.Length - 1)
                     Verdict.both (same tail rows) (same [ rows.Head ] [ last ])

                 Verdict.both (resumed 0) (resumed 1) |> Verdict.tellingIf isTelling)

    /// S6: the scheduler may also be made after the optimizer was restored.
    let made =
        law
            "S6"
            "a scheduler that is made over a restored optimizer, and then restored, goes on with the same bits"
            wide
            (whereAllowed
             <| fun shell subject case ->
                 let saved, state, tail, isTelling = interrupted shell subject case
                 let optimizer = other subject case
                 subject.Shell.Load optimizer saved
                 let fresh = some shell case optimizer
                 shell.Load fresh state

                 ScheduleCase.run shell optimizer fresh (tail.Length - 1)
                 |> same tail
                 |> Verdict.tellingIf isTelling)

    /// L19: lr_scale.
    let scaled =
        law
            "L19"
            "the rates of a group with an lr_scale are its multiples of those without, whatever the schedule, and a group without it is left alone"
            wide
            (whereAllowed
             <| fun shell subject case ->
                 let factor = Math.Pow(2.0, float (-1 - case.Seed % 3))

                 let rows scale =
                     let optimizer = ScheduleCase.openScaled scale subject case.Rates

                     match case.Seed % 10 with
                     | 8
                     | 9 as which ->
                         let settings =
                             [
                                 "factor", number 0.5
                                 "patience", whole (which - 8)
                                 "eps", number 0.0
                                 "min_lr", number 1e-3
                                 if which = 9 then
                                     "max_lr", number 2.0
                             ]

                         let scheduler =
                             shell.Make optimizer (if which = 8 then "ReduceLROnPlateau" else "hf:greedy") settings

                         let random = Random case.Seed
                         followed shell optimizer scheduler [ for _ in 1 .. case.Steps -> random.NextDouble() ]
                     | _ -> ScheduleCase.run shell optimizer (some shell case optimizer) case.Steps

                 let plain = rows None

                 same (plain |> List.map (List.map ((*) factor))) (rows (Some factor))
                 |> Verdict.tellingIf (changes plain))
