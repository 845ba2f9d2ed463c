namespace Optim.Laws

open System
open Optim
open Optim.Core
open ScheduleLaw

/// Laws of what a schedule computes: the curve itself, its ends, range, length of steps and periods.
[<RequireQualifiedAccess>]
module internal CurveLaws =
    /// L1: the recursion is the closed form.
    let recursion =
        law "L1" "acting on a rate that was changed by hand is the closed form of a changed rate" any (fun shell subject case ->
            let steps = min case.Steps case.Spec.Length
            let optimizer = opened subject case
            let scheduler = make shell optimizer case.Spec
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
            let optimizer = opened subject case

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
            let optimizer = opened subject case

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
            let optimizer = opened subject case

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
                    let optimizer = opened subject case
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
