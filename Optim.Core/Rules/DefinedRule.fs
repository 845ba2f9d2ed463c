namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The kinds of parameters in a step of a rule by definition.
[<Sealed>]
type internal DefinedKinds(prepared: PreparedDefinition, variants: DefinedVariants, spreads: int) =
    inherit RowKinds()
    member val Parameters = Unchecked.defaultof<Parameters> with get, set
    override _.Begin() = prepared.Begin()

    override kinds.KindOf row =
        prepared.KindOf(variants.For(prepared.Flags, kinds.Parameters, row))

    override _.UsesOf kind = prepared.UsesOf kind
    override _.Extras = spreads

/// A rule by definition: options, state and formula as a recorded program. It is a rule like any other.
[<Sealed>]
type DefinedRule
    internal
    (
        name: string,
        defaults: DefinedOptions,
        fields: Field<DefinedOptions> list,
        aliases: Field<DefinedOptions> list,
        flags: int array,
        variants: DefinedVariants,
        columns: DefinedColumn array,
        spreads: int,
        numbers: DefinedNumber list,
        names: DefinedNames,
        definition: RuleDefinition -> Expression
    ) =
    inherit Rule<DefinedOptions>(name, OptionTable<DefinedOptions>(name, defaults, fields, aliases))

    let columnNames = ImmutableArray.CreateRange(columns |> Array.map _.Name)
    let scalarNames = ImmutableArray.CreateRange names.Kept

    /// The programs that were tried.
    let all =
        variants.Tried
        |> List.map (fun (flags, _, _) -> flags)
        |> List.distinct
        |> List.collect variants.AllUnder

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

    let startsOf (number: double -> 'n) =
        Scalars<'n>(ReadOnlySpan [| for kept in numbers -> number kept.Start |])

    let flagsOf (options: DefinedOptions) =
        [ for flag in flags -> options.Values[flag] = OptionValue.Bool true ]

    let variantOf options = variants.First(flagsOf options)

    let startOf (column: DefinedColumn) options =
        if column.StartOption = "" then
            column.Start
        else
            names.Number(options, column.StartOption)

    /// Whether parameters are stepped by formulas of their own, by their names, shapes or dtypes.
    member internal _.TellsParametersApart = variants.Questions.Length > 0

    /// The definition, to be written as a part of another one.
    member internal _.Definition = definition

    /// The program of a step under these options, of parameters of the first kind where there are several.
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
        let kept = variants.ColumnsUnder(flagsOf (rule.Table.Options options))
        columnNames |> Seq.filter kept.Contains |> ImmutableArray.CreateRange

    override _.Sparse options =
        ignore options
        sparse

    override _.IsDifferentiable = not hasReductions && variants.Questions.Length = 0

    override rule.Numbers options =
        let read =
            set
                [
                    for variant in variants.AllUnder(flagsOf (rule.Table.Options options)) do
                        for node in variant.Program.Nodes.ToArray() do
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
        Scalars<'n>(ReadOnlySpan [| for kept in numbers -> 'n.Of kept.Start |])

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
        let leaves = names.Leaves<'n>(read, options, step, scalars, ValueNone)
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
            | _ -> PreparedDefinition(names, sparse, startsOf Real, counts)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.LosesDivisor <- rule.LosesDivisor options
            prepared.Options <- options
            prepared.Flags <- flagsOf options
            prepared.Uses <- variants.Uses prepared.Flags

        let start column = startOf columns[column] options

        let kinds =
            match prepared.RowKinds with
            | null ->
                let made = DefinedKinds(prepared, variants, spreads)
                prepared.RowKinds <- made
                made
            | kinds -> kinds :?> DefinedKinds

        kinds.Parameters <- parameters

        Planning.prepare name prepared.Uses kinds columns.Length start sparse complex parameters gradients state

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

    /// The rule of a definition: the parameter after the step, from what it declares. It is tried at once, under every setting of its flags and
    /// for every answer of what it asks of parameters. An ArgumentException names what is wrong with it.
    static member Define(name: string, definition: Func<RuleDefinition, Expression>) : DefinedRule =
        Argument.notNull "name" name
        Argument.notNull "definition" definition

        if String.IsNullOrWhiteSpace name then
            raise (ArgumentException("a rule needs a name", nameof name))

        let refuse (words: string) =
            raise (ArgumentException $"{name}: {words}")

        let seen = HashSet<Expression>(HashIdentity.Reference)

        let rec reducesAll (value: Expression) =
            seen.Add value
            && ((Operations.IsReduction value.Operation && value.Scope = Scope.AllTensors)
                || value.Operands.ToArray() |> Array.exists reducesAll)

        let record (flags: (string * bool) list) (answer: Question -> int) =
            let recording = DefinitionRecording(name, dict flags |> Dictionary, answer)

            try
                recording.Finish(definition.Invoke(RuleDefinition recording))
            with
            | :? OptionException -> reraise ()
            | :? ArgumentException as wrong when not (wrong.Message.StartsWith($"{name}: ", StringComparison.Ordinal)) ->
                refuse wrong.Message

        let first = record [] (fun _ -> 0)

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

        let recordOf setting =
            let names = flags |> Seq.map (fun index -> first.Options[index].Name)
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

        for flag in flags do
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

        let spreads = recordings |> List.collect _.Spreads |> List.distinct |> List.toArray

        if columns.Length + spreads.Length > 62 then
            refuse $"{columns.Length} columns and {spreads.Length} sums over rows, columns and noise; there may be 62 in all"

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

        let variants = DefinedVariants(name, recordOf, tried, columns, spreads, check)

        let fields =
            options
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
                    if option.Name = "eps" || option.Name.EndsWith(".eps", StringComparison.Ordinal) then
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
                ImmutableArray.CreateRange(options |> List.map _.Name),
                ImmutableArray.CreateRange(options |> List.map _.Default)
            )

        // What schedulers write as lr is the rate of a chain: its last lr, or its last step size with the other sign.
        let aliases =
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

        let rule =
            DefinedRule(name, defaults, fields, aliases, flags, variants, columns, spreads.Length, numbers, names, definition.Invoke)

        rule.Table.Check defaults

        // What is reduced over all parameters of a group depends on which these are, and in which order.
        let overAll =
            recordings
            |> List.exists (fun recording ->
                recording.Assignments
                |> List.exists (fun assignment -> reducesAll assignment.Value))

        let optOuts =
            [
                yield! recordings |> List.collect _.OptOuts

                if overAll then
                    for law in [ "P1"; "P2"; "S3" ] do
                        law, "a number is made of all parameters of a group together"
            ]
            |> List.distinctBy fst

        // The same rule, which declares this, too: of the same kind.
        rule.Declare [| for law, reason in optOuts -> Declaration.optOut law reason |]
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
