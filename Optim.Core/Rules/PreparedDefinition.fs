namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A rule by definition under some setting of its flags.
type internal DefinedVariant =
    {
        Program: StepProgram
        Columns: DefinedColumn list
        Uses: ColumnUses
    }

/// What a program's leaves are: the options' numbers by name, and the numbers that are kept.
type internal DefinedNames =
    {
        /// Which option, and which number of it, is called by a name.
        Numbers: IReadOnlyDictionary<string, struct (int * int)>
        Kept: string array
    }

    member names.Number(options: DefinedOptions, name: string) =
        let struct (index, part) = names.Numbers[name]

        match options.Values[index] with
        | OptionValue.Tuple values ->
            match values[part] with
            | OptionValue.Float number -> number
            | _ -> nan
        | OptionValue.Float number -> number
        | _ -> nan

    member names.All(options: DefinedOptions) : IReadOnlyDictionary<string, double> =
        dict [ for name in names.Numbers.Keys -> name, names.Number(options, name) ]
        |> Dictionary
        :> IReadOnlyDictionary<_, _>

    member names.Leaves<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (read: Reader<'n>, options, step, scalars: Scalars<'n>, given: Func<string, double> | null)
        =
        LaneLeaves<'n>(read, names.All options, step, names.Kept, scalars, given)

/// A step of one parameter of a rule by definition as a whole tensor.
[<Sealed>]
type internal DefinedUpdate
    (
        program: StepProgram,
        leaves: LaneLeaves<Real>,
        sparse: SparseGradients,
        parameter: TensorView,
        gradient: Gradient,
        columns: TensorView array
    ) =
    inherit TensorUpdate(parameter, gradient, sparse, columns)

    override _.Run<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'v :> ITakes<'v, Real>>
        (row: 'v array)
        =
        ProgramLanes<'v, Real>.Update(program, leaves, Span row, null) |> ignore

    override update.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(row: 'v array) =
        let reductions =
            WholeReductions<'v>(double update.Parameter.Count, update.Parameter.DType)

        ProgramLanes<'v, Real>.Update(program, leaves, Span row, reductions) |> ignore

/// A step of a rule by definition, kept between steps.
[<Sealed>]
type internal PreparedDefinition(names: DefinedNames, sparse: SparseGradients, starts: Scalars<Real>, counts: bool) =
    inherit PreparedRows<DefinedOptions>()
    let mutable program: StepProgram voption = ValueNone
    let runs = Dictionary<Surroundings, ProgramRun>()
    let mutable uses = Unchecked.defaultof<ColumnUses>
    let mutable segments: ProgramSegment array = [||]
    let mutable leaves: double array array = [||]
    let kept: double array = Array.zeroCreate 2

    let runOf (around: Surroundings) =
        match runs.TryGetValue around with
        | true, known -> known
        | _ ->
            let run =
                ProgramRun(
                    if around.IsNothing then
                        program.Value
                    else
                        around.Around program.Value
                )

            runs.Add(around, run)
            run

    /// The columns that the next step uses.
    member _.Uses = uses

    /// What the next step runs.
    member _.Use(variant: DefinedVariant) =
        uses <- variant.Uses

        match program with
        | ValueSome known when obj.ReferenceEquals(known, variant.Program) -> ()
        | _ ->
            program <- ValueSome variant.Program
            runs.Clear()

    override prepared.MakeKernels() =
        let lineage = prepared.State.Lineage

        for segment in lineage.Segments do
            (runOf prepared.Kinds).Prepare segment.DType

        for segment in lineage.SparseSegments do
            (runOf prepared.SparseKinds).Prepare segment.DType

    override prepared.StepTensorRow tensorRow =
        let struct (index, step) = prepared.StepOf tensorRow.Row

        let struct (around, columns) =
            prepared.SurroundTensorRow(tensorRow, prepared.State.Lineage)

        let leaves =
            names.Leaves<Real>(RealReader.Instance, prepared.Options, step, prepared.ScalarsOf index, Func<_, _> prepared.Given)

        DefinedUpdate(
            (runOf around).Program,
            leaves,
            sparse,
            prepared.Parameters[tensorRow.Row],
            prepared.Gradients[tensorRow.Row],
            columns
        )
        |> tensorRow.Executor.Step

    override prepared.StepSlices(lineage, executor) =
        let dense = lineage.Segments.Length
        let count = dense + lineage.SparseSegments.Length

        if segments.Length <> count then
            segments <- Array.zeroCreate count
            leaves <- Array.create count [||]

        let ofDense, ofSparse = runOf prepared.Kinds, runOf prepared.SparseKinds

        for i in 0 .. count - 1 do
            let struct (table, segment, run) =
                if i < dense then
                    struct (lineage.Table, lineage.Segments[i], ofDense)
                else
                    struct (lineage.SparseTable, lineage.SparseSegments[i - dense], ofSparse)

            if leaves[i].Length <> run.Leaves.Length then
                leaves[i] <- Array.zeroCreate run.Leaves.Length

            prepared.Fill(run, segment.Class, leaves[i])
            segments[i] <- ProgramSegment(table, segment.First, segment.Count, segment.DType, leaves[i])

        max (ofDense.Run(ReadOnlySpan(segments, 0, dense), executor)) (ofSparse.Run(ReadOnlySpan(segments, dense, count - dense), executor))

    override prepared.Advance state =
        let lineage = state.Lineage

        if names.Kept.Length > 0 then
            let run = runOf (Surroundings())
            lineage.NextScalars <- Array.init lineage.NextCounts.Classes (prepared.NextScalars run)

        Planning.next state counts

    member private prepared.ScalarsOf(index: int) =
        let counts = prepared.State.Lineage.NextCounts

        if counts.OfClass index > 0L then
            counts.ScalarsOfClass index
        else
            starts

    member private prepared.Fill(run: ProgramRun, index: int, target: double array) =
        let step = prepared.State.Lineage.NextCounts.OfClass index + 1L
        let scalars = prepared.ScalarsOf index

        for i in 0 .. target.Length - 1 do
            let leaf = run.Leaves[i]

            target[i] <-
                match leaf.Operation with
                | Operation.StepCount -> double step
                | Operation.Given -> prepared.Given leaf.Name
                | Operation.Kept when leaf.Name = names.Kept[0] -> scalars.First.Value
                | Operation.Kept -> scalars.Second.Value
                | _ -> names.Number(prepared.Options, leaf.Name)

    /// A number of what surrounds the step.
    member private prepared.Given(name: string) =
        prepared.Numbers[Surroundings.PlaceOf name]

    member private prepared.NextScalars (run: ProgramRun) (index: int) =
        let leaves = Array.zeroCreate run.Leaves.Length
        prepared.Fill(run, index, leaves)
        run.Kept(leaves, Span(kept, 0, run.Program.Kept.Length))
        Scalars<Real>(Real kept[0], Real kept[1])
