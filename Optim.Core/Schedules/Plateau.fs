namespace Optim.Core

open System

/// Which way a metric gets better.
type PlateauMode =
    /// Less is better.
    | Min = 0
    /// More is better.
    | Max = 1

/// What a metric must beat the best one by.
type ThresholdMode =
    /// By a part of the best one, as PyTorch works it out: wrong where metrics are negative, as the threshold is then on the other side.
    | Relative = 0
    /// By a number.
    | Absolute = 1
    /// By a part of the absolute value of the best one.
    | RelativeToMagnitude = 2

/// When a metric counts as one that has stopped to get better, and what follows.
[<NoComparison>]
type PlateauOptions =
    {
        /// Which way a metric gets better.
        Mode: PlateauMode
        /// What a value is multiplied with; below 1.
        Factor: double
        /// How many metrics in a row may be no better.
        Patience: int64
        /// What a metric must beat the best one by.
        Threshold: double
        /// How that is measured.
        ThresholdMode: ThresholdMode
        /// How many metrics after a reduction do not count as bad.
        Cooldown: int64
        /// Changes of a value that are not above it are left out.
        Eps: double
    }

/// What is known of the metrics so far.
[<Struct>]
[<NoComparison>]
type PlateauState =
    {
        /// The best metric.
        Best: double
        /// How many in a row were no better.
        BadSteps: int64
        /// How many still do not count as bad.
        CooldownLeft: int64
    }

/// Less when a metric has stopped to get better, as PyTorch's ReduceLROnPlateau.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Plateau =
    /// PyTorch's.
    [<CompiledName("Defaults")>]
    let defaults =
        {
            Mode = PlateauMode.Min
            Factor = 0.1
            Patience = 10L
            Threshold = 1e-4
            ThresholdMode = ThresholdMode.Relative
            Cooldown = 0L
            Eps = 1e-8
        }

    /// Before the first metric, which any number is better than.
    [<CompiledName("Init")>]
    let init (options: PlateauOptions) =
        Argument.notNull "options" options

        {
            Best =
                (if options.Mode = PlateauMode.Min then
                     infinity
                 else
                     -infinity)
            BadSteps = 0L
            CooldownLeft = 0L
        }

    /// Whether a metric is better than another one by the threshold. NaN never is.
    [<CompiledName("IsBetter")>]
    let isBetter (options: PlateauOptions) (best: double) (metric: double) =
        Argument.notNull "options" options
        let sign = if options.Mode = PlateauMode.Min then -1.0 else 1.0

        let bound =
            match options.ThresholdMode with
            | ThresholdMode.Absolute -> best + sign * options.Threshold
            // Before the first metric the best is infinite, and any number beats it.
            | _ when Double.IsInfinity best -> best
            | ThresholdMode.RelativeToMagnitude -> best + sign * options.Threshold * abs best
            | _ -> best * (1.0 + sign * options.Threshold)

        if options.Mode = PlateauMode.Min then
            metric < bound
        else
            metric > bound

    /// What a metric leads to: whether values are to be reduced, and the next state.
    [<CompiledName("Step")>]
    let step (options: PlateauOptions) (metric: double) (state: PlateauState) =
        Argument.notNull "options" options

        let state =
            if isBetter options state.Best metric then
                { state with
                    Best = metric
                    BadSteps = 0L
                }
            else
                { state with
                    BadSteps = state.BadSteps + 1L
                }

        let state =
            if state.CooldownLeft > 0L then
                { state with
                    BadSteps = 0L
                    CooldownLeft = state.CooldownLeft - 1L
                }
            else
                state

        if state.BadSteps > options.Patience then
            struct (true,
                    { state with
                        BadSteps = 0L
                        CooldownLeft = options.Cooldown
                    })
        else
            struct (false, state)

    /// A value reduced, but not below the least one.
    [<CompiledName("Reduce")>]
    let reduce (options: PlateauOptions) (least: double) (value: double) =
        Argument.notNull "options" options
        let reduced = max least (value * options.Factor)

        if value - reduced > options.Eps then reduced else value
