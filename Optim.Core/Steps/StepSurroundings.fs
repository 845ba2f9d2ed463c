namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// An average that moves in a step: its rows, and how much of the new parameters it takes.
[<Struct; NoEquality; NoComparison>]
type MovingAverage =
    {
        /// The weight of the new parameter, in [0, 1]; by 1 the average becomes the parameter, bit for bit.
        Weight: double
        /// The averages, one for each parameter; absent for those that have none.
        Rows: TensorView array
    }

/// What surrounds the step of some parameters, as numbers and memory: gradients are unscaled and clipped before it, averages move and
/// gradients become zero after it. Gradients stay as they are, but for zeros. The numbers are those of separate passes.
[<Struct; NoEquality; NoComparison>]
type StepSurroundings =
    {
        /// By what gradients are multiplied first, to undo a loss scale; null for not at all.
        Unscale: Nullable<double>
        /// By what they are multiplied then, to clip their norm; null for not at all.
        Clip: Nullable<double>
        /// To what magnitude each element is clamped then; null for not at all.
        Limit: Nullable<double>
        /// Whether gradients become zero after the step.
        Zeroes: bool
        /// The averages that move.
        Averages: ImmutableArray<MovingAverage>
    }

/// What surrounds a step.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module StepSurroundings =
    /// A step with nothing around it.
    let none =
        {
            Unscale = Nullable()
            Clip = Nullable()
            Limit = Nullable()
            Zeroes = false
            Averages = ImmutableArray.Empty
        }

    /// Refuses averages of another number of parameters, and weights outside of [0, 1].
    let internal check (rows: int) (surroundings: StepSurroundings) =
        if surroundings.Averages.IsDefault then
            raise (ArgumentException("the averages are a default array; they may be an empty one", "surroundings"))

        for index in 0 .. surroundings.Averages.Length - 1 do
            let average = surroundings.Averages[index]

            if isNull (box average.Rows) || average.Rows.Length <> rows then
                let found = if isNull (box average.Rows) then 0 else average.Rows.Length

                raise (
                    ArgumentException(
                        $"{rows} parameters and {found} averages; there must be one for each, if only an absent one",
                        "surroundings"
                    )
                )

            if not (average.Weight >= 0.0 && average.Weight <= 1.0) then
                raise (
                    ArgumentException(
                        $"the weight of an average is {OptionValue.Float average.Weight}; it must be in [0, 1]",
                        "surroundings"
                    )
                )

    let private orZero (number: Nullable<double>) =
        if number.HasValue then number.Value else 0.0

    /// The numbers as programs take them, into an array that has room for them.
    let internal fill (numbers: double array) (surroundings: StepSurroundings) =
        numbers[Surroundings.UnscaleAt] <- orZero surroundings.Unscale
        numbers[Surroundings.ClipAt] <- orZero surroundings.Clip
        numbers[Surroundings.LimitAt] <- orZero surroundings.Limit

        for index in 0 .. surroundings.Averages.Length - 1 do
            numbers[Surroundings.WeightsAt + index] <- surroundings.Averages[index].Weight

    /// Which program surrounds the step, but for the averages.
    let internal kinds (surroundings: StepSurroundings) =
        Surroundings(surroundings.Unscale.HasValue, surroundings.Clip.HasValue, surroundings.Limit.HasValue, surroundings.Zeroes)

    /// The same with all averages.
    let internal withAverages (surroundings: StepSurroundings) (kinds: Surroundings) =
        let mutable kinds = kinds

        for index in 0 .. surroundings.Averages.Length - 1 do
            kinds <- kinds.With(Surroundings.MoveOf surroundings.Averages[index].Weight)

        kinds
