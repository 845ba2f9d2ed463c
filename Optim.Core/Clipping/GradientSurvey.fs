namespace Optim.Core

open System
open Optim.Kernels

/// One look over gradients, which writes nothing: their norm, and whether all of them are finite. Several lists count as one. A sparse
/// gradient is the sum of its rows, and gradients without elements are passed over. It can be used again for every step, and then
/// allocates nothing but for sparse gradients.
[<Sealed>]
type GradientSurvey() =
    let mutable views: TensorView array = [||]
    let mutable places: struct (int * int) array = [||]
    let mutable results: double array = [||]
    let mutable areSparse: bool array = [||]
    let mutable count = 0
    let mutable lists = 0
    let mutable firstSparse = -1, -1
    let mutable total = 0.0
    let mutable isFinite = true

    /// The norm of the norms, as PyTorch has it: for order 0 that is how many tensors have one.
    let join (order: double) =
        let mutable joined = if order = Double.NegativeInfinity then infinity else 0.0

        for index in 0 .. count - 1 do
            let result = results[index]

            joined <-
                if order = Double.PositiveInfinity then
                    Math.Max(joined, result)
                elif order = Double.NegativeInfinity then
                    Math.Min(joined, result)
                elif order = 0.0 then
                    joined + (if result = 0.0 then 0.0 else 1.0)
                else
                    joined + result

        if count = 0 then
            0.0
        elif Double.IsInfinity order || order = 0.0 || order = 1.0 then
            joined
        elif order = 2.0 then
            sqrt joined
        else
            Math.Pow(joined, 1.0 / order)

    let mutable across: SlicesAcross | null = null
    let mutable slices: TensorView array = [||]

    let makeRoom needed =
        if needed > views.Length then
            Array.Resize(&views, needed)
            Array.Resize(&places, needed)
            Array.Resize(&results, needed)
            Array.Resize(&areSparse, needed)

    let reduce (reduction: Reduction) factor executor =
        match across with
        | null -> reduction.Each(ReadOnlySpan(views, 0, count), Span(results, 0, count), executor, factor)
        | across -> across.Reduce(reduction, slices, results, executor, factor)

    /// The number of gradients that have elements.
    member _.Count = count
    /// The norm of all of them; 0 when there are none.
    member _.Total = total
    /// Whether every element of every gradient is finite, even when the norm is not.
    member _.IsFinite = isFinite

    /// Says that what is added are slices, of gradients that other ranks have the rest of.
    member internal _.Across
        with set value = across <- value

    /// Forgets what was added.
    member _.Clear() =
        Array.Clear views
        count <- 0
        lists <- 0
        firstSparse <- -1, -1
        total <- 0.0
        isFinite <- true

    /// Adds the gradients of a list that are there.
    member _.Add(gradients: Gradients) =
        Argument.notNull "gradients" gradients
        makeRoom (count + gradients.Count)

        for row in 0 .. gradients.Count - 1 do
            let gradient = gradients[row]

            if gradient.Kind <> GradientKind.Absent && gradient.Values.Count > 0n then
                if gradient.Kind = GradientKind.Sparse && fst firstSparse < 0 then
                    firstSparse <- lists, row

                views[count] <- gradient.Coalesce().Values
                places[count] <- struct (lists, row)
                areSparse[count] <- gradient.Kind = GradientKind.Sparse
                count <- count + 1

        lists <- lists + 1

    /// Refuses norms of negative order where a gradient is sparse; it is called by what the label of its list and row says.
    member _.RefuseOrder(order: double, label: Func<int, int, string>) =
        Argument.notNull "label" label
        let list, row = firstSparse

        if order < 0.0 && list >= 0 then
            raise (
                NotSupportedException
                    $"norm_type is {OptionValue.Float order}, and {label.Invoke(list, row)} is sparse: the rows that it lacks are zeros, at which norms of negative order look; make it dense first"
            )

    /// Works out norm and finiteness of all that was added, each element times a factor.
    member survey.Run(order: double, factor: double, executor: Executor) =
        Argument.notNull "executor" executor
        survey.RefuseOrder(order, fun _ row -> $"gradient {row}")

        match across with
        | null -> ()
        | across ->
            slices <- Array.sub views 0 count

            let all =
                across.Begin(Array.sub places 0 count, slices, Array.sub areSparse 0 count)

            makeRoom all.Length
            all.CopyTo(places, 0)
            count <- all.Length

        let reduction =
            if order = Double.PositiveInfinity then
                Reduction.LargestMagnitude
            elif order = Double.NegativeInfinity then
                Reduction.SmallestMagnitude
            else
                Reduction.SumOfPowers order

        reduce reduction factor executor
        total <- join order
        isFinite <- true

        // A norm that is finite has finite elements, but for orders that do not see the largest.
        if order <= 0.0 || not (Double.IsFinite total) then
            let kept = Array.sub results 0 count
            reduce Reduction.LargestMagnitude 1.0 executor
            let mutable largest = 0.0

            for index in 0 .. count - 1 do
                largest <- Math.Max(largest, results[index])

            isFinite <- Double.IsFinite largest

            if isFinite && order > 0.0 && Double.IsFinite order then
                // Finite elements whose powers overflow: once more on a scale by a power of two, which changes no digit.
                let exponent = Math.ILogB(largest * factor)
                reduce reduction (factor * Math.ScaleB(1.0, -exponent)) executor
                total <- Math.ScaleB(join order, exponent)
            elif isFinite then
                kept.CopyTo(results, 0)

    /// Looks where the gradients lie, without waiting for what is found; null where that is not possible, and then nothing was done.
    member internal survey.LookOn(device: ProgramDevice, order: double, factor: double, most: Nullable<double>) : DeviceSurvey | null =
        let canLook =
            count > 0
            && isNull across
            && (order = 2.0 || order = Double.PositiveInfinity)
            && not (ReadOnlySpan(areSparse, 0, count).Contains true)

        if canLook then
            device.Look(survey, ReadOnlySpan(views, 0, count), Double.IsInfinity order, factor, most)
        else
            null

    /// Takes over what was found there.
    member internal _.Take(norm: double, allFinite: bool) =
        total <- norm
        isFinite <- allFinite

    /// The lists and rows of the gradients that are not finite, counted as they were added: for messages.
    member _.Nonfinite =
        match across with
        | null ->
            [|
                for index in 0 .. count - 1 do
                    if not (Double.IsFinite(Reduction.LargestMagnitude.Of views[index])) then
                        places[index]
            |]
        | _ ->
            reduce Reduction.LargestMagnitude 1.0 Executor.Team

            [|
                for index in 0 .. count - 1 do
                    if not (Double.IsFinite results[index]) then
                        places[index]
            |]
