namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// Rows of state: how they are made, and in which order they lie.
module internal Rows =
    let private absent rows =
        ImmutableArray.CreateRange(Seq.replicate rows (TensorView()))

    /// The order in which a parameter's state lies: its own where it has no gaps, row-major otherwise.
    let private orderOf (parameter: TensorView) =
        if parameter.Layout.IsDense then
            parameter.Layout
        else
            parameter.Layout.ToContiguous()

    /// The order of a row that may have state already.
    let rowOrder (columns: ImmutableArray<Column>) (parameter: TensorView) row =
        let mutable order = orderOf parameter

        for column in columns do
            if not column[row].IsAbsent then
                order <- column[row].Layout

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

        Column(column.Name, rows.ToImmutable())

    /// Before the first step no parameter has state: it is made with the parameter's first gradient, but for columns that are there at once.
    let initial rule (parameters: Parameters) (names: ImmutableArray<string>) (atOnce: int -> bool) (start: int -> double) =
        let all = ResizeArray(seq { 0 .. parameters.Count - 1 })

        let column index name =
            let column = Column(name, absent parameters.Count)

            if atOnce index then
                grow column all (Array.init parameters.Count (fun row -> orderOf parameters[row])) (start index)
            else
                column

        State(rule, parameters.Count, Counts.Zero, names |> Seq.mapi column |> ImmutableArray.CreateRange, Line())

    /// A state from rows that lie elsewhere: each is copied into the order and dtype of its parameter.
    let restore
        rule
        (names: ImmutableArray<string>)
        (parameters: Parameters)
        (counts: int64 array)
        (given: KeyValuePair<string, TensorView array> seq)
        =
        Checks.parameters rule parameters
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

                Column(name, filled.ToImmutable())

        let columns = names |> Seq.map column |> ImmutableArray.CreateRange
        State(rule, parameters.Count, Counts.Of((fun row -> counts[row]), (fun _ -> false), parameters.Count), columns, Line())
