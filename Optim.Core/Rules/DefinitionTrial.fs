namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// What a definition was found to declare, under every setting of its flags and for every answer of what it asks of parameters.
[<NoEquality; NoComparison>]
type internal DefinitionTrial =
    {
        /// The options of parameters of any kind, in the order in which they are declared.
        Options: DefinedOption list
        /// Those by whose values formulas may differ.
        Choosing: int array
        Numbers: DefinedNumber list
        Columns: DefinedColumn array
        Names: DefinedNames
        Variants: DefinedVariants
        Recordings: RecordedDefinition list
        /// What each column holds.
        Kinds: ColumnKind array
    }

/// Trying a definition when it is made: what is wrong with it is refused by name.
module internal DefinitionTrial =
    /// Tries it.
    let run (name: string) (definition: Func<RuleDefinition, Expression>) : DefinitionTrial =
        if String.IsNullOrWhiteSpace name then
            raise (ArgumentException("a rule needs a name", nameof name))

        let refuse (words: string) =
            raise (ArgumentException $"{name}: {words}")

        let record (alternatives: (string * int) list) (answer: Question -> int) =
            let recording = DefinitionRecording(name, dict alternatives |> Dictionary, answer)

            try
                recording.Finish(definition.Invoke(RuleDefinition recording))
            with
            | :? OptionException -> reraise ()
            | :? ArgumentException as wrong when not (wrong.Message.StartsWith($"{name}: ", StringComparison.Ordinal)) ->
                refuse wrong.Message

        let first = record [] (fun _ -> 0)

        let choosing =
            [|
                for index, option in List.indexed first.Options do
                    if option.Alternatives > 1 then
                        index
            |]

        let count =
            (1.0, choosing)
            ||> Array.fold (fun count index -> count * double first.Options[index].Alternatives)

        if count > 64.0 then
            refuse $"flags and choices have {count} settings together; there may be 64 at most"

        let settings =
            Array.foldBack
                (fun index settings ->
                    List.allPairs [ 0 .. first.Options[index].Alternatives - 1 ] settings
                    |> List.map (fun (a, b) -> a :: b))
                choosing
                [ [] ]

        let recordOf setting =
            let names = choosing |> Seq.map (fun index -> first.Options[index].Name)
            record (List.ofSeq (Seq.zip names setting))

        let tried =
            [
                for setting in settings do
                    for answers, recording in DefinedVariants.explore (recordOf setting) do
                        setting, answers, recording
            ]

        let recordings = tried |> List.map (fun (_, _, recording) -> recording)
        // Options are those of parameters of any kind, in the order in which they are declared.
        let options = recordings |> List.collect _.Options |> List.distinctBy _.Name

        for setting in settings do
            let declared =
                set
                    [
                        for of', _, recording in tried do
                            if of' = setting then
                                for option in recording.Options do
                                    option.Name
                    ]

            if declared.Count <> options.Length then
                refuse "the options that it declares depend on its flags; declare all of them before the first question"

        for flag in choosing do
            if
                options |> List.findIndex (fun option -> option.Name = first.Options[flag].Name)
                <> flag
            then
                refuse "the flags that it declares depend on what it asks of parameters; declare them before the first question"

        let numbers = recordings |> List.collect _.Numbers |> List.distinctBy _.Name

        for setting in settings do
            let kept =
                set
                    [
                        for of', _, recording in tried do
                            if of' = setting then
                                for number in recording.Numbers do
                                    number.Name, number.Start
                    ]

            if kept <> set (numbers |> List.map (fun number -> number.Name, number.Start)) then
                refuse "the numbers that it keeps depend on its flags"

        let columns =
            recordings |> List.collect _.Columns |> List.distinctBy _.Name |> List.toArray

        if columns.Length > 62 then
            refuse $"{columns.Length} columns; there may be 62"

        let names =
            {
                Numbers =
                    Dictionary(
                        seq {
                            for index, option in List.indexed options do
                                for part, number in List.indexed option.Numbers do
                                    KeyValuePair(number, struct (index, (if option.Numbers.Length = 1 then -1 else part)))
                        }
                    )
                    :> IReadOnlyDictionary<_, _>
                Kept = numbers |> List.map _.Name |> List.toArray
                Functions =
                    recordings
                    |> List.collect _.Functions
                    |> List.distinctBy fst
                    |> dict
                    |> Dictionary
                    :> IReadOnlyDictionary<_, _>
            }

        let check (program: StepProgram) =
            for node in program.Nodes.ToArray() do
                let known = String.Join(", ", names.Numbers.Keys)

                if node.Operation = Operation.Option && not (names.Numbers.ContainsKey node.Name) then
                    refuse $"option '{node.Name}' is not declared; there are: {known}"

                if node.Operation = Operation.Kept && not (Array.contains node.Name names.Kept) then
                    refuse $"the number '{node.Name}' is not kept by this rule"

        for column in columns do
            if column.StartOption <> "" && not (names.Numbers.ContainsKey column.StartOption) then
                refuse $"column '{column.Name}' starts at option '{column.StartOption}', which is not declared"

        let variants = DefinedVariants(name, recordOf, tried, columns, check)

        {
            Options = options
            Choosing = choosing
            Numbers = numbers
            Columns = columns
            Names = names
            Variants = variants
            Recordings = recordings
            Kinds = ColumnKinds.find columns recordings (recordings |> Seq.collect _.Wide)
        }

    /// The table of its options.
    let fields (options: DefinedOption list) : Field<DefinedOptions> list =
        options
        |> List.mapi (fun index option ->
            let name = option.Name

            let number value =
                match value with
                | OptionValue.Float number -> number
                | OptionValue.Int number -> double number
                | _ -> nan

            let read (o: DefinedOptions) = number o.Values[index]
            let write (o: DefinedOptions) value = o.With(index, value)

            let floats values =
                OptionValue.TupleOf [ for value in values -> OptionValue.Float value ]

            // What is called eps keeps a divisor from 0, by custom; of two the first one does.
            let keepsDivisor = name = "eps" || name.EndsWith(".eps", StringComparison.Ordinal)

            let keeping (divisor: DefinedOptions -> double) field =
                if keepsDivisor then
                    Field.keepingDivisor divisor field
                else
                    field

            match option.Kind with
            | Number range ->
                Field.number name range read (fun o value -> write o (OptionValue.Float value))
                |> keeping read
            | NumberOr(OptionValue.None, range) ->
                Field.numberOrNone name range (fun (o: DefinedOptions) -> o.Values[index]) write
                |> keeping (fun o ->
                    match o.Values[index] with
                    | OptionValue.Float number -> number
                    | _ -> 0.0)
            | NumberOr(_, range) -> Field.number name range read (fun o value -> write o (OptionValue.Float value))
            | Whole range -> Field.whole name range (read >> int) (fun o value -> write o (OptionValue.Int(int64 value)))
            | Several [ one; two ] ->
                let both (o: DefinedOptions) =
                    match o.Values[index] with
                    | OptionValue.Tuple(Items [ a; b ]) -> struct (number a, number b)
                    | _ -> struct (nan, nan)

                Field.pair name one two both (fun o (struct (a, b)) -> write o (floats [ a; b ]))
                |> keeping (fun o ->
                    let struct (first, _) = both o
                    first)
            | SeveralOrNone ranges -> Field.pairOrNothing name ranges[0] ranges[1] (fun o -> o.Values[index]) write
            | Several ranges ->
                Field.tripleIn
                    name
                    ranges
                    (fun (o: DefinedOptions) ->
                        match o.Values[index] with
                        | OptionValue.Tuple(Items [ a; b; c ]) -> struct (number a, number b, number c)
                        | _ -> struct (nan, nan, nan))
                    (fun o (struct (a, b, c)) -> write o (floats [ a; b; c ]))
            | Switch
            | OneOf(OptionValue.Bool _ :: _) ->
                Field.flag name (fun (o: DefinedOptions) -> o.Values[index] = OptionValue.Bool true) (fun o value ->
                    write o (OptionValue.Bool value))
            | OneOf(OptionValue.Int _ :: _ as values) ->
                let range = Interval.within (number values.Head) (number (List.last values))
                Field.whole name range (read >> int) (fun o value -> write o (OptionValue.Int(int64 value)))
            | OneOf values ->
                let choices = [ for value in values -> string value, value ]
                Field.oneOf name choices (fun o -> o.Values[index]) write)

    /// The rows of how state is kept, for rules that go element by element by default and have columns that may be narrow.
    let storage (trial: DefinitionTrial) : Field<DefinedOptions> list =
        let goesByElements (flags: int list) =
            trial.Variants.AllUnder flags
            |> List.forall (fun variant -> not variant.Program.HasReductions)

        let options = List.toArray trial.Options

        let usual =
            [
                for index in trial.Choosing -> options[index].AlternativeOf options[index].Default
            ]

        if
            trial.Kinds |> Array.exists (fun kind -> kind <> ColumnKind.Wide)
            && goesByElements usual
        then
            Field.stateStorage _.StateStorage (fun options storage -> options.WithStorage storage)
        else
            []

    /// What schedulers write as lr is the rate of a chain: its last lr, or its last step size with the other sign.
    let aliases (options: DefinedOption list) : Field<DefinedOptions> list =
        let last (ending: string) =
            options
            |> List.tryFindIndexBack (fun option -> option.Name.EndsWith("." + ending, StringComparison.Ordinal))

        let alias index (sign: double) =
            let read (o: DefinedOptions) =
                match o.Values[index] with
                | OptionValue.Float number -> sign * number
                | _ -> nan

            Field.number "lr" Interval.any read (fun o value -> o.With(index, OptionValue.Float(sign * value)))

        if options |> List.exists (fun option -> option.Name = "lr") then
            []
        else
            match last "lr", last "step_size" with
            | Some lr, _ -> [ alias lr 1.0 ]
            | None, Some size -> [ alias size -1.0 ]
            | None, None -> []

    /// Whether a number is made of all parameters of a group: it depends on which these are, and in which order.
    let isOverAll (recordings: RecordedDefinition list) =
        let seen = HashSet<Expression>(HashIdentity.Reference)

        let rec reducesAll (value: Expression) =
            seen.Add value
            && ((Operations.IsReduction value.Operation && value.Scope = Scope.AllTensors)
                || value.Operands.ToArray() |> Array.exists reducesAll)

        recordings
        |> List.exists (fun recording ->
            recording.Assignments
            |> List.exists (fun assignment -> reducesAll assignment.Value)
            || recording.Kept |> List.exists (fun number -> reducesAll number.Value))
