namespace Optim.Core

open Optim.Kernels

/// What differs from parameter to parameter in a step: kinds of rows that are stepped by programs of their own.
[<AbstractClass>]
type internal RowKinds() =
    /// Begins anew: the kinds of all rows will be asked for.
    abstract Begin: unit -> unit
    /// The kind of a row that steps.
    abstract KindOf: row: int -> int
    /// Which columns a kind loads and stores.
    abstract UsesOf: kind: int -> ColumnUses
    /// The program of a kind, before what surrounds it; null where it is a formula.
    abstract ProgramOf: kind: int -> StepProgram | null
    default _.ProgramOf _ = null
    /// Whether a column holds one number for each parameter.
    abstract HoldsNumber: column: int -> bool
    default _.HoldsNumber _ = false
