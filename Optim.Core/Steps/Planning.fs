namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The flat table over the rows that step, kept from step to step.
module internal Planning =
    let sameLayout (known: (Layout | null) array) row (layout: Layout | null) =
        obj.ReferenceEquals(known[row], layout)
        || match known[row], layout with
           | null, _
           | _, null -> false
           | a, b -> a.Equals b

    /// Whether the table of the last step serves again; its addresses are brought up to date on the way.
    let private isCurrent (loop: ColumnUses) (storage: ColumnStorage) (parameters: Parameters) (gradients: Gradients) (state: State) =
        let lineage = state.Lineage

        let mutable current =
            lineage.Loop.IsSome
            && obj.ReferenceEquals(lineage.Loop.Value, loop)
            && lineage.Storage.Equals storage.Storage
            && lineage.ParameterLayouts.Length = parameters.Count
            && obj.ReferenceEquals(lineage.Executor, parameters.Executor)
            && obj.ReferenceEquals(lineage.NextCounts, state.CountsHere)

        let mutable row = 0

        while current && row < parameters.Count do
            let parameter = &parameters.Items[row]
            let gradient = &gradients.Items[row]

            let kind, values = gradient.Kind, gradient.Values

            // Sparse gradients have other lengths in each step.
            current <-
                kind = lineage.Kinds[row]
                && sameLayout lineage.ParameterLayouts row parameter.Layout
                && (kind = GradientKind.Sparse
                    || sameLayout lineage.GradientLayouts row values.Layout)

            if current && lineage.Slices[row] >= 0 then
                lineage.Table.Move(lineage.Slices[row], parameter.Address, values.Address)

            row <- row + 1

        current

    /// Puts the sparse gradients in order and lays their rows out, anew in each step.
    let laySparse rule columnCount accepts (parameters: Parameters) (gradients: Gradients) (lineage: Lineage) =
        let table = lineage.SparseTable
        table.Reset(lineage.Sparse.Length, columnCount)

        for index in 0 .. lineage.Sparse.Length - 1 do
            let sparse = lineage.Sparse[index]
            let parameter, gradient = parameters[sparse.Row], gradients[sparse.Row]
            Checks.gradient rule accepts parameters sparse.Row gradient
            Checks.sort rule sparse.Gradient parameters sparse.Row gradient.Rows gradient.Values

            if accepts = SparseGradients.RowsSoFar then
                sparse.Gradient.KeepRowsSoFar(sparse.Order, gradient.Rows, lineage.Columns[0].Rows[sparse.Row])

            let first = table.Count

            sparse.Gradient.AddSlices(
                table,
                SliceLayout.addressOf sparse.Copy parameter,
                sparse.Order,
                gradient.Rows,
                ReadOnlySpan sparse.Columns
            )

            lineage.SparseSegments[index] <-
                {
                    DType = parameter.DType
                    Class = lineage.NextCounts.Class sparse.Row
                    First = first
                    Count = table.Count - first
                    On = null
                    IsNarrow = false
                }

    /// Refuses a state of another rule, or of another number of parameters.
    let belongs rule (parameters: Parameters) (gradients: Gradients) (state: State) =
        if state.Rule <> rule then
            raise (ArgumentException $"{rule} was given a state of {state.Rule}")

        if state.RowCount <> parameters.Count || gradients.Count <> parameters.Count then
            raise (
                ArgumentException
                    $"{rule} was given {parameters.Count} parameters, {gradients.Count} gradients and a state of {state.RowCount} rows; the numbers must agree"
            )

    /// Brings the table up to date for a step; writes to no tensor.
    let prepare rule loop kinds columnCount storage start accepts complex (parameters: Parameters) (gradients: Gradients) (state: State) =
        belongs rule parameters gradients state

        if not (isCurrent loop storage parameters gradients state) then
            state.Lineage.Loop <- ValueNone
            SliceLayout.rebuild rule loop kinds columnCount storage start accepts complex parameters gradients state

        state.Lineage.Watch.Check(rule, parameters, gradients, state.Lineage.Columns)

        for strided in state.Lineage.Strided do
            let slice = state.Lineage.Slices[strided.Row]

            if slice >= 0 then
                let parameter = SliceLayout.addressOf strided.Parameter parameters[strided.Row]
                let gradient = SliceLayout.addressOf strided.Gradient gradients[strided.Row].Values
                state.Lineage.Table.Move(slice, parameter, gradient)

        // A sparse gradient's shape is another in each step, too.
        for tensorRow in state.Lineage.TensorRows do
            let gradient = gradients[tensorRow.Row]

            if gradient.Kind = GradientKind.Sparse then
                Checks.gradient rule accepts parameters tensorRow.Row gradient
                Checks.rows rule parameters tensorRow.Row gradient.Rows

        if state.Lineage.Sparse.Length > 0 then
            laySparse rule columnCount accepts parameters gradients state.Lineage

    /// Copies what does not lie in the order of its state, averages that move among it.
    let gather (lineage: Lineage) (parameters: Parameters) (gradients: Gradients) moves =
        for strided in lineage.Strided do
            if not strided.Parameter.IsAbsent then
                strided.Parameter.CopyFrom parameters[strided.Row]

            if not strided.Gradient.IsAbsent then
                strided.Gradient.CopyFrom gradients[strided.Row].Values

        if moves then
            for copy in lineage.AverageCopies do
                copy.Copy.CopyFrom lineage.Averages[copy.Average].[copy.Row]

    /// Copies the parameters and averages among them back.
    let scatter (lineage: Lineage) (parameters: Parameters) moves =
        for strided in lineage.Strided do
            if not strided.Parameter.IsAbsent then
                parameters[strided.Row].CopyFrom strided.Parameter

        if moves then
            for copy in lineage.AverageCopies do
                lineage.Averages[copy.Average].[copy.Row].CopyFrom copy.Copy

    /// Sets the gradients to zero that a step took from copies; the others are zero already.
    let zero (lineage: Lineage) (gradients: Gradients) =
        for strided in lineage.Strided do
            if not strided.Gradient.IsAbsent then
                gradients[strided.Row].Values.Clear()

    /// The state after a step that was noted for a graph, and not made; the one before it is spent.
    let noted (state: State) =
        let lineage = state.Lineage
        lineage.Stamp <- lineage.Stamp + 1L
        State(state.Rule, state.RowCount, state.ScalarNames, lineage.NextCounts, lineage.Columns, lineage)

    /// The state after a step, which the rule counts or not; the one before it is spent.
    let next (state: State) counted =
        let lineage = state.Lineage
        lineage.NextCounts <- lineage.NextCounts.Advance(lineage.Steps, counted, lineage.NextScalars)
        noted state
