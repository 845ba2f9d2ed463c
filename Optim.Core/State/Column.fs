namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// One named part of an optimizer's state, such as exp_avg: a row for each parameter, absent until the parameter's first gradient.
/// Compared by content.
[<Sealed>]
type Column internal (name: string, rows: ImmutableArray<TensorView>) =
    /// As PyTorch calls it.
    member _.Name = name
    /// One for each parameter; absent ones say so (IsAbsent).
    member _.Rows = rows

    /// The row of a parameter.
    member _.Item
        with get (row: int) =
            Argument.index "row" row rows.Length
            rows[row]

    /// The name, and dtype, shape and first numbers of each row.
    override _.ToString() =
        Printed.lines name rows.Length (fun row -> $"parameter {row}: {rows[row]}")

    override _.Equals other =
        match other with
        | :? Column as other ->
            name = other.Name
            && rows.Length = other.Rows.Length
            && Seq.forall2 (fun (a: TensorView) (b: TensorView) -> a.ContentEquals b) rows other.Rows
        | _ -> false

    override _.GetHashCode() = HashCode.Combine(name, rows.Length)
