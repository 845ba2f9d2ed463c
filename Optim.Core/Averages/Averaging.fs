namespace Optim.Core

open System

/// How an average of parameters takes new values in.
type Averaging =
    {
        /// The decay d of an exponential average (EMA), in [0, 1]; null for the equal average of all updates (SWA).
        Decay: Nullable<double>
        /// Whether the decay begins small: min(d, (1 + n) / (10 + n)) after n updates, so that the first values do not weigh for long.
        Warmup: bool
        /// Only every so many calls move the average, beginning with the first; at least 1.
        Every: int64
    }

/// How an average moves: a = a + w (x - a), from the nearer end.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Averaging =
    /// The equal average: w = 1 / (n + 1) after n updates.
    let equal =
        {
            Decay = Nullable()
            Warmup = false
            Every = 1L
        }

    /// The exponential average: w = 1 - decay, and 1 at the first update.
    let exponential (decay: double) = { equal with Decay = Nullable decay }

    let private decays = Interval.within 0.0 1.0
    let private intervals = Interval.atLeast 1.0

    /// Refuses a decay outside of [0, 1], a warm-up without a decay, and an interval below 1; an OptionException names it.
    let check (averaging: Averaging) =
        Argument.notNull "averaging" averaging

        if averaging.Decay.HasValue then
            Field.require "AveragedModel" "decay" decays averaging.Decay.Value
        elif averaging.Warmup then
            raise (OptionException("AveragedModel: warmup is True; it needs a decay, and the equal average has none", "warmup"))

        Field.require "AveragedModel" "every" intervals (double averaging.Every)

    /// The weight of the new value in an update that has n before it.
    let weight (averaging: Averaging) (n: int64) =
        Argument.notNull "averaging" averaging

        if n = 0L then
            1.0
        elif not averaging.Decay.HasValue then
            1.0 / (double n + 1.0)
        elif averaging.Warmup then
            1.0 - min averaging.Decay.Value ((1.0 + double n) / (10.0 + double n))
        else
            1.0 - averaging.Decay.Value

    /// Whether a call that has so many before it moves the average.
    let moves (averaging: Averaging) (calls: int64) =
        check averaging
        calls % averaging.Every = 0L
