namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A rule by definition: options, state and formula as a recorded program. It is a rule like any other.
[<Sealed>]
type DefinedRule
    internal
    (
        name: string,
        defaults: DefinedOptions,
        fields: Field<DefinedOptions> list,
        flags: int array,
        variants: Map<bool list, DefinedVariant>,
        columns: DefinedColumn array,
        numbers: DefinedNumber list,
        names: DefinedNames
    ) =
    inherit Rule<DefinedOptions>(name, OptionTable<DefinedOptions>(name, defaults, fields))

    let columnNames = ImmutableArray.CreateRange(columns |> Array.map _.Name)
    let scalarNames = ImmutableArray.CreateRange names.Kept
    let all = variants |> Map.toList |> List.map snd

    let hasReductions = all |> List.exists _.Program.HasReductions

    let hasNode operations =
        all
        |> List.exists (fun variant ->
            variant.Program.Nodes.ToArray()
            |> Array.exists (fun node -> List.contains node.Operation operations))

    let counts = hasNode [ Operation.StepCount; Operation.Kept ]
    // Pairs of reals: the norm of the pairs is that of the complex numbers, and their sums and largest elements are not.
    let complex = not (hasNode [ Operation.Sum; Operation.LargestMagnitude ])

    let sparse =
        if hasReductions then
            SparseGradients.Refused
        else
            SparseGradients.Rows

    let starts =
        let start index =
            numbers |> List.tryItem index |> Option.map _.Start |> Option.defaultValue 0.0

        struct (start 0, start 1)

    let variantOf (options: DefinedOptions) =
        variants[[ for flag in flags -> options.Values[flag] = OptionValue.Bool true ]]

    let startOf (column: DefinedColumn) options =
        if column.StartOption = "" then
            column.Start
        else
            names.Number(options, column.StartOption)

    /// The program of a step under these options.
    member internal _.Program(options: DefinedOptions) = (variantOf options).Program

    /// The default options with other values, by name.
    member rule.With([<ParamArray>] values: struct (string * OptionValue) array) =
        let pairs =
            values |> Seq.map (fun (struct (option, value)) -> KeyValuePair(option, value))

        rule.Replace(rule.Defaults, pairs)

    override _.Scope =
        if hasReductions then
            RuleScope.Tensors
        else
            RuleScope.Elements

    override _.KeepsStep = counts
    override _.StepsAreWhole = false
    override _.ScalarNames = scalarNames
    override _.ColumnNames = columnNames

    override rule.ColumnsUnder options =
        let kept = (variantOf (rule.Table.Options options)).Columns

        columnNames
        |> Seq.filter (fun name -> kept |> List.exists (fun column -> column.Name = name))
        |> ImmutableArray.CreateRange

    override _.Sparse options =
        ignore options
        sparse

    override _.IsDifferentiable = not hasReductions

    override rule.Numbers options =
        let program = (variantOf (rule.Table.Options options)).Program

        let read =
            set
                [
                    for node in program.Nodes.ToArray() do
                        if node.Operation = Operation.Option then
                            node.Name

                    for column in columns do
                        if column.StartOption <> "" then
                            column.StartOption
                ]

        ImmutableArray.CreateRange
            [
                for KeyValue(number, struct (index, part)) in names.Numbers do
                    if read.Contains number then
                        {
                            Name = number
                            Option = fields[index].Name
                            Part = part
                        }
            ]

    override rule.Start<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (options: IOptimizerOptions, column, read: Reader<'n>)
        : 'n =
        let spec = columns[column]
        let start = startOf spec (rule.Table.Options options)

        if spec.StartOption = "" then
            'n.Of start
        else
            read.Of(spec.StartOption, start)

    override _.StartScalars<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (options: IOptimizerOptions, read: Reader<'n>)
        =
        ignore (options, read)
        let struct (first, second) = starts
        Scalars<'n>('n.Of first, 'n.Of second)

    override rule.Update<'v, 'n
        when 'v: struct
        and 'v: (new: unit -> 'v)
        and 'v :> ValueType
        and 'v :> ILane<'v>
        and 'v :> ITakes<'v, 'n>
        and 'n: struct
        and 'n: (new: unit -> 'n)
        and 'n :> ValueType
        and 'n :> IScalar<'n>>
        (options: IOptimizerOptions, read: Reader<'n>, step, scalars, row: 'v array)
        =
        let options = rule.Table.Options options
        let leaves = names.Leaves<'n>(read, options, step, scalars, null)
        ProgramLanes<'v, 'n>.Update((variantOf options).Program, leaves, Span row, null)

    override rule.Init(options, parameters) =
        let options = rule.Table.Options options
        rule.Table.Check options
        Checks.parametersAnywhere name complex parameters
        Checks.disjoint name parameters
        Rows.initial name parameters scalarNames columnNames (fun _ -> false) (fun column -> startOf columns[column] options)

    override _.Restore(parameters, stepCounts, scalars, rows) =
        let order _ (parameter: TensorView) : Layout | null =
            let order = Rows.orderOf parameter
            if hasReductions then order.ToContiguous() else order

        Rows.restore name order columnNames scalarNames counts complex parameters stepCounts scalars rows

    override rule.Prepare(options, parameters, gradients, state) =
        let options = rule.Table.Options options
        let lineage = state.Lineage
        state.Live()

        let prepared =
            match lineage.Prepared with
            | ValueSome(:? PreparedDefinition as prepared) -> prepared
            | _ ->
                let struct (first, second) = starts
                PreparedDefinition(names, sparse, Scalars<Real>(Real first, Real second), counts)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.LosesDivisor <- rule.LosesDivisor options
            prepared.Options <- options
            prepared.Use(variantOf options)

        let start column = startOf columns[column] options
        Planning.prepare name prepared.Uses columns.Length start sparse complex parameters gradients state

        if prepared.LosesDivisor then
            rule.CheckDivisors(options, parameters, gradients)

        if hasReductions then
            for tensorRow in lineage.TensorRows do
                if not tensorRow.Executor.HasWholeLanes then
                    raise (
                        NotSupportedException
                            $"{name} looks at whole tensors, and {tensorRow.Executor.Name}, who is asked to step {parameters.Label tensorRow.Row}, has no lanes that are such"
                    )

        prepared.Begin(parameters, gradients, state)
        prepared :> PreparedStep

    /// The rule of a definition: the parameter after the step, from what it declares. It is tried at once, under every setting of its flags.
    /// An ArgumentException names what is wrong with it.
    static member Define(name: string, definition: Func<RuleDefinition, Expression>) : DefinedRule =
        Argument.notNull "name" name
        Argument.notNull "definition" definition

        if String.IsNullOrWhiteSpace name then
            raise (ArgumentException("a rule needs a name", nameof name))

        let refuse (words: string) =
            raise (ArgumentException $"{name}: {words}")

        let record (flags: (string * bool) list) =
            let recording = RuleDefinition(name, dict flags |> Dictionary)

            try
                recording.Record(definition.Invoke recording)
            with
            | :? OptionException -> reraise ()
            | :? ArgumentException as wrong when not (wrong.Message.StartsWith($"{name}: ", StringComparison.Ordinal)) ->
                refuse wrong.Message

        let first = record []

        let flags =
            [|
                for index, option in List.indexed first.Options do
                    if option.Ranges.IsEmpty then
                        index
            |]

        if flags.Length > 6 then
            refuse $"{flags.Length} flags; a rule has six at most"

        let settings =
            Array.foldBack (fun _ settings -> List.allPairs [ false; true ] settings |> List.map (fun (a, b) -> a :: b)) flags [ [] ]

        let recorded =
            [
                for setting in settings ->
                    let flags =
                        Seq.zip (flags |> Seq.map (fun index -> first.Options[index].Name)) setting
                        |> List.ofSeq

                    setting, record flags
            ]

        let first = if flags.Length = 0 then snd recorded.Head else first
        let optionNames (recording: RecordedDefinition) = recording.Options |> List.map _.Name

        for _, recording in recorded do
            if optionNames recording <> optionNames first then
                refuse "the options that it declares depend on its flags; declare all of them before the first question"

            if
                (recording.Numbers |> List.map (fun number -> number.Name, number.Start))
                <> (first.Numbers |> List.map (fun number -> number.Name, number.Start))
            then
                refuse "the numbers that it keeps depend on its flags"

        let columns =
            (first :: List.map snd recorded)
            |> List.collect _.Columns
            |> List.distinctBy _.Name
            |> List.toArray

        let names =
            {
                Numbers =
                    Dictionary(
                        seq {
                            for index, option in List.indexed first.Options do
                                for part, number in List.indexed option.Numbers do
                                    KeyValuePair(number, struct (index, (if option.Numbers.Length = 1 then -1 else part)))
                        }
                    )
                    :> IReadOnlyDictionary<_, _>
                Kept = first.Numbers |> List.map _.Name |> List.toArray
            }

        let arrays =
            ResizeArray
                [
                    StepProgram.Parameter
                    StepProgram.Gradient
                    for column in columns do
                        column.Name
                ]

        let variant (recording: RecordedDefinition) =
            let program =
                try
                    StepProgram(arrays, recording.Assignments, recording.Kept)
                with :? ArgumentException as wrong ->
                    refuse wrong.Message

            for node in program.Nodes.ToArray() do
                let known = String.Join(", ", names.Numbers.Keys)

                if node.Operation = Operation.Option && not (names.Numbers.ContainsKey node.Name) then
                    refuse $"option '{node.Name}' is not declared; there are: {known}"

                if node.Operation = Operation.Kept && not (Array.contains node.Name names.Kept) then
                    refuse $"the number '{node.Name}' is not kept by this rule"

            let used =
                columns
                |> Array.mapi (fun index column ->
                    if recording.Columns |> List.exists (fun kept -> kept.Name = column.Name) then
                        1 <<< index
                    else
                        0)
                |> Array.sum

            {
                Program = program
                Columns = recording.Columns
                Uses = ColumnUses(used, program.HasReductions)
            }

        for column in columns do
            if column.StartOption <> "" && not (names.Numbers.ContainsKey column.StartOption) then
                refuse $"column '{column.Name}' starts at option '{column.StartOption}', which is not declared"

        let fields =
            first.Options
            |> List.mapi (fun index option ->
                let number value =
                    match value with
                    | OptionValue.Float number -> number
                    | _ -> nan

                match option.Ranges with
                | [ range ] ->
                    let read (o: DefinedOptions) = number o.Values[index]

                    let field =
                        Field.number option.Name range read (fun o value -> o.With(index, OptionValue.Float value))

                    // What is called eps keeps a divisor from 0, by custom.
                    if option.Name = "eps" then
                        Field.keepingDivisor read field
                    else
                        field
                | [ one; two ] ->
                    Field.pair
                        option.Name
                        one
                        two
                        (fun (o: DefinedOptions) ->
                            match o.Values[index] with
                            | OptionValue.Tuple(Items [ a; b ]) -> struct (number a, number b)
                            | _ -> struct (nan, nan))
                        (fun o (struct (a, b)) -> o.With(index, OptionValue.TupleOf [ OptionValue.Float a; OptionValue.Float b ]))
                | _ ->
                    Field.flag option.Name (fun (o: DefinedOptions) -> o.Values[index] = OptionValue.Bool true) (fun o value ->
                        o.With(index, OptionValue.Bool value)))

        let defaults =
            DefinedOptions(
                ImmutableArray.CreateRange(first.Options |> List.map _.Name),
                ImmutableArray.CreateRange(first.Options |> List.map _.Default)
            )

        let variants =
            recorded
            |> List.map (fun (setting, recording) -> setting, variant recording)
            |> Map.ofList

        let rule =
            DefinedRule(name, defaults, fields, flags, variants, columns, first.Numbers, names)

        rule.Table.Check defaults

        // The same rule, which declares this, too: of the same kind.
        rule.Declare [| for law, reason in first.OptOuts -> Declaration.optOut law reason |]
        |> unbox<DefinedRule>

/// Making rules by definition, in F#.
[<AutoOpen>]
module RuleDefinitions =
    type Rule with

        /// The rule of a definition: the parameter after the step, from what it declares.
        /// <code>let rule = Rule.define "SGD" (fun r -> r.Parameter - r.Number("lr", 1e-3, Interval.atLeast 0.0) * r.Gradient)</code>
        static member define (name: string) (definition: RuleDefinition -> Expression) : DefinedRule =
            Argument.notNull "definition" definition
            DefinedRule.Define(name, Func<RuleDefinition, Expression> definition)
