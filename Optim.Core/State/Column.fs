namespace Optim.Core

open System
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// How a row of a column is kept, and the scales of its blocks; absent where there are none.
[<Struct; NoEquality; NoComparison>]
type internal NarrowRow =
    { Kind: NarrowKind; Scales: TensorView }

/// One named part of an optimizer's state, such as exp_avg: a row for each parameter, absent until the parameter's first gradient.
/// Rows of narrow state (StateStorage) hold codes; Widen gives their numbers. Compared by content.
[<Sealed>]
type Column internal (name: string, rows: ImmutableArray<TensorView>, narrow: ImmutableArray<NarrowRow>) =
    internal new(name, rows) = Column(name, rows, ImmutableArray.Empty)
    /// As PyTorch calls it.
    member _.Name = name
    /// One for each parameter; absent ones say so (IsAbsent).
    member _.Rows = rows

    /// How the row of a parameter is kept.
    member internal _.NarrowRow(row: int) =
        if narrow.IsEmpty then
            {
                Kind = NarrowKind.Wide
                Scales = TensorView()
            }
        else
            narrow[row]

    /// Of each row; none where all are wide.
    member internal _.Narrow = narrow

    /// Whether the row of a parameter is narrow: it holds codes.
    member internal column.IsNarrow(row: int) =
        column.NarrowRow(row).Kind <> NarrowKind.Wide

    /// The format of the row of a parameter.
    member column.FormatOf(row: int) : StateFormat =
        Argument.index "row" row rows.Length
        NarrowKinds.FormatOf (column.NarrowRow row).Kind

    /// The scales of the blocks of a narrow row; absent where it has none.
    member column.ScalesOf(row: int) : TensorView =
        Argument.index "row" row rows.Length
        (column.NarrowRow row).Scales

    /// The name of the map of a narrow row's codes; "float32" of a wide one.
    member column.MapOf(row: int) : string =
        Argument.index "row" row rows.Length
        NarrowKinds.MapOf (column.NarrowRow row).Kind

    /// The numbers of the row of a parameter: of narrow ones a copy as float32 in the memory of the processor, of others the row itself.
    member column.Widen(row: int) : TensorView =
        Argument.index "row" row rows.Length
        let narrow = column.NarrowRow row

        if rows[row].IsAbsent || narrow.Kind = NarrowKind.Wide then
            rows[row]
        else
            NarrowMemory.Widen(narrow.Kind, rows[row], narrow.Scales)

    /// The row of a parameter.
    member _.Item
        with get (row: int) =
            Argument.index "row" row rows.Length
            rows[row]

    /// The name, and dtype, shape and first numbers of each row.
    override column.ToString() =
        Printed.lines name rows.Length (fun row -> $"parameter {row}: {column.Printed row}")

    /// A row as it is printed.
    member internal column.Printed(row: int) =
        if column.IsNarrow row && not rows[row].IsAbsent then
            $"{column.MapOf row} {column.Widen row}"
        else
            rows[row].ToString()

    override column.Equals other =
        match other with
        | :? Column as other ->
            name = other.Name
            && rows.Length = other.Rows.Length
            && Seq.forall2 (fun (a: TensorView) (b: TensorView) -> a.ContentEquals b) rows other.Rows
            && Seq.forall
                (fun row ->
                    let a, b = column.NarrowRow row, other.NarrowRow row
                    a.Kind = b.Kind && a.Scales.ContentEquals b.Scales)
                (seq { 0 .. rows.Length - 1 })
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(name, rows.Length)
