namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// What the step of an element depends on.
type RuleScope =
    /// That element's gradient and state.
    | Elements = 0
    /// The whole tensor's, of any shape.
    | Tensors = 1
    /// The whole tensor's, which must be a matrix.
    | Matrices = 2

/// An optimizer that keeps rows of state and steps them by gradients, without its types: what the shell, the files and the laws know.
[<AbstractClass>]
type Rule internal (name: string, table: OptionTable) =
    inherit Algorithm(name, table)
    /// What a rule's step of an element depends on.
    abstract Scope: RuleScope
    /// Whether PyTorch keeps a step count for the rule.
    abstract KeepsStep: bool
    /// Whether state dicts have the step as a whole number, and not as a tensor.
    abstract StepsAreWhole: bool
    /// The names of the numbers that are kept for each parameter as a whole, in PyTorch's order.
    abstract ScalarNames: ImmutableArray<string>
    /// The names of all columns, in PyTorch's order.
    abstract ColumnNames: ImmutableArray<string>
    /// The columns that are kept under these options.
    abstract ColumnsUnder: options: IOptimizerOptions -> ImmutableArray<string>
    /// What the rule makes of sparse gradients under these options.
    abstract Sparse: options: IOptimizerOptions -> SparseGradients
    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    abstract Init: options: IOptimizerOptions * parameters: Parameters -> State
    /// The first half of a step: checks everything and makes room, and writes to no tensor.
    abstract Prepare: options: IOptimizerOptions * parameters: Parameters * gradients: Gradients * state: State -> PreparedStep

    /// A state with given counts and rows (absent ones as default), which are copied and converted to the dtypes of their state.
    /// Numbers kept for each parameter as a whole (ScalarNames) are given by name, NaN where there is none.
    abstract Restore:
        parameters: Parameters *
        counts: int64 array *
        scalars: KeyValuePair<string, double array> seq *
        columns: KeyValuePair<string, TensorView array> seq ->
            State

    /// Whether it has steps with a graph: PyTorch has none for LBFGS, Muon, Adafactor and SparseAdam.
    abstract IsDifferentiable: bool

    default _.IsDifferentiable = false

    /// The longest way that an element goes in a step (counted from 1), weight decay apart, as the rule declares it; infinity where
    /// it declares no bound.
    abstract StepBound: options: IOptimizerOptions * step: int64 -> double

    default _.StepBound(options, step) =
        Argument.notNull "options" options
        ignore step
        Double.PositiveInfinity

    /// Whether the rule declares a bound of its step.
    abstract HasStepBound: bool

    default _.HasStepBound = false

    /// Whether the rule declares that its first steps are as long as later ones while the gradient stays the same.
    abstract IsBiasCorrected: options: IOptimizerOptions -> bool

    default _.IsBiasCorrected options =
        Argument.notNull "options" options
        false

    /// The laws of Optim.Laws that do not hold for the rule, by their ids, with the reasons.
    abstract OptOuts: IReadOnlyDictionary<string, string>

    default _.OptOuts =
        (ImmutableSortedDictionary<string, string>.Empty :> IReadOnlyDictionary<_, _>)

    /// The numbers among the options that a step reads.
    abstract Numbers: options: IOptimizerOptions -> ImmutableArray<OptionNumber>

    default _.Numbers options =
        Argument.notNull "options" options
        ImmutableArray.Empty

    /// What the elements of a column are before the first step, as a number of any kind.
    abstract Start<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * column: int * read: Reader<'n> -> 'n

    default rule.Start(options, column, read) =
        rule.NotElementWise(options, column, read)

    /// The numbers that are kept for a parameter as a whole, before its first step.
    abstract StartScalars<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * read: Reader<'n> -> Scalars<'n>

    default rule.StartScalars(options, read) = rule.NotElementWise(options, read)

    /// A step on lanes that the caller holds, such as whole tensors: parameter, gradient and room for six state columns, which
    /// become those after the step. Switches follow `options`; the numbers are what `read` makes of them. The numbers kept for
    /// the parameter as a whole are given as they are before the step, and returned as they are after it.
    abstract Update<'v, 'n
        when 'v: struct
        and 'v: (new: unit -> 'v)
        and 'v :> ValueType
        and 'v :> ILane<'v>
        and 'v :> ITakes<'v, 'n>
        and 'n: struct
        and 'n: (new: unit -> 'n)
        and 'n :> ValueType
        and 'n :> IScalar<'n>> :
        options: IOptimizerOptions * read: Reader<'n> * step: int64 * scalars: Scalars<'n> * row: 'v array -> Scalars<'n>

    default rule.Update(options, read, step, scalars, row) =
        rule.NotElementWise(options, read, step, scalars, row)

    /// What is said where there is no formula on lanes, whatever was asked.
    member internal _.NotElementWise<'result>([<ParamArray>] asked: obj array) : 'result =
        ignore asked
        raise (NotSupportedException $"{name} does not work element by element: its formula does not run on lanes")

    /// A step in place: parameters and state change, the state that was given is spent, the next one is returned.
    member rule.Step(options: IOptimizerOptions, parameters, gradients, state) =
        rule.Prepare(options, parameters, gradients, state).Run()

    /// A step that touches nothing that it was given.
    member rule.PureStep(options: IOptimizerOptions, parameters: Parameters, gradients: Gradients, state: State) =
        Rows.given parameters gradients state
        // What a step in place refuses: copies share nothing.
        MemoryWatch().Check(name, parameters, gradients, state.Columns)
        let parameters = parameters.Copy()
        struct (parameters, rule.Step(options, parameters, gradients, State.copy state))

/// A rule with the type of its options.
[<AbstractClass>]
type Rule<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions> internal (name, table: OptionTable<'o>) =
    inherit Rule(name, table)
    let mutable declared: Declared<'o> = Declared.nothing
    member internal _.Table = table

    /// The default options.
    member _.Defaults: 'o = table.Default

    /// The options with other values, by their names, checked together; an OptionException names what is wrong.
    member _.Replace(options: 'o, values: KeyValuePair<string, OptionValue> seq) : 'o =
        table.Options(table.Replace(options, values))

    /// One value replaced.
    member rule.Replace(options: 'o, option: string, value: OptionValue) : 'o =
        table.Options((rule :> Algorithm).Replace(options, option, value))

    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    member rule.Init(options: 'o, parameters: Parameters) : State =
        (rule :> Rule).Init(options, parameters)

    /// A step in place: parameters and state change, the state that was given is spent, the next one is returned.
    member rule.Step(options: 'o, parameters: Parameters, gradients: Gradients, state: State) : State =
        (rule :> Rule).Step(options, parameters, gradients, state)

    /// A step that touches nothing that it was given.
    member rule.PureStep(options: 'o, parameters: Parameters, gradients: Gradients, state: State) =
        (rule :> Rule).PureStep(options, parameters, gradients, state)

    /// The same rule, which declares this, too. An ArgumentException where something is declared twice, or opted out of without a reason.
    member rule.Declare([<ParamArray>] declarations: Declaration<'o> array) : Rule<'o> =
        let other = rule.MemberwiseClone() :?> Rule<'o>
        other.Declared <- Array.fold (Declared.add name) declared declarations
        other

    member private _.Declared
        with set value = declared <- value

    override _.HasStepBound = declared.StepBound.IsSome

    override _.StepBound(options, step) =
        match declared.StepBound with
        | ValueSome bound -> bound (table.Options options) step
        | ValueNone -> Double.PositiveInfinity

    override _.IsBiasCorrected options =
        match declared.BiasCorrected with
        | ValueSome under -> under (table.Options options)
        | ValueNone -> false

    override _.OptOuts = (declared.OptOuts :> IReadOnlyDictionary<_, _>)

    /// Refuses options with which no step in place is possible; whether they ask for tensor after tensor on the calling thread.
    member internal _.CheckForStep(options: 'o) : bool =
        table.Check options

        let isTrue option =
            table.Flag(option, options) = OptionValue.Bool true

        let isGiven option =
            table.Flag(option, options) <> OptionValue.None

        if isTrue "capturable" then
            raise (
                NotSupportedException
                    $"{name}: capturable is True; steps are not captured in graphs of a device, as their coefficients are worked out by the processor: set capturable to False"
            )

        if isTrue "differentiable" then
            raise (
                NotSupportedException
                    $"{name}: differentiable is True, and this step writes to memory in place; steps with a graph are functions over TorchSharp tensors, Differentiable.Step in Optim.TorchSharp: set differentiable to False for this one"
            )

        (isGiven "foreach" || isGiven "fused")
        && not (isTrue "foreach" || isTrue "fused")

    /// Refuses numbers that keep a divisor from 0 for the parameters that step, where they round to 0.
    member internal rule.CheckDivisors(options: 'o, parameters: Parameters, gradients: Gradients) =
        for row in 0 .. parameters.Count - 1 do
            if gradients[row].Kind <> GradientKind.Absent then
                table.CheckDivisors(options, parameters[row].DType, parameters.Label row)

/// A step of one parameter of an element-wise rule as a whole tensor.
[<Sealed>]
type internal ElementsUpdate<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (
        driver: Driver,
        arithmetic: Arithmetic<'o>,
        options: 'o,
        step: int64,
        scalars: Scalars<Real>,
        parameter: TensorView,
        gradient: Gradient,
        columns: TensorView array,
        around: Surroundings,
        numbers: double array
    ) =
    inherit TensorUpdate(parameter, gradient, arithmetic.Sparse options, columns)

    let coefficients () =
        arithmetic.Coefficients<Real>(RealReader.Instance, options, step, scalars)

    let switches = arithmetic.Switches(options, step)

    /// The formula, or its program with what surrounds it.
    member private _.RunOn<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'v :> ITakes<'v, Real>>
        (row: 'v array, tensorRow: LaneReductions<'v> | null)
        =
        let coefficients = coefficients ()

        if around.IsNothing then
            let lanes = coefficients.To<'v>()
            driver.Update(switches, &lanes, Span row)
        else
            let leaves = SurroundedFormula.LeavesOf(coefficients, numbers)

            ProgramLanes<'v, Real>.Update(driver.Surrounded(switches, around), leaves, Span row, tensorRow)
            |> ignore

    override update.Run<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'v :> ITakes<'v, Real>>
        (row: 'v array)
        =
        update.RunOn<'v>(row, null)

    override update.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        update.RunOn<'v>(row, WholeReductions<'v>(double parameter.Count, parameter.DType))

/// A step of an element-wise rule, kept between steps: by its formula's own loops, or with what surrounds it by the recorded formula.
[<Sealed>]
type internal PreparedElements<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (driver: Driver, arithmetic: Arithmetic<'o>) =
    inherit PreparedRows<'o>()
    let surrounded = SurroundedFormula driver
    member val Switches = 0 with get, set

    override prepared.MakeKernels() =
        let lineage = prepared.State.Lineage

        let make (segments: Segment array) kinds =
            for segment in segments do
                let step = lineage.NextCounts.OfClass segment.Class + 1L
                surrounded.Prepare(arithmetic.Switches(prepared.Options, step), &kinds, segment.DType)

        if not prepared.Kinds.IsNothing then
            make lineage.Segments prepared.Kinds

        if not prepared.SparseKinds.IsNothing then
            make lineage.SparseSegments prepared.SparseKinds

    override prepared.StepTensorRow tensorRow =
        let struct (index, step) = prepared.StepOf tensorRow.Row

        let struct (around, columns) =
            prepared.SurroundTensorRow(tensorRow, prepared.State.Lineage)

        let parameter, gradient =
            prepared.Parameters[tensorRow.Row], prepared.Gradients[tensorRow.Row]

        ElementsUpdate<'o>(
            driver,
            arithmetic,
            prepared.Options,
            step,
            prepared.ScalarsOf index,
            parameter,
            gradient,
            columns,
            around,
            prepared.Numbers
        )
        |> tensorRow.Executor.Step

    override prepared.StepSlices(lineage, executor) =
        let mutable threads = 1
        let kinds, sparse = prepared.Kinds, prepared.SparseKinds

        for segment in lineage.Segments do
            threads <- max threads (prepared.StepSegment(lineage.Table, segment, &kinds, executor))

        for segment in lineage.SparseSegments do
            if segment.Count > 0 then
                threads <- max threads (prepared.StepSegment(lineage.SparseTable, segment, &sparse, executor))

        threads

    override prepared.Advance state =
        let lineage = state.Lineage

        if not arithmetic.Scalars.IsEmpty then
            lineage.NextScalars <- Array.init lineage.NextCounts.Classes prepared.NextScalars

        Planning.next state (arithmetic.Counts prepared.Options)

    member private prepared.ScalarsOf(index: int) =
        let counts = prepared.State.Lineage.NextCounts

        if arithmetic.Scalars.IsEmpty || counts.OfClass index > 0L then
            counts.ScalarsOfClass index
        else
            arithmetic.Start<Real>(RealReader.Instance, prepared.Options)

    member private prepared.NextScalars(index: int) =
        let step = prepared.State.Lineage.NextCounts.OfClass index + 1L
        arithmetic.Next<Real>(RealReader.Instance, prepared.Options, step, prepared.ScalarsOf index)

    member private prepared.StepSegment(table: SliceTable, segment: Segment, kinds: inref<Surroundings>, executor: Executor) =
        let options = prepared.Options
        let step = prepared.State.Lineage.NextCounts.OfClass segment.Class + 1L

        let coefficients =
            arithmetic.Coefficients<Real>(RealReader.Instance, options, step, prepared.ScalarsOf segment.Class)

        let switches = arithmetic.Switches(options, step)

        if kinds.IsNothing then
            driver.Run(table, segment.First, segment.Count, segment.DType, switches, &coefficients, executor)
        else
            surrounded.Run(table, segment.First, segment.Count, segment.DType, switches, &coefficients, &kinds, prepared.Numbers, executor)

/// A rule that works element by element: the formula, the table of options, the columns, and how options become coefficients.
[<Sealed>]
type internal ElementWiseRule<'o, 'f
    when 'o: not null
    and 'o: not struct
    and 'o :> IOptimizerOptions
    and 'f: struct
    and 'f: (new: unit -> 'f)
    and 'f :> ValueType
    and 'f :> IFormula>(name: string, defaults: 'o, fields: Field<'o> list, columns: ColumnSpec<'o> list, arithmetic: Arithmetic<'o>) =
    inherit Rule<'o>(name, OptionTable<'o>(name, defaults, fields))

    let driver = Driver<'f>.Instance
    let columns = List.toArray columns
    let columnNames = ImmutableArray.CreateRange(columns |> Array.map _.Name)
    let keepsStep = arithmetic.Counts defaults

    do
        if driver.Columns <> columns.Length then
            invalidArg "columns" $"{name}: {columns.Length} columns are named, and the formula has {driver.Columns}"

    override _.Scope = RuleScope.Elements
    override _.KeepsStep = keepsStep
    override _.StepsAreWhole = arithmetic.StepsAreWhole
    override _.ScalarNames = arithmetic.Scalars
    override _.ColumnNames = columnNames

    override rule.ColumnsUnder options =
        let options = rule.Table.Options options

        columns
        |> Seq.filter (fun column -> column.IsKept options)
        |> Seq.map _.Name
        |> ImmutableArray.CreateRange

    override rule.Sparse options =
        arithmetic.Sparse(rule.Table.Options options)

    override _.IsDifferentiable = arithmetic.Sparse defaults <> SparseGradients.Required

    override rule.Numbers options =
        let read (reader: Reader<Real>) options =
            let scalars = arithmetic.Start<Real>(reader, options)

            // Rates may begin or stop to matter at some step.
            for step in [ 1L; 2L; 1000L ] do
                arithmetic.Coefficients<Real>(reader, options, step, scalars) |> ignore
                arithmetic.Next<Real>(reader, options, step, scalars) |> ignore

            for column in columns do
                if column.StartOption <> "" then
                    reader.Of(column.StartOption, column.Start options) |> ignore

        OptionNumbers.numbers fields (rule.Table.Options options) read
        |> Seq.distinct
        |> ImmutableArray.CreateRange

    override rule.Start<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (options: IOptimizerOptions, column, read: Reader<'n>)
        : 'n =
        Argument.index "column" column columns.Length
        Argument.notNull "read" read
        let spec = columns[column]
        let start = spec.Start(rule.Table.Options options)

        if spec.StartOption = "" then
            'n.Of start
        else
            read.Of(spec.StartOption, start)

    override rule.StartScalars<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (options: IOptimizerOptions, read: Reader<'n>)
        =
        Argument.notNull "read" read
        arithmetic.Start<'n>(read, rule.Table.Options options)

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
        Argument.notNull "read" read
        Argument.notNull "row" row
        let options = rule.Table.Options options

        let coefficients =
            arithmetic.Coefficients<'n>(read, options, step, scalars).To<'v>()

        driver.Update(arithmetic.Switches(options, step), &coefficients, Span row)
        arithmetic.Next<'n>(read, options, step, scalars)

    override rule.Init(options, parameters) =
        Argument.notNull "parameters" parameters
        let options = rule.Table.Options options
        rule.Table.Check options
        Checks.parametersAnywhere name arithmetic.Complex parameters
        Checks.disjoint name parameters

        let atOnce column =
            columns[column].IsAtOnce && columns[column].IsKept options

        Rows.initial name parameters arithmetic.Scalars columnNames atOnce (fun column -> columns[column].Start options)

    override rule.Restore(parameters, counts, scalars, rows) =
        Rows.restore
            name
            (fun _ parameter -> Rows.orderOf parameter)
            columnNames
            arithmetic.Scalars
            keepsStep
            arithmetic.Complex
            parameters
            counts
            scalars
            rows

    override rule.Prepare(options, parameters, gradients, state) =
        let options = rule.Table.Options options
        Rows.given parameters gradients state
        let lineage = state.Lineage
        state.Live()

        let prepared =
            match lineage.Prepared with
            | ValueSome(:? PreparedElements<'o> as prepared) -> prepared
            | _ -> PreparedElements<'o>(driver, arithmetic)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.LosesDivisor <- rule.LosesDivisor options
            prepared.Options <- options
            prepared.Switches <- arithmetic.Switches options

        let start index = columns[index].Start options
        let loop = driver.Loop prepared.Switches
        Planning.prepare name loop columns.Length start (arithmetic.Sparse options) arithmetic.Complex parameters gradients state

        if prepared.LosesDivisor then
            rule.CheckDivisors(options, parameters, gradients)

        prepared.Begin(parameters, gradients, state)
        prepared :> PreparedStep

/// Making rules and stepping them, in F#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Rule =
    /// A rule from its formula ('f), its default options and their table, its columns, and how options become coefficients.
    let elementWise<'o, 'f
        when 'o: not null
        and 'o: not struct
        and 'o :> IOptimizerOptions
        and 'f: struct
        and 'f: (new: unit -> 'f)
        and 'f :> ValueType
        and 'f :> IFormula>
        name
        (defaults: 'o)
        fields
        columns
        arithmetic
        : Rule<'o> =
        Argument.notNull "name" name
        Argument.notNull "defaults" defaults

        Argument.items "fields" fields |> ignore
        Argument.items "columns" columns |> ignore
        Argument.notNull "arithmetic" arithmetic
        ElementWiseRule<'o, 'f>(name, defaults, fields, columns, arithmetic)

    /// The same rule, which declares this, too.
    let declare (declarations: Declaration<'o> list) (rule: Rule<'o>) : Rule<'o> =
        Argument.notNull "rule" rule
        rule.Declare(Argument.items "declarations" declarations)

    /// The options, or all that is wrong with them.
    let validate (rule: Rule<'o>) (options: 'o) : Result<'o, OptionError list> =
        Argument.notNull "rule" rule

        match rule.Table.Errors options with
        | [] -> Ok options
        | errors -> Error errors

    /// The state before the first step.
    let init (rule: Rule<'o>) (options: 'o) (parameters: Parameters) : State =
        Argument.notNull "rule" rule
        rule.Init(options, parameters)

    /// A step in place.
    let step (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) : State =
        Argument.notNull "rule" rule
        rule.Step(options, parameters, gradients, state)

    /// A step that touches nothing that it was given.
    let pureStep (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) =
        Argument.notNull "rule" rule
        rule.PureStep(options, parameters, gradients, state)
