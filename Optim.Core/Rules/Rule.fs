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
    abstract ColumnsUnder: options: obj -> ImmutableArray<string>
    /// What the rule makes of sparse gradients under these options.
    abstract Sparse: options: obj -> SparseGradients
    /// The state before the first step; checks the options and the parameters' dtypes, devices and layouts.
    abstract Init: options: obj * parameters: Parameters -> State
    /// The first half of a step: checks everything and makes room, and writes to no tensor.
    abstract Prepare: options: obj * parameters: Parameters * gradients: Gradients * state: State -> PreparedStep

    /// A state with given counts and rows (absent ones as default), which are copied and converted to the dtypes of their state.
    /// Numbers kept for each parameter as a whole (ScalarNames) are given by name, NaN where there is none.
    abstract Restore:
        parameters: Parameters *
        counts: int64 array *
        scalars: KeyValuePair<string, double array> seq *
        columns: KeyValuePair<string, TensorView array> seq ->
            State

    /// A step in place: parameters and state change, the state that was given is spent, the next one is returned.
    member rule.Step(options: obj, parameters, gradients, state) =
        rule.Prepare(options, parameters, gradients, state).Run()

    /// A step that touches nothing that it was given.
    member rule.PureStep(options: obj, parameters: Parameters, gradients, state) =
        let parameters = parameters.Copy()
        struct (parameters, rule.Step(options, parameters, gradients, State.copy state))

/// A rule with the type of its options.
[<AbstractClass>]
type Rule<'o when 'o: not null and 'o: not struct> internal (name, table: OptionTable<'o>) =
    inherit Rule(name, table)
    member internal _.Table = table

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
                    $"{name}: capturable is True; it needs parameters on a device that can capture graphs, and these are on the cpu"
            )

        if isTrue "differentiable" then
            raise (
                NotSupportedException
                    $"{name}: differentiable is True; a differentiable step needs TorchSharp parameters with a graph, and this step writes to memory in place"
            )

        (isGiven "foreach" || isGiven "fused")
        && not (isTrue "foreach" || isTrue "fused")

module internal Executors =
    /// Who runs a step over parameters: their provider's threads, or our team, unless tensor by tensor was asked for.
    let choose isForLoop (parameters: Parameters) =
        match parameters.Executor with
        | _ when isForLoop -> Executor.Caller
        | null -> Executor.Team
        | executor -> executor

/// A step of an element-wise rule, kept between steps.
[<Sealed>]
type internal PreparedElements<'o when 'o: not null and 'o: not struct>(driver: Driver, arithmetic: Arithmetic<'o>) =
    inherit PreparedStep()
    let mutable threads = 1
    member val Options: 'o = Unchecked.defaultof<'o> with get, set
    member val Switches = 0 with get, set
    member val IsForLoop = false with get, set
    member val Parameters = Unchecked.defaultof<Parameters> with get, set
    member val Gradients = Unchecked.defaultof<Gradients> with get, set
    member val State = Unchecked.defaultof<State> with get, set
    override _.Threads = threads

    override prepared.Executor = Executors.choose prepared.IsForLoop prepared.Parameters

    override prepared.Run() =
        let state = prepared.State
        state.Live()
        let line = state.Line
        let executor = prepared.Executor
        threads <- 1
        Table.gather line prepared.Parameters prepared.Gradients

        for segment in line.Segments do
            prepared.RunSegment(line.Table, segment, executor)

        for segment in line.SparseSegments do
            if segment.Count > 0 then
                prepared.RunSegment(line.SparseTable, segment, executor)

        for sparse in line.Sparse do
            sparse.Gradient.KeepAlive()

        Table.scatter line prepared.Parameters
        GC.KeepAlive prepared.Parameters
        GC.KeepAlive prepared.Gradients

        if not arithmetic.Scalars.IsEmpty then
            line.NextScalars <- Array.init line.NextCounts.Classes prepared.NextScalars

        Table.next state (arithmetic.Counts prepared.Options)

    member private prepared.ScalarsOf(index: int) =
        let counts = prepared.State.Line.NextCounts

        if arithmetic.Scalars.IsEmpty || counts.OfClass index > 0L then
            counts.ScalarsOfClass index
        else
            arithmetic.Start<Real>(RealReader.Instance, prepared.Options)

    member private prepared.NextScalars(index: int) =
        let step = prepared.State.Line.NextCounts.OfClass index + 1L
        arithmetic.Next<Real>(RealReader.Instance, prepared.Options, step, prepared.ScalarsOf index)

    member private prepared.RunSegment(table: SliceTable, segment: Segment, executor: Executor) =
        let options = prepared.Options
        let step = prepared.State.Line.NextCounts.OfClass segment.Class + 1L

        let coefficients =
            arithmetic.Coefficients<Real>(RealReader.Instance, options, step, prepared.ScalarsOf segment.Class)

        let switches = arithmetic.Switches(options, step)
        threads <- max threads (driver.Run(table, segment.First, segment.Count, segment.DType, switches, &coefficients, executor))

/// A rule that works element by element: the formula, the table of options, the columns, and how options become coefficients.
[<Sealed>]
type internal ElementWiseRule<'o, 'f
    when 'o: not null and 'o: not struct and 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula>
    (name: string, defaults: 'o, fields: Field<'o> list, columns: ColumnSpec<'o> list, arithmetic: Arithmetic<'o>) =
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

    override _.ColumnsUnder options =
        columns
        |> Seq.filter (fun column -> column.When(unbox<'o> options))
        |> Seq.map _.Name
        |> ImmutableArray.CreateRange

    override _.Sparse options = arithmetic.Sparse(unbox<'o> options)

    override rule.Init(options, parameters) =
        rule.Table.Check(unbox<'o> options)
        Checks.parameters name arithmetic.Complex parameters
        let options = unbox<'o> options

        let atOnce column =
            columns[column].AtOnce && columns[column].When options

        Rows.initial name parameters arithmetic.Scalars columnNames atOnce (fun column -> columns[column].Start options)

    override rule.Restore(parameters, counts, scalars, rows) =
        Rows.restore
            name
            (fun _ parameter -> Rows.orderOf parameter)
            columnNames
            arithmetic.Scalars
            arithmetic.Complex
            parameters
            counts
            scalars
            rows

    override rule.Prepare(options, parameters, gradients, state) =
        let options = unbox<'o> options
        let line = state.Line
        state.Live()

        let prepared =
            match line.Prepared with
            | ValueSome(:? PreparedElements<'o> as prepared) -> prepared
            | _ -> PreparedElements<'o>(driver, arithmetic)

        line.Prepared <- ValueSome(prepared :> PreparedStep)

        if not (obj.ReferenceEquals(prepared.Options, options)) then
            prepared.IsForLoop <- rule.CheckForStep options
            prepared.Options <- options
            prepared.Switches <- arithmetic.Switches options

        let start index = columns[index].Start options
        let loop = driver.Loop prepared.Switches
        Table.prepare name loop columns.Length start (arithmetic.Sparse options) arithmetic.Complex parameters gradients state
        prepared.Parameters <- parameters
        prepared.Gradients <- gradients
        prepared.State <- state
        prepared :> PreparedStep

/// Making rules and stepping them, in F#.
[<RequireQualifiedAccess; CompilationRepresentation(CompilationRepresentationFlags.ModuleSuffix)>]
module Rule =
    /// A rule from its formula ('f), its default options and their table, its columns, and how options become coefficients.
    let elementWise<'o, 'f
        when 'o: not null and 'o: not struct and 'f: struct and 'f: (new: unit -> 'f) and 'f :> ValueType and 'f :> IFormula>
        name
        (defaults: 'o)
        fields
        columns
        arithmetic
        : Rule<'o> =
        ElementWiseRule<'o, 'f>(name, defaults, fields, columns, arithmetic)

    /// The state before the first step.
    let init (rule: Rule<'o>) (options: 'o) parameters = rule.Init(options, parameters)

    /// A step in place.
    let step (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) : State =
        rule.Step(options, parameters, gradients, state)

    /// A step that touches nothing that it was given.
    let pureStep (rule: Rule<'o>) (options: 'o) (parameters: Parameters) (gradients: Gradients) (state: State) =
        rule.PureStep(options, parameters, gradients, state)
