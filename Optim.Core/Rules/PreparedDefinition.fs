// Long, because segments, reductions over all, numbers and narrow columns of a step share what was prepared.
namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A rule by definition under some setting of its flags, for parameters of some kind.
[<ReferenceEquality>]
type internal DefinedVariant =
    {
        Program: StepProgram
        Columns: DefinedColumn list
        Uses: ColumnUses
    }

/// What a program's leaves are: the options' numbers by name, the numbers that are kept, and functions of the step.
type internal DefinedNames =
    {
        /// Which option, and which number of it, is called by a name.
        Numbers: IReadOnlyDictionary<string, struct (int * int)>
        Kept: string array
        Functions: IReadOnlyDictionary<string, int64 -> double>
    }

    member names.Number(options: DefinedOptions, name: string) =
        let struct (index, part) = names.Numbers[name]

        match options.Values[index] with
        | OptionValue.Tuple values ->
            match values[part] with
            | OptionValue.Float number -> number
            | _ -> nan
        | OptionValue.Float number -> number
        | OptionValue.Int number -> double number
        | OptionValue.Bool flag -> if flag then 1.0 else 0.0
        | _ -> nan

    member names.All(options: DefinedOptions) : IReadOnlyDictionary<string, double> =
        dict [ for name in names.Numbers.Keys -> name, names.Number(options, name) ]
        |> Dictionary
        :> IReadOnlyDictionary<_, _>

    /// A number that is handed in: what a function of the step comes to, or a number of what surrounds it.
    member names.Given(name: string, step: int64, around: (string -> double) voption) =
        match names.Functions.TryGetValue name with
        | true, value -> value step
        | _ ->
            match around with
            | ValueSome around -> around name
            | ValueNone -> nan

    member names.Leaves<'n when 'n: struct and 'n: (new: unit -> 'n) and 'n :> ValueType and 'n :> IScalar<'n>>
        (read: Reader<'n>, options, step: StepNumber<'n>, scalars: Scalars<'n>, around: (string -> double) voption)
        =
        LaneLeaves<'n>(read, names.All options, step, names.Kept, scalars, Func<_, _>(fun name -> names.Given(name, step.Count, around)))

/// A step of one parameter of a rule by definition as a whole tensor, or, in one of the visits before it, a look at what the parameter adds to reductions
/// over all.
[<Sealed>]
type internal DefinedUpdate
    (
        run: ProgramRun,
        leaves: LaneLeaves<Real>,
        sparse: SparseGradients,
        stream: uint64,
        visit: int voption,
        row: int,
        parameter: TensorView,
        gradient: Gradient,
        columns: TensorView array
    ) =
    inherit TensorUpdate(parameter, gradient, sparse, columns)
    let totals = Func<int, double> run.TotalOf

    override _.Run<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> ILane<'v> and 'v :> ITakes<'v, Real>>
        (row: 'v array)
        =
        ProgramLanes<'v, Real>.Update(run.Program, leaves, Span row, null, totals)
        |> ignore

    override update.RunWhole<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>(lanes: 'v array) =
        let reductions = WholeReductions<'v>(update.Parameter.Layout, stream)

        match visit with
        | ValueNone ->
            ProgramLanes<'v, Real>.Update(run.Program, leaves, Span lanes, reductions, totals)
            |> ignore
        | ValueSome visit ->
            let wanted = run.TotalsOf visit

            ProgramLanes<'v, Real>.Parts(run.Program, leaves, Span lanes, reductions, totals, ReadOnlySpan wanted)
            |> Array.iteri (fun index part -> run.Add(wanted[index], row, part))

/// A step of a rule by definition, kept between steps.
[<Sealed>]
type internal PreparedDefinition(names: DefinedNames, sparse: SparseGradients, starts: Scalars<Real>, counts: bool) =
    inherit PreparedRows<DefinedOptions>()
    /// The kinds of parameters that there are, each with its program.
    let variants = List<DefinedVariant>()
    /// A run for each kind, by what surrounds the step.
    let runs = Dictionary<Surroundings, ProgramRun array>()
    let mutable segments: ProgramSegment array = [||]
    let mutable kinds: int array = [||]
    let mutable leaves: double array array = [||]
    /// The runs of the last step: they know what was reduced over all.
    let mutable last: ProgramRun array = [||]

    let runsOf (around: Surroundings) =
        match runs.TryGetValue around with
        | true, known -> known
        | _ ->
            let programs =
                [|
                    for variant in variants ->
                        if around.IsNothing then
                            variant.Program
                        else
                            around.Around variant.Program
                |]

            let made = StepProgram.Aligned programs |> Array.map ProgramRun
            runs.Add(around, made)
            made

    /// What is used again from step to step, for each run.
    let rooms =
        Dictionary<ProgramRun, struct (double array * double array * int array)>(HashIdentity.Reference)

    let numbers: Real array = Array.zeroCreate names.Kept.Length

    /// The setting of the flags.
    member val Setting: int list = [] with get, set
    /// How its columns are kept.
    member val Storage = ColumnStorage.wide with get, set
    /// What tells its parameters apart, kept from step to step.
    member val RowKinds: RowKinds | null = null with get, set
    /// All columns under it.
    member val Uses = Unchecked.defaultof<ColumnUses> with get, set

    /// Forgets the kinds of parameters that there were.
    member _.Begin() =
        variants.Clear()
        runs.Clear()
        rooms.Clear()

    /// The number of a kind of parameters.
    member _.KindOf(variant: DefinedVariant) =
        match variants.IndexOf variant with
        | -1 ->
            variants.Add variant
            variants.Count - 1
        | index -> index

    /// The program of a kind.
    member _.ProgramOf kind = variants[kind].Program

    /// What a kind loads and stores.
    member _.UsesOf kind = variants[kind].Uses

    override prepared.MakeKernels() =
        let lineage = prepared.State.Lineage

        for segment in lineage.Segments do
            if isNull segment.On then
                (runsOf prepared.Kinds).[lineage.ClassKinds[segment.Class]].Prepare segment.DType

        for segment in lineage.SparseSegments do
            (runsOf prepared.SparseKinds).[lineage.ClassKinds[segment.Class]].Prepare segment.DType

    override prepared.MakeDeviceKernels() =
        let lineage = prepared.State.Lineage
        let ofDense = runsOf prepared.Kinds
        let count = prepared.LaySegments(lineage, ofDense, ofDense)

        if count > 0 then
            ProgramParts.Prepare(
                ofDense,
                ReadOnlySpan(segments, 0, count),
                ReadOnlySpan(kinds, 0, count),
                prepared.TensorRowsWait || not (isNull prepared.Parameters.Totals)
            )

    override prepared.StepTensorRow tensorRow =
        prepared.UpdateOf(ValueNone, tensorRow) |> tensorRow.Executor.Step

    override prepared.TensorRowsWait =
        prepared.State.Lineage.TensorRows.Length > 0
        && (runsOf prepared.Kinds) |> Array.exists _.HasTotals

    /// The program of a row that is stepped as a whole tensor, and its columns.
    member private prepared.RunOf(tensorRow: TensorRow) : struct (ProgramRun * TensorView array) =
        let struct (index, _) = prepared.StepOf tensorRow.Row

        let struct (around, columns) =
            prepared.SurroundTensorRow(tensorRow, prepared.State.Lineage)

        struct ((runsOf around).[prepared.State.Lineage.ClassKinds[index]], columns)

    member private prepared.UpdateOf(visit, tensorRow: TensorRow) =
        let struct (index, step) = prepared.StepOf tensorRow.Row
        let struct (run, columns) = prepared.RunOf tensorRow

        let leaves =
            names.Leaves<Real>(
                RealReader.Instance,
                prepared.Options,
                StepNumber<Real> step,
                prepared.ScalarsOf index,
                ValueSome prepared.Around
            )

        DefinedUpdate(
            run,
            leaves,
            sparse,
            SliceLayout.streamOf prepared.Parameters tensorRow.Row,
            visit,
            tensorRow.Row,
            prepared.Parameters[tensorRow.Row],
            prepared.Gradients[tensorRow.Row],
            columns
        )

    /// Lays the segments of a step out, dense ones before sparse ones; returns how many are dense.
    member private prepared.LaySegments(lineage: Lineage, ofDense: ProgramRun array, ofSparse: ProgramRun array) =
        let dense = lineage.Segments.Length
        let count = dense + lineage.SparseSegments.Length

        if segments.Length <> count then
            segments <- Array.zeroCreate count
            kinds <- Array.zeroCreate count
            leaves <- Array.create count [||]

        for i in 0 .. count - 1 do
            let struct (table, segment, ofRows, spread: SpreadSlice array | null) =
                if i < dense then
                    struct (lineage.Table, lineage.Segments[i], ofDense, lineage.Spread)
                else
                    struct (lineage.SparseTable, lineage.SparseSegments[i - dense], ofSparse, null)

            kinds[i] <- lineage.ClassKinds[segment.Class]
            let run = ofRows[kinds[i]]

            if leaves[i].Length <> run.Leaves.Length then
                leaves[i] <- Array.zeroCreate run.Leaves.Length

            prepared.Fill(run, segment.Class, leaves[i])

            segments[i] <-
                ProgramSegment(
                    table,
                    segment.First,
                    segment.Count,
                    segment.DType,
                    leaves[i],
                    spread,
                    segment.On,
                    lineage.NarrowOf segment,
                    lineage.NextCounts.TakenOf segment.Class + 1L,
                    prepared.Survey
                )

        dense

    override prepared.StepSlices(lineage, executor) =
        let ofDense, ofSparse = runsOf prepared.Kinds, runsOf prepared.SparseKinds
        last <- ofDense
        let dense = prepared.LaySegments(lineage, ofDense, ofSparse)
        let count = dense + lineage.SparseSegments.Length
        let slices = ReadOnlySpan(segments, 0, dense)
        let ofSlices = ReadOnlySpan(kinds, 0, dense)

        let threads =
            if prepared.TensorRowsWait then
                let others =
                    lineage.TensorRows
                    |> Array.map (fun tensorRow -> let struct (run, _) = prepared.RunOf tensorRow in run)

                let look visit =
                    for index in 0 .. others.Length - 1 do
                        if others[index].TotalsOf(visit).Length > 0 then
                            prepared.UpdateOf(ValueSome visit, lineage.TensorRows[index])
                            |> lineage.TensorRows[index].Executor.Look

                ProgramParts.Run(ofDense, slices, ofSlices, executor, others, Action<int> look)
            else
                ProgramParts.Run(ofDense, slices, ofSlices, executor, null, null, prepared.Parameters.Totals)

        // The runs may be the same ones, and remember what they reduced.
        if count = dense then
            threads
        else
            max
                threads
                (ProgramParts.Run(
                    ofSparse,
                    ReadOnlySpan(segments, dense, count - dense),
                    ReadOnlySpan(kinds, dense, count - dense),
                    executor
                ))

    override prepared.Advance state =
        let lineage = state.Lineage

        if names.Kept.Length > 0 then
            let classes = lineage.NextCounts.Classes

            if lineage.NextScalars.Length <> classes then
                lineage.NextScalars <- Array.zeroCreate classes

            for index in 0 .. classes - 1 do
                lineage.NextScalars[index] <-
                    if lineage.Steps[index] then
                        prepared.NextScalars last[lineage.ClassKinds[index]] index
                    else
                        lineage.NextCounts.ScalarsOfClass index

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
                | Operation.Given ->
                    match names.Functions.TryGetValue leaf.Name with
                    | true, value -> value step
                    | _ -> prepared.Around leaf.Name
                | Operation.Kept -> scalars[Array.IndexOf(names.Kept, leaf.Name)].Value
                | _ -> names.Number(prepared.Options, leaf.Name)

    /// A number of what surrounds the step.
    member private prepared.Around(name: string) =
        prepared.Numbers[Surroundings.PlaceOf name]

    member private prepared.NextScalars (run: ProgramRun) (index: int) =
        let struct (values, next, places) = prepared.RoomFor run
        prepared.Fill(run, index, values)
        run.Kept(values, Span next)
        let before = prepared.ScalarsOf index

        // What a kind of parameters does not set stays as it was.
        for place in 0 .. places.Length - 1 do
            numbers[place] <-
                if places[place] >= 0 then
                    Real next[places[place]]
                else
                    before[place]

        Scalars<Real>(ReadOnlySpan numbers)

    /// Room for the leaves and the kept numbers of a run, and where among these each one of the rule is; -1 for none.
    member private _.RoomFor(run: ProgramRun) : struct (double array * double array * int array) =
        match rooms.TryGetValue run with
        | true, known -> known
        | _ ->
            let placeOf name =
                run.Program.Kept
                |> Array.tryFindIndex (fun kept -> kept.Name = name)
                |> Option.defaultValue -1

            let room =
                struct (Array.zeroCreate<double> run.Leaves.Length,
                        Array.zeroCreate<double> run.Program.Kept.Length,
                        Array.map placeOf names.Kept)

            rooms.Add(run, room)
            room
