namespace Optim.Core

open System
open System.Runtime.InteropServices

/// One row of the table of a rule's options: it serves the constructor, groups, later edits, state dicts, the command line and printing.
/// Made by the module Field, and in C# by RuleOf.
[<NoComparison; NoEquality>]
type Field<'o> =
    internal
        {
            name: string
            read: 'o -> OptionValue
            /// The record with another value, or Error and what kind of value it must be.
            replace: 'o -> OptionValue -> Result<'o, string>
            /// What is wrong with the record, as "; " and what must be, for each part; empty when nothing is.
            wrong: 'o -> string
            beyond: bool
            isFixed: bool
            divisor: 'o -> double
            range: string
            choices: OptionValue list
            /// The numbers that steps read from tensors, where the record has them, and the record with others.
            rates: struct (('o -> RateTensors) * ('o -> RateTensors -> 'o)) voption
        }

    /// As PyTorch spells it.
    member field.Name = field.name

    /// The value in a record of options.
    member field.Read(options: 'o) : OptionValue =
        Argument.notNull "options" options
        field.read options

    /// The record with another value, which is of the right kind, but may be out of range; or false, and what kind of value it must be.
    member field.TryReplace(options: 'o, value: OptionValue, [<Out>] replaced: byref<'o>, [<Out>] kind: byref<string>) =
        Argument.notNull "options" options
        Argument.notNull "value" value

        match field.replace options value with
        | Ok other ->
            replaced <- other
            kind <- ""
            true
        | Error expected ->
            replaced <- options
            kind <- expected
            false

    /// Not one of PyTorch's: written to state dicts after PyTorch's, and only when not at its default.
    member field.IsBeyondPyTorch = field.beyond
    /// The rule gives it its value: what a loaded state dict says of it does not count.
    member field.IsFixed = field.isFixed

    /// The number that keeps a divisor from 0; 0 when there is none.
    member field.Divisor(options: 'o) =
        Argument.notNull "options" options
        field.divisor options

    /// What the value may be, in words.
    member field.Range = field.range
    override field.ToString() = $"{field.name}: {field.range}"

    /// The same option, with a condition that it puts on the whole record; the words follow its value.
    member field.Requiring(words: string, holds: Func<'o, bool>) : Field<'o> =
        Argument.notNull "words" words
        Argument.notNull "holds" holds

        { field with
            wrong =
                fun options ->
                    let problem = field.wrong options

                    if problem <> "" || holds.Invoke options then
                        problem
                    else
                        "; " + words
        }

    /// The same option as one that PyTorch lacks.
    member field.BeyondPyTorch() : Field<'o> = { field with beyond = true }

    /// The same option as a number that keeps a divisor from 0, such as eps. A step refuses it where it is not 0, but rounds to 0 in the
    /// arithmetic of a parameter's dtype: a gradient of 0 would then be divided by 0.
    member field.KeepingDivisor(read: Func<'o, double>) : Field<'o> =
        Argument.notNull "read" read
        { field with divisor = read.Invoke }

    /// The same option as one whose value is the rule's own.
    member field.FixedByRule() : Field<'o> = { field with isFixed = true }
