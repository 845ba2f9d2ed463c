namespace Optim.Core

open System

/// A schedule that can also go on from any value, so that several may act on one option, one after another:
/// value = floor + (base - floor) factor(step), and as a map of the current value value = floor + (current - floor) factor(step) / factor(step - 1).
/// Alone it follows the closed form bit for bit.
[<Sealed>]
type Chainable internal (factor: double -> double, ratio: double -> double, floor: double, rests: bool) =
    let closed step baseValue =
        match factor step with
        | 1.0 -> baseValue
        | factor -> floor + (baseValue - floor) * factor

    /// What it does to the base value, or to the distance of the base value from the floor.
    member _.Factor step = factor step

    /// Where it leads when the factor is 0.
    member _.Floor = floor

    /// The closed form as a schedule.
    member _.Schedule = Schedule(fun baseValue step -> closed step baseValue)

    /// The value at a step by the closed form.
    member _.At(step, baseValue) = closed step baseValue

    /// The value at step 0, from a value that something else has perhaps changed already.
    member _.Begin(baseValue, current: double) =
        match factor 0.0 with
        | 1.0 -> current
        | _ when current = baseValue -> closed 0.0 baseValue
        | factor -> floor + (current - floor) * factor

    /// The value at a step, from the value at the step before: the closed form while the current value is that, otherwise a map of it.
    member _.Next(step, baseValue, current: double) =
        if current = closed (step - 1.0) baseValue then
            closed step baseValue
        else
            match ratio step with
            | 1.0 -> current
            | ratio when Double.IsFinite ratio -> floor + (current - floor) * ratio
            | _ when rests -> floor
            // The factor was 0, so that the current value does not say how far it was to go: PyTorch adds the distance.
            | _ -> current + (baseValue - floor) * (factor step - factor (step - 1.0))

    /// The same with another floor.
    member _.WithFloor floor = Chainable(factor, ratio, floor, rests)

/// The chainable schedules, by their factors, in F#; the static members of Chainable are the same in C#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Chainable =
    let private make ratio factor = Chainable(factor, ratio, 0.0, false)

    /// A factor of the step number; where it was 0, the distance is added.
    let ofFactor (factor: double -> double) =
        Argument.notNull "factor" factor
        factor |> make (fun step -> factor step / factor (step - 1.0))

    /// A schedule whose values are factors of the base value.
    let ofSchedule (schedule: Schedule) =
        Argument.notNull "schedule" schedule
        ofFactor (fun step -> schedule.At(step, 1.0))

    /// A power whose exponent is a function of the step number. The ratio is that of the exponents: far out both powers are 0.
    let private power (gamma: double) (exponent: double -> double) =
        (fun step -> Math.Pow(gamma, exponent step))
        |> make (fun step -> Math.Pow(gamma, exponent step - exponent (step - 1.0)))

    /// The distance from a floor in place of the value.
    let toward (floor: double) (chainable: Chainable) =
        Argument.notNull "chainable" chainable
        chainable.WithFloor floor

    /// gamma^step.
    let exponential gamma = power gamma id

    /// gamma more after every so many steps.
    let step (size: double) gamma = power gamma (Curve.intervals size)

    /// gamma more at each milestone.
    let multiStep (milestones: double seq) gamma =
        Argument.notNull "milestones" milestones
        power gamma (Curve.reached (Array.ofSeq milestones))

    /// A factor for so many steps, and then 1; for 0 steps for ever, as in PyTorch.
    let constant (factor: double) (steps: double) =
        ofFactor (fun step -> if steps = 0.0 || step < steps then factor else 1.0)

    /// From start to finish in so many steps.
    let linear start finish steps =
        ofFactor (Curve.linear start finish steps)

    /// (1 - step / steps)^power.
    let polynomial steps power = ofFactor (Curve.polynomial steps power)

    /// Up, along and down.
    let warmupStableDecay (anneal: Anneal) start warmup stable finish decay =
        ofFactor (Curve.warmupStableDecay (anneal = Anneal.Cosine) start warmup stable finish decay)

    /// Up, and then down with the root of the step number.
    let inverseSqrt start steps =
        ofFactor (Curve.inverseSqrt start steps)

    /// Half a cosine from the base value to the floor in so many steps, and up and down again after it.
    let cosine (floor: double) (steps: double) =
        ofFactor (Curve.cosine steps) |> toward floor

    /// From the current value to the floor in so many steps, at once for 0 steps, where it stays whatever else happens.
    let settle (anneal: Anneal) (steps: double) =
        let factor step =
            if step >= steps then
                0.0
            else
                Curve.anneal (anneal = Anneal.Cosine) (step / steps)

        Chainable(factor, (fun step -> factor step / factor (step - 1.0)), 0.0, true)

/// The same for C#.
type Chainable with
    /// A factor of the step number; where it was 0, the distance is added.
    static member OfFactor(factor: Func<double, double>) =
        Argument.notNull "factor" factor
        Chainable.ofFactor factor.Invoke

    /// A schedule whose values are factors of the base value.
    static member OfSchedule(schedule: Schedule) = Chainable.ofSchedule schedule

    /// gamma^step.
    static member Exponential(gamma: double) = Chainable.exponential gamma
    /// gamma more after every so many steps.
    static member Step(size: double, gamma: double) = Chainable.step size gamma
    /// gamma more at each milestone.
    static member MultiStep(milestones: double seq, gamma: double) = Chainable.multiStep milestones gamma
    /// A factor for so many steps, and then 1; for 0 steps for ever, as in PyTorch.
    static member Constant(factor: double, steps: double) = Chainable.constant factor steps
    /// From start to finish in so many steps.
    static member Linear(start: double, finish: double, steps: double) = Chainable.linear start finish steps
    /// (1 - step / steps)^power.
    static member Polynomial(steps: double, power: double) = Chainable.polynomial steps power

    /// Up, along and down.
    static member WarmupStableDecay(anneal: Anneal, start: double, warmup: double, stable: double, finish: double, decay: double) =
        Chainable.warmupStableDecay anneal start warmup stable finish decay

    /// Up, and then down with the root of the step number.
    static member InverseSqrt(start: double, steps: double) = Chainable.inverseSqrt start steps
    /// Half a cosine from the base value to the floor in so many steps, and up and down again after it.
    static member Cosine(floor: double, steps: double) = Chainable.cosine floor steps

    /// From the current value to the floor in so many steps, at once for 0 steps, where it stays whatever else happens.
    static member Settle(anneal: Anneal, steps: double) = Chainable.settle anneal steps
