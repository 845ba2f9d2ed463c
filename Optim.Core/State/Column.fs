namespace Optim.Core

open System.Collections.Immutable
open Optim.Kernels

/// One named part of an optimizer's state, such as exp_avg: a row for each parameter, absent until the parameter's first gradient.
[<Sealed>]
type Column internal (name: string, rows: ImmutableArray<TensorView>) =
    /// As PyTorch calls it.
    member _.Name = name
    /// One for each parameter; absent ones say so (IsAbsent).
    member _.Rows = rows

    /// The row of a parameter.
    member _.Item
        with get (row: int) = rows[row]
