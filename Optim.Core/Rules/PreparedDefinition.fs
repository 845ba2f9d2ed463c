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
        (read: Reader<'n>, options, step, scalars: Scalars<'n>)
        =
        LaneLeaves<'n>(read, names.All options, step, names.Kept, scalars)

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
        let reductions = WholeReductions<'v>(double update.Parameter.Count)
        ProgramLanes<'v, Real>.Update(program, leaves, Span row, reductions) |> ignore

/// A step of a rule by definition, kept between steps.
[<Sealed>]
type internal PreparedDefinition(names: DefinedNames, columns: int, sparse: SparseGradients, starts: Scalars<Real>, counts: bool) =
    inherit PreparedOptions<DefinedOptions>()
    let mutable alone: ProgramRun voption = ValueNone
    let mutable run: ProgramRun voption = ValueNone
    let surrounded = Dictionary<Surroundings, ProgramRun>()
    let mutable around: StepAround voption = ValueNone
    let mutable uses = Unchecked.defaultof<ColumnUses>
    let mutable segments: ProgramSegment array = [||]
    let mutable leaves: double array array = [||]
    let kept: double array = Array.zeroCreate 2

    /// The columns that the next step uses.
    member _.Uses = uses

    /// What the next step runs.
    member _.Use(variant: DefinedVariant) =
        uses <- variant.Uses

        match alone with
        | ValueSome known when obj.ReferenceEquals(known.Program, variant.Program) -> ()
        | _ ->
            alone <- ValueSome(ProgramRun variant.Program)
            surrounded.Clear()

    /// Forgets what was to surround a step that was not taken.
    member _.BeAlone() =
        run <- alone
        around <- ValueNone

    override prepared.Surround surrounding =
        let line = prepared.State.Line

        if line.Sparse.Length > 0 || line.Whole.Length > 0 then
            false
        else
            let averages =
                surrounding.MovesInside
                && Table.surroundAll line prepared.Parameters surrounding

            let surroundings =
                Surroundings(
                    surrounding.Unscale <> 1.0,
                    surrounding.Clip <> 1.0,
                    surrounding.Limit < infinity,
                    averages,
                    averages && AverageFormula.Switches surrounding.Weight <> 0,
                    surrounding.Zeroes
                )

            match surrounded.TryGetValue surroundings with
            | true, known -> run <- ValueSome known
            | _ ->
                let program = ProgramRun(surroundings.Around alone.Value.Program)
                surrounded.Add(surroundings, program)
                run <- ValueSome program

            around <- ValueSome surrounding
            true

    override prepared.Refresh() =
        let line = prepared.State.Line

        if line.Sparse.Length > 0 then
            Table.laySparse prepared.State.Rule columns sparse prepared.Parameters prepared.Gradients line

    override prepared.Run() =
        let state = prepared.State
        state.Live()
        let line = state.Line
        let current = run.Value
        prepared.Took <- 1

        // First of all: whoever steps them may run out of memory, and then nothing should have moved.
        for whole in line.Whole do
            let index = line.NextCounts.Class whole.Place
            let step = line.NextCounts.OfClass index + 1L

            let leaves =
                names.Leaves<Real>(RealReader.Instance, prepared.Options, step, prepared.ScalarsOf index)

            DefinedUpdate(current.Program, leaves, sparse, prepared.Parameters[whole.Place], prepared.Gradients[whole.Place], whole.State)
            |> whole.By.Step

        Table.gather line prepared.Parameters prepared.Gradients
        prepared.Lay(current, line)
        prepared.Took <- max prepared.Took (current.Run(ReadOnlySpan segments, prepared.KernelExecutor))

        for sparse in line.Sparse do
            sparse.Gradient.KeepAlive()

        Table.scatter line prepared.Parameters

        match around with
        | ValueSome surrounding when surrounding.Zeroes -> Table.zero line prepared.Gradients
        | _ -> ()

        GC.KeepAlive prepared.Parameters
        GC.KeepAlive prepared.Gradients

        if names.Kept.Length > 0 then
            line.NextScalars <- Array.init line.NextCounts.Classes (prepared.NextScalars current)

        prepared.BeAlone()
        Table.next state counts

    member private prepared.ScalarsOf(index: int) =
        let counts = prepared.State.Line.NextCounts

        if counts.OfClass index > 0L then
            counts.ScalarsOfClass index
        else
            starts

    member private prepared.Fill(run: ProgramRun, index: int, target: double array) =
        let step = prepared.State.Line.NextCounts.OfClass index + 1L
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
    member private _.Given(name: string) =
        match name with
        | Surroundings.Unscale -> around.Value.Unscale
        | Surroundings.Clip -> around.Value.Clip
        | Surroundings.Limit -> around.Value.Limit
        | _ -> around.Value.Weight

    /// The segments of this step and the values of their leaves.
    member private prepared.Lay(run: ProgramRun, line: Line) =
        let dense = line.Segments.Length
        let count = dense + line.SparseSegments.Length

        if segments.Length <> count || (count > 0 && leaves[0].Length <> run.Leaves.Length) then
            segments <- Array.zeroCreate count
            leaves <- Array.init count (fun _ -> Array.zeroCreate run.Leaves.Length)

        for i in 0 .. count - 1 do
            let table, segment =
                if i < dense then
                    line.Table, line.Segments[i]
                else
                    line.SparseTable, line.SparseSegments[i - dense]

            prepared.Fill(run, segment.Class, leaves[i])
            segments[i] <- ProgramSegment(table, segment.First, segment.Count, segment.DType, leaves[i])

    member private prepared.NextScalars (run: ProgramRun) (index: int) =
        let leaves = Array.zeroCreate run.Leaves.Length
        prepared.Fill(run, index, leaves)
        run.Kept(leaves, Span(kept, 0, run.Program.Kept.Length))
        Scalars<Real>(Real kept[0], Real kept[1])
