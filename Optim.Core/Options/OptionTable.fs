namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable

/// The options of an optimizer by PyTorch's names, for whoever does not know their type.
[<AbstractClass>]
type internal OptionTable() =
    abstract Names: ImmutableArray<string>
    abstract Defaults: obj
    abstract Has: option: string -> bool
    abstract Read: options: obj * option: string -> OptionValue
    abstract Replace: options: obj * values: KeyValuePair<string, OptionValue> seq -> obj
    abstract IsBeyondPyTorch: option: string -> bool
    abstract IsFixed: option: string -> bool

/// The same with the type of the options: the rows of the table, and who owns it, for messages.
[<Sealed>]
type internal OptionTable<'o when 'o: not null and 'o: not struct>(owner: string, defaults: 'o, fields: Field<'o> list) =
    inherit OptionTable()

    let table =
        Dictionary<string, Field<'o>>(fields |> List.map (fun field -> KeyValuePair(field.Name, field)), StringComparer.Ordinal)

    let names = ImmutableArray.CreateRange(fields |> List.map _.Name)

    let field (option: string) =
        match table.TryGetValue option with
        | true, field -> field
        | _ ->
            let nearest = Names.nearest option names
            let known = String.Join(", ", names)
            raise (OptionException($"{owner} has no option '{option}'; did you mean '{nearest}'? It has: {known}", option))

    /// Refuses a record of which an option is wrong.
    member _.Check(options: 'o) =
        for field in fields do
            let problem = field.Wrong options

            if problem <> "" then
                raise (OptionException($"{owner}: {field.Name} is {field.Read options}{problem}", field.Name))

    /// A flag; None for an optimizer that does not have it.
    member _.Flag(option: string, options: 'o) =
        match table.TryGetValue option with
        | true, field -> field.Read options
        | _ -> OptionValue.None

    override _.Names = names
    override _.Defaults = (defaults :> obj)
    override _.Has option = table.ContainsKey option
    override _.Read(options, option) = (field option).Read(unbox<'o> options)

    override table.Replace(options: obj, values: KeyValuePair<string, OptionValue> seq) =
        let mutable replaced = unbox<'o> options

        for KeyValue(option, value) in values do
            match (field option).Replace replaced value with
            | Ok options -> replaced <- options
            | Error kind -> raise (OptionException($"{owner}: {option} is {value}; it must be {kind}", option))

        table.Check replaced
        (replaced :> obj)

    override _.IsBeyondPyTorch option = (field option).Beyond
    override _.IsFixed option = (field option).Fixed
