namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// Rows of state: how they are made, how a step finds them, and the flat table over them. All of it for any element-wise rule.
module internal Rows =
    /// Whether two elements of a layout may share memory: each stride must reach beyond all that the smaller ones span.
    let private mayOverlap (layout: Layout) =
        let mutable reach = 0L
        let mutable overlaps = false

        for struct (stride, length) in
            Seq.map2 (fun stride length -> struct (stride, length)) layout.Strides layout.Shape
            |> Seq.filter (fun (struct (_, length)) -> length > 1L)
            |> Seq.sort do
            overlaps <- overlaps || stride <= reach
            reach <- reach + (length - 1L) * stride

        overlaps && layout.Count > 0n

    /// Refuses parameters that no kernel steps.
    let checkParameters rule (parameters: Parameters) =
        for row in 0 .. parameters.Count - 1 do
            let parameter = parameters[row]

            let refuse reason : exn =
                NotSupportedException $"{rule}: {parameters.Label row} {reason}"

            match parameter.DType with
            | DType.Float32
            | DType.Float64 -> ()
            | dtype when dtype.IsFloatingPoint() || dtype.IsComplex() ->
                raise (refuse $"is of dtype {dtype.Name()}; supported are float32 and float64")
            | dtype ->
                raise (
                    ArgumentException
                        $"{rule}: {parameters.Label row} is of dtype {dtype.Name()}; only floating point tensors can be optimized"
                )

            if parameter.Device <> Device.Cpu then
                raise (refuse $"lies on {parameter.Device}; supported is cpu")

            if mayOverlap parameter.Layout then
                raise (refuse "has elements that share memory (an expanded tensor); make it contiguous")

    let private checkGradient rule (parameters: Parameters) row (gradient: Gradient) =
        let parameter = parameters[row]
        let label = parameters.Label row

        if gradient.Kind = GradientKind.Sparse then
            raise (NotSupportedException $"{rule} does not support sparse gradients, and {label} has one")

        if gradient.Values.DType <> parameter.DType then
            let found, wanted = gradient.Values.DType.Name(), parameter.DType.Name()
            raise (NotSupportedException $"{rule}: the gradient of {label} is of dtype {found}; it must be {wanted}, as the parameter is")

        if gradient.Values.Device <> parameter.Device then
            raise (
                NotSupportedException
                    $"{rule}: the gradient of {label} lies on {gradient.Values.Device}; it must be on {parameter.Device}, as the parameter is"
            )

        if not (gradient.Values.Layout.SameShape parameter.Layout) then
            raise (
                ArgumentException
                    $"{rule}: the gradient of {label} is {gradient.Values.Layout}; its shape must be that of the parameter, {parameter.Layout}"
            )

    let private absent rows =
        ImmutableArray.CreateRange(Seq.replicate rows (TensorView()))

    /// Before the first step no parameter has state: it is made with the parameter's first gradient.
    let empty rule rows (names: ImmutableArray<string>) =
        let rowsOf = absent rows

        State(
            rule,
            rows,
            Counts.Zero,
            names
            |> Seq.map (fun name -> Column(name, rowsOf))
            |> ImmutableArray.CreateRange,
            Run()
        )

    /// The order in which a parameter's state lies: its own where it has no gaps, row-major otherwise.
    let private orderOf (parameter: TensorView) =
        if parameter.Layout.IsDense then
            parameter.Layout
        else
            parameter.Layout.ToContiguous()

    /// The order of a row that may have state already.
    let private rowOrder (columns: ImmutableArray<Column>) (parameter: TensorView) row =
        let mutable order = orderOf parameter

        for column in columns do
            if not column[row].IsAbsent then
                order <- column[row].Layout

        order

    /// New rows for a column, in one piece of memory.
    let private grow (column: Column) (missing: ResizeArray<int>) (orders: Layout array) start =
        let layouts = [| for row in missing -> orders[row] |]
        let slab = TensorView.Slab(ReadOnlySpan layouts)
        let rows = column.Rows.ToBuilder()

        for index in 0 .. missing.Count - 1 do
            if start <> 0.0 then
                slab[index].Fill start

            rows[missing[index]] <- slab[index]

        Column(column.Name, rows.MoveToImmutable())

    let private sameOrder (a: Layout) (b: Layout) =
        obj.ReferenceEquals(a, b)
        || (a.IsContiguous && b.IsContiguous)
        || a.Strides.AsSpan().SequenceEqual(b.Strides.AsSpan())

    /// A state whose gradients, layouts or loop differ from the last step's: check all, make missing rows, lay the table anew.
    let private rebuild rule (loop: Loop) columnCount start (parameters: Parameters) (gradients: Gradients) (state: State) =
        let rows = parameters.Count
        let run = state.Run
        checkParameters rule parameters

        for row in 0 .. rows - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                checkGradient rule parameters row gradients[row]

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

        let orders = Array.init rows (fun row -> rowOrder state.Columns parameters[row] row)

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
                if steps row && columns[column].Rows[row].IsAbsent then
                    missing.Add row

            if missing.Count > 0 then
                columns[column] <- grow columns[column] missing orders (start column)

        let counts = Counts.Of((fun row -> state.Counts[row]), steps, rows)
        let strided = ResizeArray<Strided>()
        let slices = Array.create rows -1
        let segments = ResizeArray<Segment>()
        run.Table.Reset(rows, columnCount)

        let active =
            [|
                for row in 0 .. rows - 1 do
                    if steps row && parameters[row].Count > 0n then
                        row
            |]

        for (dtype, index), members in active |> Array.groupBy (fun row -> parameters[row].DType, counts.Class row) do
            let first = run.Table.Count

            for row in members do
                let parameter, gradient = parameters[row], gradients[row].Values

                let onCopy (view: TensorView) =
                    if sameOrder view.Layout orders[row] then
                        view
                    else
                        TensorView.Zeros orders[row]

                let parameterOrCopy, gradientOrCopy = onCopy parameter, onCopy gradient

                let isCopy (a: TensorView) (b: TensorView) =
                    not (obj.ReferenceEquals(a.Owner, b.Owner) && a.Address = b.Address)

                if isCopy parameterOrCopy parameter || isCopy gradientOrCopy gradient then
                    strided.Add
                        {
                            Row = row
                            Parameter =
                                (if isCopy parameterOrCopy parameter then
                                     parameterOrCopy
                                 else
                                     TensorView())
                            Gradient =
                                (if isCopy gradientOrCopy gradient then
                                     gradientOrCopy
                                 else
                                     TensorView())
                        }

                slices[row] <- run.Table.Count
                run.Table.Add(parameter.Count, parameterOrCopy.Address, gradientOrCopy.Address)

                for column in used do
                    run.Table.SetColumn(column, columns[column].Rows[row].Address)

            segments.Add
                {
                    DType = dtype
                    Class = index
                    First = first
                    Count = run.Table.Count - first
                }

        run.Steps <-
            Array.init counts.Classes (fun index -> Seq.exists (fun row -> counts.Class row = index && steps row) (seq { 0 .. rows - 1 }))

        run.Moved <- Seq.length (Seq.filter steps (seq { 0 .. rows - 1 }))
        run.Slices <- slices
        run.Segments <- segments.ToArray()
        run.Strided <- strided.ToArray()
        run.Columns <- columns.MoveToImmutable()
        run.NextCounts <- counts
        run.Loop <- ValueSome loop
        run.ParameterLayouts <- Array.init rows (fun row -> parameters[row].Layout)
        run.GradientLayouts <- Array.init rows (fun row -> gradients[row].Values.Layout)

    let private sameLayout (known: (Layout | null) array) row (layout: Layout | null) =
        obj.ReferenceEquals(known[row], layout)
        || match known[row], layout with
           | null, _
           | _, null -> false
           | a, b -> a.Equals b

    /// Whether the table of the last step serves again; its addresses are brought up to date on the way.
    let private isCurrent (loop: Loop) (parameters: Parameters) (gradients: Gradients) (state: State) =
        let run = state.Run

        let mutable current =
            run.Loop.IsSome
            && obj.ReferenceEquals(run.Loop.Value, loop)
            && run.ParameterLayouts.Length = parameters.Count
            && obj.ReferenceEquals(run.NextCounts, state.Counts)

        let mutable row = 0

        while current && row < parameters.Count do
            let parameter = &parameters.Items[row]
            let gradient = &gradients.Items[row]

            current <-
                gradient.Kind <> GradientKind.Sparse
                && sameLayout run.ParameterLayouts row parameter.Layout
                && sameLayout run.GradientLayouts row gradient.Values.Layout

            if current && run.Slices[row] >= 0 then
                run.Table.Move(run.Slices[row], parameter.Address, gradient.Values.Address)

            row <- row + 1

        current

    /// Brings the table up to date for a step; writes to no tensor.
    let prepare rule loop columnCount start (parameters: Parameters) (gradients: Gradients) (state: State) =
        if state.Rule <> rule then
            raise (ArgumentException $"{rule} was given a state of {state.Rule}")

        if state.RowCount <> parameters.Count || gradients.Count <> parameters.Count then
            raise (
                ArgumentException
                    $"{rule} was given {parameters.Count} parameters, {gradients.Count} gradients and a state of {state.RowCount} rows; the numbers must agree"
            )

        if not (isCurrent loop parameters gradients state) then
            state.Run.Loop <- ValueNone
            rebuild rule loop columnCount start parameters gradients state

        for strided in state.Run.Strided do
            let slice = state.Run.Slices[strided.Row]

            let at (copy: TensorView) (original: TensorView) =
                if copy.IsAbsent then original.Address else copy.Address

            state.Run.Table.Move(slice, at strided.Parameter parameters[strided.Row], at strided.Gradient gradients[strided.Row].Values)

    /// Copies what does not lie in the order of its state.
    let gather (run: Run) (parameters: Parameters) (gradients: Gradients) =
        for strided in run.Strided do
            if not strided.Parameter.IsAbsent then
                strided.Parameter.CopyFrom parameters[strided.Row]

            if not strided.Gradient.IsAbsent then
                strided.Gradient.CopyFrom gradients[strided.Row].Values

    /// Copies the parameters among them back.
    let scatter (run: Run) (parameters: Parameters) =
        for strided in run.Strided do
            if not strided.Parameter.IsAbsent then
                parameters[strided.Row].CopyFrom strided.Parameter

    /// The state after a step; the one before it is spent.
    let next (state: State) counts =
        let run = state.Run
        run.Stamp <- run.Stamp + 1L

        if counts then
            run.NextCounts <- run.NextCounts.Advance run.Steps

        State(state.Rule, state.RowCount, run.NextCounts, run.Columns, run)

    /// A state from rows that lie elsewhere: each is copied into the order and dtype of its parameter.
    let restore
        rule
        (names: ImmutableArray<string>)
        (parameters: Parameters)
        (counts: int64 array)
        (given: KeyValuePair<string, TensorView array> seq)
        =
        checkParameters rule parameters
        let given = Dictionary<string, TensorView array>(given)

        let column name =
            match given.TryGetValue name with
            | false, _ -> Column(name, absent parameters.Count)
            | true, rows ->
                let present =
                    [|
                        for row in 0 .. rows.Length - 1 do
                            if not rows[row].IsAbsent then
                                row
                    |]

                for row in present do
                    if not (rows[row].Layout.SameShape parameters[row].Layout) then
                        raise (
                            ArgumentException
                                $"{rule}: {name} of {parameters.Label row} is {rows[row].Layout}; it must have the parameter's shape, {parameters[row].Layout}"
                        )

                let orders = present |> Array.map (fun row -> orderOf parameters[row])
                let slab = TensorView.Slab(ReadOnlySpan orders)
                let filled = (absent parameters.Count).ToBuilder()

                for index in 0 .. present.Length - 1 do
                    slab[index].ConvertFrom rows[present[index]]
                    filled[present[index]] <- slab[index]

                Column(name, filled.MoveToImmutable())

        let columns = names |> Seq.map column |> ImmutableArray.CreateRange
        State(rule, parameters.Count, Counts.Of((fun row -> counts[row]), (fun _ -> false), parameters.Count), columns, Run())
