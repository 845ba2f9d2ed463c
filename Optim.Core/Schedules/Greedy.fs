namespace Optim.Core

open System
open System.Collections.Immutable

/// When values go up after metrics that got better, and down after metrics that did not.
[<NoComparison>]
type GreedyOptions =
    {
        /// Which way a metric gets better.
        Mode: PlateauMode
        /// What a value is multiplied with, or divided by when it goes up; in (0, 1).
        Factor: double
        /// How many metrics in a row may be no better, or better, before the value changes; at least 0.
        Patience: int64
        /// What a metric must beat the best one by.
        Threshold: double
        /// How that is measured.
        ThresholdMode: ThresholdMode
        /// How many metrics after a reduction are not looked at.
        Cooldown: int64
        /// How many metrics after an increase are not looked at.
        Warmup: int64
        /// Changes of a value that are not above it are left out.
        Eps: double
        /// Over how many of the last metrics a mean is taken in place of the metric; 1 for none.
        Window: int
        /// How many reductions that find every value at its least begin anew: values as at first, no best metric.
        ResetStart: int64
    }

/// What is known of the metrics so far.
[<NoComparison>]
type GreedyState =
    {
        /// The best metric.
        Best: double
        /// How many in a row were no better.
        BadSteps: int64
        /// How many in a row were better.
        GoodSteps: int64
        /// How many are still not looked at after a reduction.
        CooldownLeft: int64
        /// How many are still not looked at after an increase.
        WarmupLeft: int64
        /// How many reductions at the least values are left before it begins anew.
        ResetLeft: int64
        /// The last metrics.
        Window: ImmutableArray<double>
    }

/// Values that follow a metric both ways, as GreedyLR of transformers: up after metrics that got better, down after metrics that did not.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Greedy =
    /// transformers' own.
    [<CompiledName("Defaults")>]
    let defaults =
        {
            Mode = PlateauMode.Min
            Factor = 0.95
            Patience = 10L
            Threshold = 1e-6
            ThresholdMode = ThresholdMode.Absolute
            Cooldown = 0L
            Warmup = 0L
            Eps = 1e-8
            Window = 1
            ResetStart = 500L
        }

    let private plateau (options: GreedyOptions) =
        { Plateau.defaults with
            Mode = options.Mode
            Threshold = options.Threshold
            ThresholdMode = options.ThresholdMode
        }

    /// Before the first metric.
    [<CompiledName("Init")>]
    let init (options: GreedyOptions) =
        Argument.notNull "options" options

        {
            Best = (Plateau.init (plateau options)).Best
            BadSteps = 0L
            GoodSteps = 0L
            CooldownLeft = 0L
            WarmupLeft = 0L
            ResetLeft = options.ResetStart
            Window = ImmutableArray.Empty
        }

    let private grow (options: GreedyOptions) (most: double) (value: double) =
        let grown = min (value / options.Factor) most
        if grown - value > options.Eps then grown else value

    let private shrink (options: GreedyOptions) least value =
        Plateau.reduce
            { Plateau.defaults with
                Factor = options.Factor
                Eps = options.Eps
            }
            least
            value

    /// What a metric makes of values, of which each has a least and a highest one and the one that it began with, and the next state.
    [<CompiledName("Step")>]
    let step
        (options: GreedyOptions)
        (least: double array)
        (most: double array)
        (first: double array)
        (metric: double)
        (state: GreedyState)
        (values: double array)
        =
        Argument.notNull "options" options
        Argument.notNull "least" least
        Argument.notNull "most" most
        Argument.notNull "first" first
        Argument.notNull "state" (box state)
        Argument.notNull "values" values

        let window =
            let before =
                if state.Window.IsDefault then
                    ImmutableArray<double>.Empty
                else
                    state.Window

            let all = before.Add metric
            if all.Length > options.Window then all.RemoveAt 0 else all

        // The sum of the window anew: a running one keeps a NaN, and the rounding of every metric that has left.
        let metric = if options.Window = 1 then metric else Seq.average window
        let state = { state with Window = window }

        let resting =
            { state with
                BadSteps = 0L
                GoodSteps = 0L
            }

        if state.CooldownLeft > 0L then
            struct (values,
                    { resting with
                        CooldownLeft = state.CooldownLeft - 1L
                    })
        elif state.WarmupLeft > 0L then
            struct (values,
                    { resting with
                        WarmupLeft = state.WarmupLeft - 1L
                    })
        else
            let state =
                if Plateau.isBetter (plateau options) state.Best metric then
                    { state with
                        Best = metric
                        BadSteps = 0L
                        GoodSteps = state.GoodSteps + 1L
                    }
                else
                    { state with
                        BadSteps = state.BadSteps + 1L
                        GoodSteps = 0L
                    }

            if state.GoodSteps > options.Patience then
                struct (Array.map2 (grow options) most values,
                        { state with
                            GoodSteps = 0L
                            WarmupLeft = options.Warmup
                            ResetLeft = options.ResetStart
                        })
            elif state.BadSteps > options.Patience then
                let reduced = Array.map2 (shrink options) least values

                let left =
                    if Array.forall2 (<=) reduced least then
                        state.ResetLeft - 1L
                    else
                        state.ResetLeft

                if left > 0L then
                    struct (reduced,
                            { state with
                                BadSteps = 0L
                                CooldownLeft = options.Cooldown
                                ResetLeft = left
                            })
                else
                    struct (Array.copy first,
                            { init options with
                                CooldownLeft = options.Cooldown
                            })
            else
                struct (values, state)
