namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// A list of parameters and gradients that takes part in a step, and what else the step writes.
[<Struct; NoEquality; NoComparison>]
type internal StepMemory =
    {
        Parameters: Parameters
        Gradients: Gradients
        State: ImmutableArray<Column>
        /// Averages: a list of them with one for each parameter, absent where a parameter has none.
        Averages: TensorView array array
    }

/// Refuses steps that write to a tensor while they read or write another one over the same memory: the result would depend on the
/// width of registers and on threads. What is written is looked at when it lies elsewhere than in the last step, and a gradient
/// when it has moved to where something that is written may lie.
[<Sealed>]
type internal MemoryWatch() =
    let written = WrittenMemory()
    let lists = ResizeArray<StepMemory>()
    /// Parameters and averages as they were laid out.
    let mutable tensors: TensorView array = [||]
    let mutable columns: Column array = [||]
    let mutable gradients: TensorView array = [||]
    let mutable isLaid = false

    let isSame (a: inref<TensorView>) (b: inref<TensorView>) =
        a.Address = b.Address
        && (obj.ReferenceEquals(a.Layout, b.Layout)
            || (not (a.IsAbsent || b.IsAbsent) && a.Layout.Equals b.Layout))

    let areSame (items: TensorView array) start =
        let mutable same = start + items.Length <= tensors.Length
        let mutable row = 0

        while same && row < items.Length do
            same <- isSame &items[row] &tensors[start + row]
            row <- row + 1

        same

    let isAsLaid () =
        let mutable same = isLaid
        let mutable tensor = 0
        let mutable column = 0

        for list in lists do
            same <- same && areSame list.Parameters.Items tensor
            tensor <- tensor + list.Parameters.Count

            for averages in list.Averages do
                same <- same && areSame averages tensor
                tensor <- tensor + averages.Length

            for index in 0 .. list.State.Length - 1 do
                same <-
                    same
                    && column < columns.Length
                    && obj.ReferenceEquals(list.State[index], columns[column])

                column <- column + 1

        same && tensor = tensors.Length && column = columns.Length

    /// How what stands at a place among all that is written is called.
    let label place =
        let names =
            seq {
                for group, list in Seq.indexed lists do
                    let parameter row =
                        list.Parameters.Label row
                        + (if lists.Count > 1 then $" of group {group}" else "")

                    let rows = seq { 0 .. list.Parameters.Count - 1 }
                    yield! rows |> Seq.map parameter

                    for _ in list.Averages do
                        yield! rows |> Seq.map (fun row -> $"the average of {parameter row}")

                    for column in list.State do
                        yield! rows |> Seq.map (fun row -> $"{column.Name} of {parameter row}")
            }

        Seq.item place names

    let lay rule =
        isLaid <- false

        let all =
            [|
                for list in lists do
                    yield! list.Parameters.Items

                    for averages in list.Averages do
                        yield! averages

                    for column in list.State do
                        yield! column.Rows
            |]

        let pair = written.Lay all

        if pair.HasValue then
            let struct (first, second) = pair.Value

            let reason =
                match Overlap.Of(&all[first], &all[second]) with
                | Sharing.Same -> "are the same tensor, which may be there only once"
                | _ -> "share memory, and a step would write to one of them while it works on the other: give each memory of its own"

            raise (ArgumentException $"{rule}: {label first} and {label second} {reason}")

        tensors <-
            [|
                for list in lists do
                    yield! list.Parameters.Items

                    for averages in list.Averages do
                        yield! averages
            |]

        columns <-
            [|
                for list in lists do
                    yield! list.State
            |]

        gradients <- Array.zeroCreate (lists |> Seq.sumBy _.Parameters.Count)
        isLaid <- true

    let refuse rule (tensor: TensorView) own gradientOf =
        match written.Find(&tensor, own) with
        | -1 -> ()
        | place ->
            raise (
                ArgumentException
                    $"{rule}: the gradient of {gradientOf} shares memory with {label place}, to which the step writes: give the gradient memory of its own"
            )

    let released rule (what: string) : exn =
        ObjectDisposedException(null, $"{rule}: the memory of {what} was given back when it was disposed")

    /// Refuses tensors whose memory is gone: lists that a provider refreshes it has looked at.
    let refuseReleased rule =
        for list in lists do
            if list.Parameters.IsFixed then
                for row in 0 .. list.Parameters.Count - 1 do
                    if list.Parameters.Items[row].IsReleased then
                        raise (released rule (list.Parameters.Label row))

            if list.Gradients.IsFixed then
                for row in 0 .. list.Gradients.Count - 1 do
                    let gradient = &list.Gradients.Items[row]

                    if
                        gradient.Values.IsReleased
                        || gradient.Kind = GradientKind.Sparse && gradient.Rows.IsReleased
                    then
                        raise (released rule $"the gradient of {list.Parameters.Label row}")

    /// Forgets the lists of the last step, but not where they lay.
    member _.Begin() = lists.Clear()

    /// Adds a list that takes part in the step.
    member _.Add(list: StepMemory) = lists.Add list

    /// Refuses lists that share memory; a gradient may be just its parameter.
    member _.Check(rule: string) =
        refuseReleased rule

        if not (isAsLaid ()) then
            lay rule

        // The first row of a list among all gradients, and the place of its first parameter among all that is written.
        let mutable start = 0
        let mutable place = 0

        for list in lists do
            let items = list.Gradients.Items

            for row in 0 .. items.Length - 1 do
                let gradient = &items[row]

                match gradient.Kind with
                | GradientKind.Dense ->
                    let values = gradient.Values

                    if not (isSame &values &gradients[start + row]) then
                        if not (written.IsFree &values) then
                            refuse rule values (place + row) (list.Parameters.Label row)

                        gradients[start + row] <- values
                | GradientKind.Sparse ->
                    let values, rows = gradient.Values, gradient.Rows

                    if not (written.IsFree &values && written.IsFree &rows) then
                        refuse rule values -1 (list.Parameters.Label row)
                        refuse rule rows -1 (list.Parameters.Label row)
                | _ -> ()

            start <- start + items.Length

            place <- place + items.Length * (1 + list.State.Length + list.Averages.Length)

    /// The same for a single list.
    member watch.Check(rule: string, parameters: Parameters, gradients: Gradients, state: ImmutableArray<Column>) =
        watch.Begin()

        watch.Add
            {
                Parameters = parameters
                Gradients = gradients
                State = state
                Averages = [||]
            }

        watch.Check rule
        watch.Begin()
