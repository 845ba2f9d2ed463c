namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core

/// A law of schedulers, to be tried on any way to make and step them, over optimizers of any rule with a learning rate and momentum.
[<NoComparison; NoEquality>]
type ScheduleStatement =
    {
        /// Family and number, such as L1.
        Id: string
        /// The law in words.
        Says: string
        /// The same for optimizers, once the ways are given.
        On: SchedulerShell -> Statement
    }

/// L: schedules. S6 and S2 of schedulers are in L17.
[<RequireQualifiedAccess>]
module Schedules =
    let private u = Math.Pow(2.0, -52.0)

    let private law id says (draw: Random -> ScheduleSpec) (holds: SchedulerShell -> Subject -> ScheduleCase -> Verdict) =
        {
            Id = id
            Says = says
            On =
                fun shell ->
                    Statement.forAll
                        id
                        says
                        (fun rule -> List.contains rule.Name [ "SGD"; "Adam" ])
                        (fun _ -> ScheduleCase.drawing draw)
                        (fun _ _ -> Seq.empty)
                        (holds shell)
        }

    let private near tolerance what (expected: float) (actual: float) =
        abs (actual - expected) <= tolerance * max (abs expected) (abs actual)
        |> Verdict.require (fun () -> sprintf "%s: %.17g instead of %.17g" what actual expected)

    let private compare tolerance (expected: float list list) (actual: float list list) =
        [
            for t, (expected, actual) in List.indexed (List.zip expected actual) do
                for i, (expected, actual) in List.indexed (List.zip expected actual) do
                    near tolerance $"step {t}, group {i}" expected actual
        ]
        |> Verdict.all

    let private same = compare 0.0

    let private changes (rows: float list list) = List.distinct rows |> List.length > 1

    let private closed (spec: ScheduleSpec) (rates: float list) steps =
        [ for t in 0..steps -> [ for rate in rates -> spec.Closed rate t ] ]

    let private alone shell subject case =
        ScheduleCase.alone shell subject case.Rates case.Spec case.Steps

    let private get (key: string) (group: ParameterGroup) : float = OptionValue.op_Explicit group[key]

    let private number (x: float) = OptionValue.Float x
    let private whole (n: int) = OptionValue.Int(int64 n)
    let private any = ScheduleCase.spec
    let private wide = ScheduleCase.wide

    /// L1: the recursion is the closed form.
    let recursion =
        law "L1" "acting on a rate that was changed by hand is the closed form of a changed rate" any (fun shell subject case ->
            let steps = min case.Steps case.Spec.Length
            let optimizer = ScheduleCase.openWith subject case.Rates
            let scheduler = shell.Make optimizer case.Spec.Name case.Spec.Settings
            let floor = case.Spec.Floor

            for group in optimizer.ParamGroups do
                group["lr"] <- number (floor + 3.0 * (get "lr" group - floor))

            let expected =
                closed case.Spec case.Rates steps
                |> List.map (List.map (fun rate -> floor + 3.0 * (rate - floor)))

            // Near its end 1 + cos cancels.
            let tolerance =
                match case.Spec.Name with
                | "CosineAnnealingLR" -> u * Math.Pow(float case.Spec.Length + 2.0, 2.0)
                | "PolynomialLR" -> 64.0 * float steps * u
                | _ -> (8.0 + float steps) * u

            ScheduleCase.run shell optimizer scheduler steps |> compare tolerance expected)

    /// L2: end points.
    let ends =
        law
            "L2"
            "the first rate and the one at the end are those of the documentation"
            (ScheduleCase.named [ "LinearLR"; "ConstantLR"; "PolynomialLR"; "CosineAnnealingLR" ])
            (fun shell subject case ->
                let setting name : float =
                    OptionValue.op_Explicit (case.Spec.Settings |> List.find (fun (key, _) -> key = name) |> snd)

                let steps =
                    setting (
                        if case.Spec.Name = "CosineAnnealingLR" then
                            "T_max"
                        else
                            "total_iters"
                    )
                    |> int

                let rows = ScheduleCase.alone shell subject case.Rates case.Spec steps

                let expected (rate: float) =
                    match case.Spec.Name with
                    | "LinearLR" -> rate * setting "start_factor", rate * setting "end_factor"
                    | "ConstantLR" -> rate * setting "factor", rate
                    | "PolynomialLR" -> rate, 0.0
                    | _ -> rate, setting "eta_min"

                [
                    for i, rate in List.indexed case.Rates do
                        near (8.0 * u) "the first rate" (fst (expected rate)) (List.item i rows[0])
                        near (8.0 * u) "the last rate" (snd (expected rate)) (List.item i rows[steps])
                ]
                |> Verdict.all)

    /// L3: the range.
    let range =
        law "L3" "every rate lies in the documented interval" any (fun shell subject case ->
            let low, high = 0.001, 0.5 + Random(case.Seed).NextDouble()
            let optimizer = ScheduleCase.openWith subject case.Rates

            let cyclic =
                shell.Make
                    optimizer
                    "CyclicLR"
                    [
                        "base_lr", number low
                        "max_lr", number high
                        "step_size_up", whole (1 + case.Seed % 7)
                        "cycle_momentum", OptionValue.Bool false
                    ]

            let within low high what rate =
                (rate >= low * (1.0 - 4.0 * u) - 4.0 * u * high && rate <= high * (1.0 + 4.0 * u))
                |> Verdict.require (fun () -> sprintf "%s: %.17g is not in [%g, %g]" what rate low high)

            [
                for row in ScheduleCase.run shell optimizer cyclic case.Steps do
                    for rate in row do
                        within low high "cyclic" rate

                for row in alone shell subject case do
                    for rate, start in List.zip row case.Rates do
                        within (min start case.Spec.Floor) (max start case.Spec.Floor) case.Spec.Name rate
            ]
            |> Verdict.all)

    /// L4: monotone.
    let monotone =
        law
            "L4"
            "decay goes down, and warm-up goes up"
            (ScheduleCase.named
                [
                    "ExponentialLR"
                    "StepLR"
                    "MultiStepLR"
                    "PolynomialLR"
                    "ConstantLR"
                    "LinearLR"
                ])
            (fun shell subject case ->
                let rows = alone shell subject case
                let first, last = List.head rows, List.last rows

                [
                    for i in 0 .. case.Rates.Length - 1 do
                        let sign = if last[i] >= first[i] then 1.0 else -1.0

                        for before, after in List.pairwise rows do
                            sign * (after[i] - before[i]) >= -2.0 * u * before[i]
                            |> Verdict.require (fun () -> sprintf "%g and then %g" before[i] after[i])
                ]
                |> Verdict.all
                |> Verdict.tellingIf (changes rows))

    /// L5: the bound of a step.
    let bounded =
        law
            "L5"
            "no step of a cosine is longer than (base - min) sin(pi / 2 T), and all of a line are equal"
            (ScheduleCase.named [ "CosineAnnealingLR"; "LinearLR" ])
            (fun shell subject case ->
                let steps =
                    case.Spec.Settings
                    |> List.pick (fun (name, value) ->
                        if name = "T_max" || name = "total_iters" then
                            Some(OptionValue.op_Explicit value: float)
                        else
                            None)

                let rows =
                    ScheduleCase.alone shell subject case.Rates case.Spec (min case.Steps (int steps))

                [
                    for i, rate in List.indexed case.Rates do
                        for before, after in List.pairwise rows do
                            let length = abs (after[i] - before[i])

                            if case.Spec.Name = "LinearLR" then
                                let slope =
                                    abs (case.Spec.Closed rate (int steps) - case.Spec.Closed rate 0) / steps

                                abs (length - slope) <= 16.0 * u * rate
                                |> Verdict.require (fun () -> sprintf "a step of %g on a line with steps of %g" length slope)
                            else
                                let bound = (rate - case.Spec.Floor) * Math.Sin(Math.PI / (2.0 * steps))

                                length <= bound * (1.0 + 1e-9)
                                |> Verdict.require (fun () -> sprintf "a step of %g, above %g" length bound)
                ]
                |> Verdict.all)

    /// L6: periods.
    let periods =
        law "L6" "triangles repeat, and warm restarts come where they are due, with exactly the base rate" any (fun shell subject case ->
            let random = Random case.Seed
            let up, down = random.Next(1, 6), random.Next(1, 6)
            let first, growth = random.Next(1, 6), random.Next(1, 4)
            let optimizer = ScheduleCase.openWith subject case.Rates

            let cyclic =
                shell.Make
                    optimizer
                    "CyclicLR"
                    [
                        "base_lr", number 0.01
                        "max_lr", number 0.5
                        "step_size_up", whole up
                        "step_size_down", whole down
                    ]

            let cycles = ScheduleCase.run shell optimizer cyclic (3 * (up + down))
            let optimizer = ScheduleCase.openWith subject case.Rates

            let restarts =
                shell.Make optimizer "CosineAnnealingWarmRestarts" [ "T_0", whole first; "T_mult", whole growth ]

            let due =
                Seq.unfold (fun (start, length) -> Some(start, (start + length, length * growth))) (0, first)
                |> Seq.take 4
                |> Set.ofSeq

            let rows = ScheduleCase.run shell optimizer restarts (Set.maxElement due)

            [
                for t in 0 .. 2 * (up + down) do
                    abs (cycles[t + up + down][0] - cycles[t][0]) <= 8.0 * u * 0.5
                    |> Verdict.require (fun () -> $"a period of {up} + {down}: {cycles[t][0]} and then {cycles[t + up + down][0]}")

                for t, row in List.indexed rows do
                    (row = case.Rates) = due.Contains t
                    |> Verdict.require (fun () -> $"restarts from {first} times {growth}: {row} at {t}")
            ]
            |> Verdict.all)

    /// L7: homogeneity.
    let homogeneous =
        law "L7" "rates and floors times a power of two give rates times it, bit for bit" wide (fun shell subject case ->
            let factor = if case.Seed % 2 = 0 then 0.25 else 4.0

            let scaled =
                { case.Spec with
                    Settings =
                        case.Spec.Settings
                        |> List.map (fun (name, value) ->
                            if List.contains name [ "eta_min"; "warmup_lr_init" ] then
                                name, number (factor * OptionValue.op_Explicit value)
                            else
                                name, value)
                }

            ScheduleCase.alone shell subject (case.Rates |> List.map ((*) factor)) scaled case.Steps
            |> same (alone shell subject case |> List.map (List.map ((*) factor))))

    /// L8: functions express them.
    let expressible =
        law
            "L8"
            "each is a LambdaLR of its closed form, and a MultiplicativeLR of its ratios a running product"
            any
            (fun shell subject case ->
                let steps = min case.Steps case.Spec.Length
                let factor t = case.Spec.Closed 1.0 t

                let lambda =
                    let optimizer = ScheduleCase.openWith subject case.Rates
                    ScheduleCase.run shell optimizer (LambdaLR(optimizer, Func<int, float>(factor))) steps

                let multiplied =
                    let optimizer =
                        ScheduleCase.openWith subject (case.Rates |> List.map (fun rate -> rate * factor 0))

                    ScheduleCase.run
                        shell
                        optimizer
                        (MultiplicativeLR(optimizer, Func<int, float>(fun t -> factor t / factor (t - 1))))
                        steps

                let tolerance =
                    u * (64.0 + Math.Pow(float (min steps case.Spec.Length) + 40.0, 2.0))

                let expected =
                    if case.Spec.Floor = 0.0 then
                        ScheduleCase.alone shell subject case.Rates case.Spec steps
                    else
                        lambda

                Verdict.both (compare tolerance expected lambda) (compare tolerance lambda multiplied))

    /// L9: containers of one.
    let transparent =
        law "L9" "a container of one is that one, nested or not, bit for bit" wide (fun shell subject case ->
            let inside wrap =
                let optimizer = ScheduleCase.openWith subject case.Rates
                let scheduler = shell.Make optimizer case.Spec.Name case.Spec.Settings
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
                let optimizer = ScheduleCase.openWith subject case.Rates

                let initial () =
                    [ for group in optimizer.ParamGroups -> get "initial_lr" group ]

                let first = shell.Make optimizer case.Spec.Name case.Spec.Settings
                let afterFirst, initialFirst = ScheduleCase.rates optimizer, initial ()
                let second = shell.Make optimizer case.Other.Name case.Other.Settings

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
                    let optimizer = ScheduleCase.openWith subject case.Rates
                    let inside = [ for spec in specs -> shell.Make optimizer spec.Name spec.Settings ]
                    ScheduleCase.run shell optimizer (shell.Chain inside) case.Steps

                let expected =
                    [
                        for t in 0 .. case.Steps -> [ for rate in case.Rates -> rate * case.Spec.Closed 1.0 t * other.Closed 1.0 t ]
                    ]

                let tolerance = (8.0 + 4.0 * float case.Steps) * u

                Verdict.both
                    (chained [ case.Spec; other ] |> compare tolerance expected)
                    (chained [ other; case.Spec ] |> compare tolerance expected))

    /// L12: one cycle.
    let oneCycle =
        law
            "L12"
            "one cycle begins at max / div, ends at max / (div final), never passes max, moves momentum the other way, and then refuses"
            any
            (fun shell subject case ->
                let random = Random case.Seed
                let total, pct = random.Next(15, 60), 0.1 + 0.6 * random.NextDouble() // the peak is never before the first step
                let div, final = 2.0 + 30.0 * random.NextDouble(), 10.0 + 1e4 * random.NextDouble()
                let optimizer = ScheduleCase.openWith subject case.Rates
                let high = 0.5

                let scheduler =
                    shell.Make
                        optimizer
                        "OneCycleLR"
                        [
                            "max_lr", number high
                            "total_steps", whole total
                            "pct_start", number pct
                            "div_factor", number div
                            "final_div_factor", number final
                        ]

                let momentum () : float =
                    match optimizer.ParamGroups[0][if subject.Rule.Name = "SGD" then "momentum" else "betas"] with
                    | OptionValue.Tuple(Items(first :: _)) -> OptionValue.op_Explicit first
                    | value -> OptionValue.op_Explicit value

                let rows =
                    [
                        ScheduleCase.rates optimizer |> List.head, momentum ()

                        for _ in 1..total do
                            shell.Step scheduler
                            ScheduleCase.rates optimizer |> List.head, momentum ()
                    ]

                let refuses =
                    try
                        shell.Step scheduler
                        false
                    with :? OptionException ->
                        true

                let peak = pct * float total

                [
                    near (32.0 * u) "the first rate" (high / div) (fst rows[0])
                    near (32.0 * u) "the last rate" (high / div / final) (fst rows[total - 1])
                    near 0.0 "one step more" (fst rows[total - 1]) (fst rows[total])
                    refuses |> Verdict.require (fun () -> "a step beyond the cycle is accepted")

                    for rate, _ in rows do
                        rate <= high * (1.0 + 4.0 * u)
                        |> Verdict.require (fun () -> $"{rate} is above {high}")

                        if abs (peak - Math.Round peak) > 1e-6 then
                            rate < high
                            |> Verdict.require (fun () -> "the peak is reached between two steps")

                    // But for the pair on either side of the peak: the rate comes from div below it and goes further down.
                    for t, ((rate, momentum), (next, nextMomentum)) in rows |> List.pairwise |> List.indexed do
                        if not (float t < peak - 1.0 && peak - 1.0 < float (t + 1)) then
                            (next - rate) * (nextMomentum - momentum) <= 0.0
                            |> Verdict.require (fun () -> "momentum goes the same way as the rate")
                ]
                |> Verdict.all)

    /// L13: plateau.
    let plateau =
        law
            "L13"
            "a plateau's rates go down, no sooner and no oftener than patience and cooldown say, not at all while the metric gets better, and min of x is max of -x"
            any
            (fun shell subject case ->
                let random = Random case.Seed
                let patience, cooldown = random.Next 4, random.Next 4
                let least = 1e-3 * random.NextDouble()
                let metrics = [ for _ in 0..60 -> random.NextDouble() - 0.5 ]

                let run mode metrics =
                    let optimizer = ScheduleCase.openWith subject case.Rates

                    let scheduler =
                        shell.Make
                            optimizer
                            "ReduceLROnPlateau"
                            [
                                "mode", OptionValue.Text mode
                                "factor", number 0.5
                                "patience", whole patience
                                "cooldown", whole cooldown
                                "threshold_mode", OptionValue.Text "abs"
                                "min_lr", number least
                            ]

                    [
                        ScheduleCase.rates optimizer

                        for metric in metrics do
                            shell.StepTo scheduler metric
                            ScheduleCase.rates optimizer
                    ]

                let rows = run "min" metrics
                let better = run "min" [ for t in 0..20 -> -float t ]

                let reductions =
                    [
                        for t, (before, after) in List.indexed (List.pairwise rows) do
                            if after.Head < before.Head then
                                t + 1
                    ]

                [
                    for before, after in List.pairwise rows do
                        List.forall2 (fun after before -> after <= before && after >= min before least) after before
                        |> Verdict.require (fun () -> $"{before} and then {after}, at least {least}")

                    for first in List.truncate 1 reductions do
                        first >= patience + 2
                        |> Verdict.require (fun () -> $"reduced in call {first} with patience {patience}")

                    for before, after in List.pairwise reductions do
                        after - before >= patience + 1 + cooldown
                        |> Verdict.require (fun () -> $"reduced in calls {before} and {after}: patience {patience}, cooldown {cooldown}")

                    changes better
                    |> not
                    |> Verdict.require (fun () -> "reduced though the metric gets better")
                    same rows (run "max" (List.map (~-) metrics))
                ]
                |> Verdict.all
                |> Verdict.tellingIf (reductions.Length > 1))

    /// L14: hand-over.
    let handOver =
        law "L14" "at a milestone the rate is the next scheduler's first, and then its own" wide (fun shell subject case ->
            let milestone = 1 + case.Seed % 12
            let optimizer = ScheduleCase.openWith subject case.Rates
            let first = shell.Make optimizer case.Spec.Name case.Spec.Settings
            let second = shell.Make optimizer case.Other.Name case.Other.Settings

            let rows =
                ScheduleCase.run shell optimizer (shell.Sequence optimizer [ first; second ] [ milestone ]) (milestone + case.Steps)

            let before = ScheduleCase.alone shell subject case.Rates case.Spec (milestone - 1)

            let after = ScheduleCase.alone shell subject case.Rates case.Other case.Steps
            same (before @ after) rows)

    /// L15: step(epoch).
    let stepTo =
        law "L15" "the step to epoch t is the same as t steps" wide (fun shell subject case ->
            let jumped (name, settings) =
                let optimizer = ScheduleCase.openWith subject case.Rates
                let scheduler = shell.Make optimizer name settings
                shell.StepTo scheduler (float case.Steps)
                ScheduleCase.rates optimizer

            let stepped (name, settings) =
                let optimizer = ScheduleCase.openWith subject case.Rates

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
        let make (spec: ScheduleSpec) =
            shell.Make optimizer spec.Name spec.Settings

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

    /// L17 (and S2, S6 of schedulers): resuming.
    let resume =
        law
            "L17"
            "resumed at any step, whichever of optimizer and scheduler is restored first, a run goes on with the same bits; the last rates are those of the groups"
            wide
            (whereAllowed
             <| fun shell subject case ->
                 let random = Random case.Seed
                 let at = random.Next(0, case.Steps)
                 let optimizer = ScheduleCase.openWith subject case.Rates
                 let scheduler = some shell case optimizer
                 let head = ScheduleCase.run shell optimizer scheduler at

                 let saved, state =
                     subject.Shell.Clone(subject.Shell.Save optimizer), shell.Save scheduler

                 let tail = ScheduleCase.run shell optimizer scheduler (case.Steps - at)

                 let resumed order =
                     // Made with other rates: everything comes from the states.
                     let optimizer = ScheduleCase.openWith subject (case.Rates |> List.map ((*) 0.7))
                     let fresh = some shell case optimizer

                     match order with
                     | 0 ->
                         subject.Shell.Load optimizer saved
                         shell.Load fresh state
                     | _ ->
                         shell.Load fresh state
                         subject.Shell.Load optimizer saved

                     let last = List.ofSeq (fresh.GetLastLr())
                     let rows = ScheduleCase.run shell optimizer fresh (case.Steps - at)
                     Verdict.both (same tail rows) (same [ rows.Head ] [ last ])

                 Verdict.both (resumed 0) (resumed 1)
                 |> Verdict.tellingIf (changes (head @ tail)))

    /// S6: the scheduler may also be made after the optimizer was restored.
    let made =
        law
            "S6"
            "a scheduler that is made over a restored optimizer, and then restored, goes on with the same bits"
            wide
            (whereAllowed
             <| fun shell subject case ->
                 let at = Random(case.Seed).Next(0, case.Steps)
                 let optimizer = ScheduleCase.openWith subject case.Rates
                 let scheduler = some shell case optimizer
                 let head = ScheduleCase.run shell optimizer scheduler at

                 let saved, state =
                     subject.Shell.Clone(subject.Shell.Save optimizer), shell.Save scheduler

                 let tail = ScheduleCase.run shell optimizer scheduler (case.Steps - at)
                 let optimizer = ScheduleCase.openWith subject (case.Rates |> List.map ((*) 0.7))
                 subject.Shell.Load optimizer saved
                 let fresh = some shell case optimizer
                 shell.Load fresh state

                 ScheduleCase.run shell optimizer fresh (case.Steps - at)
                 |> same tail
                 |> Verdict.tellingIf (changes (head @ tail)))

    /// L18: the pure function.
    let pure' =
        law
            "L18"
            "a scheduler after t steps is the pure schedule at t, and the formula of its documentation"
            wide
            (fun shell subject case ->
                let expected =
                    [
                        for t in 0 .. case.Steps -> [ for rate in case.Rates -> case.Spec.Pure.At(float t, rate) ]
                    ]

                let rows = alone shell subject case
                // Near the zero of a cosine its formulas cancel differently.
                let far = 1e-12

                let formula =
                    [
                        for t, row in List.indexed rows do
                            for rate, actual in List.zip case.Rates row do
                                let expected = case.Spec.Closed rate t

                                abs (actual - expected) <= far * rate
                                |> Verdict.require (fun () -> sprintf "step %d: %.17g, and by the formula %.17g" t actual expected)
                    ]
                    |> Verdict.all

                Verdict.both (rows |> compare (8.0 * u) expected) formula)

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
                             if which = 8 then
                                 [
                                     "factor", number 0.5
                                     "patience", whole 0
                                     "eps", number 0.0
                                     "min_lr", number 1e-3
                                 ]
                             else
                                 [
                                     "factor", number 0.5
                                     "patience", whole 1
                                     "eps", number 0.0
                                     "max_lr", number 2.0
                                     "min_lr", number 1e-3
                                 ]

                         let scheduler =
                             shell.Make optimizer (if which = 8 then "ReduceLROnPlateau" else "hf:greedy") settings

                         let random = Random case.Seed

                         [
                             ScheduleCase.rates optimizer

                             for _ in 1 .. case.Steps do
                                 shell.StepTo scheduler (random.NextDouble())
                                 ScheduleCase.rates optimizer
                         ]
                     | _ -> ScheduleCase.run shell optimizer (some shell case optimizer) case.Steps

                 let plain = rows None

                 same (plain |> List.map (List.map ((*) factor))) (rows (Some factor))
                 |> Verdict.tellingIf (changes plain))

    /// L20: greedy.
    let greedy =
        law
            "L20"
            "greedy's rates stay in their bounds, wait for patience, rise only after better metrics and fall only after others; min of x is max of -x, and a constant on all metrics changes nothing"
            any
            (fun shell subject case ->
                let random = Random case.Seed
                let patience, rest = random.Next 3, random.Next 3
                // Sixteenths, so that whole numbers are added exactly.
                let metrics = [ for _ in 0..60 -> float (random.Next(-64, 64)) / 16.0 ]
                let low, high = 0.01, 0.3

                let run mode metrics =
                    let optimizer = ScheduleCase.openWith subject [ 0.1; 0.05 ]

                    let scheduler =
                        shell.Make
                            optimizer
                            "hf:greedy"
                            [
                                "mode", OptionValue.Text mode
                                "factor", number 0.5
                                "patience", whole patience
                                "cooldown", whole rest
                                "warmup", whole rest
                                "min_lr", number low
                                "max_lr", number high
                            ]

                    [
                        ScheduleCase.rates optimizer

                        for metric in metrics do
                            shell.StepTo scheduler metric
                            ScheduleCase.rates optimizer
                    ]

                let rows = run "min" metrics
                let better = run "min" [ for t in 0..30 -> -float t ]
                let worse = run "min" [ for t in 0..30 -> float t ]

                let moves =
                    [
                        for t, (before, after) in List.indexed (List.pairwise rows) do
                            if before <> after then
                                t + 1
                    ]

                [
                    for row in rows @ better @ worse do
                        row
                        |> List.forall (fun rate -> rate >= low && rate <= high)
                        |> Verdict.require (fun () -> $"{row} is not in [{low}, {high}]")

                    for before, after in List.pairwise (0 :: moves) do
                        after - before >= patience + 1
                        |> Verdict.require (fun () -> $"changed in calls {before} and {after} with patience {patience}")

                    for before, after in List.pairwise better do
                        List.forall2 (<=) before after
                        |> Verdict.require (fun () -> "down while the metric gets better")

                    for before, after in List.pairwise (List.tail worse) do
                        List.forall2 (>=) before after
                        |> Verdict.require (fun () -> "up while the metric gets worse")

                    changes better
                    |> Verdict.require (fun () -> "it stays though the metric gets better")

                    same rows (run "max" (List.map (~-) metrics))
                    same rows (run "min" (List.map ((+) 7.0) metrics))
                ]
                |> Verdict.all
                |> Verdict.tellingIf (moves.Length > 2))

    /// The laws of schedulers.
    let all =
        [
            recursion
            ends
            range
            monotone
            bounded
            periods
            homogeneous
            expressible
            transparent
            construction
            product
            oneCycle
            plateau
            handOver
            stepTo
            groups
            resume
            made
            pure'
            scaled
            greedy
        ]
