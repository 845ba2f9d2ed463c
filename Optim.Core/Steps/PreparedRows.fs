namespace Optim.Core

open System
open Optim.Kernels

module internal Executors =
    /// Who runs a step over parameters: their provider's threads, or our team, unless tensor by tensor was asked for.
    let choose isForLoop (parameters: Parameters) =
        match parameters.Executor with
        | _ when isForLoop -> Executor.Caller
        | null -> Executor.Team
        | executor -> executor

    /// The device of the first slices that lie on one; null where all lie in the memory of the processor.
    let deviceOf (segments: Segment array) : ProgramDevice | null =
        let mutable found: ProgramDevice | null = null
        let mutable index = 0

        while isNull found && index < segments.Length do
            found <- segments[index].On
            index <- index + 1

        found

/// A step that kernels of devices make in two halves: what they do depends on what they find, and what the processor does comes when that is known.
type internal IGuardedStep =
    /// The device whose kernels make the whole step; null where somebody else takes part.
    abstract Device: ProgramDevice | null
    /// Whether nothing steps.
    abstract IsIdle: bool
    /// What was found in the gradients there, by which the step is left out; null where nobody has looked there. It is set before the surroundings.
    abstract Survey: DeviceSurvey | null with get, set
    /// Hands the step over, but for the processor's part.
    abstract Launch: unit -> unit
    /// The rest of a step that was made.
    abstract Complete: unit -> State
    /// The end of one that was left out: nothing has moved.
    abstract Abandon: unit -> unit

/// What is kept of a step for the next one, whatever the kind of rule.
[<AbstractClass>]
type internal PreparedOptions<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>() =
    inherit PreparedStep()
    let mutable surroundings = StepSurroundings.none
    let mutable kinds = Surroundings()
    let mutable numbers: double array = Array.zeroCreate Surroundings.WeightsAt
    member val Options: 'o = Unchecked.defaultof<'o> with get, set
    member val IsForLoop = false with get, set
    /// Whether a number that keeps a divisor from 0 rounds to 0 in float32.
    member val LosesDivisor = false with get, set
    member val Parameters = Unchecked.defaultof<Parameters> with get, set
    member val Gradients = Unchecked.defaultof<Gradients> with get, set
    member val State = Unchecked.defaultof<State> with get, set
    /// What was found in the gradients on a device; null where nobody has looked there.
    member val Survey: DeviceSurvey | null = null with get, set
    /// How many threads took part.
    member val ThreadsUsed = 1 with get, set
    override prepared.Threads = prepared.ThreadsUsed

    override prepared.Executor =
        let lineage = prepared.State.Lineage

        if lineage.TensorRows.Length > 0 then
            lineage.TensorRows[0].Executor :> Executor
        else
            match Executors.deviceOf lineage.Segments with
            | null -> prepared.KernelExecutor
            | device -> device :> Executor

    /// Who runs the kernels.
    member prepared.KernelExecutor =
        Executors.choose prepared.IsForLoop prepared.Parameters

    /// Whether steps can be noted for a graph of a device, which repeats them.
    abstract IsCapturable: bool
    default _.IsCapturable = false

    /// Refuses to be noted for a graph, where that would repeat the numbers of this step alone.
    member private prepared.RefuseCapture(device: ProgramDevice) =
        if device.IsCapturing && not prepared.IsCapturable then
            raise (
                NotSupportedException
                    $"{prepared.State.Rule}: a graph is being captured on {device.Name}, and this step is not capturable: a graph would repeat its numbers as they are now. Set capturable to True where the rule has it, or step outside of the graph"
            )

    /// Which program surrounds the rows that kernels step densely.
    member _.Kinds = kinds

    /// Its numbers, in their places.
    member _.Numbers = numbers

    /// What the next step takes, with nothing around it.
    member prepared.Begin(parameters, gradients, state) =
        prepared.Parameters <- parameters
        prepared.Gradients <- gradients
        prepared.State <- state
        prepared.BeAlone()

        match Executors.deviceOf state.Lineage.Segments with
        | null -> ()
        | device ->
            prepared.RefuseCapture device
            prepared.MakeDeviceKernels()

    /// Forgets what was to surround a step.
    member prepared.BeAlone() =
        surroundings <- StepSurroundings.none
        kinds <- Surroundings()
        prepared.Survey <- null

    /// Makes the kernels of a surrounded step, so that running it cannot fail.
    abstract MakeKernels: unit -> unit
    default _.MakeKernels() = ()

    /// Makes what devices need for the step as it is surrounded now, so that running it cannot fail.
    abstract MakeDeviceKernels: unit -> unit
    default _.MakeDeviceKernels() = ()

    override prepared.Surround around =
        let lineage, survey = prepared.State.Lineage, prepared.Survey
        prepared.BeAlone()
        prepared.Survey <- survey
        StepSurroundings.check prepared.Parameters.Count around

        if around.Averages.Length > 0 then
            lineage.AverageWatch.Begin()

            lineage.AverageWatch.Add
                {
                    Parameters = prepared.Parameters
                    Gradients = prepared.Gradients
                    State = lineage.Columns
                    Averages = Array.init around.Averages.Length (fun index -> around.Averages[index].Rows)
                }

            lineage.AverageWatch.Check "averages"

        AverageLayout.lay lineage prepared.Parameters around.Averages

        if numbers.Length < Surroundings.WeightsAt + around.Averages.Length then
            numbers <- Array.zeroCreate (Surroundings.WeightsAt + around.Averages.Length)

        StepSurroundings.fill numbers around
        surroundings <- around
        let prologue = StepSurroundings.kinds around

        kinds <-
            if around.Averages.Length > 0 && lineage.AveragesMove then
                StepSurroundings.withAverages around prologue
            else
                prologue

        prepared.MakeKernels()

        if not (isNull (Executors.deviceOf lineage.Segments)) then
            prepared.MakeDeviceKernels()

    /// The averages of a row that is stepped as a whole tensor and move with it, and its program; its gradient is zero later.
    member _.SurroundTensorRow(tensorRow: TensorRow, lineage: Lineage) : struct (Surroundings * TensorView array) =
        if
            surroundings.Averages.Length > 0
            && lineage.AveragesLeft[0].[tensorRow.Row].IsAbsent
            && not surroundings.Averages[0].Rows[tensorRow.Row].IsAbsent
        then
            struct (StepSurroundings.withAverages surroundings kinds.Prologue,
                    Array.append tensorRow.State [| for average in surroundings.Averages -> average.Rows[tensorRow.Row] |])
        else
            struct (kinds.Prologue, tensorRow.State)

    /// Moves the averages of a row by themselves, where they were to move with it and whoever steps it has not moved them.
    member prepared.MoveAverages(row: int) =
        for average in surroundings.Averages do
            Average.move average.Weight [| average.Rows[row] |] [| prepared.Parameters[row] |] (TensorExecutor.OrTeam prepared.Executor)

    /// What a step leaves to passes of their own: averages of rows that it did not go over, and gradients that it has not set to zero.
    member prepared.Finish() =
        let lineage, parameters, gradients =
            prepared.State.Lineage, prepared.Parameters, prepared.Gradients

        for index in 0 .. surroundings.Averages.Length - 1 do
            if lineage.LeavesAverages then
                Average.move
                    surroundings.Averages[index].Weight
                    lineage.AveragesLeft[index]
                    parameters.Items
                    (TensorExecutor.OrTeam prepared.Executor)

            GC.KeepAlive surroundings.Averages[index].Rows

        if surroundings.Zeroes then
            for row in 0 .. gradients.Count - 1 do
                if gradients.Items[row].Kind <> GradientKind.Absent && lineage.SliceOf row < 0 then
                    gradients[row].Values.Clear()

            Planning.zero lineage gradients

        prepared.BeAlone()
        GC.KeepAlive parameters
        GC.KeepAlive gradients

    /// The device whose kernels make the whole step; null where somebody else takes part.
    abstract GuardDevice: ProgramDevice | null

    /// Whether nothing steps.
    abstract IsIdle: bool

    /// Steps all rows.
    abstract Launch: unit -> unit

    /// What the step leaves to passes of their own, and the state after it.
    abstract Complete: unit -> State

    override prepared.Run() =
        prepared.Launch()
        prepared.Complete()

    interface IGuardedStep with
        member prepared.Device = prepared.GuardDevice
        member prepared.IsIdle = prepared.IsIdle

        member prepared.Survey
            with get () = prepared.Survey
            and set survey = prepared.Survey <- survey

        member prepared.Launch() = prepared.Launch()
        member prepared.Complete() = prepared.Complete()
        member prepared.Abandon() = prepared.BeAlone()

/// A step of rows that kernels go over slice by slice, kept between steps.
[<AbstractClass>]
type internal PreparedRows<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>() =
    inherit PreparedOptions<'o>()

    /// Steps a row as a whole tensor.
    abstract StepTensorRow: tensorRow: TensorRow -> unit

    /// Whether rows that are stepped as whole tensors need what the slices come to, and come after them.
    abstract TensorRowsWait: bool
    default _.TensorRowsWait = false

    /// Steps the slices of the tables, in order; says how many threads took part.
    abstract StepSlices: lineage: Lineage * executor: Executor -> int

    /// The state after it.
    abstract Advance: state: State -> State

    /// Which program surrounds the rows of sparse gradients: averages move over whole parameters, later.
    member prepared.SparseKinds = prepared.Kinds.Prologue

    override prepared.Launch() =
        let state = prepared.State
        state.Live()
        let lineage = state.Lineage
        prepared.ThreadsUsed <- 1

        let stepTensorRows () =
            for tensorRow in lineage.TensorRows do
                prepared.StepTensorRow tensorRow

        // First of all, if they can: whoever steps them may run out of memory, and then nothing should have moved.
        if not prepared.TensorRowsWait then
            stepTensorRows ()

        let moves = prepared.Kinds.Averages > 0
        Planning.gather lineage prepared.Parameters prepared.Gradients moves
        prepared.ThreadsUsed <- prepared.StepSlices(lineage, prepared.KernelExecutor)

        if prepared.TensorRowsWait then
            stepTensorRows ()

        for sparse in lineage.Sparse do
            sparse.Gradient.KeepAlive()

        Planning.scatter lineage prepared.Parameters moves

    override prepared.Complete() =
        prepared.Finish()
        prepared.Advance prepared.State

    override prepared.GuardDevice =
        let lineage = prepared.State.Lineage

        match Executors.deviceOf lineage.Segments with
        | null -> null
        | device ->
            let isAlone =
                lineage.TensorRows.Length = 0
                && lineage.Sparse.Length = 0
                && lineage.Segments
                   |> Array.forall (fun segment -> obj.ReferenceEquals(segment.On, device))

            if isAlone then device else null

    override prepared.IsIdle =
        let lineage = prepared.State.Lineage

        lineage.Segments.Length = 0
        && lineage.TensorRows.Length = 0
        && lineage.Sparse.Length = 0

    /// The class of a row's step, and that step, counted from 1.
    member prepared.StepOf(row: int) =
        let counts = prepared.State.Lineage.NextCounts
        let index = counts.Class row
        struct (index, counts.OfClass index + 1L)
