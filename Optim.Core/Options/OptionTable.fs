namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// An option that is wrong.
[<NoComparison>]
type OptionError =
    {
        /// The option, as PyTorch spells it.
        Option: string
        /// Its value.
        Value: OptionValue
        /// What is allowed, in words.
        Allowed: string
    }

    /// The option, its value and what is allowed.
    member error.Message = $"{error.Option} is {error.Value}; {error.Allowed}"
    override error.ToString() = error.Message

/// The options of an optimizer by PyTorch's names, for whoever does not know their type.
[<AbstractClass>]
type internal OptionTable() =
    abstract Names: ImmutableArray<string>
    abstract Defaults: IOptimizerOptions
    abstract Has: option: string -> bool
    abstract Read: options: IOptimizerOptions * option: string -> OptionValue
    abstract Replace: options: IOptimizerOptions * values: KeyValuePair<string, OptionValue> seq -> IOptimizerOptions
    abstract IsBeyondPyTorch: option: string -> bool
    abstract IsFixed: option: string -> bool
    /// Whether a number that keeps a divisor from 0 rounds to 0 in float32.
    abstract LosesDivisor: options: IOptimizerOptions -> bool
    /// Refuses such numbers for the arithmetic of a parameter's dtype.
    abstract CheckDivisors: options: IOptimizerOptions * dtype: DType * label: string -> unit
    abstract Range: option: string -> string
    abstract Choices: option: string -> OptionValue array
    /// The numbers that steps read from tensors.
    abstract Rates: options: IOptimizerOptions -> RateTensors
    /// The options with others of them.
    abstract WithRates: options: IOptimizerOptions * rates: RateTensors -> IOptimizerOptions
    /// All that is wrong with a record.
    abstract Problems: options: IOptimizerOptions -> OptionError list

    /// How state is kept under these options; in float32 where they do not say it.
    member table.StorageOf(options: IOptimizerOptions) : StateStorage =
        let whole option =
            match table.Read(options, option) with
            | OptionValue.Int number -> number
            | value -> invalidOp $"{option} is {value}"

        if not (table.Has StorageFields.format) then
            StateStorage.Float32
        else
            let name = string (table.Read(options, StorageFields.format))

            let format =
                [ StateFormat.BFloat16; StateFormat.Blockwise8 ]
                |> List.tryFind (fun format -> StateStorage.NameOf format = name)
                |> Option.defaultValue StateFormat.Float32

            StateStorage.Of(format, int (whole StorageFields.minimum), whole StorageFields.seed)

    /// The row of an option in the table of options that have these as a part.
    abstract RowWithin<'w> : option: string * part: ('w -> IOptimizerOptions) * replacePart: ('w -> IOptimizerOptions -> 'w) -> Field<'w>

/// The same with the type of the options: the rows of the table, names beside those of the rows, under which some of them are found as
/// well, and who owns it, for messages.
[<Sealed>]
type internal OptionTable<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (owner: string, defaults: 'o, fields: Field<'o> list, aliases: Field<'o> list) =
    inherit OptionTable()

    let rows =
        Dictionary<string, Field<'o>>(fields @ aliases |> List.map (fun field -> KeyValuePair(field.Name, field)), StringComparer.Ordinal)

    let names = ImmutableArray.CreateRange(fields |> List.map _.Name)

    let field (option: string) =
        Argument.notNull "option" option

        match rows.TryGetValue option with
        | true, field -> field
        | _ when StorageFields.has option ->
            raise (
                OptionException(
                    $"{owner} has no option '{option}': it keeps its state in float32. Narrow state is for rules that go element by element and whose columns are averages of gradients",
                    option
                )
            )
        | _ ->
            let known = String.Join(", ", names)
            raise (OptionException($"{owner} has no option '{option}'{Names.didYouMean option rows.Keys} It has: {known}", option))

    let loses (field: Field<'o>) options =
        let divisor = field.Divisor options
        divisor <> 0.0 && float32 divisor = 0.0f

    /// The rows that say how state is kept are found by name, and are not among the names: see StorageFields.
    new(owner, defaults, fields: Field<'o> list) =
        let storage, listed =
            fields |> List.partition (fun field -> StorageFields.has field.Name)

        OptionTable<'o>(owner, defaults, listed, storage)

    /// The record of options, which must be this owner's.
    member _.Options(options: IOptimizerOptions) : 'o =
        match options with
        | :? 'o as options -> options
        | _ ->
            Argument.notNull "options" options

            raise (
                ArgumentException(
                    $"{owner} was given options of type {options.GetType().Name}; they must be {typeof<'o>.Name}, such as its Defaults with other values",
                    "options"
                )
            )

    /// Refuses a record of which an option is wrong.
    member _.Check(options: 'o) =
        Argument.notNull "options" options

        for field in fields do
            let problem = field.wrong options

            if problem <> "" then
                raise (OptionException($"{owner}: {field.Name} is {field.Read options}{problem}", field.Name))

    /// All that is wrong with a record, in the order of the options.
    member _.Errors(options: 'o) : OptionError list =
        Argument.notNull "options" options

        fields
        |> List.choose (fun field ->
            try
                match field.wrong options with
                | "" -> None
                | problem ->
                    Some
                        {
                            Option = field.Name
                            Value = field.Read options
                            Allowed = problem.Substring 2
                        }
            // A part of the record that is null, such as its flags.
            with :? OptionException as wrong ->
                Some
                    {
                        Option = wrong.Option
                        Value = OptionValue.None
                        Allowed = wrong.Message.Substring(wrong.Message.IndexOf("; ", StringComparison.Ordinal) + 2)
                    })
        |> List.distinct

    /// A flag; None for an optimizer that does not have it.
    member _.Flag(option: string, options: 'o) =
        match rows.TryGetValue option with
        | true, field -> field.Read options
        | _ -> OptionValue.None

    override table.LosesDivisor options =
        fields |> List.exists (fun field -> loses field (table.Options options))

    override table.CheckDivisors(options, dtype, label) =
        let options = table.Options options
        let arithmetic = dtype.ToStateDType()

        if arithmetic = DType.Float32 || arithmetic = DType.Complex64 then
            for field in fields do
                if loses field options then
                    raise (
                        OptionException(
                            $"{owner}: {field.Name} is {field.Read options}, and {OptionValue.Float(field.Divisor options)} rounds to 0 in float32, in which {label} is stepped, so that a gradient of 0 would be divided by 0; it must be 0, or at least {OptionValue.Float(double Single.Epsilon)}",
                            field.Name
                        )
                    )

    member _.Default = defaults
    override _.Names = names
    override _.Defaults = (defaults :> IOptimizerOptions)

    override _.Has option =
        Argument.notNull "option" option
        rows.ContainsKey option

    override options.Read(given, option) =
        (field option).Read(options.Options given)

    override table.Replace(options: IOptimizerOptions, values: KeyValuePair<string, OptionValue> seq) =
        let mutable replaced = table.Options options
        Argument.notNull "values" values

        for KeyValue(option, value) in values do
            Argument.notNull "value" value

            match (field option).replace replaced value with
            | Ok options -> replaced <- options
            | Error kind -> raise (OptionException($"{owner}: {option} is {value}; it must be {kind}", option))

        table.Check replaced
        (replaced :> IOptimizerOptions)

    override table.Rates options =
        match fields |> List.map _.rates |> List.tryFind _.IsSome with
        | Some(ValueSome(struct (read, _))) -> read (table.Options options)
        | _ -> RateTensors.None

    override table.WithRates(options, rates) =
        match fields |> List.map _.rates |> List.tryFind _.IsSome with
        | Some(ValueSome(struct (_, write))) -> (write (table.Options options) rates :> IOptimizerOptions)
        | _ -> raise (NotSupportedException $"{owner} has no option capturable, and no steps that read options from tensors")

    override _.IsBeyondPyTorch option = (field option).IsBeyondPyTorch
    override _.IsFixed option = (field option).IsFixed
    override table.Problems options = table.Errors(table.Options options)
    override _.Range option = (field option).Range
    override _.Choices option = Array.ofList (field option).choices

    override table.RowWithin<'w>(option, part: 'w -> IOptimizerOptions, replacePart: 'w -> IOptimizerOptions -> 'w) : Field<'w> =
        let row = field option
        let own = part >> table.Options

        {
            name = row.name
            read = own >> row.read
            replace =
                fun options value ->
                    row.replace (own options) value
                    |> Result.map (fun replaced -> replacePart options replaced)
            wrong = own >> row.wrong
            beyond = row.beyond
            isFixed = row.isFixed
            divisor = own >> row.divisor
            range = row.range
            choices = row.choices
            rates = ValueNone
        }
