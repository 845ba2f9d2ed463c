namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The flat table over the rows that step: made anew when what lies in it has moved.
module internal SliceLayout =
    /// Rows of one kind.
    let oneKind (loop: ColumnUses) =
        { new RowKinds() with
            member _.Begin() = ()
            member _.KindOf _ = 0
            member _.UsesOf _ = loop
        }

    /// What tells the noise of a parameter from that of others: its name, or its place.
    let streamOf (parameters: Parameters) row =
        Seq.fold
            (fun (hash: uint64) (letter: char) -> (hash ^^^ uint64 letter) * 0x100000001B3UL)
            0xCBF29CE484222325UL
            (parameters.Label row)

    /// Where a step finds a tensor: in its copy, where there is one.
    let addressOf (copy: TensorView) (original: TensorView) =
        if copy.IsAbsent then original.Address else copy.Address

    /// Who steps a parameter as a whole tensor; none where our kernels do.
    let stepperOf (parameters: Parameters) row =
        match parameters.Executor with
        | :? TensorExecutor as executor -> ValueSome executor
        | _ when parameters[row].Layout.IsOnCpu -> ValueNone
        | _ -> TensorExecutor.Find parameters[row].Device

    /// Whose kernels step a row where it lies; null for those of the processor, and where somebody steps it as a whole tensor.
    let deviceOf (kinds: RowKinds) kind (parameters: Parameters) (gradient: Gradient) row : ProgramDevice | null =
        match parameters.Executor with
        | :? TensorExecutor -> null
        | _ when parameters[row].Layout.IsOnCpu || gradient.Kind <> GradientKind.Dense -> null
        | _ ->
            match ProgramDevice.Find parameters[row].Device, kinds.ProgramOf kind with
            | null, _ -> null
            | device, null -> device
            | device, program -> if device.Takes program then device else null

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
    let rebuild
        rule
        (loop: ColumnUses)
        (kinds: RowKinds | null)
        columnCount
        (storage: ColumnStorage)
        start
        accepts
        complex
        (parameters: Parameters)
        (gradients: Gradients)
        (state: State)
        =
        let rows = parameters.Count
        let lineage = state.Lineage
        let countsBefore = state.Counts
        Checks.parametersAnywhere rule complex parameters

        let kinds =
            match kinds with
            | null -> oneKind loop
            | kinds -> kinds

        for row in 0 .. rows - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                Checks.gradient rule accepts parameters row gradients[row]

                for index in 0 .. state.Columns.Length - 1 do
                    let column = state.Columns[index]

                    let isAsWanted () =
                        if kinds.HoldsNumber index then
                            column[row].Layout.Shape.IsEmpty
                        else
                            column[row].Layout.SameShape parameters[row].Layout

                    if not column[row].IsAbsent && not (isAsWanted ()) then
                        raise (
                            ArgumentException
                                $"{rule}: {column.Name} of {parameters.Label row} is {column[row].Layout}, and the parameter {parameters[row].Layout}; the state belongs to other parameters"
                        )

        let steps row =
            gradients[row].Kind <> GradientKind.Absent

        kinds.Begin()

        // Ranks that step together know the kinds of all parameters, so that they reduce over all in the same visits.
        let isOfRanks = not (isNull parameters.Totals)

        let rowKinds =
            Array.init rows (fun row -> if isOfRanks || steps row then kinds.KindOf row else 0)

        let usesOf row = kinds.UsesOf rowKinds[row]

        for row in 0 .. rows - 1 do
            if steps row && storage.IsNarrow parameters row then
                NarrowRows.check rule storage parameters row gradients[row]

                match deviceOf kinds rowKinds[row] parameters gradients[row] row, stepperOf parameters row with
                | null, ValueSome _ -> NarrowRows.refuseDevice rule storage parameters row
                | _ -> ()

        let orders =
            Array.init rows (fun row ->
                // Blocks are of neighbours in row-major order, wherever the parameter's elements lie.
                if loop.InRowMajorOrder || storage.IsNarrow parameters row then
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

        for column in 0 .. columnCount - 1 do
            if not (kinds.HoldsNumber column) then
                columns[column] <- NarrowRows.store storage column parameters countsBefore columns[column]

        for column in used do
            let missing = ResizeArray()

            for row in 0 .. rows - 1 do
                if steps row && (usesOf row).Uses column && columns[column].Rows[row].IsAbsent then
                    missing.Add row

            if missing.Count > 0 then
                let layouts =
                    if kinds.HoldsNumber column then
                        Array.init rows (fun row -> Rows.numberOf parameters[row])
                    else
                        orders

                columns[column] <-
                    if kinds.HoldsNumber column then
                        Rows.grow columns[column] missing layouts (start column)
                    else
                        NarrowRows.grow storage column parameters columns[column] missing layouts (start column)

        let counts =
            Counts.Of(countsBefore.Steps, countsBefore.Scalars, steps, rows, (fun row -> rowKinds[row]))

        let strided = ResizeArray<Strided>()
        let sparse = ResizeArray<Sparse>()
        let slices = Array.create rows -1
        let segments = ResizeArray<Segment>()
        let spread = ResizeArray<SpreadSlice>()
        lineage.Table.Reset(rows, columnCount)
        lineage.Narrow.Reset(rows, columnCount, storage.Storage.Seed)

        let isNarrow row =
            used
            |> Array.exists (fun column -> (usesOf row).Uses column && columns[column].IsNarrow row)

        let devices =
            Array.init rows (fun row -> deviceOf kinds rowKinds[row] parameters gradients[row] row)

        let byOthers =
            Array.init rows (fun row ->
                match devices[row] with
                | null -> stepperOf parameters row
                | _ -> ValueNone)

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

        for (dtype, index, _, narrow), members in
            active GradientKind.Dense
            |> Array.groupBy (fun row -> parameters[row].DType, counts.Class row, parameters[row].Device, isNarrow row) do
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

                        if columns[column].IsNarrow row then
                            let kept = columns[column].NarrowRow row
                            let scales = if kept.Scales.IsAbsent then 0n else kept.Scales.Address
                            lineage.Narrow.Set(slices[row], column, kept.Kind, scales, parameters.FirstBlock row)

                spread.Add(SpreadSlice(parameter.Layout.Shape, streamOf parameters row, row))

            segments.Add
                {
                    DType = dtype
                    Class = index
                    First = first
                    Count = lineage.Table.Count - first
                    On = devices[members[0]]
                    IsNarrow = narrow
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

        lineage.There <- null
        lineage.Steps <- classSteps
        lineage.ClassKinds <- classKinds
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
        lineage.Storage <- storage.Storage
        lineage.Executor <- parameters.Executor
        lineage.ParameterLayouts <- Array.init rows (fun row -> parameters[row].Layout)
        lineage.GradientLayouts <- Array.init rows (fun row -> gradients[row].Values.Layout)
