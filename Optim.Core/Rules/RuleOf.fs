namespace Optim.Core

open System
open System.Collections.Generic
open Optim
open Optim.Kernels

/// Making a rule in C#: the rows of its table of options, its columns, and the rule. In F# the modules Field, ColumnSpec and Rule do the same.
[<AbstractClass; Sealed>]
type RuleOf<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions> =
    /// An option that is a number in a range.
    static member Number(name: string, range: Interval, read: Func<'o, double>, write: Func<'o, double, 'o>) =
        Argument.notNull "name" name
        Argument.notNull "range" range
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.number name range read.Invoke (fun options value -> write.Invoke(options, value))

    /// The same for a number that keeps a divisor from 0, such as eps: a step refuses it where it is not 0, but rounds to 0 in the arithmetic of a
    /// parameter's dtype.
    static member Divisor(name: string, range: Interval, read: Func<'o, double>, write: Func<'o, double, 'o>) =
        Argument.notNull "read" read
        Argument.notNull "write" write

        Field.number name range read.Invoke (fun options value -> write.Invoke(options, value))
        |> Field.keepingDivisor read.Invoke

    /// An option that is two numbers, each in a range of its own.
    static member Pair
        (
            name: string,
            first: Interval,
            second: Interval,
            read: Func<'o, struct (double * double)>,
            write: Func<'o, struct (double * double), 'o>
        ) =
        Argument.notNull "name" name
        Argument.notNull "first" first
        Argument.notNull "second" second
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.pair name first second read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is a whole number in a range.
    static member Whole(name: string, range: Interval, read: Func<'o, int>, write: Func<'o, int, 'o>) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.whole name range read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is a whole number in a range, or None for what the other options make of it; `effective` says which number holds.
    static member WholeOrNone(name: string, range: Interval, effective: Func<'o, int>, write: Func<'o, Nullable<int>, 'o>) =
        Argument.notNull "effective" effective
        Argument.notNull "write" write
        Field.wholeOrNone name range effective.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is two numbers, each in a range of its own, of which the first may be None.
    static member PairOrNone
        (
            name: string,
            first: Interval,
            second: Interval,
            read: Func<'o, struct (Nullable<double> * double)>,
            write: Func<'o, struct (Nullable<double> * double), 'o>
        ) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.pairOrNone name first second read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is three numbers, each in the same range.
    static member Triple
        (
            name: string,
            range: Interval,
            read: Func<'o, struct (double * double * double)>,
            write: Func<'o, struct (double * double * double), 'o>
        ) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.triple name range read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is one of some names; None is one of them where there is a value of no name ("").
    static member OneOf(name: string, choices: struct (string * 'v) seq, read: Func<'o, 'v>, write: Func<'o, 'v, 'o>) =
        Argument.notNull "read" read
        Argument.notNull "write" write

        let choices =
            [
                for struct (text, value) in Argument.items "choices" choices do
                    if isNull (box text) then
                        raise (ArgumentException("a choice has no name; the name of None is empty", "choices"))

                    text, value
            ]

        Field.oneOf name choices read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is true, false or None.
    static member Choice(name: string, read: Func<'o, Nullable<bool>>, write: Func<'o, Nullable<bool>, 'o>) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.choice name read.Invoke (fun options value -> write.Invoke(options, value))

    /// An option that is true or false.
    static member Flag(name: string, read: Func<'o, bool>, write: Func<'o, bool, 'o>) =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.flag name read.Invoke (fun options value -> write.Invoke(options, value))

    /// The flags foreach, fused, capturable and differentiable.
    static member Execution(read: Func<'o, Execution>, write: Func<'o, Execution, 'o>) : IReadOnlyList<Field<'o>> =
        Argument.notNull "read" read
        Argument.notNull "write" write

        Execution.fields read.Invoke (fun options value -> write.Invoke(options, value)) :> IReadOnlyList<_>

    /// How state is kept: state_storage, state_storage_minimum and state_storage_seed.
    static member StateStorage(read: Func<'o, StateStorage>, write: Func<'o, StateStorage, 'o>) : IReadOnlyList<Field<'o>> =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.stateStorage read.Invoke (fun options value -> write.Invoke(options, value)) :> IReadOnlyList<_>

    /// A state column that is always kept and starts at zero.
    static member Column(name: string) : ColumnSpec<'o> =
        Argument.notNull "name" name
        zeros name always

    /// A state column that is kept under some options and starts at zero.
    static member Column(name: string, kept: Func<'o, bool>) : ColumnSpec<'o> =
        Argument.notNull "name" name
        Argument.notNull "kept" kept
        zeros name kept.Invoke

    /// A state column that is kept under some options and starts at a number that they give.
    static member Column(name: string, kept: Func<'o, bool>, start: Func<'o, double>) : ColumnSpec<'o> =
        Argument.notNull "name" name
        Argument.notNull "kept" kept
        Argument.notNull "start" start
        startingAt start.Invoke name kept.Invoke

    /// A state column that is kept under some options and starts at the value of an option.
    static member Column(name: string, kept: Func<'o, bool>, option: string, read: Func<'o, double>) : ColumnSpec<'o> =
        Argument.notNull "name" name
        Argument.notNull "kept" kept
        Argument.notNull "option" option
        Argument.notNull "read" read
        startingFrom option read.Invoke name kept.Invoke

    /// The rule of a formula.
    static member ElementWise<'f when 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula>
        (name: string, defaults: 'o, fields: Field<'o> seq, columns: ColumnSpec<'o> seq, arithmetic: Arithmetic<'o>)
        =
        Rule.elementWise<'o, 'f>
            name
            defaults
            (List.ofArray (Argument.items "fields" fields))
            (List.ofArray (Argument.items "columns" columns))
            arithmetic

    /// Declares the longest way that an element goes in a step (counted from 1), weight decay apart; infinity where there is no bound.
    static member StepBound(length: Func<'o, int64, double>) : Declaration<'o> =
        Argument.notNull "length" length
        Declaration.stepBound (fun options step -> length.Invoke(options, step))

    /// Declares that under all options the first steps are as long as later ones while the gradient stays the same.
    static member BiasCorrected() : Declaration<'o> =
        Declaration.biasCorrected (fun _ -> true)

    /// Declares under which options the first steps are as long as later ones while the gradient stays the same.
    static member BiasCorrected(under: Func<'o, bool>) : Declaration<'o> =
        Argument.notNull "under" under
        Declaration.biasCorrected under.Invoke

    /// Declares that a law of Optim.Laws does not hold for the rule, by its id, and why: the reason is printed.
    static member OptOut(law: string, reason: string) : Declaration<'o> = Declaration.optOut law reason
