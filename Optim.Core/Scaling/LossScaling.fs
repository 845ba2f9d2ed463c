namespace Optim.Core

open System

/// The factor by which a loss is multiplied, so that small gradients of narrow types do not vanish, and how it adapts.
[<NoComparison>]
type LossScaling =
    {
        /// The factor, a float32 number as in PyTorch; at least LossScaling.smallest.
        Scale: double
        /// By what the scale grows after enough steps without overflow; above 1.
        GrowthFactor: double
        /// By what it shrinks after an overflow; in (0, 1).
        BackoffFactor: double
        /// How many steps without overflow are enough; at least 1.
        GrowthInterval: int64
        /// Steps without overflow since the last change.
        GrowthTracker: int64
    }

/// Loss scaling as pure functions.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module LossScaling =
    let private single (value: double) = double (float32 value)

    /// The smallest scale, 2^-100, where overflows stop to shrink it. PyTorch has no limit: its scale becomes so small that its inverse
    /// is infinite, and 0 in the end. Here gradients down to 2^-26 keep all their digits, as their products with it are normal float32 numbers.
    let smallest = Math.ScaleB(1.0, -100)

    /// PyTorch's.
    let defaults =
        {
            Scale = 65536.0
            GrowthFactor = 2.0
            BackoffFactor = 0.5
            GrowthInterval = 2000L
            GrowthTracker = 0L
        }

    let private scales = Interval.within smallest (double Single.MaxValue)
    let private growths = Interval.between 1.0 Double.PositiveInfinity
    let private backoffs = Interval.between 0.0 1.0
    let private intervals = Interval.atLeast 1.0
    let private trackers = Interval.atLeast 0.0

    /// Refuses settings outside of their ranges; an OptionException names the one and its range.
    let check (scaling: LossScaling) =
        Argument.notNull "scaling" scaling
        let require = Field.require "GradScaler"
        require "init_scale" scales scaling.Scale
        require "growth_factor" growths scaling.GrowthFactor
        require "backoff_factor" backoffs scaling.BackoffFactor
        require "growth_interval" intervals (double scaling.GrowthInterval)
        require "_growth_tracker" trackers (double scaling.GrowthTracker)

    /// Checked, and with a scale that a float32 holds.
    let make (scaling: LossScaling) =
        check scaling

        { scaling with
            Scale = single scaling.Scale
        }

    /// By what gradients are multiplied to undo the scale: worked out in double and rounded to float32, as in PyTorch.
    let inverse (scaling: LossScaling) =
        Argument.notNull "scaling" scaling
        single (1.0 / scaling.Scale)

    /// After a step: smaller when a gradient was not finite, but never below the smallest; larger after enough steps in which all
    /// were, but never infinite.
    let update (overflow: bool) (scaling: LossScaling) =
        Argument.notNull "scaling" scaling

        if overflow then
            { scaling with
                Scale = max smallest (single (scaling.Scale * single scaling.BackoffFactor))
                GrowthTracker = 0L
            }
        elif scaling.GrowthTracker + 1L < scaling.GrowthInterval then
            { scaling with
                GrowthTracker = scaling.GrowthTracker + 1L
            }
        else
            let grown = single (scaling.Scale * single scaling.GrowthFactor)

            { scaling with
                Scale = if Double.IsFinite grown then grown else scaling.Scale
                GrowthTracker = 0L
            }
