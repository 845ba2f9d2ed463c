// Long, because a rule of elements, its steps as tensors and its steps by kernels share one table of options.
namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim
open Optim.Kernels

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
        arithmetic.Coefficients<Real>(RealReader.Instance, options, StepNumber<Real> step, scalars)

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
        update.RunOn<'v>(row, WholeReductions<'v>(parameter.Layout))

/// A step of an element-wise rule, kept between steps: by its formula's own loops, or with what surrounds it by the recorded formula.
[<Sealed>]
type internal PreparedElements<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (rule: Rule<'o>, driver: Driver, arithmetic: Arithmetic<'o>) =
    inherit PreparedRows<'o>()
    let surrounded = SurroundedFormula driver
    let capturable = CapturableSteps rule
    member val Switches = 0 with get, set
    member val Storage = ColumnStorage.wide with get, set
    /// Steps that a graph can repeat.
    member _.Capturable = capturable

    override prepared.MakeKernels() =
        let lineage = prepared.State.Lineage

        let make (segments: Segment array) kinds =
            for segment in segments do
                if isNull segment.On then
                    surrounded.Prepare(prepared.SwitchesOf segment, &kinds, segment.DType, segment.IsNarrow)

        if not prepared.Kinds.IsNothing then
            make lineage.Segments prepared.Kinds

        if not prepared.SparseKinds.IsNothing then
            make lineage.SparseSegments prepared.SparseKinds

    /// Whether counts and numbers of the step are the device's, so that a graph can repeat it.
    member val CountsThere = false with get, set
    override prepared.IsCapturable = prepared.CountsThere

    override prepared.MakeDeviceKernels() =
        if prepared.CountsThere then
            capturable.Make(prepared, prepared.Switches, arithmetic.Counts prepared.Options, prepared.ScalarsOf)
        else
            prepared.MakeHere()

    member private prepared.MakeHere() =
        let lineage, kinds = prepared.State.Lineage, prepared.Kinds

        for segment in lineage.Segments do
            match segment.On with
            | null -> ()
            | device ->
                surrounded.Prepare(
                    prepared.SwitchesOf segment,
                    &kinds,
                    device,
                    lineage.Table,
                    segment.First,
                    segment.Count,
                    segment.DType,
                    lineage.NarrowOf segment,
                    prepared.Survey
                )

    member private prepared.SwitchesOf(segment: Segment) =
        arithmetic.Switches(prepared.Options, prepared.State.Lineage.NextCounts.OfClass segment.Class + 1L)

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

        if not (isNull lineage.There) then
            capturable.Run(prepared, prepared.Switches)

        for segment in (if isNull lineage.There then lineage.Segments else [||]) do
            threads <- max threads (prepared.StepSegment(lineage.Table, segment, &kinds, executor))

        for segment in lineage.SparseSegments do
            if segment.Count > 0 then
                threads <- max threads (prepared.StepSegment(lineage.SparseTable, segment, &sparse, executor))

        threads

    override prepared.Advance state =
        let lineage = state.Lineage

        if not (isNull lineage.There) && lineage.There.IsNoted then
            Planning.noted state
        else
            prepared.AdvanceHere state

    member private prepared.AdvanceHere(state: State) =
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
        arithmetic.Next<Real>(RealReader.Instance, prepared.Options, StepNumber<Real> step, prepared.ScalarsOf index)

    member private prepared.StepSegment(table: SliceTable, segment: Segment, kinds: inref<Surroundings>, executor: Executor) =
        let options = prepared.Options
        let step = prepared.State.Lineage.NextCounts.OfClass segment.Class + 1L

        let coefficients =
            arithmetic.Coefficients<Real>(RealReader.Instance, options, StepNumber<Real> step, prepared.ScalarsOf segment.Class)

        let switches = arithmetic.Switches(options, step)
        let lineage = prepared.State.Lineage
        let narrow = lineage.NarrowOf segment
        // All steps taken, of which some rules count only some.
        let taken = lineage.NextCounts.TakenOf segment.Class + 1L

        if
            kinds.IsNothing
            && isNull segment.On
            && not (ProgramEngine.RunsFormula(not (isNull narrow)))
        then
            driver.Run(table, segment.First, segment.Count, segment.DType, switches, &coefficients, executor, narrow, taken)
        else
            surrounded.Run(
                table,
                segment.First,
                segment.Count,
                segment.DType,
                switches,
                &coefficients,
                &kinds,
                prepared.Numbers,
                executor,
                segment.On,
                narrow,
                taken,
                prepared.Survey
            )

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
                let step = StepNumber<Real> step
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

        driver.Update(arithmetic.Switches(options, step.Count), &coefficients, Span row)
        arithmetic.Next<'n>(read, options, step, scalars)

    interface IRecorded with
        member rule.Recorded(options, step) =
            let switches = arithmetic.Switches(rule.Table.Options options, step)
            driver.Surrounded(switches, Surroundings())

    interface IPhased with
        member _.HasPhases = arithmetic.HasPhases

        member rule.Phase(options, read, step) =
            arithmetic.Phase(read, rule.Table.Options options, step)

        member rule.WithBothPhases options =
            arithmetic.WithBothPhases(rule.Table.Options options)

    /// What each column holds under these options.
    member private _.KindsOf(options: 'o) =
        columns
        |> Array.map (fun column ->
            if column.StaysWide options then ColumnKind.Wide
            elif column.IsNonNegative then ColumnKind.NonNegative
            else ColumnKind.Signed)

    /// How columns are kept under these options.
    member private rule.ColumnStorage(options: 'o) =
        let storage = rule.StorageOf options

        if storage.Format = StateFormat.Float32 then
            ColumnStorage.wide
        else
            {
                Storage = storage
                Kinds = rule.KindsOf options
            }

    override rule.StateBytes(options, format) =
        let options = rule.Table.Options options

        if format = StateFormat.Float32 || not (rule.Has StorageFields.format) then
            base.StateBytes(options, StateFormat.Float32)
        else
            let kinds = rule.KindsOf options

            let used =
                seq { 0 .. columns.Length - 1 }
                |> Seq.filter (fun column -> columns[column].IsKept options)

            ColumnStorage.Bytes(used |> Seq.map (fun column -> kinds[column]), format)

    override rule.Stored(options, parameters, state) =
        Argument.notNull "parameters" parameters
        Argument.notNull "state" state
        NarrowRows.stored (rule.ColumnStorage(rule.Table.Options options)) (fun _ -> false) parameters state

    override rule.Init(options, parameters) =
        Argument.notNull "parameters" parameters
        let options = rule.Table.Options options
        rule.Table.Check options
        Checks.parametersAnywhere name arithmetic.Complex parameters
        Checks.disjoint name parameters
        NarrowRows.checkAll name (rule.ColumnStorage options) parameters

        let atOnce column =
            columns[column].IsAtOnce && columns[column].IsKept options

        Rows.initial name parameters arithmetic.Scalars columnNames atOnce (fun column -> columns[column].Start options)
        |> NarrowRows.stored (rule.ColumnStorage options) (fun _ -> false) parameters

    override rule.Restore(parameters, counts, scalars, rows) =
        Rows.restore
            name
            (fun _ parameter _ -> Rows.orderOf parameter)
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
            | _ -> PreparedElements<'o>(rule, driver, arithmetic)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.LosesDivisor <- rule.LosesDivisor options
            prepared.Options <- options
            prepared.Switches <- arithmetic.Switches options
            prepared.Storage <- rule.ColumnStorage options
            prepared.CountsThere <- rule.IsCapturable options

        let start index = columns[index].Start options
        let loop = driver.Loop prepared.Switches

        // What the device has counted, the processor goes on from.
        if not prepared.CountsThere && not (isNull lineage.There) then
            lineage.Loop <- ValueNone

        Planning.prepare
            name
            loop
            null
            columns.Length
            prepared.Storage
            start
            (arithmetic.Sparse options)
            arithmetic.Complex
            parameters
            gradients
            state

        if prepared.LosesDivisor then
            rule.CheckDivisors(options, parameters, gradients)

        if prepared.CountsThere then
            prepared.Capturable.Check(options, parameters, gradients, lineage)

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
