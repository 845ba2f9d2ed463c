namespace Optim.Core

open System

/// Cycles of a schedule: how long the first is, and what becomes of the next ones.
[<NoComparison>]
type Cycles =
    {
        /// Steps of the first cycle; above 0.
        Length: double
        /// How many times as long each cycle is as the one before; above 0.
        Growth: double
        /// What the highest value is multiplied with from cycle to cycle.
        Decay: double
        /// How many there are; the least value follows.
        Limit: int
    }

/// The schedules of timm, by their names there: functions of the step and the base value. `least` is a value and not a factor.
/// <code>Timm.cosine 1e-5 1.0 (Timm.cycles 90.0) |> Timm.warmUp 5.0 1e-6</code>
[<RequireQualifiedAccess>]
module Timm =
    /// One cycle of so many steps, to be changed: { Timm.cycles 30.0 with Decay = 0.5; Limit = 3 }.
    [<CompiledName("Cycles")>]
    let cycles (length: double) =
        {
            Length = length
            Growth = 1.0
            Decay = 1.0
            Limit = 1
        }

    /// In each cycle least + (top - least) factor(step of it, its length).
    let private cyclic least (cycles: Cycles) (factor: double -> double -> double) =
        Argument.notNull "cycles" (box cycles)
        Schedule.checkLength "length" cycles.Length
        Schedule.checkLength "growth" cycles.Growth
        Schedule.check "decay" (Interval.atLeast 0.0) cycles.Decay
        Schedule.check "least" (Interval.atLeast 0.0) least

        Schedule(fun baseValue step ->
            let struct (inside, length, number) =
                Curve.cycle cycles.Length cycles.Growth cycles.Limit step

            if number >= cycles.Limit then
                least
            else
                let top = baseValue * Math.Pow(cycles.Decay, double number)
                least + (top - least) * factor inside length)

    /// Half a cosine from the highest value to the least in each cycle: (1 + cos(pi (u / length)^k)) / 2. k below 1 falls sooner.
    [<CompiledName("Cosine")>]
    let cosine (least: double) (kDecay: double) (cycles: Cycles) =
        Schedule.checkLength "kDecay" kDecay
        cyclic least cycles (fun inside length -> Curve.anneal true (Math.Pow(inside, kDecay) / Math.Pow(length, kDecay)))

    /// A power of the way that is left in each cycle: (1 - (u / length)^k)^power.
    [<CompiledName("Polynomial")>]
    let polynomial (least: double) (power: double) (kDecay: double) (cycles: Cycles) =
        Schedule.checkLength "kDecay" kDecay
        Schedule.check "power" (Interval.atLeast 0.0) power
        cyclic least cycles (fun inside length -> Math.Pow(1.0 - Math.Pow(inside, kDecay) / Math.Pow(length, kDecay), power))

    /// A hyperbolic tangent from its value at a lower bound to the one at an upper: (1 - tanh(lower (1 - q) + upper q)) / 2 with q = u / length.
    /// It begins a little below the highest value, and ends a little above the least.
    [<CompiledName("Tanh")>]
    let tanh (least: double) (lower: double) (upper: double) (cycles: Cycles) =
        if not (lower < upper) then
            raise (
                OptionException(
                    $"lower is {OptionValue.Float lower} and upper {OptionValue.Float upper}; lower must be below upper",
                    "lower"
                )
            )

        cyclic least cycles (fun inside length ->
            let way = inside / length
            (1.0 - Math.Tanh(lower * (1.0 - way) + upper * way)) / 2.0)

    /// rate more after every so many steps.
    [<CompiledName("Step")>]
    let step (size: double) (rate: double) =
        Schedule.check "rate" (Interval.atLeast 0.0) rate
        Schedule.step size rate

    /// rate more at each milestone, one step before it: timm counts them so.
    [<CompiledName("MultiStep")>]
    let multiStep (milestones: double seq) (rate: double) =
        Argument.notNull "milestones" milestones
        Schedule.check "rate" (Interval.atLeast 0.0) rate
        let milestones = Array.ofSeq milestones
        Schedule.ofFactor (fun step -> Math.Pow(rate, Curve.reached milestones (step + 1.0)))

    /// The factor of a descent at a part of the way: `power` is that of Power, `ratio` in (0, 1) that of Exponential.
    [<CompiledName("Descend")>]
    let descend (curve: Descent) (power: double) (ratio: double) (way: double) =
        match curve with
        | Descent.Linear -> 1.0 - way
        | Descent.Cosine -> Curve.anneal true way
        | Descent.OneMinusSqrt -> 1.0 - Math.Sqrt way
        | Descent.Power -> 1.0 - Math.Pow(way, power)
        | Descent.Exponential -> (Math.Pow(ratio, way) - ratio) / (1.0 - ratio)
        | _ ->
            let known = String.Join(", ", Enum.GetNames<Descent>())
            raise (OptionException($"curve is {curve}; it must be one of {known}", "curve"))

    /// A stable schedule, and within the last `decay` of `length` steps down to the least value by `fall`, whose factor goes from 1 to 0 over
    /// steps from 0 to 1: `Schedule.ofFactor (Timm.descend Descent.Cosine 0.0 0.0)`. The stable schedule goes on meanwhile.
    [<CompiledName("StableDecay")>]
    let stableDecay (least: double) (stable: Schedule) (fall: Schedule) (decay: double) (length: double) =
        Argument.notNull "stable" stable
        Argument.notNull "fall" fall
        Schedule.checkLength "length" length
        Schedule.checkLength "decay" decay
        Schedule.check "decay" (Interval.within 0.0 length) decay

        Schedule(fun baseValue step ->
            let value = max (stable.At(step, baseValue)) least

            match (step - (length - decay)) / decay with
            | way when way <= 0.0 -> value
            | way -> least + (value - least) * fall.At(min 1.0 way, 1.0))

    /// From a value up to one that the base value gives in so many steps, and then what follows.
    let private rise steps start schedule (target: double -> double) (follow: double -> double -> double) =
        Argument.notNull "schedule" schedule
        Schedule.checkSteps "steps" steps

        Schedule(fun baseValue step ->
            if step < steps then
                start + step * (target baseValue - start) / steps
            else
                follow baseValue step)

    /// From a value up to the base value in so many steps, and then the schedule, which has been running meanwhile: timm's warm-up without
    /// warmup_prefix.
    [<CompiledName("WarmUp")>]
    let warmUp (steps: double) (start: double) (schedule: Schedule) =
        rise steps start schedule id (fun baseValue step -> schedule.At(step, baseValue))

    /// The same up to the value that the schedule has then: timm's warm-up of tanh.
    [<CompiledName("WarmUpInto")>]
    let warmUpInto (steps: double) (start: double) (schedule: Schedule) =
        rise steps start schedule (fun baseValue -> schedule.At(steps, baseValue)) (fun baseValue step -> schedule.At(step, baseValue))

    /// From a value up to the base value in so many steps, and then the schedule from its step 0: timm's warm-up with warmup_prefix.
    [<CompiledName("WarmUpFirst")>]
    let warmUpFirst (steps: double) (start: double) (schedule: Schedule) =
        rise steps start schedule id (fun baseValue step -> schedule.At(step - steps, baseValue))
