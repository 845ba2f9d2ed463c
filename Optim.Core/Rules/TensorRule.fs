namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// What a rule that works on whole tensors does with one of them.
[<AbstractClass>]
type internal TensorArithmetic<'o>() =
    /// Whether parameters must be matrices, or may be of any shape.
    abstract Scope: RuleScope
    /// Whether steps are counted, and state dicts have a step.
    abstract Counts: bool
    /// The columns, in PyTorch's order.
    abstract Columns: string list
    /// The shape of a column for a parameter, row by row, of the dtype of its state; null where there is none of it.
    abstract Shape: column: int * parameter: Layout -> Layout | null
    /// Why a parameter cannot be stepped, in words after its name; empty when it can be.
    abstract Refuse: parameter: Layout -> string
    /// Refuses what does not go by the table of options, before a step.
    abstract Check: options: 'o -> unit
    default _.Check _ = ()

    /// One step, counted from 1, of a parameter in row-major order of the dtype of its state; the dtype that it was given in is beside it.
    /// Returns how many threads took part.
    abstract Step: options: 'o * step: int64 * dtype: DType * tensors: StepTensors * workspace: Workspace * executor: Executor -> int

    /// The same on lanes: parameter, gradient and columns, which become those after the step. The parameter lies as it was given.
    abstract StepTensorRow<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>> :
        options: 'o * step: int64 * parameter: Layout * row: 'v array -> unit

/// A parameter, its gradient and its columns, where a step finds them.
and [<Struct>] internal StepTensors =
    {
        Parameter: TensorView
        Gradient: TensorView
        Row: int
        Columns: ImmutableArray<Column>
    }

    /// The address of a column's row; 0 where it has none.
    member tensors.Address(column: int) =
        let row = tensors.Columns[column].[tensors.Row]
        if row.IsAbsent then 0n else row.Address

/// A step of one parameter by somebody else than our kernels.
[<Sealed>]
type internal WholeUpdate<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (
        name: string,
        arithmetic: TensorArithmetic<'o>,
        options: 'o,
        step: int64,
        parameter: TensorView,
        gradient: Gradient,
        columns: TensorView array,
        around: Surroundings,
        numbers: double array
    ) =
    inherit TensorUpdate(parameter, gradient, SparseGradients.Refused, columns)

    override _.Run _ =
        raise (NotSupportedException $"{name} looks at whole tensors: its formula runs on lanes that are such (RunWhole)")

    override _.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        if around.ChangesGradients then
            let changed = [| row[0]; row[1] |]
            let leaves = SurroundedFormula.LeavesOf(Coefficients<Real>(), numbers)
            let tensorRow = WholeReductions<'v>(parameter.Layout)

            ProgramLanes<'v, Real>.Update(around.Before(), leaves, Span changed, tensorRow)
            |> ignore

            row[1] <- changed[0]

        arithmetic.StepTensorRow<'v>(options, step, parameter.Layout, row)

/// A step of a rule of whole tensors, kept between steps.
[<Sealed>]
type internal PreparedTensors<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (name: string, arithmetic: TensorArithmetic<'o>) =
    inherit PreparedOptions<'o>()
    let workspace = Workspace()
    let prologue = GradientPrologue()
    /// Gradients as a surrounded step takes them, in row-major order.
    let mutable changed: TensorView array = [||]
    /// Which rows our kernels step.
    member val OnKernels: bool array = [||] with get, set
    /// Copies of what does not lie in row-major order, or is narrower than its state; absent ones are stepped where they lie.
    member val Copies: struct (TensorView * TensorView) array = [||] with get, set

    override prepared.MakeKernels() =
        if prepared.Kinds.ChangesGradients then
            if changed.Length <> prepared.Gradients.Count then
                changed <- Array.zeroCreate prepared.Gradients.Count

            for row in 0 .. changed.Length - 1 do
                if prepared.OnKernels[row] then
                    let layout = prepared.Gradients[row].Values.Layout.ToContiguous()

                    if changed[row].IsAbsent || not (changed[row].Layout.Equals layout) then
                        changed[row] <- TensorView.Zeros layout
                else
                    changed[row] <- TensorView()

    override prepared.Run() =
        let state = prepared.State
        state.Live()
        let lineage = state.Lineage
        let parameters, gradients = prepared.Parameters, prepared.Gradients
        prepared.ThreadsUsed <- 1
        let changes = prepared.Kinds.ChangesGradients

        let gradientOf row =
            if changes then changed[row] else gradients[row].Values

        let stepOf row =
            lineage.NextCounts.OfClass(lineage.NextCounts.Class row) + 1L

        // First of all: whoever steps them may run out of memory, and then nothing should have moved.
        for tensorRow in lineage.TensorRows do
            let row = tensorRow.Row

            let struct (around, columns) = prepared.SurroundTensorRow(tensorRow, lineage)

            WholeUpdate<'o>(
                name,
                arithmetic,
                prepared.Options,
                stepOf row,
                parameters[row],
                gradients[row],
                columns,
                around,
                prepared.Numbers
            )
            |> tensorRow.Executor.Step

        if changes then
            let values = [| for row in 0 .. gradients.Count - 1 -> gradients[row].Values |]

            prologue.Run(
                prepared.Kinds,
                prepared.Numbers,
                ReadOnlySpan changed,
                ReadOnlySpan values,
                ReadOnlySpan(),
                prepared.KernelExecutor
            )

        for row in 0 .. parameters.Count - 1 do
            if prepared.OnKernels[row] then
                let struct (parameterCopy, gradientCopy) = prepared.Copies[row]

                if not gradientCopy.IsAbsent then
                    gradientCopy.ConvertFrom(gradientOf row)

                if not parameterCopy.IsAbsent then
                    parameterCopy.ConvertFrom parameters[row]

                let tensors =
                    {
                        Parameter =
                            if parameterCopy.IsAbsent then
                                parameters[row]
                            else
                                parameterCopy
                        Gradient =
                            if gradientCopy.IsAbsent then
                                gradientOf row
                            else
                                gradientCopy
                        Row = row
                        Columns = lineage.Columns
                    }

                prepared.ThreadsUsed <-
                    max
                        prepared.ThreadsUsed
                        (arithmetic.Step(prepared.Options, stepOf row, parameters[row].DType, tensors, workspace, prepared.KernelExecutor))

                if not parameterCopy.IsAbsent then
                    parameters[row].ConvertFrom parameterCopy

        GC.KeepAlive prepared.Copies
        prepared.Finish()
        Planning.next state arithmetic.Counts

/// A rule that works on whole tensors.
[<Sealed>]
type internal TensorRule<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>
    (name: string, defaults: 'o, fields: Field<'o> list, arithmetic: TensorArithmetic<'o>) =
    inherit Rule<'o>(name, OptionTable<'o>(name, defaults, fields))

    let columnNames = ImmutableArray.CreateRange arithmetic.Columns

    let check (parameters: Parameters) =
        Checks.wholeParametersAnywhere name false parameters

        for row in 0 .. parameters.Count - 1 do
            let problem = arithmetic.Refuse parameters[row].Layout

            if problem <> "" then
                raise (ArgumentException $"{name}: {parameters.Label row} {problem}")

    let order column (parameter: TensorView) =
        arithmetic.Shape(column, parameter.Layout)

    override _.Scope = arithmetic.Scope
    override _.KeepsStep = arithmetic.Counts
    override _.StepsAreWhole = false
    override _.ScalarNames = ImmutableArray.Empty
    override _.ColumnNames = columnNames

    override rule.ColumnsUnder options =
        rule.Table.Options options |> ignore
        columnNames

    override rule.Sparse options =
        rule.Table.Options options |> ignore
        SparseGradients.Refused

    override rule.Init(options, parameters) =
        Argument.notNull "parameters" parameters
        rule.Table.Check(rule.Table.Options options)
        check parameters
        Checks.disjoint name parameters
        Rows.initial name parameters ImmutableArray.Empty columnNames (fun _ -> false) (fun _ -> 0.0)

    override _.Restore(parameters, counts, scalars, rows) =
        Argument.notNull "parameters" parameters
        check parameters
        Rows.restore name order columnNames ImmutableArray.Empty arithmetic.Counts false parameters counts scalars rows

    override rule.Prepare(options, parameters, gradients, state) =
        let options = rule.Table.Options options
        Rows.given parameters gradients state
        let lineage = state.Lineage
        state.Live()

        let prepared =
            match lineage.Prepared with
            | ValueSome(:? PreparedTensors<'o> as prepared) -> prepared
            | _ -> PreparedTensors<'o>(name, arithmetic)

        lineage.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.LosesDivisor <- rule.LosesDivisor options
            prepared.Options <- options

        arithmetic.Check options
        Planning.belongs name parameters gradients state

        if prepared.LosesDivisor then
            rule.CheckDivisors(options, parameters, gradients)

        if not (rule.IsCurrent(parameters, gradients, state)) then
            lineage.ParameterLayouts <- [||]
            rule.Lay(prepared, parameters, gradients, state)

        lineage.Watch.Check(name, parameters, gradients, lineage.Columns)
        prepared.Begin(parameters, gradients, state)
        prepared :> PreparedStep

    /// Whether what the last step was prepared for is as it was.
    member private _.IsCurrent(parameters: Parameters, gradients: Gradients, state: State) =
        let lineage = state.Lineage

        let mutable current =
            lineage.ParameterLayouts.Length = parameters.Count
            && parameters.Count > 0
            && obj.ReferenceEquals(lineage.Executor, parameters.Executor)
            && obj.ReferenceEquals(lineage.NextCounts, state.Counts)

        let mutable row = 0

        while current && row < parameters.Count do
            current <-
                gradients.Items[row].Kind <> GradientKind.Sparse
                && Planning.sameLayout lineage.ParameterLayouts row parameters.Items[row].Layout
                && Planning.sameLayout lineage.GradientLayouts row gradients.Items[row].Values.Layout

            row <- row + 1

        current

    /// Checks all, makes missing rows and copies, and counts anew.
    member private _.Lay(prepared: PreparedTensors<'o>, parameters: Parameters, gradients: Gradients, state: State) =
        let lineage = state.Lineage
        let rows = parameters.Count
        check parameters

        let steps row =
            gradients[row].Kind <> GradientKind.Absent

        for row in 0 .. rows - 1 do
            if steps row then
                Checks.gradient name SparseGradients.Refused parameters row gradients[row]

                for column in 0 .. columnNames.Length - 1 do
                    let found = state.Columns[column].[row]

                    let fits =
                        found.IsAbsent
                        || match order column parameters[row] with
                           | null -> false
                           | wanted -> found.Layout.SameShape wanted

                    if not fits then
                        raise (
                            ArgumentException
                                $"{name}: {columnNames[column]} of {parameters.Label row} is {found.Layout}, and the parameter {parameters[row].Layout}; the state belongs to other parameters"
                        )

        let grown =
            state.Columns
            |> Seq.mapi (fun index column ->
                let missing = ResizeArray()
                let layouts = Array.init rows (fun row -> parameters[row].Layout)

                for row in 0 .. rows - 1 do
                    if steps row && column[row].IsAbsent then
                        match order index parameters[row] with
                        | null -> ()
                        | layout ->
                            layouts[row] <- layout
                            missing.Add row

                if missing.Count = 0 then
                    column
                else
                    Rows.grow column missing layouts 0.0)
            |> ImmutableArray.CreateRange

        let counts =
            Counts.Of((fun row -> state.Counts.Steps row), (fun row -> state.Counts.Scalars row), steps, rows)

        let classSteps = Array.zeroCreate counts.Classes

        for row in 0 .. rows - 1 do
            if steps row then
                classSteps[counts.Class row] <- true

        let byOthers = Array.init rows (Planning.stepperOf parameters)

        let copyOf (view: TensorView) =
            let layout = view.Layout.WithDType(view.DType.ToStateDType()).ToContiguous()

            if
                layout.Equals view.Layout
                || (layout.DType = view.DType && view.Layout.IsContiguous)
            then
                TensorView()
            else
                TensorView.Zeros layout

        prepared.OnKernels <- Array.init rows (fun row -> steps row && byOthers[row].IsNone)

        prepared.Copies <-
            Array.init rows (fun row ->
                if prepared.OnKernels[row] then
                    struct (copyOf parameters[row], copyOf gradients[row].Values)
                else
                    struct (TensorView(), TensorView()))

        lineage.TensorRows <- Planning.tensorRows parameters byOthers steps (fun row -> grown |> Seq.map _.Rows[row] |> Seq.toArray)
        lineage.Averages <- [||]
        lineage.Executor <- parameters.Executor
        lineage.Steps <- classSteps
        lineage.Columns <- grown
        lineage.NextCounts <- counts
        lineage.GradientLayouts <- Array.init rows (fun row -> gradients[row].Values.Layout)
        lineage.ParameterLayouts <- Array.init rows (fun row -> parameters[row].Layout)
