namespace Optim.Core

open System
open System.Collections.Generic
open Optim.Kernels

/// A step of a rule as a graph of a device repeats it.
module internal CapturableStep =
    /// The program of any step; a NotSupportedException where there is none that a device repeats.
    let programOf (rule: Rule) (options: IOptimizerOptions) : StepProgram =
        let refuse why : unit =
            raise (NotSupportedException $"{rule.Name}: capturable is True, and {why}; set capturable to False")

        match StepRecording.ofAnyStep rule options with
        | ValueSome(struct (assignments, kept)) ->
            let program =
                StepProgram(ResizeArray(StepRecording.arraysOf rule), assignments, kept)

            if not (NumberCode.HasSteps program) then
                refuse "a device does not work out the numbers of its steps"

            program
        | ValueNone ->
            refuse "its formula is another one in some steps"
            Unchecked.defaultof<StepProgram>

    /// The leaves of all programs of the rule, whatever surrounds its steps.
    let leavesOf (rule: Rule) (program: StepProgram) : Node array =
        [|
            Node Operation.StepCount

            for name in rule.ScalarNames do
                Node(Operation.Kept, Name = name)

            for name in [ Surroundings.Unscale; Surroundings.Clip; Surroundings.Limit ] do
                Node(Operation.Given, Name = name)

            for index in 0 .. Surroundings.MostAverages - 1 do
                Node(Operation.Given, Name = Surroundings.WeightOf index)

            for leaf in program.Nodes.ToArray() do
                if leaf.Operation = Operation.Option then
                    leaf
        |]

/// Steps of a rule whose options, counts and kept numbers lie on the device, so that a graph can repeat them: a program of any step, and its leaves there.
[<Sealed>]
type internal CapturableSteps<'o when 'o: not null and 'o: not struct and 'o :> IOptimizerOptions>(rule: Rule<'o>) =
    /// The program of any step, by the formula's switches and what surrounds it.
    let programs = Dictionary<struct (int * Surroundings), ProgramRun>()
    let mutable numbers = Unchecked.defaultof<IReadOnlyDictionary<string, double>>
    let mutable numbersOf = Unchecked.defaultof<'o>

    let numberOf (options: 'o) (name: string) =
        if not (obj.ReferenceEquals(numbersOf, options)) then
            numbers <- StepRecording.numbersOf rule options
            numbersOf <- options

        numbers[name]

    let runOf (prepared: PreparedRows<'o>) (switches: int) =
        let kinds = prepared.Kinds
        let key = struct (switches, kinds)

        match programs.TryGetValue key with
        | true, known -> known
        | _ ->
            let step = CapturableStep.programOf rule prepared.Options
            let made = ProgramRun(if kinds.IsNothing then step else kinds.Around step)
            programs.Add(key, made)
            made

    let segmentOf (prepared: PreparedRows<'o>) (segment: Segment) (ofSegment: LeavesOfSegment) =
        ProgramSegment(
            prepared.State.Lineage.Table,
            segment.First,
            segment.Count,
            segment.DType,
            [||],
            On = segment.On,
            Narrow = prepared.State.Lineage.NarrowOf segment,
            Survey = prepared.Survey,
            There = ofSegment.Leaves
        )

    /// Refuses parameters whose steps no graph of a device can repeat.
    member _.Check(options: 'o, parameters: Parameters, gradients: Gradients, lineage: Lineage) =
        let rates = rule.Table.Rates options

        let refuse row why =
            raise (
                NotSupportedException
                    $"{rule.Name}: capturable is True, and {parameters.Label row} {why}; graphs are of dense steps by kernels on a device of NVIDIA's: set capturable to False"
            )

        for row in 0 .. parameters.Count - 1 do
            match gradients[row].Kind with
            | GradientKind.Sparse -> refuse row "has a sparse gradient"
            | GradientKind.Dense when parameters[row].Count > 0n ->
                if parameters[row].Layout.IsOnCpu then
                    refuse row $"lies on {parameters[row].Device}"

                for KeyValue(number, tensor) in rates.Tensors do
                    if tensor.Device <> parameters[row].Device then
                        refuse row $"lies on {parameters[row].Device}, and the tensor of {number} on {tensor.Device}"

                for tensorRow in lineage.TensorRows do
                    if tensorRow.Row = row then
                        refuse row $"is stepped by {tensorRow.Executor.Name}"
            | _ -> ()

    /// Makes the leaves on the devices, or brings them up to date, and what a step by them needs.
    member _.Make(prepared: PreparedRows<'o>, switches: int, counted: bool, scalarsOf: int -> Scalars<Real>) =
        let lineage, run = prepared.State.Lineage, runOf prepared switches
        let rates = rule.Table.Rates prepared.Options

        /// What a leaf is in a step: an option, a number of what surrounds it, or, before the first one, a count or a kept number.
        let valueOf (index: int) (leaf: Node) =
            match leaf.Operation with
            | Operation.StepCount -> double (lineage.NextCounts.OfClass index + 1L)
            | Operation.Kept ->
                let scalars = scalarsOf index
                scalars[rule.ScalarNames.IndexOf leaf.Name].Value
            | Operation.Given ->
                let place = Surroundings.PlaceOf leaf.Name

                if place < prepared.Numbers.Length then
                    prepared.Numbers[place]
                else
                    0.0
            | _ -> numberOf prepared.Options leaf.Name

        let isKnown =
            match lineage.There with
            | null -> false
            | there ->
                obj.ReferenceEquals(there.Rates, rates)
                && run.Leaves |> Array.forall (fun leaf -> Array.contains leaf there.Nodes)

        if not isKnown then
            // They go on from where the ones before are.
            lineage.NextCounts <- lineage.Settled lineage.NextCounts
            let nodes = CapturableStep.leavesOf rule run.Program

            let tensors =
                nodes
                |> Array.map (fun leaf ->
                    match leaf.Operation, rates.Tensors.TryGetValue leaf.Name with
                    | Operation.Option, (true, tensor) -> Nullable(RateTensor(tensor.Address, tensor.DType))
                    | _ -> Nullable())

            let segments =
                [|
                    for segment in lineage.Segments do
                        match segment.On with
                        | null -> ()
                        | device -> LeavesOfSegment(nodes, tensors, device, segment.Class)
                |]

            for segment in segments do
                segment.Begin(valueOf segment.Class)

            lineage.There <- StepsThere(nodes, rates, lineage.NextCounts, rule.ScalarNames, counted, segments)

        for index in 0 .. lineage.There.Segments.Length - 1 do
            let ofSegment = lineage.There.Segments[index]
            ofSegment.Renew(valueOf ofSegment.Class)
            let segment = segmentOf prepared lineage.Segments[index] ofSegment
            ofSegment.Device.PrepareOnLeaves(run, &segment)

    /// Launches a step of all segments.
    member _.Run(prepared: PreparedRows<'o>, switches: int) =
        let lineage, run = prepared.State.Lineage, runOf prepared switches
        lineage.There.Launch()

        for index in 0 .. lineage.There.Segments.Length - 1 do
            let ofSegment = lineage.There.Segments[index]
            let segment = segmentOf prepared lineage.Segments[index] ofSegment
            ofSegment.Device.RunOnLeaves(run, &segment)
