namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A rule that works on whole tensors.
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


    override _.Scope = arithmetic.Scope
    override _.KeepsStep = arithmetic.Counts
    override _.StepsAreWhole = false
    override _.ScalarNames = ImmutableArray.Empty
    override _.ColumnNames = columnNames

    override rule.ColumnsUnder options =
        let kept = arithmetic.ColumnsUnder(rule.Table.Options options)
        columnNames |> Seq.filter kept |> ImmutableArray.CreateRange

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

        let order column (parameter: TensorView) (given: TensorView) =
            arithmetic.Restored(column, parameter.Layout, given.Layout)

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
            if
                not (isNull (box prepared.Options))
                && not (arithmetic.KeepsRows(prepared.Options, options))
            then
                lineage.ParameterLayouts <- [||]

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

        let order column row =
            arithmetic.Shape(prepared.Options, column, parameters[row].Layout)

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
                        || match order column row with
                           | null -> arithmetic.MayHoldMore
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
                        match order index row with
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

        let byOthers = Array.init rows (SliceLayout.stepperOf parameters)

        let copyOf (view: TensorView) =
            let layout = view.Layout.WithDType(view.DType.ToStateDType()).ToContiguous()

            if
                layout.Equals view.Layout
                || (layout.DType = view.DType && view.Layout.IsContiguous)
            then
                TensorView()
            else
                TensorView.Zeros layout

        if arithmetic.Looks then
            for row in 0 .. rows - 1 do
                if steps row && byOthers[row].IsSome then
                    raise (
                        NotSupportedException
                            $"{name} asks for sums over all parameters, which are worked out in the memory of the processor only; {parameters.Label row} is stepped by {byOthers[row].Value.Name}"
                    )

        prepared.OnKernels <- Array.init rows (fun row -> steps row && byOthers[row].IsNone)

        prepared.Copies <-
            Array.init rows (fun row ->
                if prepared.OnKernels[row] then
                    struct (copyOf parameters[row], copyOf gradients[row].Values)
                else
                    struct (TensorView(), TensorView()))

        lineage.TensorRows <- SliceLayout.tensorRows parameters byOthers steps (fun row -> grown |> Seq.map _.Rows[row] |> Seq.toArray)
        lineage.Averages <- [||]
        lineage.Kinds <- Array.init rows (fun row -> gradients[row].Kind)
        lineage.Executor <- parameters.Executor
        lineage.Steps <- classSteps
        lineage.Columns <- grown
        lineage.NextCounts <- counts
        lineage.GradientLayouts <- Array.init rows (fun row -> gradients[row].Values.Layout)
        lineage.ParameterLayouts <- Array.init rows (fun row -> parameters[row].Layout)
