namespace Optim.Core

open Optim.Kernels

/// Where coefficients get the numbers of options from. For kernels it is the number itself; a traced step looks a tensor up by the option's name.
[<AbstractClass>]
type Reader<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> System.ValueType and 'n :> IScalar<'n>>() =
    /// The number of an option. Names are PyTorch's, and beta1, beta2 for the parts of a pair.
    abstract Of: name: string * value: double -> 'n

/// How the options of a rule become the switches and numbers of its formula: written once, for every kind of number.
[<AbstractClass>]
type Arithmetic<'o>() =
    /// The switches of the formula, a bit each.
    abstract Switches: options: 'o -> int

    /// The coefficients of a step; step counts from 1, for each parameter by itself.
    abstract Coefficients<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> System.ValueType and 'n :> IScalar<'n>> :
        read: Reader<'n> * options: 'o * step: int64 -> Coefficients<'n>

    /// Whether a step counts, for a rule that keeps no state at all under some options.
    abstract Counts: options: 'o -> bool
    default _.Counts _ = true

/// The numbers as they are.
type internal RealReader private () =
    inherit Reader<Real>()
    static member val Instance = RealReader()
    override _.Of(_, value) = Real value

/// Switches of formulas.
[<RequireQualifiedAccess>]
module Switch =
    /// The bit of a switch, when it is on.
    let bit (index: int) (on: bool) = if on then 1 <<< index else 0

/// What a rule keeps for each element: the name, when it is kept, and where it starts.
type ColumnSpec<'o> =
    {
        /// As PyTorch calls it in state dicts.
        Name: string
        /// Whether it is kept under these options.
        When: 'o -> bool
        /// What its elements are before the first step.
        Start: 'o -> double
    }

/// Columns of a rule, in PyTorch's order.
[<AutoOpen>]
module ColumnSpec =
    /// Kept under all options.
    let always (_: 'o) = true

    /// Starts at zero.
    let zeros name (``when``: 'o -> bool) =
        {
            Name = name
            When = ``when``
            Start = fun _ -> 0.0
        }

    /// Starts at a number from the options.
    let startingAt (start: 'o -> double) name (``when``: 'o -> bool) =
        {
            Name = name
            When = ``when``
            Start = start
        }
