namespace Optim.Core

open System
open Optim.Kernels

/// Making a rule in C#: the rows of its table of options, its columns, and the rule. In F# the modules Field, ColumnSpec and Rule do the same.
[<AbstractClass; Sealed>]
type RuleOf<'o when 'o: not null and 'o: not struct> =
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

    /// An option that is true or false.
    static member Flag(name: string, read: Func<'o, bool>, write: Func<'o, bool, 'o>) =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write
        Field.flag name read.Invoke (fun options value -> write.Invoke(options, value))

    /// The flags foreach, fused, capturable and differentiable.
    static member Execution(read: Func<'o, Execution>, write: Func<'o, Execution, 'o>) =
        Argument.notNull "read" read
        Argument.notNull "write" write
        Execution.fields read.Invoke (fun options value -> write.Invoke(options, value))

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

    /// The rule of a formula.
    static member ElementWise<'f when 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula>
        (name: string, defaults: 'o, fields: Field<'o> seq, columns: ColumnSpec<'o> seq, arithmetic: Arithmetic<'o>)
        =
        Argument.notNull "fields" fields
        Argument.notNull "columns" columns
        Rule.elementWise<'o, 'f> name defaults (List.ofSeq fields) (List.ofSeq columns) arithmetic

    /// Declares the longest way that an element goes in a step (counted from 1), weight decay apart; infinity where there is no bound.
    static member StepBound(length: Func<'o, int64, double>) : Declaration<'o> =
        Argument.notNull "length" length
        Declaration.StepBound(fun options step -> length.Invoke(options, step))

    /// Declares that under all options the first steps are as long as later ones while the gradient stays the same.
    static member BiasCorrected() : Declaration<'o> =
        Declaration.BiasCorrected(fun _ -> true)

    /// Declares under which options the first steps are as long as later ones while the gradient stays the same.
    static member BiasCorrected(under: Func<'o, bool>) : Declaration<'o> =
        Argument.notNull "under" under
        Declaration.BiasCorrected under.Invoke

    /// Declares that a law of Optim.Laws does not hold for the rule, by its id, and why: the reason is printed.
    static member OptOut(law: string, reason: string) : Declaration<'o> = Declaration.OptOut(law, reason)
