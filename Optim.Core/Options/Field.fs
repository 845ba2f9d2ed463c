namespace Optim.Core

open System
open System.Runtime.InteropServices

/// A wrong value or kind of an option. The message names the option, its value and what is allowed.
type OptionException(message: string, option: string) =
    inherit ArgumentException(message)

    /// The option, as PyTorch spells it.
    member _.Option = option

/// What a number may be, such as <c>Interval.AtLeast(0)</c>; in F# <c>Interval.atLeast 0.0</c>.
[<NoComparison; NoEquality>]
type Interval =
    internal
        {
            /// Made when they are asked for: ranges are checked in every step.
            words: unit -> string
            holds: double -> bool
        }

    /// In words, after "must be".
    member range.Words = range.words ()

    /// Whether a number is in it; never for NaN.
    member range.Holds(value: double) = range.holds value

    /// The words.
    override range.ToString() = range.words ()

    /// Numbers by a condition of your own, in words after "must be". NaN is in none.
    static member Where(words: string, holds: Func<double, bool>) =
        Argument.notNull "words" words
        Argument.notNull "holds" holds

        {
            words = fun () -> words
            holds = fun x -> not (Double.IsNaN x) && holds.Invoke x
        }

    /// From a bound on, the bound included.
    static member AtLeast(bound: double) =
        {
            words = fun () -> $"at least {OptionValue.Float bound}"
            holds = fun x -> x >= bound
        }

    /// Up to a bound, the bound included.
    static member AtMost(bound: double) =
        {
            words = fun () -> $"at most {OptionValue.Float bound}"
            holds = fun x -> x <= bound
        }

    /// Between two bounds, of which only the first is included.
    static member UpTo(first: double, last: double) =
        {
            words = fun () -> $"in [{OptionValue.Float first}, {OptionValue.Float last})"
            holds = fun x -> x >= first && x < last
        }

    /// Between two bounds, both included.
    static member Within(first: double, last: double) =
        {
            words = fun () -> $"in [{OptionValue.Float first}, {OptionValue.Float last}]"
            holds = fun x -> x >= first && x <= last
        }

    /// Between two bounds, both excluded.
    static member Between(first: double, last: double) =
        {
            words = fun () -> $"in ({OptionValue.Float first}, {OptionValue.Float last})"
            holds = fun x -> x > first && x < last
        }

    /// Between two bounds, of which only the last is included.
    static member AboveUpTo(first: double, last: double) =
        {
            words = fun () -> $"in ({OptionValue.Float first}, {OptionValue.Float last}]"
            holds = fun x -> x > first && x <= last
        }

    /// Beyond a bound.
    static member Above(bound: double) =
        {
            words = fun () -> $"above {OptionValue.Float bound}"
            holds = fun x -> x > bound
        }

    /// Any number.
    static member Any =
        {
            words = fun () -> "a number"
            holds = fun x -> not (Double.IsNaN x)
        }

/// Ranges of numbers, in F#; the static members of Interval are the same in C#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Interval =
    /// From a bound on, the bound included.
    let atLeast bound = Interval.AtLeast bound
    /// Up to a bound, the bound included.
    let atMost bound = Interval.AtMost bound
    /// Between two bounds, of which only the first is included.
    let upTo first last = Interval.UpTo(first, last)
    /// Between two bounds, both included.
    let within first last = Interval.Within(first, last)
    /// Between two bounds, both excluded.
    let between first last = Interval.Between(first, last)
    /// Between two bounds, of which only the last is included.
    let aboveUpTo first last = Interval.AboveUpTo(first, last)
    /// Beyond a bound.
    let above bound = Interval.Above bound
    /// Any number.
    let any = Interval.Any

    /// Numbers by a condition of your own, in words after "must be".
    let where (words: string) (holds: double -> bool) =
        Argument.notNull "holds" holds
        Interval.Where(words, Func<double, bool> holds)

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

/// Rows of a table of options, in F#; RuleOf makes the same in C#.
[<RequireQualifiedAccess>]
module Field =
    let private wrong (range: Interval) name value =
        if range.Holds value then
            ""
        else
            $"; {name} must be {range.Words}"

    /// Refuses a setting that is not of a rule: what has it, its name, its value.
    let internal require owner name (range: Interval) (value: double) =
        let problem = wrong range name value

        if problem <> "" then
            raise (OptionException($"{owner}: {name} is {OptionValue.Float value}{problem}", name))

    let private field name read replace wrong =
        {
            name = name
            read = read
            replace = replace
            wrong = wrong
            beyond = false
            isFixed = false
            divisor = fun _ -> 0.0
            range = ""
        }

    let private ranged words (field: Field<'o>) = { field with range = words }

    let private toNumber value =
        match value with
        | OptionValue.Float number -> ValueSome number
        | OptionValue.Int number -> ValueSome(double number)
        | _ -> ValueNone

    /// A number in a range.
    let number name range (read: 'o -> double) (write: 'o -> double -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "range" range
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (read >> OptionValue.Float)
            (fun options value ->
                match toNumber value with
                | ValueSome number -> Ok(write options number)
                | ValueNone -> Error "a number")
            (read >> wrong range name)
        |> ranged range.Words

    let private toWhole value =
        match value with
        | OptionValue.Int number when int64 (int number) = number -> ValueSome(int number)
        | OptionValue.Float number when floor number = number && abs number <= double Int32.MaxValue -> ValueSome(int number)
        | _ -> ValueNone

    /// A whole number in a range.
    let whole name range (read: 'o -> int) (write: 'o -> int -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "range" range
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (read >> int64 >> OptionValue.Int)
            (fun options value ->
                match toWhole value with
                | ValueSome number -> Ok(write options number)
                | ValueNone -> Error "a whole number")
            (read >> double >> wrong range name)
        |> ranged $"a whole number {range.Words}"

    /// A whole number in a range, or None for what the other options make of it; `effective` says which number holds.
    let wholeOrNone name range (effective: 'o -> int) (write: 'o -> Nullable<int> -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "range" range
        Argument.notNull "effective" effective
        Argument.notNull "write" write

        let given =
            whole name range effective (fun options number -> write options (Nullable number))

        { given with
            replace =
                fun options value ->
                    match value with
                    | OptionValue.None -> Ok(write options (Nullable()))
                    | value -> given.replace options value |> Result.mapError (fun kind -> kind + " or None")
        }

    /// Two numbers, each in a range of its own.
    let pair
        name
        (first: Interval)
        (second: Interval)
        (read: 'o -> struct (double * double))
        (write: 'o -> struct (double * double) -> 'o)
        =
        Argument.notNull "name" name
        Argument.notNull "first" first
        Argument.notNull "second" second
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (read >> OptionValue.op_Implicit)
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ a; b ]) ->
                    match toNumber a, toNumber b with
                    | ValueSome a, ValueSome b -> Ok(write options (struct (a, b)))
                    | _ -> Error "two numbers"
                | _ -> Error "two numbers")
            (fun options ->
                let struct (a, b) = read options
                wrong first $"{name}[0]" a + wrong second $"{name}[1]" b)
        |> ranged $"{first.Words}; {second.Words}"

    /// Two numbers, each in a range of its own, of which the first may be None.
    let pairOrNone
        name
        (first: Interval)
        (second: Interval)
        (read: 'o -> struct (Nullable<double> * double))
        (write: 'o -> struct (Nullable<double> * double) -> 'o)
        =
        Argument.notNull "name" name
        Argument.notNull "first" first
        Argument.notNull "second" second
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (fun options ->
                let struct (a, b) = read options

                OptionValue.TupleOf
                    [
                        (if a.HasValue then
                             OptionValue.Float a.Value
                         else
                             OptionValue.None)
                        OptionValue.Float b
                    ])
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ a; b ]) ->
                    match a, toNumber a, toNumber b with
                    | OptionValue.None, _, ValueSome b -> Ok(write options (struct (Nullable(), b)))
                    | _, ValueSome a, ValueSome b -> Ok(write options (struct (Nullable a, b)))
                    | _ -> Error "two numbers, of which the first may be None"
                | _ -> Error "two numbers, of which the first may be None")
            (fun options ->
                let struct (a, b) = read options

                (if a.HasValue then wrong first $"{name}[0]" a.Value else "")
                + wrong second $"{name}[1]" b)
        |> ranged $"None or {first.Words}; {second.Words}"

    /// Three numbers, each in the same range.
    let triple
        name
        (range: Interval)
        (read: 'o -> struct (double * double * double))
        (write: 'o -> struct (double * double * double) -> 'o)
        =
        Argument.notNull "name" name
        Argument.notNull "range" range
        Argument.notNull "read" read
        Argument.notNull "write" write

        let items options =
            let struct (a, b, c) = read options
            [ a; b; c ]

        field
            name
            (items >> List.map OptionValue.Float >> OptionValue.TupleOf)
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ a; b; c ]) ->
                    match toNumber a, toNumber b, toNumber c with
                    | ValueSome a, ValueSome b, ValueSome c -> Ok(write options (struct (a, b, c)))
                    | _ -> Error "three numbers"
                | _ -> Error "three numbers")
            (fun options ->
                items options
                |> List.mapi (fun index number -> wrong range $"{name}[{index}]" number)
                |> String.concat "")
        |> ranged range.Words

    /// One of some names; None is one of them where there is a value of no name ("").
    let oneOf name (choices: (string * 'v) list) (read: 'o -> 'v) (write: 'o -> 'v -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write
        Argument.items "choices" choices |> ignore

        let toText value =
            choices |> List.tryFind (fun (_, choice) -> choice = value) |> Option.map fst

        let words =
            choices
            |> List.map (fun (text, _) -> if text = "" then "None" else $"'{text}'")
            |> String.concat ", "

        let named text options =
            match choices |> List.tryFind (fun (known, _) -> known = text) with
            | Some(_, value) -> Ok(write options value)
            | None -> Error("one of " + words)

        field
            name
            (fun options ->
                match toText (read options) with
                | Some "" -> OptionValue.None
                | Some text -> OptionValue.Text text
                | None -> OptionValue.Text(string (read options)))
            (fun options value ->
                match value with
                | OptionValue.Text text when text <> "" -> named text options
                | OptionValue.None -> named "" options
                | _ -> Error("one of " + words))
            (fun options ->
                if (toText (read options)).IsSome then
                    ""
                else
                    $"; {name} must be one of {words}")
        |> ranged $"one of {words}"

    /// True or False.
    let flag name (read: 'o -> bool) (write: 'o -> bool -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (read >> OptionValue.Bool)
            (fun options value ->
                match value with
                | OptionValue.Bool flag -> Ok(write options flag)
                | _ -> Error "True or False")
            (fun _ -> "")
        |> ranged "True or False"

    /// True, False or None.
    let choice name (read: 'o -> Nullable<bool>) (write: 'o -> Nullable<bool> -> 'o) =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write

        field
            name
            (fun options -> OptionValue.op_Implicit (read options: Nullable<bool>))
            (fun options value ->
                match value with
                | OptionValue.Bool flag -> Ok(write options (Nullable flag))
                | OptionValue.None -> Ok(write options (Nullable()))
                | _ -> Error "True, False or None")
            (fun _ -> "")
        |> ranged "True, False or None"

    /// A condition that this option puts on the whole record; the words follow its value.
    let requiring (words: string) (holds: 'o -> bool) (field: Field<'o>) =
        Argument.notNull "holds" holds
        Argument.notNull "field" field
        field.Requiring(words, Func<'o, bool> holds)

    /// Marks an option that PyTorch lacks.
    let beyondPyTorch (field: Field<'o>) =
        Argument.notNull "field" field
        field.BeyondPyTorch()

    /// Marks a number that keeps a divisor from 0, such as eps. A step refuses it where it is not 0, but rounds to 0 in the arithmetic of a
    /// parameter's dtype: a gradient of 0 would then be divided by 0.
    let keepingDivisor (read: 'o -> double) (field: Field<'o>) =
        Argument.notNull "read" read
        Argument.notNull "field" field
        field.KeepingDivisor(Func<'o, double> read)

    /// Marks an option whose value is the rule's own.
    let fixedByRule (field: Field<'o>) =
        Argument.notNull "field" field
        field.FixedByRule()
