namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The step of a rule by a definition over whole tensors.
[<Sealed>]
type internal WholeArithmetic(rule: string, definition: WholeDefinition -> WholeTensor, names: string list, looks: bool) =
    inherit TensorArithmetic<DefinedOptions>()

    let places =
        Dictionary(names |> List.mapi (fun place name -> KeyValuePair(name, place)), StringComparer.Ordinal)

    /// The columns of parameters of a shape, by what the definition declares under the last options.
    let known = Dictionary<Layout, WholeTrial>()
    let mutable under: DefinedOptions | null = null

    /// Whether options ask for the same columns for certain: they may differ in their rate only, which schedules change in each step.
    let alike (a: DefinedOptions) (b: DefinedOptions) =
        obj.ReferenceEquals(a, b)
        || Seq.forall2
            (fun (name: string) (struct (x: OptionValue, y: OptionValue)) ->
                match x, y with
                | OptionValue.Float _, OptionValue.Float _ when name = "lr" -> true
                | _ -> x.Equals y)
            a.Names
            (Seq.map2 (fun x y -> struct (x, y)) a.Values b.Values)

    let trial (options: DefinedOptions) (parameter: Layout) =
        lock known (fun () ->
            match under with
            | null -> under <- options
            | before when alike before options -> ()
            | _ ->
                known.Clear()
                under <- options

            match known.TryGetValue parameter with
            | true, found -> found
            | _ ->
                let made = WholeTrial(rule, options, parameter.Shape, 2L)
                made.Try definition

                for name in made.Names do
                    if not (places.ContainsKey name) then
                        raise (ArgumentException $"{rule}: column '{name}' was not found when the rule was made")

                known.Add(parameter, made)
                made)

    override _.Scope = RuleScope.Tensors
    override _.Counts = true
    override _.Columns = names
    override _.Refuse _ = ""
    override _.MayHoldMore = true
    override _.KeepsRows(before, after) = alike before after

    override _.ColumnsUnder options =
        let kept =
            set
                [
                    for shape in WholeArithmetic.Shapes do
                        let trial = WholeTrial(rule, options, shape, 2L)
                        trial.Try definition
                        yield! trial.Names
                ]

        kept.Contains

    override _.Shape(options, column, parameter) : Layout | null =
        match (trial options parameter).Columns.TryGetValue names[column] with
        | true, shape -> (Layout.Contiguous(parameter.DType.ToStateDType(), shape.AsSpan())).On parameter.Device
        | _ -> null

    override _.Restored(_, parameter, given) : Layout | null =
        (Layout.Contiguous(parameter.DType.ToStateDType(), given.Shape.AsSpan())).On parameter.Device

    override _.Looks = looks

    override _.Look(options, step, tensors, workspace, executor) =
        let home = workspace.Whole
        home.Executor <- executor

        if tensors.Parameter.Count > 0n then
            HostRun(options, places, tensors.Parameter.Shape, step, tensors, home, true).Look definition

    override _.Step(options, step, _, tensors, workspace, executor) =
        if tensors.Parameter.Count = 0n then
            1
        else
            let home = workspace.Whole
            home.Executor <- executor
            HostRun(options, places, tensors.Parameter.Shape, step, tensors, home, false).Run definition

    override _.StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
        (options, step, parameter, row: 'v array)
        =
        LaneRun<'v>(options, places, parameter.Shape, step, parameter.DType.ToStateDType(), row).Run definition

    /// Shapes on which definitions are tried, for what they declare: of none to five dimensions.
    static member Shapes: ImmutableArray<int64> list =
        [
            for shape in
                [
                    []
                    [ 4L ]
                    [ 6L; 4L ]
                    [ 4L; 6L ]
                    [ 2L; 3L; 2L ]
                    [ 2L; 3L; 2L; 2L ]
                    [ 2L; 3L; 2L; 2L; 2L ]
                    [ 40L; 32L ]
                    [ 32L; 40L; 2L ]
                ] -> ImmutableArray.CreateRange shape
        ]

/// A rule by a definition over whole tensors.
[<Sealed>]
type internal WholeRule
    (
        name,
        defaults: DefinedOptions,
        declared: DefinedOption list,
        definition: WholeDefinition -> WholeTensor,
        columns: string list,
        looks: bool
    ) =
    inherit
        TensorRule<DefinedOptions>(
            name,
            defaults,
            WholeRule.Fields(name, declared, definition),
            WholeArithmetic(name, definition, columns, looks)
        )

    override _.StepsByValues = true
    override _.LooksOverAll = looks

    /// The table of its options, with the conditions that they put on each other.
    static member private Fields(name, declared, definition: WholeDefinition -> WholeTensor) : Field<DefinedOptions> list =
        let requirements (options: DefinedOptions) =
            let trial = WholeTrial(name, options, WholeArithmetic.Shapes.Head, 1L)
            trial.Try definition
            trial.Requirements

        let conditioned =
            WholeTrial(name, null, WholeArithmetic.Shapes.Head, 1L)
            |> fun trial ->
                trial.Try definition
                set [ for struct (option, _, words) in trial.Requirements -> option, words ]

        DefinitionTrial.fields declared
        |> List.map (fun field ->
            (field, conditioned)
            ||> Seq.fold (fun field (option, words) ->
                if option = field.Name then
                    Field.requiring
                        words
                        (fun options ->
                            requirements options
                            |> Seq.forall (fun (struct (known, holds, said)) -> holds || known <> option || said <> words))
                        field
                else
                    field))

    /// The same rule under another name, with other defaults.
    member rule.Renamed(name: string, defaults: DefinedOptions) : Rule<DefinedOptions> =
        let other = WholeRule(name, defaults, declared, definition, columns, looks)
        other.Table.Check defaults

        other.Declare [| for KeyValue(law, reason) in rule.OptOuts -> Declaration.optOut law reason |]

    /// Tries a definition, and makes its rule.
    static member Make(name: string, definition: WholeDefinition -> WholeTensor) : Rule<DefinedOptions> =
        if String.IsNullOrWhiteSpace name then
            raise (ArgumentException("a rule needs a name", nameof name))

        let run options shape step =
            let trial = WholeTrial(name, options, shape, step)

            try
                trial.Try definition
            with :? ArgumentException as wrong when not (wrong.Message.StartsWith($"{name}: ", StringComparison.Ordinal)) ->
                raise (ArgumentException $"{name}: {wrong.Message}")

            trial

        let first = run null WholeArithmetic.Shapes.Head 1L
        let declared = List.ofSeq first.Options

        let defaults =
            DefinedOptions(
                ImmutableArray.CreateRange(declared |> List.map _.Name),
                ImmutableArray.CreateRange(declared |> List.map _.Default)
            )

        /// The defaults with another value of an option, as columns may depend on it.
        let others =
            [
                defaults

                for index, option in List.indexed declared do
                    let other (value: OptionValue) =
                        if value = option.Default then
                            []
                        else
                            [ defaults.With(index, value) ]

                    match option.Kind with
                    | OneOf values ->
                        for value in values do
                            yield! other value
                    | Switch -> yield! other (OptionValue.Bool(option.Default <> OptionValue.Bool true))
                    | NumberOr(off, range) ->
                        yield! other off

                        for number in [ 0.5; 1.0; 2.0 ] do
                            if range.Holds number then
                                yield! other (OptionValue.Float number)
                    | Whole range ->
                        for number in [ 1L; 2L ] do
                            if range.Holds(double number) then
                                yield! other (OptionValue.Int number)
                    | SeveralOrNone _ -> yield! other (OptionValue.TupleOf [ OptionValue.Float 0.5; OptionValue.Float 0.5 ])
                    | Number range when range.Holds 0.5 -> yield! other (OptionValue.Float 0.5)
                    | _ -> ()
            ]

        let trials =
            [
                for options in others do
                    for shape in WholeArithmetic.Shapes do
                        for step in [ 1L; 2L ] do
                            let trial = run options shape step

                            if trial.Options.Count <> declared.Length then
                                raise (
                                    ArgumentException
                                        $"{name}: the options that it declares depend on other options, on shapes or on the step; declare all of them first"
                                )

                            trial
            ]

        let columns = trials |> Seq.collect _.Names |> Seq.distinct |> List.ofSeq
        let looks = trials |> List.exists _.Looks
        let rule = WholeRule(name, defaults, declared, definition, columns, looks)
        rule.Table.Check defaults

        rule.Declare
            [|
                if looks then
                    for law in [ "P1"; "P2"; "S3" ] do
                        Declaration.optOut law "a number is made of all parameters of a group together"

                for struct (law, reason) in first.OptOuts do
                    Declaration.optOut law reason
            |]

/// Making rules by definition over whole tensors, in F#.
[<AutoOpen>]
module WholeDefinitions =
    type Rule with

        /// The rule of a definition over whole tensors: the parameter after the step, from what it declares.
        /// <code>Rule.defineWhole "normalized" (fun r -> r.Parameter - r.Number("lr", 0.1, Interval.atLeast 0.0) * r.Gradient / r.Gradient.Norm())</code>
        static member defineWhole (name: string) (definition: WholeDefinition -> WholeTensor) : Rule<DefinedOptions> =
            Argument.notNull "name" name
            Argument.notNull "definition" definition
            WholeRule.Make(name, definition)

/// The same in C#.
[<AbstractClass; Sealed>]
type WholeRules =
    /// The rule of a definition over whole tensors: the parameter after the step, from what it declares. An ArgumentException names what is wrong
    /// with it.
    static member Define(name: string, definition: Func<WholeDefinition, WholeTensor>) : Rule<DefinedOptions> =
        Argument.notNull "name" name
        Argument.notNull "definition" definition
        WholeRule.Make(name, definition.Invoke)
