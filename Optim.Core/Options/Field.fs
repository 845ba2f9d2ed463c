namespace Optim.Core

open System

/// A wrong value or kind of an option. The message names the option, its value and what is allowed.
type OptionException(message: string, option: string) =
    inherit ArgumentException(message)

    /// The option, as PyTorch spells it.
    member _.Option = option

/// What a number may be.
type Interval =
    {
        /// In words, after "must be".
        Words: string
        /// Whether a number is in it; never for NaN.
        Holds: double -> bool
    }

/// Ranges of numbers.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Interval =
    /// From a bound on, the bound included.
    [<CompiledName("AtLeast")>]
    let atLeast (bound: double) =
        {
            Words = $"at least {OptionValue.Float bound}"
            Holds = fun x -> x >= bound
        }

    /// Up to a bound, the bound included.
    [<CompiledName("AtMost")>]
    let atMost (bound: double) =
        {
            Words = $"at most {OptionValue.Float bound}"
            Holds = fun x -> x <= bound
        }

    /// Between two bounds, of which only the first is included.
    [<CompiledName("UpTo")>]
    let upTo (first: double) (last: double) =
        {
            Words = $"in [{OptionValue.Float first}, {OptionValue.Float last})"
            Holds = fun x -> x >= first && x < last
        }

    /// Between two bounds, both included.
    [<CompiledName("Within")>]
    let within (first: double) (last: double) =
        {
            Words = $"in [{OptionValue.Float first}, {OptionValue.Float last}]"
            Holds = fun x -> x >= first && x <= last
        }

    /// Between two bounds, both excluded.
    [<CompiledName("Between")>]
    let between (first: double) (last: double) =
        {
            Words = $"in ({OptionValue.Float first}, {OptionValue.Float last})"
            Holds = fun x -> x > first && x < last
        }

    /// Between two bounds, of which only the last is included.
    [<CompiledName("AboveUpTo")>]
    let aboveUpTo (first: double) (last: double) =
        {
            Words = $"in ({OptionValue.Float first}, {OptionValue.Float last}]"
            Holds = fun x -> x > first && x <= last
        }

    /// Any number.
    [<CompiledName("Any")>]
    let any =
        {
            Words = "a number"
            Holds = fun x -> not (System.Double.IsNaN x)
        }

    /// Beyond a bound.
    [<CompiledName("Above")>]
    let above (bound: double) =
        {
            Words = $"above {OptionValue.Float bound}"
            Holds = fun x -> x > bound
        }

/// One row of the table of a rule's options: it serves the constructor, groups, later edits, state dicts, the command line and printing.
type Field<'o> =
    {
        /// As PyTorch spells it.
        Name: string
        /// The value in a record of options.
        Read: 'o -> OptionValue
        /// The record with another value, or Error and what kind of value it must be.
        Replace: 'o -> OptionValue -> Result<'o, string>
        /// What is wrong with the record, in words after the value; empty when nothing is.
        Wrong: 'o -> string
        /// Not one of PyTorch's: written to state dicts after PyTorch's, and only when not at its default.
        Beyond: bool
        /// The rule gives it its value: what a loaded state dict says of it does not count.
        Fixed: bool
        /// The number that keeps a divisor from 0; 0 when there is none.
        Divisor: 'o -> double
        /// What the value may be, in words.
        Range: string
    }

/// Rows of a table of options.
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
            Name = name
            Read = read
            Replace = replace
            Wrong = wrong
            Beyond = false
            Fixed = false
            Divisor = fun _ -> 0.0
            Range = ""
        }

    let private ranged words (field: Field<'o>) = { field with Range = words }

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
            Replace =
                fun options value ->
                    match value with
                    | OptionValue.None -> Ok(write options (Nullable()))
                    | value -> given.Replace options value |> Result.mapError (fun kind -> kind + " or None")
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
                | OptionValue.Tuple [ a; b ] ->
                    match toNumber a, toNumber b with
                    | ValueSome a, ValueSome b -> Ok(write options (struct (a, b)))
                    | _ -> Error "two numbers"
                | _ -> Error "two numbers")
            (fun options ->
                let struct (a, b) = read options
                let problem = wrong first $"{name}[0]" a

                if problem <> "" then
                    problem
                else
                    wrong second $"{name}[1]" b)
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

                OptionValue.Tuple
                    [
                        (if a.HasValue then
                             OptionValue.Float a.Value
                         else
                             OptionValue.None)
                        OptionValue.Float b
                    ])
            (fun options value ->
                match value with
                | OptionValue.Tuple [ a; b ] ->
                    match a, toNumber a, toNumber b with
                    | OptionValue.None, _, ValueSome b -> Ok(write options (struct (Nullable(), b)))
                    | _, ValueSome a, ValueSome b -> Ok(write options (struct (Nullable a, b)))
                    | _ -> Error "two numbers, of which the first may be None"
                | _ -> Error "two numbers, of which the first may be None")
            (fun options ->
                let struct (a, b) = read options

                let problem = if a.HasValue then wrong first $"{name}[0]" a.Value else ""

                if problem <> "" then
                    problem
                else
                    wrong second $"{name}[1]" b)
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
            (items >> List.map OptionValue.Float >> OptionValue.Tuple)
            (fun options value ->
                match value with
                | OptionValue.Tuple [ a; b; c ] ->
                    match toNumber a, toNumber b, toNumber c with
                    | ValueSome a, ValueSome b, ValueSome c -> Ok(write options (struct (a, b, c)))
                    | _ -> Error "three numbers"
                | _ -> Error "three numbers")
            (fun options ->
                items options
                |> List.mapi (fun index number -> wrong range $"{name}[{index}]" number)
                |> List.tryFind (fun problem -> problem <> "")
                |> Option.defaultValue "")
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
        Argument.notNull "words" words
        Argument.notNull "holds" holds
        Argument.notNull "field" field

        { field with
            Wrong =
                fun options ->
                    let problem = field.Wrong options

                    if problem <> "" || holds options then
                        problem
                    else
                        "; " + words
        }

    /// Marks an option that PyTorch lacks.
    let beyondPyTorch (field: Field<'o>) =
        Argument.notNull "field" field
        { field with Beyond = true }

    /// Marks a number that keeps a divisor from 0, such as eps. A step refuses it where it is not 0, but rounds to 0 in the arithmetic of a
    /// parameter's dtype: a gradient of 0 would then be divided by 0.
    let keepingDivisor (read: 'o -> double) (field: Field<'o>) =
        Argument.notNull "read" read
        Argument.notNull "field" field
        { field with Divisor = read }

    /// Marks an option whose value is the rule's own.
    let fixedByRule (field: Field<'o>) =
        Argument.notNull "field" field
        { field with Fixed = true }
