namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// Rows of state: how they are made, and in which order they lie.
module internal Rows =
    /// Refuses a step to which something is not given.
    let given (parameters: Parameters) (gradients: Gradients) (state: State) =
        Argument.notNull "parameters" parameters
        Argument.notNull "gradients" gradients
        Argument.notNull "state" state

    let private absent rows =
        ImmutableArray.CreateRange(Seq.replicate rows (TensorView()))

    /// The order in which a parameter's state lies, and its dtype: the parameter's own order where that has no gaps, row-major
    /// otherwise; float32 for half types.
    let orderOf (parameter: TensorView) =
        let layout = parameter.Layout.WithDType(parameter.DType.ToStateDType())
        if layout.IsDense then layout else layout.ToContiguous()

    /// How a number of a parameter lies: in the dtype of its state, a complex one's in that of its parts.
    let numberOf (parameter: TensorView) =
        let dtype =
            match parameter.DType with
            | DType.Float64
            | DType.Complex128 -> DType.Float64
            | _ -> DType.Float32

        (Layout.Contiguous(dtype, ReadOnlySpan [||])).On parameter.Device

    /// The order of a row that may have state already.
    let rowOrder (columns: ImmutableArray<Column>) (parameter: TensorView) row =
        let mutable order = orderOf parameter

        for column in columns do
            if not column[row].IsAbsent then
                order <- column[row].Layout.WithDType order.DType

        order

    /// New rows for a column, in one piece of memory.
    let grow (column: Column) (missing: ResizeArray<int>) (orders: Layout array) start =
        let layouts = [| for row in missing -> orders[row] |]
        let slab = TensorView.Slab(ReadOnlySpan layouts)
        let rows = column.Rows.ToBuilder()

        for index in 0 .. missing.Count - 1 do
            if start <> 0.0 then
                slab[index].Fill start

            rows[missing[index]] <- slab[index]

        Column(column.Name, rows.ToImmutable(), column.Narrow)

    /// Before the first step no parameter has state: it is made with the parameter's first gradient, but for columns that are there at once.
    let initial rule (parameters: Parameters) scalarNames (names: ImmutableArray<string>) (atOnce: int -> bool) (start: int -> double) =
        let all = ResizeArray(seq { 0 .. parameters.Count - 1 })

        let column index name =
            let column = Column(name, absent parameters.Count)

            if atOnce index then
                grow column all (Array.init parameters.Count (fun row -> orderOf parameters[row])) (start index)
            else
                column

        State(rule, parameters.Count, scalarNames, Counts.Zero, names |> Seq.mapi column |> ImmutableArray.CreateRange, Lineage())

    /// A state from rows that lie elsewhere: each is copied into the order that its column has for its parameter and itself (null: none), and
    /// the dtype of its state.
    let restore
        rule
        (order: int -> TensorView -> TensorView -> Layout | null)
        (names: ImmutableArray<string>)
        (scalarNames: ImmutableArray<string>)
        keepsStep
        complex
        (parameters: Parameters)
        (counts: int64 array)
        (givenScalars: KeyValuePair<string, double array> seq)
        (given: KeyValuePair<string, TensorView array> seq)
        =
        Argument.notNull "parameters" parameters
        Argument.notNull "counts" counts
        Argument.notNull "scalars" givenScalars
        Argument.notNull "columns" given

        if counts.Length <> parameters.Count then
            raise (ArgumentException($"{rule} was given {counts.Length} counts for {parameters.Count} parameters", "counts"))

        for KeyValue(name, rows) in given do
            if isNull (box rows) || rows.Length <> parameters.Count then
                raise (ArgumentException($"{rule}: {name} must have a row for each of {parameters.Count} parameters", "columns"))

        for KeyValue(name, values) in givenScalars do
            if isNull (box values) || values.Length <> parameters.Count then
                raise (ArgumentException($"{rule}: {name} must have a number for each of {parameters.Count} parameters", "scalars"))

        Checks.parametersAnywhere rule complex parameters
        Checks.disjoint rule parameters
        let given = Dictionary<string, TensorView array>(given)

        let column index name =
            match given.TryGetValue name with
            | false, _ -> Column(name, absent parameters.Count)
            | true, rows ->
                let present =
                    [|
                        for row in 0 .. rows.Length - 1 do
                            if not rows[row].IsAbsent then
                                row
                    |]

                let orders =
                    [|
                        for row in present do
                            match order index parameters[row] rows[row] with
                            | null ->
                                raise (
                                    ArgumentException
                                        $"{rule} keeps no {name} for {parameters.Label row}, of shape {parameters[row].Layout}"
                                )
                            | order when order.SameShape rows[row].Layout -> order
                            | order when order.SameShape parameters[row].Layout ->
                                raise (
                                    ArgumentException
                                        $"{rule}: {name} of {parameters.Label row} is {rows[row].Layout}; it must have the parameter's shape, {parameters[row].Layout}"
                                )
                            | order ->
                                raise (
                                    ArgumentException
                                        $"{rule}: {name} of {parameters.Label row} is {rows[row].Layout}; for the parameter's shape, {parameters[row].Layout}, it must be {order}"
                                )
                    |]

                let slab = TensorView.Slab(ReadOnlySpan orders, false)
                let filled = (absent parameters.Count).ToBuilder()

                for index in 0 .. present.Length - 1 do
                    slab[index].ConvertFrom rows[present[index]]
                    filled[present[index]] <- slab[index]

                Column(name, filled.ToImmutable())

        let givenScalars = Dictionary<string, double array>(givenScalars)

        let scalar index row =
            if index >= scalarNames.Length || counts[row] = 0L then
                0.0
            else
                let name = scalarNames[index]

                match givenScalars.TryGetValue name with
                | true, values when not (Double.IsNaN values[row]) -> values[row]
                | _ ->
                    raise (
                        ArgumentException
                            $"{rule}: {parameters.Label row} has taken {counts[row]} steps, and there is no {name} of it, which {rule} keeps"
                    )

        let scalars row =
            Scalars<Real>(ReadOnlySpan(Array.init scalarNames.Length (fun index -> Real(scalar index row))))

        let columns = names |> Seq.mapi column |> ImmutableArray.CreateRange

        // A rule that does not always count, as SGD, goes by whether there are columns.
        let count row =
            if keepsStep then
                StepCount.Of counts[row]
            elif columns |> Seq.exists (fun column -> not column[row].IsAbsent) then
                StepCount.Of(max 1L counts[row])
            else
                { Taken = counts[row]; Counted = 0L }

        let counts = Counts.Of(count, scalars, (fun _ -> false), parameters.Count)

        State(rule, parameters.Count, scalarNames, counts, columns, Lineage())
