namespace Optim.Core

open System

/// A value of an option as a pure function of the step number and of the option's base value: the one that it has without a schedule.
/// Step numbers are counted from 0 and may be fractions.
[<Sealed>]
type Schedule internal (at: double -> double -> double) =
    /// The value at a step.
    member _.At(step: double, baseValue: double) = at baseValue step

    /// A function of the step number and the base value.
    static member Of(value: Func<double, double, double>) =
        Argument.notNull "value" value
        Schedule(fun baseValue step -> value.Invoke(step, baseValue))

    /// A function of the step number, which the base value is multiplied with.
    static member OfFactor(factor: Func<double, double>) =
        Argument.notNull "factor" factor
        Schedule(fun baseValue step -> baseValue * factor.Invoke step)

/// Schedules, and what makes one out of others:
/// <code>Schedule.cosine 90.0 |> Schedule.toward 1e-5 |> Schedule.warmUp 10.0 0.1</code>
/// Curves are factors of the base value; steps are numbers of steps.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Schedule =
    let internal check name (range: Interval) (value: double) =
        if not (range.Holds value) then
            raise (OptionException($"{name} is {OptionValue.Float value}; it must be {range.Words}", name))

    let internal checkSteps name value =
        check name (Interval.upTo 0.0 infinity) value

    let internal checkLength name value =
        check name (Interval.between 0.0 infinity) value

    /// The value at a step.
    let at (step: double) (baseValue: double) (schedule: Schedule) =
        Argument.notNull "schedule" schedule
        schedule.At(step, baseValue)

    /// The values at the steps 0, 1, ..., count - 1.
    let values (count: int) (baseValue: double) (schedule: Schedule) =
        Argument.notNull "schedule" schedule
        Array.init count (fun step -> schedule.At(double step, baseValue))

    /// A function of the step number, which the base value is multiplied with.
    let ofFactor (factor: double -> double) =
        Argument.notNull "factor" factor
        Schedule(fun baseValue step -> baseValue * factor step)

    /// The base value itself.
    let keep = Schedule(fun baseValue _ -> baseValue)

    /// A value, whatever the base value.
    let constant (value: double) = Schedule(fun _ _ -> value)

    /// From start to finish, factors both, in so many steps, and then finish.
    let linear (start: double) (finish: double) (steps: double) =
        checkSteps "steps" steps
        ofFactor (Curve.linear start finish steps)

    /// (1 - step / steps)^power, and then 0.
    let polynomial (power: double) (steps: double) =
        checkSteps "steps" steps
        ofFactor (Curve.polynomial steps power)

    /// gamma^step.
    let exponential (gamma: double) =
        check "gamma" (Interval.atLeast 0.0) gamma
        ofFactor (fun step -> Math.Pow(gamma, step))

    /// gamma more after every so many steps.
    let step (size: double) (gamma: double) =
        checkLength "size" size
        ofFactor (fun step -> Math.Pow(gamma, Curve.intervals size step))

    /// gamma more at each milestone; one that is repeated counts as often.
    let multiStep (milestones: double seq) (gamma: double) =
        Argument.notNull "milestones" milestones
        let milestones = Array.ofSeq milestones
        ofFactor (fun step -> Math.Pow(gamma, Curve.reached milestones step))

    /// Half a cosine from 1 to 0 in so many steps, and up and down again after it (<c>hold</c> keeps it down):
    /// (1 + cos(pi step / steps)) / 2.
    let cosine (steps: double) =
        checkLength "steps" steps
        ofFactor (Curve.cosine steps)

    /// A triangle: from 0 up to 1 in so many steps, down to 0 in so many, and again.
    let triangle (up: double) (down: double) =
        checkLength "up" up
        checkLength "down" down

        ofFactor (fun step ->
            let struct (height, _) = Curve.triangle (up + down) (up / (up + down)) step
            height)

    /// From a factor up to 1 in so many steps, and then down with the root of the step number: sqrt(steps / step).
    let inverseSqrt (start: double) (steps: double) =
        checkLength "steps" steps
        ofFactor (Curve.inverseSqrt start steps)

    /// Through given factors at given steps; before the first and after the last of them those two.
    let through (anneal: Anneal) (points: struct (double * double) seq) =
        Argument.notNull "points" points
        let points = points |> Seq.sortBy (fun (struct (step, _)) -> step) |> Array.ofSeq

        if points.Length = 0 then
            raise (OptionException("points is empty; it must have at least one step and factor", "points"))

        let struct (start, first) = points[0]

        let phases =
            points
            |> Array.mapi (fun i (struct (step, value)) ->
                let struct (_, before) = points[max 0 (i - 1)]
                Curve.phase step before value)

        ofFactor (fun step ->
            if step <= start then
                first
            else
                Curve.phases (anneal = Anneal.Cosine) phases step)

    let private over (schedule: Schedule) value =
        Argument.notNull "schedule" schedule
        Schedule value

    /// Another schedule's value, multiplied.
    let scale (factor: double) (schedule: Schedule) =
        over schedule (fun baseValue step -> factor * schedule.At(step, baseValue))

    /// Another schedule's value, passed through a function.
    let map (change: double -> double) (schedule: Schedule) =
        Argument.notNull "change" change
        over schedule (fun baseValue step -> change (schedule.At(step, baseValue)))

    /// The values of the first schedule as base values of the second: the product where both are factors.
    let product (first: Schedule) (second: Schedule) =
        Argument.notNull "first" first
        Argument.notNull "second" second
        Schedule(fun baseValue step -> second.At(step, first.At(step, baseValue)))

    /// The distance from a floor in place of the value: floor + schedule(base - floor). A cosine toward eta_min ends there.
    let toward (floor: double) (schedule: Schedule) =
        over schedule (fun baseValue step -> floor + schedule.At(step, baseValue - floor))

    /// Nothing below a value.
    let atLeast (least: double) (schedule: Schedule) = schedule |> map (max least)

    /// Nothing above a value.
    let atMost (most: double) (schedule: Schedule) = schedule |> map (min most)

    /// Waits so many steps at the value of step 0.
    let delay (steps: double) (schedule: Schedule) =
        checkSteps "steps" steps
        over schedule (fun baseValue step -> schedule.At(max 0.0 (step - steps), baseValue))

    /// Stays where it is at a step.
    let hold (last: double) (schedule: Schedule) =
        checkSteps "last" last
        over schedule (fun baseValue step -> schedule.At(min last step, baseValue))

    /// So many times as slow.
    let stretch (factor: double) (schedule: Schedule) =
        checkLength "factor" factor
        over schedule (fun baseValue step -> schedule.At(step / factor, baseValue))

    /// Stairs: the value of the last multiple of so many steps.
    let every (steps: double) (schedule: Schedule) =
        checkLength "steps" steps
        over schedule (fun baseValue step -> schedule.At(steps * Curve.intervals steps step, baseValue))

    /// The first schedule up to a step, and from there on the next one, which begins at its own step 0.
    let thenAt (milestone: double) (next: Schedule) (first: Schedule) =
        Argument.notNull "next" next
        Argument.notNull "first" first
        checkSteps "milestone" milestone

        Schedule(fun baseValue step ->
            if step < milestone then
                first.At(step, baseValue)
            else
                next.At(step - milestone, baseValue))

    /// The first schedule, and then others, each from its milestone on, where it begins at its own step 0. Milestones are counted
    /// from the start.
    let sequence (first: Schedule) (rest: struct (double * Schedule) seq) =
        Argument.notNull "first" first
        Argument.notNull "rest" rest
        let rest = Array.ofSeq rest

        for struct (_, schedule) in rest do
            Argument.notNull "rest" schedule

        rest
        |> Array.iteri (fun i (struct (milestone, _)) ->
            checkSteps "milestone" milestone

            if i > 0 then
                let struct (before, _) = rest[i - 1]
                check "milestone" (Interval.atLeast before) milestone)

        Schedule(fun baseValue step ->
            match rest |> Array.tryFindBack (fun (struct (milestone, _)) -> step >= milestone) with
            | Some(struct (milestone, schedule)) -> schedule.At(step - milestone, baseValue)
            | None -> first.At(step, baseValue))

    /// In so many steps from a factor of the schedule's first value up to it, and then the schedule from its step 0.
    let warmUp (steps: double) (start: double) (schedule: Schedule) =
        Argument.notNull "schedule" schedule
        let rise = linear start 1.0 steps

        Schedule(fun baseValue step -> rise.At(step, schedule.At(0.0, baseValue)))
        |> thenAt steps schedule

    /// The first so many steps again and again.
    let cycle (period: double) (schedule: Schedule) =
        checkLength "period" period
        over schedule (fun baseValue step -> schedule.At(step % period, baseValue))

    /// The first so many steps again and again, each time stretched to a period so many times as long.
    let restart (period: double) (growth: double) (schedule: Schedule) =
        Argument.notNull "schedule" schedule
        checkLength "period" period
        check "growth" (Interval.atLeast 1.0) growth

        Schedule(fun baseValue step ->
            let struct (position, length) = Curve.restart period growth step
            schedule.At(position * (period / length), baseValue))

    /// Warm restarts (Loshchilov and Hutter, arXiv 1608.03983): half a cosine in the first period, then in one so many times as
    /// long, and so on; each begins with the base value.
    let warmRestarts (period: double) (growth: double) =
        checkLength "period" period
        check "growth" (Interval.atLeast 1.0) growth

        ofFactor (fun step ->
            let struct (position, length) = Curve.restart period growth step
            Curve.cosine length position)

    /// One cycle (Smith, arXiv 1708.07120) as PyTorch has it: from base / div up to the base value at step pct steps - 1, and down to
    /// base / (div finalDiv) at step steps - 1, where it stays.
    let oneCycle (anneal: Anneal) (pct: double) (div: double) (finalDiv: double) (steps: double) =
        checkLength "steps" steps
        checkLength "div" div
        checkLength "finalDiv" finalDiv
        let initial = 1.0 / div

        let phases =
            [|
                Curve.phase (pct * steps - 1.0) initial 1.0
                Curve.phase (steps - 1.0) 1.0 (initial / finalDiv)
            |]

        ofFactor (Curve.phases (anneal = Anneal.Cosine) phases)

    /// Warm-up, stable, decay: up from 0 (or a factor) in so many steps, so many steps at the base value, and along a curve down to a
    /// factor in so many steps (Hu et al., arXiv 2404.06395).
    let warmupStableDecay (anneal: Anneal) (start: double) (warmup: double) (stable: double) (finish: double) (decay: double) =
        checkSteps "warmup" warmup
        checkSteps "stable" stable
        checkSteps "decay" decay

        ofFactor (Curve.warmupStableDecay (anneal = Anneal.Cosine) start warmup stable finish decay)

/// The same for C#: curves are static members, and what makes one schedule out of another is a method of it, as in
/// <code>Schedule.Cosine(90).Toward(1e-5).WarmUp(10, 0.1)</code>
type Schedule with
    /// The base value itself.
    static member Keep = Schedule.keep
    /// A value, whatever the base value.
    static member Constant(value: double) = Schedule.constant value
    /// From start to finish, factors both, in so many steps, and then finish.
    static member Linear(start: double, finish: double, steps: double) = Schedule.linear start finish steps
    /// (1 - step / steps)^power, and then 0.
    static member Polynomial(power: double, steps: double) = Schedule.polynomial power steps
    /// gamma^step.
    static member Exponential(gamma: double) = Schedule.exponential gamma
    /// gamma more after every so many steps.
    static member Step(size: double, gamma: double) = Schedule.step size gamma
    /// gamma more at each milestone; one that is repeated counts as often.
    static member MultiStep(milestones: double seq, gamma: double) = Schedule.multiStep milestones gamma
    /// Half a cosine from 1 to 0 in so many steps, and up and down again after it (Hold keeps it down).
    static member Cosine(steps: double) = Schedule.cosine steps
    /// A triangle: from 0 up to 1 in so many steps, down to 0 in so many, and again.
    static member Triangle(up: double, down: double) = Schedule.triangle up down
    /// From a factor up to 1 in so many steps, and then down with the root of the step number: sqrt(steps / step).
    static member InverseSqrt(start: double, steps: double) = Schedule.inverseSqrt start steps
    /// Through given factors at given steps; before the first and after the last of them those two.
    static member Through(anneal: Anneal, points: struct (double * double) seq) = Schedule.through anneal points
    /// Half a cosine in the first period, then in one growth times as long, and so on; each begins with the base value.
    static member WarmRestarts(period: double, growth: double) = Schedule.warmRestarts period growth

    /// One cycle as PyTorch has it: from base / div up to the base value at step pct steps - 1, and down to base / (div finalDiv) at
    /// step steps - 1, where it stays.
    static member OneCycle(anneal: Anneal, pct: double, div: double, finalDiv: double, steps: double) =
        Schedule.oneCycle anneal pct div finalDiv steps

    /// Warm-up from a factor, so many steps at the base value, and along a curve down to a factor.
    static member WarmupStableDecay(anneal: Anneal, start: double, warmup: double, stable: double, finish: double, decay: double) =
        Schedule.warmupStableDecay anneal start warmup stable finish decay

    /// The first schedule, and then others, each from its milestone on, where it begins at its own step 0.
    static member Sequence(first: Schedule, rest: struct (double * Schedule) seq) = Schedule.sequence first rest

    /// The values at the steps 0, 1, ..., count - 1.
    member schedule.Values(count: int, baseValue: double) =
        Schedule.values count baseValue schedule

    /// This value, multiplied.
    member schedule.Scale(factor: double) = Schedule.scale factor schedule

    /// This value, passed through a function.
    member schedule.Map(change: Func<double, double>) =
        Argument.notNull "change" change

        Schedule.map (fun value -> change.Invoke value) schedule

    /// These values as base values of another schedule: the product where both are factors.
    member schedule.Product(second: Schedule) = Schedule.product schedule second
    /// The distance from a floor in place of the value: a cosine toward eta_min ends there.
    member schedule.Toward(floor: double) = Schedule.toward floor schedule
    /// Nothing below a value.
    member schedule.AtLeast(least: double) = Schedule.atLeast least schedule
    /// Nothing above a value.
    member schedule.AtMost(most: double) = Schedule.atMost most schedule
    /// Waits so many steps at the value of step 0.
    member schedule.Delay(steps: double) = Schedule.delay steps schedule
    /// Stays where it is at a step.
    member schedule.Hold(last: double) = Schedule.hold last schedule
    /// So many times as slow.
    member schedule.Stretch(factor: double) = Schedule.stretch factor schedule
    /// Stairs: the value of the last multiple of so many steps.
    member schedule.Every(steps: double) = Schedule.every steps schedule
    /// This schedule up to a step, and from there on the next one, which begins at its own step 0.
    member schedule.ThenAt(milestone: double, next: Schedule) = Schedule.thenAt milestone next schedule
    /// In so many steps from a factor of the schedule's first value up to it, and then the schedule from its step 0.
    member schedule.WarmUp(steps: double, start: double) = Schedule.warmUp steps start schedule
    /// The first so many steps again and again.
    member schedule.Cycle(period: double) = Schedule.cycle period schedule
    /// The first so many steps again and again, each time stretched to a period growth times as long.
    member schedule.Restart(period: double, growth: double) = Schedule.restart period growth schedule
