namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

/// The kinds of parameters in a step of a rule by definition.
[<Sealed>]
type internal DefinedKinds(prepared: PreparedDefinition, variants: DefinedVariants) =
    inherit RowKinds()
    member val Parameters = Unchecked.defaultof<Parameters> with get, set
    override _.Begin() = prepared.Begin()

    override kinds.KindOf row =
        prepared.KindOf(variants.For(prepared.Setting, kinds.Parameters, row))

    override _.UsesOf kind = prepared.UsesOf kind
    override _.ProgramOf kind = prepared.ProgramOf kind

    override _.HoldsNumber column = variants.Columns[column].IsTensorNumber

/// A rule by definition: options, state and formula as a recorded program. It is a rule like any other.
[<Sealed>]
type DefinedRule
    internal
    (
        name: string,
        defaults: DefinedOptions,
        fields: Field<DefinedOptions> list,
        trial: DefinitionTrial,
        definition: RuleDefinition -> Expression
    ) =
    inherit
        Rule<DefinedOptions>(
            name,
            OptionTable<DefinedOptions>(name, defaults, fields, DefinitionTrial.aliases trial.Options @ DefinitionTrial.storage trial)
        )

    let variants, columns = trial.Variants, trial.Columns
    let declared = List.toArray trial.Options
    let numbers, names = trial.Numbers, trial.Names

    let columnNames = ImmutableArray.CreateRange(columns |> Array.map _.Name)
    let scalarNames = ImmutableArray.CreateRange names.Kept

    /// The programs that were tried.
    let all =
        variants.Tried
        |> List.map (fun (flags, _, _) -> flags)
        |> List.distinct
        |> List.collect variants.AllUnder

    let hasReductions = all |> List.exists _.Program.HasReductions
    let inRowMajorOrder = all |> List.exists _.Uses.InRowMajorOrder

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

    /// Which alternative of each option that has some.
    let settingOf (options: DefinedOptions) =
        [
            for index in trial.Choosing -> declared[index].AlternativeOf options.Values[index]
        ]

    let variantOf options = variants.First(settingOf options)

    let startOf (column: DefinedColumn) options =
        if column.StartOption = "" then
            column.Start
        else
            names.Number(options, column.StartOption)

    /// Whether a column holds one number for each parameter.
    member internal _.HoldsNumber(name: string) =
        columns
        |> Array.exists (fun column -> column.Name = name && column.IsTensorNumber)

    /// Whether slices of a parameter step as the whole does, wherever it is cut.
    member internal _.CanBeCut = all |> List.forall _.Program.GoesByElements

    override _.TellsParametersApart = variants.Questions.Length > 0
    override _.LooksOverAll = DefinitionTrial.isOverAll trial.Recordings

    /// The definition, to be written as a part of another one.
    member internal _.Definition = definition

    /// The program of a step under these options, of parameters of the first kind where there are several.
    member internal _.Program(options: DefinedOptions) = (variantOf options).Program

    /// The default options with other values, by name.
    member rule.With([<ParamArray>] values: struct (string * OptionValue) array) =
        let pairs =
            values |> Seq.map (fun (struct (option, value)) -> KeyValuePair(option, value))

        rule.Replace(rule.Defaults, pairs)

    interface IRecorded with
        member rule.Recorded(options, _) =
            rule.Program(rule.Table.Options options)

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
        let kept = variants.ColumnsUnder(settingOf (rule.Table.Options options))
        columnNames |> Seq.filter kept.Contains |> ImmutableArray.CreateRange

    override _.Sparse options =
        ignore options
        sparse

    override _.IsDifferentiable = not hasReductions && variants.Questions.Length = 0

    override rule.Numbers options =
        let read =
            set
                [
                    for variant in variants.AllUnder(settingOf (rule.Table.Options options)) do
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
                    if read.Contains number && declared[index].IsContinuous then
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

    member private rule.ColumnStorage(options: DefinedOptions) =
        let storage = rule.StorageOf options

        if storage.Format = StateFormat.Float32 then
            ColumnStorage.wide
        elif variants.AllUnder(settingOf options) |> List.exists _.Program.HasReductions then
            raise (
                NotSupportedException
                    $"{name}: state_storage is {storage.Name}, and with these options the rule looks at whole tensors; keep its state in float32"
            )
        else
            {
                Storage = storage
                Kinds = trial.Kinds
            }

    /// What each column holds.
    member internal _.ColumnKinds = trial.Kinds

    override rule.StateBytes(options, format) =
        if format = StateFormat.Float32 || not (rule.Has StorageFields.format) then
            base.StateBytes(options, StateFormat.Float32)
        else
            let kept = rule.ColumnsUnder options

            let kinds =
                seq { 0 .. columns.Length - 1 }
                |> Seq.filter (fun column -> kept.Contains columns[column].Name && not columns[column].IsTensorNumber)
                |> Seq.map (fun column -> trial.Kinds[column])

            ColumnStorage.Bytes(kinds, format)

    override rule.Stored(options, parameters, state) =
        NarrowRows.stored (rule.ColumnStorage(rule.Table.Options options)) (fun column -> columns[column].IsTensorNumber) parameters state

    override rule.Init(options, parameters) =
        let options = rule.Table.Options options
        rule.Table.Check options
        Checks.parametersAnywhere name complex parameters
        Checks.disjoint name parameters
        NarrowRows.checkAll name (rule.ColumnStorage options) parameters
        Rows.initial name parameters scalarNames columnNames (fun _ -> false) (fun column -> startOf columns[column] options)

    override _.Restore(parameters, stepCounts, scalars, rows) =
        let order column (parameter: TensorView) _ : Layout | null =
            let order = Rows.orderOf parameter

            if columns[column].IsTensorNumber then
                Rows.numberOf parameter
            elif inRowMajorOrder then
                order.ToContiguous()
            else
                order

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
            prepared.Setting <- settingOf options
            prepared.Uses <- variants.Uses prepared.Setting
            prepared.Storage <- rule.ColumnStorage options

        let start column = startOf columns[column] options

        let kinds =
            match prepared.RowKinds with
            | null ->
                let made = DefinedKinds(prepared, variants)
                prepared.RowKinds <- made
                made
            | kinds -> kinds :?> DefinedKinds

        kinds.Parameters <- parameters

        Planning.prepare name prepared.Uses kinds columns.Length prepared.Storage start sparse complex parameters gradients state

        if prepared.LosesDivisor then
            rule.CheckDivisors(options, parameters, gradients)

        if hasReductions then
            for tensorRow in lineage.TensorRows do
                if rule.LooksOverAll && not (isNull parameters.Totals) then
                    raise (
                        NotSupportedException
                            $"{name} makes numbers of all parameters over several ranks, and {parameters.Label tensorRow.Row} is stepped by {tensorRow.Executor.Name}: that is possible with our own kernels only"
                    )

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

        let trial = DefinitionTrial.run name definition

        let defaults =
            DefinedOptions(
                ImmutableArray.CreateRange(trial.Options |> List.map _.Name),
                ImmutableArray.CreateRange(trial.Options |> List.map _.Default)
            )

        let rule =
            DefinedRule(name, defaults, DefinitionTrial.fields trial.Options, trial, definition.Invoke)

        rule.Table.Check defaults

        let optOuts =
            [
                yield! trial.Recordings |> List.collect _.OptOuts

                if DefinitionTrial.isOverAll trial.Recordings then
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
