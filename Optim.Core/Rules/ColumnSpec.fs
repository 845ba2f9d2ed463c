namespace Optim.Core

open System

/// Switches of formulas.
[<RequireQualifiedAccess>]
module Switch =
    /// The bit of a switch, when it is on.
    let bit (index: int) (on: bool) = if on then 1 <<< index else 0

/// What a rule keeps for each element: the name, when it is kept, and where it starts. Made by the module ColumnSpec, and in C# by RuleOf.
[<NoComparison; NoEquality>]
type ColumnSpec<'o> =
    internal
        {
            name: string
            isKept: 'o -> bool
            start: 'o -> double
            isAtOnce: bool
            startOption: string
            isNonNegative: bool
            staysWide: 'o -> bool
        }

    /// As PyTorch calls it in state dicts.
    member column.Name = column.name

    /// Whether it is kept under these options.
    member column.IsKept(options: 'o) =
        Argument.notNull "options" options
        column.isKept options

    /// What its elements are before the first step.
    member column.Start(options: 'o) =
        Argument.notNull "options" options
        column.start options

    /// Whether it is there before the first step, as PyTorch has it for rules that make it in the constructor.
    member column.IsAtOnce = column.isAtOnce
    /// The option that they start at, by the name under which coefficients would read it; empty when it is none.
    member column.StartOption = column.startOption
    /// Whether its elements are never below 0, as second moments are: narrow state keeps them above 0 where they are, in twice the range.
    member column.IsNonNegative = column.isNonNegative

    /// Whether it is kept in float32 under these options, whatever the storage of the state.
    member column.StaysWide(options: 'o) =
        Argument.notNull "options" options
        column.staysWide options

    override column.ToString() = column.name

    /// The same column, whose elements are never below 0.
    member column.NonNegative() : ColumnSpec<'o> = { column with isNonNegative = true }

    /// The same column, kept in float32 under some options, whatever the storage of the state.
    member column.Wide(under: Func<'o, bool>) : ColumnSpec<'o> =
        Argument.notNull "under" under
        { column with staysWide = under.Invoke }

    /// The same column, there before the first step.
    member column.AtOnce() : ColumnSpec<'o> = { column with isAtOnce = true }

/// Columns of a rule, in PyTorch's order, in F#; RuleOf makes the same in C#.
[<AutoOpen>]
module ColumnSpec =
    /// Kept under all options.
    let always (options: 'o) =
        ignore options
        true

    let private column name (isKept: 'o -> bool) start startOption =
        Argument.notNull "name" name
        Argument.notNull "when" isKept

        {
            name = name
            isKept = isKept
            start = start
            isAtOnce = false
            startOption = startOption
            isNonNegative = false
            staysWide = fun _ -> false
        }

    /// Starts at zero.
    let zeros name (``when``: 'o -> bool) = column name ``when`` (fun _ -> 0.0) ""

    /// Starts at a number from the options.
    let startingAt (start: 'o -> double) name (``when``: 'o -> bool) =
        Argument.notNull "start" start
        column name ``when`` start ""

    /// Starts at the value of an option.
    let startingFrom (option: string) (read: 'o -> double) name (``when``: 'o -> bool) =
        Argument.notNull "option" option
        Argument.notNull "read" read
        column name ``when`` read option

    /// There before the first step.
    let atOnce (column: ColumnSpec<'o>) =
        Argument.notNull "column" column
        column.AtOnce()

    /// Never below 0, as second moments are.
    let nonNegative (column: ColumnSpec<'o>) =
        Argument.notNull "column" column
        column.NonNegative()

    /// Kept in float32 under some options, whatever the storage of the state.
    let wideWhen (under: 'o -> bool) (column: ColumnSpec<'o>) =
        Argument.notNull "column" column
        Argument.notNull "under" under
        column.Wide(Func<'o, bool> under)
