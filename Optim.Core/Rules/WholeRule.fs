namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A definition run on shapes: it notes what is declared.
[<Sealed>]
type internal WholeTrial(rule: string, given: DefinedOptions | null, shape: ImmutableArray<int64>, step: int64) =
    inherit WholeRun()

    let tensor (shape: ImmutableArray<int64>) : WholeTensor =
        ShapeTensor(DType.Float64, (if shape.IsEmpty then ImmutableArray.Create 1L else shape)) :> WholeTensor

    let options = List<DefinedOption>()
    let columns = Dictionary<string, ImmutableArray<int64>>(StringComparer.Ordinal)
    let names = List<string>()
    let set = HashSet<string>(StringComparer.Ordinal)
    let optOuts = List<struct (string * string)>()

    let refuse (words: string) =
        raise (ArgumentException $"{rule}: {words}")

    let requirements = List<struct (string * bool * string)>()
    member _.Options = options
    /// Conditions of options, whether they hold, and in words.
    member _.Requirements = requirements
    member _.Names = names
    member _.Columns = columns
    member _.OptOuts = optOuts
    override _.Parameter = tensor shape
    override _.Gradient = tensor shape
    override _.Shape = shape
    override _.Step = step

    override _.Option(name, declare) =
        let declared = declare ()

        if options.Exists(fun known -> known.Name = name) then
            refuse $"option '{name}' is declared twice"

        options.Add declared

        match given with
        | null -> declared.Default
        | given ->
            let index = given.Names.IndexOf name
            if index < 0 then declared.Default else given.Values[index]

    override _.Column(name, shape) =
        if not (columns.TryAdd(name, shape)) then
            refuse $"column '{name}' is declared twice"

        names.Add name
        tensor shape

    override _.Set(name, value) =
        match columns.TryGetValue name with
        | true, shape ->
            if not (set.Add name) then
                refuse $"column '{name}' is set twice"

            let room = if shape.IsEmpty then ImmutableArray.Create 1L else shape

            if not (value.Shape.AsSpan().SequenceEqual(room.AsSpan()) || value.Count = 1n) then
                let words (shape: ImmutableArray<int64>) = String.Join(", ", shape)
                refuse $"column '{name}' is of shape [{words room}], and is set to one of [{words value.Shape}]"
        | _ -> refuse $"'{name}' is set, and is no column of the rule"

    override _.Require(option, holds, words) =
        requirements.Add(struct (option, holds, words))

    override _.OptOut(law, reason) = optOuts.Add(struct (law, reason))

    /// Runs it, and refuses what is wrong with it.
    member run.Try(definition: WholeDefinition -> WholeTensor) =
        let next = definition (WholeDefinition run)

        if isNull (box next) then
            refuse "the definition returns null; it returns the parameter after the step"

        if next.Count <> run.Parameter.Count && next.Count <> 1n then
            refuse $"the parameter of {run.Parameter} becomes one of {next}"

        for name in names do
            if not (set.Contains name) then
                refuse $"column '{name}' is declared and never set"

/// A definition run on tensors.
[<AbstractClass>]
type internal WholeStep(options: DefinedOptions, places: Dictionary<string, int>, shape: ImmutableArray<int64>, step: int64) =
    inherit WholeRun()
    override _.Shape = shape
    override _.Step = step

    override _.Option(name, _) =
        options.Values[options.Names.IndexOf name]

    override _.Require(_, _, _) = ()
    override _.OptOut(_, _) = ()
    /// The place of a column.
    member _.Place(name: string) = places[name]

/// The same in the memory of the processor.
[<Sealed>]
type internal HostStep(options, places, shape, step, tensors: StepTensors, home: HostWhole) =
    inherit WholeStep(options, places, shape, step)

    let room (shape: ImmutableArray<int64>) =
        if shape.IsEmpty then ImmutableArray.Create 1L else shape

    let given address shape =
        home.Given(tensors.Parameter.DType, room shape, address)

    let parameter = given tensors.Parameter.Address shape
    let gradient = given tensors.Gradient.Address shape
    let columns = Dictionary<string, HostTensor>(StringComparer.Ordinal)
    override _.Parameter = parameter :> WholeTensor
    override _.Gradient = gradient :> WholeTensor

    override run.Column(name, shape) =
        let column = given (tensors.Address(run.Place name)) shape
        columns.Add(name, column)
        column :> WholeTensor

    override _.Set(name, value) = home.Set(columns[name], value)

    /// Runs it; parameter and columns change.
    member run.Run(definition: WholeDefinition -> WholeTensor) =
        try
            home.Set(parameter, definition (WholeDefinition run))
            home.Finish()
            home.Threads
        finally
            home.Forget()

/// The same on lanes.
[<Sealed>]
type internal LaneStep<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
    (options, places, shape, step, dtype: DType, row: 'v array) =
    inherit WholeStep(options, places, shape, step)

    let tensor (lane: 'v) (shape: ImmutableArray<int64>) : WholeTensor =
        LaneTensor<'v>(lane, dtype, (if shape.IsEmpty then ImmutableArray.Create 1L else shape)) :> WholeTensor

    let next = List<struct (int * 'v)>()

    let lane (value: WholeTensor) =
        (value.To dtype :?> LaneTensor<'v>).Lane

    override _.Parameter = tensor row[0] shape
    override _.Gradient = tensor row[1] shape
    override run.Column(name, shape) = tensor row[2 + run.Place name] shape

    override run.Set(name, value) =
        next.Add(struct (2 + run.Place name, lane value))

    /// Runs it; the row becomes that after the step.
    member run.Run(definition: WholeDefinition -> WholeTensor) =
        let parameter = lane (definition (WholeDefinition run))

        for struct (place, value) in next do
            row[place] <- value

        row[0] <- parameter

/// The step of a rule by a definition over whole tensors.
[<Sealed>]
type internal WholeArithmetic(rule: string, definition: WholeDefinition -> WholeTensor, names: string list) =
    inherit TensorArithmetic<DefinedOptions>()

    let places =
        Dictionary(names |> List.mapi (fun place name -> KeyValuePair(name, place)), StringComparer.Ordinal)

    /// The columns of parameters of a shape, by what the definition declares under the last options.
    let known = Dictionary<Layout, WholeTrial>()
    let mutable under: DefinedOptions | null = null

    let trial (options: DefinedOptions) (parameter: Layout) =
        lock known (fun () ->
            if not (obj.ReferenceEquals(under, options)) then
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

    override _.Step(options, step, _, tensors, workspace, executor) =
        if tensors.Parameter.Count = 0n then
            1
        else
            let home = workspace.Whole
            home.Executor <- executor
            HostStep(options, places, tensors.Parameter.Shape, step, tensors, home).Run definition

    override _.StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
        (options, step, parameter, row: 'v array)
        =
        LaneStep<'v>(options, places, parameter.Shape, step, parameter.DType.ToStateDType(), row).Run definition

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
    (name, defaults: DefinedOptions, declared: DefinedOption list, definition: WholeDefinition -> WholeTensor, columns: string list) =
    inherit
        TensorRule<DefinedOptions>(name, defaults, WholeRule.Fields(name, declared, definition), WholeArithmetic(name, definition, columns))

    override _.StepsByValues = true

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
        let other = WholeRule(name, defaults, declared, definition, columns)
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
        let rule = WholeRule(name, defaults, declared, definition, columns)
        rule.Table.Check defaults

        rule.Declare [| for struct (law, reason) in first.OptOuts -> Declaration.optOut law reason |]

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
