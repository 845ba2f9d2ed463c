namespace Optim.Core

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
        /// Whether it is there before the first step, as PyTorch has it for rules that make it in the constructor.
        AtOnce: bool
        /// The option that they start at, by the name under which coefficients would read it; empty when it is none.
        StartOption: string
    }

/// Columns of a rule, in PyTorch's order.
[<AutoOpen>]
module ColumnSpec =
    /// Kept under all options.
    let always (options: 'o) =
        ignore options
        true

    /// Starts at zero.
    let zeros name (``when``: 'o -> bool) =
        Argument.notNull "name" name
        Argument.notNull "when" ``when``

        {
            Name = name
            When = ``when``
            Start = fun _ -> 0.0
            AtOnce = false
            StartOption = ""
        }

    /// Starts at a number from the options.
    let startingAt (start: 'o -> double) name (``when``: 'o -> bool) =
        Argument.notNull "start" start
        Argument.notNull "name" name
        Argument.notNull "when" ``when``

        {
            Name = name
            When = ``when``
            Start = start
            AtOnce = false
            StartOption = ""
        }

    /// Starts at the value of an option.
    let startingFrom (option: string) (read: 'o -> double) name (``when``: 'o -> bool) =
        Argument.notNull "option" option
        Argument.notNull "read" read

        { startingAt read name ``when`` with
            StartOption = option
        }

    /// There before the first step.
    let atOnce (column: ColumnSpec<'o>) =
        Argument.notNull "column" column
        { column with AtOnce = true }
