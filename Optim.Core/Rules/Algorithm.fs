namespace Optim.Core

open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// What every optimizer is, however it steps: a name and a table of options. Options are a record of the optimizer's own.
[<AbstractClass>]
type Algorithm internal (name: string, table: OptionTable) =
    /// PyTorch's class name.
    member _.Name = name
    /// The options' names as PyTorch spells them, in the order of its state dicts.
    member _.OptionNames: ImmutableArray<string> = table.Names
    /// The default options.
    member _.Defaults: IOptimizerOptions = table.Defaults
    /// Whether there is an option of that name.
    member _.Has(option: string) = table.Has option
    /// The value of an option; an OptionException when there is none of that name.
    member _.Read(options: IOptimizerOptions, option: string) : OptionValue = table.Read(options, option)

    /// The options with other values, checked together; an OptionException names what is wrong.
    member _.Replace(options: IOptimizerOptions, values: KeyValuePair<string, OptionValue> seq) : IOptimizerOptions =
        table.Replace(options, values)

    /// One value replaced.
    member _.Replace(options: IOptimizerOptions, option: string, value: OptionValue) : IOptimizerOptions =
        Argument.notNull "options" options
        Argument.notNull "option" option
        Argument.notNull "value" value
        table.Replace(options, [ KeyValuePair(option, value) ])

    /// All that is wrong with options; nothing where a step takes them.
    member _.Validate(options: IOptimizerOptions) : IReadOnlyList<OptionError> =
        (table.Problems options :> IReadOnlyList<_>)

    /// Whether PyTorch lacks an option of that name.
    member _.IsBeyondPyTorch(option: string) : bool = table.IsBeyondPyTorch option
    /// The table of its options.
    member internal _.OptionTable = table
    member internal _.LosesDivisor(options: IOptimizerOptions) : bool = table.LosesDivisor options

    /// Refuses numbers that keep a divisor from 0, such as eps, where they round to 0 in the arithmetic of a parameter's dtype: an
    /// OptionException. Steps do it themselves; it is for those who run a formula on lanes of their own.
    member _.CheckDivisors(options: IOptimizerOptions, dtype: DType, label: string) : unit =
        Argument.notNull "options" options
        table.CheckDivisors(options, dtype, label)

    /// Whether the optimizer gives the option its value, whatever a loaded state dict says.
    member _.IsFixed(option: string) : bool = table.IsFixed option

    /// The values that an option can be, where it is one of some names; none elsewhere.
    member _.ChoicesOf(option: string) : IReadOnlyList<OptionValue> =
        (table.Choices option :> IReadOnlyList<_>)

    /// What the value of an option may be, in words; empty where they are not known.
    member _.RangeOf(option: string) : string = table.Range option
