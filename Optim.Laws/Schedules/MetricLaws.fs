namespace Optim.Laws

open System
open Optim
open Optim.Core
open ScheduleLaw

/// Laws of schedulers that move more than the rate, or follow a metric: one cycle, plateau, greedy.
[<RequireQualifiedAccess>]
module internal MetricLaws =
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
                let optimizer = opened subject case
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
                    let optimizer = opened subject case

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

                    followed shell optimizer scheduler metrics

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

                    followed shell optimizer scheduler metrics

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
