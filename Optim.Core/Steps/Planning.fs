namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The flat table over the rows that step, kept from step to step.
module internal Planning =
    /// Rows of one kind.
    let private oneKind (loop: ColumnUses) =
        { new RowKinds() with
            member _.Begin() = ()
            member _.KindOf _ = 0
            member _.UsesOf _ = loop
            member _.Extras = 0
        }

    /// What tells the noise of a parameter from that of others: its name, or its place.
    let private streamOf (parameters: Parameters) row =
        Seq.fold
            (fun (hash: uint64) (letter: char) -> (hash ^^^ uint64 letter) * 0x100000001B3UL)
            0xCBF29CE484222325UL
            (parameters.Label row)

    /// Where a step finds a tensor: in its copy, where there is one.
    let private addressOf (copy: TensorView) (original: TensorView) =
        if copy.IsAbsent then original.Address else copy.Address

    /// Who steps a parameter as a whole tensor; none where our kernels do.
    let stepperOf (parameters: Parameters) row =
        match parameters.Executor with
        | :? TensorExecutor as executor -> ValueSome executor
        | _ when parameters[row].Layout.IsOnCpu -> ValueNone
        | _ -> TensorExecutor.Find parameters[row].Device

    /// The rows of a step that others make, and what there is of their state.
    let tensorRows
        (parameters: Parameters)
        (byOthers: TensorExecutor voption array)
        (steps: int -> bool)
        (stateOf: int -> TensorView array)
        =
        [|
            for row in 0 .. parameters.Count - 1 do
                match byOthers[row] with
                | ValueSome executor when steps row && parameters[row].Count > 0n ->
                    {
                        Row = row
                        Executor = executor
                        State = stateOf row
                    }
                | _ -> ()
        |]

    /// A state whose gradients, layouts or loop differ from the last step's: check all, make missing rows, lay the table anew.
    let private rebuild
        rule
        (loop: ColumnUses)
        (kinds: RowKinds | null)
        columnCount
        start
        accepts
        complex
        (parameters: Parameters)
        (gradients: Gradients)
        (state: State)
        =
        let rows = parameters.Count
        let lineage = state.Lineage
        Checks.parametersAnywhere rule complex parameters

        for row in 0 .. rows - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                Checks.gradient rule accepts parameters row gradients[row]

                for column in state.Columns do
                    if
                        not column[row].IsAbsent
                        && not (column[row].Layout.SameShape parameters[row].Layout)
                    then
                        raise (
                            ArgumentException
                                $"{rule}: {column.Name} of {parameters.Label row} is {column[row].Layout}, and the parameter {parameters[row].Layout}; the state belongs to other parameters"
                        )

        let steps row =
            gradients[row].Kind <> GradientKind.Absent

        let kinds =
            match kinds with
            | null -> oneKind loop
            | kinds -> kinds

        kinds.Begin()

        let rowKinds =
            Array.init rows (fun row -> if steps row then kinds.KindOf row else 0)

        let usesOf row = kinds.UsesOf rowKinds[row]

        let orders =
            Array.init rows (fun row ->
                if loop.InRowMajorOrder then
                    (Rows.orderOf parameters[row]).ToContiguous()
                else
                    Rows.rowOrder state.Columns parameters[row] row)


        let used =
            [|
                for column in 0 .. columnCount - 1 do
                    if loop.Uses column then
                        column
            |]

        let columns = state.Columns.ToBuilder()

        for column in used do
            let missing = ResizeArray()

            for row in 0 .. rows - 1 do
                if steps row && (usesOf row).Uses column && columns[column].Rows[row].IsAbsent then
                    missing.Add row

            if missing.Count > 0 then
                columns[column] <- Rows.grow columns[column] missing orders (start column)

        let counts =
            Counts.Of((fun row -> state.Counts.Steps row), (fun row -> state.Counts.Scalars row), steps, rows, (fun row -> rowKinds[row]))

        let strided = ResizeArray<Strided>()
        let sparse = ResizeArray<Sparse>()
        let slices = Array.create rows -1
        let segments = ResizeArray<Segment>()
        let extras = ResizeArray<TensorView>()
        let spread = ResizeArray<SpreadSlice>()
        lineage.Table.Reset(rows, columnCount + kinds.Extras)

        let byOthers = Array.init rows (stepperOf parameters)

        let active kind =
            [|
                for row in 0 .. rows - 1 do
                    if gradients[row].Kind = kind && parameters[row].Count > 0n && byOthers[row].IsNone then
                        row
            |]

        lineage.TensorRows <-
            tensorRows parameters byOthers steps (fun row ->
                Array.init columnCount (fun column ->
                    if (usesOf row).Uses column then
                        columns[column].Rows[row]
                    else
                        TensorView()))

        let copyOf (order: Layout) (view: TensorView) =
            if view.Layout.SameOrder order then
                TensorView()
            else
                TensorView.Zeros(order.WithDType view.DType)

        for (dtype, index), members in
            active GradientKind.Dense
            |> Array.groupBy (fun row -> parameters[row].DType, counts.Class row) do
            let first = lineage.Table.Count

            for row in members do
                let parameter, gradient = parameters[row], gradients[row].Values

                let parameterCopy, gradientCopy =
                    copyOf orders[row] parameter, copyOf orders[row] gradient

                if not (parameterCopy.IsAbsent && gradientCopy.IsAbsent) then
                    strided.Add
                        {
                            Row = row
                            Parameter = parameterCopy
                            Gradient = gradientCopy
                        }

                slices[row] <- lineage.Table.Count

                lineage.Table.Add(
                    parameter.Count * nativeint (dtype.Parts()),
                    addressOf parameterCopy parameter,
                    addressOf gradientCopy gradient
                )

                for column in used do
                    if (usesOf row).Uses column then
                        lineage.Table.SetColumn(column, columns[column].Rows[row].Address)

                for extra in 0 .. kinds.Extras - 1 do
                    if (usesOf row).Uses(columnCount + extra) then
                        let array = TensorView.Zeros(orders[row].ToContiguous())
                        extras.Add array
                        lineage.Table.SetColumn(columnCount + extra, array.Address)

                if kinds.Extras > 0 then
                    spread.Add(SpreadSlice(parameter.Layout.Shape, streamOf parameters row))

            segments.Add
                {
                    DType = dtype
                    Class = index
                    First = first
                    Count = lineage.Table.Count - first
                }

        for row in active GradientKind.Sparse do
            let copy = copyOf orders[row] parameters[row]

            if not copy.IsAbsent then
                strided.Add
                    {
                        Row = row
                        Parameter = copy
                        Gradient = TensorView()
                    }

            sparse.Add
                {
                    Row = row
                    Gradient = SparseRows()
                    Order = orders[row].WithDType parameters[row].DType
                    Copy = copy
                    Columns =
                        [|
                            for column in 0 .. columnCount - 1 do
                                if Array.contains column used && (usesOf row).Uses column then
                                    columns[column].Rows[row].Address
                                else
                                    0n
                        |]
                }

        let classSteps = Array.zeroCreate counts.Classes
        let classKinds = Array.zeroCreate counts.Classes

        for row in 0 .. rows - 1 do
            if steps row then
                classSteps[counts.Class row] <- true
                classKinds[counts.Class row] <- rowKinds[row]

        lineage.Steps <- classSteps
        lineage.ClassKinds <- classKinds
        lineage.Extras <- extras.ToArray()
        lineage.Spread <- spread.ToArray()
        lineage.Slices <- slices
        lineage.Averages <- [||]
        lineage.Segments <- segments.ToArray()
        lineage.Strided <- strided.ToArray()
        lineage.Sparse <- sparse.ToArray()
        lineage.SparseSegments <- Array.zeroCreate sparse.Count
        lineage.Kinds <- Array.init rows (fun row -> gradients[row].Kind)
        lineage.Columns <- columns.ToImmutable()
        lineage.NextCounts <- counts
        lineage.Loop <- ValueSome loop
        lineage.Executor <- parameters.Executor
        lineage.ParameterLayouts <- Array.init rows (fun row -> parameters[row].Layout)
        lineage.GradientLayouts <- Array.init rows (fun row -> gradients[row].Values.Layout)

    let sameLayout (known: (Layout | null) array) row (layout: Layout | null) =
        obj.ReferenceEquals(known[row], layout)
        || match known[row], layout with
           | null, _
           | _, null -> false
           | a, b -> a.Equals b

    /// Whether the table of the last step serves again; its addresses are brought up to date on the way.
    let private isCurrent (loop: ColumnUses) (parameters: Parameters) (gradients: Gradients) (state: State) =
        let lineage = state.Lineage

        let mutable current =
            lineage.Loop.IsSome
            && obj.ReferenceEquals(lineage.Loop.Value, loop)
            && lineage.ParameterLayouts.Length = parameters.Count
            && obj.ReferenceEquals(lineage.Executor, parameters.Executor)
            && obj.ReferenceEquals(lineage.NextCounts, state.Counts)

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
            sparse.Gradient.AddSlices(table, addressOf sparse.Copy parameter, sparse.Order, gradient.Rows, ReadOnlySpan sparse.Columns)

            lineage.SparseSegments[index] <-
                {
                    DType = parameter.DType
                    Class = lineage.NextCounts.Class sparse.Row
                    First = first
                    Count = table.Count - first
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
    let prepare rule loop kinds columnCount start accepts complex (parameters: Parameters) (gradients: Gradients) (state: State) =
        belongs rule parameters gradients state

        if not (isCurrent loop parameters gradients state) then
            state.Lineage.Loop <- ValueNone
            rebuild rule loop kinds columnCount start accepts complex parameters gradients state

        state.Lineage.Watch.Check(rule, parameters, gradients, state.Lineage.Columns)

        for strided in state.Lineage.Strided do
            let slice = state.Lineage.Slices[strided.Row]

            if slice >= 0 then
                let parameter = addressOf strided.Parameter parameters[strided.Row]
                let gradient = addressOf strided.Gradient gradients[strided.Row].Values
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

    /// The state after a step, which the rule counts or not; the one before it is spent.
    let next (state: State) counted =
        let lineage = state.Lineage
        lineage.Stamp <- lineage.Stamp + 1L
        lineage.NextCounts <- lineage.NextCounts.Advance(lineage.Steps, counted, lineage.NextScalars)
        State(state.Rule, state.RowCount, state.ScalarNames, lineage.NextCounts, lineage.Columns, lineage)
