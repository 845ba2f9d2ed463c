namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// One of the things that surround a step. They are made by the functions of Step.
[<RequireQualifiedAccess; NoEquality; NoComparison>]
type Surrounding =
    /// So many calls make a step, by the mean of their gradients; those that were added up so far.
    | Accumulate of calls: int * accumulated: Accumulation
    /// Gradients are divided by the loss scale, which adapts. A gradient that is not finite leaves everything else as it was.
    | Unscale of scaling: LossScaling
    /// Gradients are multiplied so that their norm, of an order, over all parameters is at most this. As of Unscale, they must be finite.
    | ClipByGlobalNorm of maxNorm: double * order: double
    /// Each element is clamped to [-limit, limit].
    | ClipByValue of limit: double
    /// An average takes the new parameters in.
    | Average of averaging: Averaging * state: AverageState
    /// Gradients become zero.
    | Zero

    /// What it is called in messages.
    member internal surrounding.Label =
        match surrounding with
        | Accumulate _ -> "accumulate"
        | Unscale _ -> "unscale"
        | ClipByGlobalNorm _ -> "clipByGlobalNorm"
        | ClipByValue _ -> "clipByValue"
        | Average _ -> "average"
        | Zero -> "zero"

    /// The order in which they happen.
    member internal surrounding.Rank =
        match surrounding with
        | Accumulate _ -> 0
        | Unscale _ -> 1
        | ClipByGlobalNorm _ -> 2
        | ClipByValue _ -> 3
        | Average _ -> 4
        | Zero -> 5

/// What surrounds a step, in the order in which it happens: an immutable value. Its accumulated gradients and averages are spent by the step
/// that takes them, as the state is.
[<Sealed>]
type SurroundedStep internal (items: ImmutableArray<Surrounding>) =
    /// What surrounds the step.
    member _.Surroundings = items

    /// The names of what surrounds the step.
    override _.ToString() =
        String.Join("; ", items |> Seq.map _.Label)

/// What became of a call.
type StepKind =
    /// The parameters have moved.
    | Moved = 0
    /// The gradients were added up, and no step was made.
    | Accumulated = 1
    /// A gradient was not finite: nothing has moved.
    | Skipped = 2

/// All that there is after a surrounded step.
[<NoEquality; NoComparison>]
type StepResult =
    {
        /// What became of it.
        Kind: StepKind
        /// The parameters, moved or not.
        Parameters: Parameters
        /// Their gradients: zero where that was asked for, and else as they were.
        Gradients: Gradients
        /// The state for the next step.
        State: State
        /// The same surroundings for the next step: loss scale, averages and accumulated gradients as they are now.
        Around: SurroundedStep
        /// The norm of the unscaled gradients before they were clipped; NaN where nothing looked at it.
        Norm: double
    }

    /// The loss scale for the next batch; 1 where nothing unscales.
    member result.LossScale =
        Argument.notNull "Around" result.Around

        result.Around.Surroundings
        |> Seq.tryPick (function
            | Surrounding.Unscale scaling -> Some scaling.Scale
            | _ -> None)
        |> Option.defaultValue 1.0

    /// The averages, in order.
    member result.Averages: IReadOnlyList<AverageState> =
        Argument.notNull "Around" result.Around

        [|
            for surrounding in result.Around.Surroundings do
                match surrounding with
                | Surrounding.Average(_, state) -> state
                | _ -> ()
        |]
