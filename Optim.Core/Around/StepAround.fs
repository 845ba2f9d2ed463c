namespace Optim.Core

open System
open Optim.Kernels

/// What surrounds a step: gradients are unscaled and clipped before it, averages move and gradients become zero after it. Steps of
/// element-wise rules do it in their own visit of memory and leave gradients as they are (but for zeros); others in passes of their
/// own, which write them. The numbers are the same. It can be used again for every step.
[<Sealed>]
type StepAround() =
    let mutable taken: bool array = [||]
    let mutable rest: TensorView array = [||]
    let mutable averages: TensorView array = [||]

    /// By what gradients are multiplied first, to undo a loss scale.
    member val Unscale = 1.0 with get, set
    /// By what they are multiplied then, to clip their norm.
    member val Clip = 1.0 with get, set
    /// To what magnitude each element is clamped then; infinity for not at all.
    member val Limit = infinity with get, set
    /// Whether gradients become zero after the step.
    member val Zeroes = false with get, set
    /// The weight of a parameter in its average, in [0, 1]; 0 moves no average.
    member val Weight = 0.0 with get, set

    /// The averages, one for each parameter; absent for those that have none.
    member _.Averages
        with get () = averages
        and set (value: TensorView array) =
            Argument.notNull "value" value
            averages <- value


    /// Whether there is nothing to do.
    member around.IsNothing =
        around.Unscale = 1.0
        && around.Clip = 1.0
        && Double.IsPositiveInfinity around.Limit
        && not around.Zeroes
        && around.Weight = 0.0

    /// Whether averages move in the step: a weight of 1 copies, which is not what the formula does.
    member internal around.MovesInside = around.Weight > 0.0 && around.Weight < 1.0

    /// The average that moves in the step of a row; absent when there is none.
    member internal around.Average(row: int) =
        if around.MovesInside then
            around.Averages[row]
        else
            TensorView()

    /// Whether averages are memory of their own.
    member val internal Watch = MemoryWatch()

    /// Refuses averages of another number of parameters, and makes room for these.
    member internal around.Fit(rows: int) =
        if around.Weight > 0.0 && averages.Length <> rows then
            raise (
                ArgumentException(
                    $"{rows} parameters and {averages.Length} averages; there must be one for each, if only an absent one",
                    "around"
                )
            )

        if taken.Length <> rows then
            around.Begin rows

    /// Forgets which averages a step has moved.
    member internal _.Begin(rows: int) =
        if taken.Length <> rows then
            taken <- Array.zeroCreate rows
            rest <- Array.zeroCreate rows
        else
            Array.Clear taken

    /// Whether the average of a row moves in the step.
    member internal _.Take(row: int, inside: bool) = taken[row] <- inside

    /// Whether the average of a row has been said to move in the step.
    member internal _.IsTaken(row: int) = taken[row]

    member internal around.Kernel =
        Around(
            Unscale = around.Unscale,
            Clip = around.Clip,
            Limit = around.Limit,
            Weight = (if around.MovesInside then around.Weight else 0.0),
            Zeroes = around.Zeroes,
            IsOn = true
        )

    /// What is done to gradients before a step that does not do it itself.
    member internal around.Before(gradients: Gradients, executor: Executor) =
        if around.Unscale <> 1.0 then
            Clipping.scale around.Unscale gradients executor

        if around.Clip <> 1.0 then
            Clipping.scale around.Clip gradients executor

        if not (Double.IsPositiveInfinity around.Limit) then
            Clipping.clamp around.Limit gradients executor

    /// What a step has left over: averages of rows that it did not go over, and zeros where it did not write them.
    member internal around.After(parameters: Parameters, gradients: Gradients, zeroes: bool, executor: Executor) =
        if around.Weight > 0.0 then
            let mutable left = 0

            for row in 0 .. parameters.Count - 1 do
                rest[row] <- if taken[row] then TensorView() else around.Averages[row]

                if not rest[row].IsAbsent then
                    left <- left + 1

            if left > 0 then
                Average.move around.Weight rest parameters.Items executor

        if zeroes then
            for row in 0 .. gradients.Count - 1 do
                if gradients[row].Kind <> GradientKind.Absent then
                    gradients[row].Values.Clear()
