// Long, because each kind of option is a few lines, and none has another room.
namespace Optim.Core

open System
open Optim

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
            choices = []
            rates = ValueNone
        }

    let private ranged words (field: Field<'o>) = { field with range = words }

    [<return: Struct>]
    let private (|Number|_|) value =
        match value with
        | OptionValue.Float number -> ValueSome number
        | OptionValue.Int number -> ValueSome(double number)
        | _ -> ValueNone

    /// What every row must be given.
    let private required name read write =
        Argument.notNull "name" name
        Argument.notNull "read" read
        Argument.notNull "write" write

    /// A number in a range.
    let number name range (read: 'o -> double) (write: 'o -> double -> 'o) =
        required name read write
        Argument.notNull "range" range

        field
            name
            (read >> OptionValue.Float)
            (fun options value ->
                match value with
                | Number number -> Ok(write options number)
                | _ -> Error "a number")
            (read >> wrong range name)
        |> ranged range.Words

    [<return: Struct>]
    let private (|Long|_|) value =
        match value with
        | OptionValue.Int number -> ValueSome number
        | OptionValue.Float number when floor number = number && abs number <= 9007199254740992.0 -> ValueSome(int64 number)
        | _ -> ValueNone

    [<return: Struct>]
    let private (|Whole|_|) value =
        match value with
        | Long number when int64 (int number) = number -> ValueSome(int number)
        | _ -> ValueNone

    /// A whole number in a range.
    let whole name range (read: 'o -> int) (write: 'o -> int -> 'o) =
        required name read write
        Argument.notNull "range" range

        field
            name
            (read >> int64 >> OptionValue.Int)
            (fun options value ->
                match value with
                | Whole number -> Ok(write options number)
                | _ -> Error "a whole number")
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
        required name read write
        Argument.notNull "first" first
        Argument.notNull "second" second

        field
            name
            (read >> OptionValue.op_Implicit)
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ Number a; Number b ]) -> Ok(write options (struct (a, b)))
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
        required name read write
        Argument.notNull "first" first
        Argument.notNull "second" second

        field
            name
            (fun options ->
                let struct (a, b) = read options

                let first =
                    if a.HasValue then
                        OptionValue.Float a.Value
                    else
                        OptionValue.None

                OptionValue.TupleOf [ first; OptionValue.Float b ])
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ OptionValue.None; Number b ]) -> Ok(write options (struct (Nullable(), b)))
                | OptionValue.Tuple(Items [ Number a; Number b ]) -> Ok(write options (struct (Nullable a, b)))
                | _ -> Error "two numbers, of which the first may be None")
            (fun options ->
                let struct (a, b) = read options

                (if a.HasValue then wrong first $"{name}[0]" a.Value else "")
                + wrong second $"{name}[1]" b)
        |> ranged $"None or {first.Words}; {second.Words}"

    /// A number in a range, or None.
    let internal numberOrNone name (range: Interval) (read: 'o -> OptionValue) (write: 'o -> OptionValue -> 'o) =
        field
            name
            read
            (fun options value ->
                match value with
                | OptionValue.None -> Ok(write options value)
                | Number number -> Ok(write options (OptionValue.Float number))
                | _ -> Error "a number or None")
            (fun options ->
                match read options with
                | Number number -> wrong range name number
                | _ -> "")
        |> ranged $"None or {range.Words}"

    /// Two numbers, each in a range of its own, or None.
    let internal pairOrNothing name (first: Interval) (second: Interval) (read: 'o -> OptionValue) (write: 'o -> OptionValue -> 'o) =
        field
            name
            read
            (fun options value ->
                match value with
                | OptionValue.None -> Ok(write options value)
                | OptionValue.Tuple(Items [ Number a; Number b ]) ->
                    Ok(write options (OptionValue.TupleOf [ OptionValue.Float a; OptionValue.Float b ]))
                | _ -> Error "two numbers or None")
            (fun options ->
                match read options with
                | OptionValue.Tuple(Items [ Number a; Number b ]) -> wrong first $"{name}[0]" a + wrong second $"{name}[1]" b
                | _ -> "")
        |> ranged $"None or {first.Words}; {second.Words}"

    /// Three numbers, each in a range of its own.
    let internal tripleIn
        name
        (ranges: Interval list)
        (read: 'o -> struct (double * double * double))
        (write: 'o -> struct (double * double * double) -> 'o)
        =
        required name read write

        let items options =
            let struct (a, b, c) = read options
            [ a; b; c ]

        field
            name
            (items >> List.map OptionValue.Float >> OptionValue.TupleOf)
            (fun options value ->
                match value with
                | OptionValue.Tuple(Items [ Number a; Number b; Number c ]) -> Ok(write options (struct (a, b, c)))
                | _ -> Error "three numbers")
            (fun options ->
                items options
                |> List.mapi (fun index number -> wrong ranges[index] $"{name}[{index}]" number)
                |> String.concat "")
        |> ranged (ranges |> List.map _.Words |> List.distinct |> String.concat "; ")

    /// Three numbers, each in the same range.
    let triple
        name
        (range: Interval)
        (read: 'o -> struct (double * double * double))
        (write: 'o -> struct (double * double * double) -> 'o)
        =
        Argument.notNull "range" range
        tripleIn name [ range; range; range ] read write

    /// One of some names; None is one of them where there is a value of no name ("").
    let oneOf name (choices: (string * 'v) list) (read: 'o -> 'v) (write: 'o -> 'v -> 'o) =
        required name read write
        Argument.items "choices" choices |> ignore

        let textOf value =
            choices |> List.tryFind (fun (_, choice) -> choice = value) |> Option.map fst

        let valueOf text =
            if text = "" then
                OptionValue.None
            else
                OptionValue.Text text

        let words =
            choices
            |> List.map (fun (text, _) -> if text = "" then "None" else $"'{text}'")
            |> String.concat ", "
            |> (+) "one of "

        field
            name
            (fun options ->
                let value = read options
                textOf value |> Option.defaultValue (string value) |> valueOf)
            (fun options value ->
                match choices |> List.tryFind (fun (text, _) -> valueOf text = value) with
                | Some(_, choice) -> Ok(write options choice)
                | None -> Error words)
            (fun options ->
                if (textOf (read options)).IsSome then
                    ""
                else
                    $"; {name} must be {words}")
        |> ranged words
        |> fun field ->
            { field with
                choices = [ for text, _ in choices -> valueOf text ]
            }

    /// True or False.
    let flag name (read: 'o -> bool) (write: 'o -> bool -> 'o) =
        required name read write

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
        required name read write

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

    /// How state is kept: the rows state_storage, state_storage_minimum and state_storage_seed, for a record that has the storage in a field. They are
    /// not among the names of options, as they change no formula: groups and the command line take them by name.
    let stateStorage (read: 'o -> StateStorage) (write: 'o -> StateStorage -> 'o) : Field<'o> list =
        Argument.notNull "read" read
        Argument.notNull "write" write

        let known options =
            let storage = read options

            if isNull (box storage) then
                let format = StorageFields.format
                raise (OptionException($"{format} is null; it must be StateStorage.Float32, BFloat16 or Blockwise8", format))

            storage

        let formats =
            [
                for value in [ StateFormat.Float32; StateFormat.BFloat16; StateFormat.Blockwise8 ] -> StateStorage.NameOf value, value
            ]

        let ofFormat options format =
            let storage = known options
            write options (StateStorage.Of(format, storage.Minimum, storage.Seed))

        /// A whole number up to a largest one, which no storage is made without.
        let upTo (largest: int64) name (read: StateStorage -> int64) (change: StateStorage -> int64 -> StateStorage) =
            let range = Interval.within 0.0 (double largest)
            let words = $"a whole number {range.Words}"

            field
                name
                (known >> read >> OptionValue.Int)
                (fun options value ->
                    match value with
                    | Long number when number >= 0L && number <= largest -> Ok(write options (change (known options) number))
                    | _ -> Error words)
                (known >> read >> double >> wrong range name)
            |> ranged words
            |> beyondPyTorch

        [
            oneOf StorageFields.format formats (known >> _.Format) ofFormat |> beyondPyTorch
            upTo (int64 Int32.MaxValue) StorageFields.minimum (_.Minimum >> int64) (fun storage number -> storage.From(int number))
            upTo StateStorage.LargestSeed StorageFields.seed _.Seed _.WithSeed
        ]
