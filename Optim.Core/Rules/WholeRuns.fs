namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A definition run on shapes: it notes what is declared.
[<Sealed>]
type internal WholeTrial(rule: string, given: DefinedOptions | null, shape: ImmutableArray<int64>, step: int64) =
    inherit WholeRun()

    let tensor (shape: ImmutableArray<int64>) : WholeTensor =
        ShapeTensor(DType.Float64, (if shape.IsEmpty then ImmutableArray.Create 1L else shape)) :> WholeTensor

    let options = List<DefinedOption>()
    let columns = Dictionary<string, ImmutableArray<int64>>(StringComparer.Ordinal)
    let names = List<string>()
    let set = HashSet<string>(StringComparer.Ordinal)
    let optOuts = List<struct (string * string)>()

    let refuse (words: string) =
        raise (ArgumentException $"{rule}: {words}")

    let requirements = List<struct (string * bool * string)>()
    member _.Options = options
    /// Conditions of options, whether they hold, and in words.
    member _.Requirements = requirements
    member _.Names = names
    member _.Columns = columns
    member _.OptOuts = optOuts
    override _.Parameter = tensor shape
    override _.Gradient = tensor shape
    override _.Shape = shape
    override _.Step = step

    override _.Option(name, declare) =
        let declared = declare ()

        if options.Exists(fun known -> known.Name = name) then
            refuse $"option '{name}' is declared twice"

        DefinedOption.Add(options, declared)

        match given with
        | null -> declared.Default
        | given ->
            let index = given.Names.IndexOf name
            if index < 0 then declared.Default else given.Values[index]

    override _.Column(name, shape) =
        if not (columns.TryAdd(name, shape)) then
            refuse $"column '{name}' is declared twice"

        names.Add name
        tensor shape

    override _.Set(name, value) =
        match columns.TryGetValue name with
        | true, shape ->
            if not (set.Add name) then
                refuse $"column '{name}' is set twice"

            let room = if shape.IsEmpty then ImmutableArray.Create 1L else shape

            if not (value.Shape.AsSpan().SequenceEqual(room.AsSpan()) || value.Count = 1n) then
                let words (shape: ImmutableArray<int64>) = String.Join(", ", shape)
                refuse $"column '{name}' is of shape [{words room}], and is set to one of [{words value.Shape}]"
        | _ -> refuse $"'{name}' is set, and is no column of the rule"

    /// Whether it asks for sums over all parameters.
    member val Looks = false with get, set

    override trial.SumOverAll value =
        ignore value
        trial.Looks <- true
        tensor ImmutableArray.Empty

    override _.Require(option, holds, words) =
        requirements.Add(struct (option, holds, words))

    override _.OptOut(law, reason) = optOuts.Add(struct (law, reason))

    /// Runs it, and refuses what is wrong with it.
    member run.Try(definition: WholeDefinition -> WholeTensor) =
        let next = definition (WholeDefinition run)

        if isNull (box next) then
            refuse "the definition returns null; it returns the parameter after the step"

        if next.Count <> run.Parameter.Count && next.Count <> 1n then
            refuse $"the parameter of {run.Parameter} becomes one of {next}"

        for name in names do
            if not (set.Contains name) then
                refuse $"column '{name}' is declared and never set"

/// A definition run on tensors.
[<AbstractClass>]
type internal WholeStep(options: DefinedOptions, places: Dictionary<string, int>, shape: ImmutableArray<int64>, step: int64) =
    inherit WholeRun()
    override _.Shape = shape
    override _.Step = step

    override _.Option(name, _) =
        options.Values[options.Names.IndexOf name]

    override _.Require(_, _, _) = ()
    override _.OptOut(_, _) = ()
    /// The place of a column.
    member _.Place(name: string) = places[name]

/// The same in the memory of the processor.
[<Sealed>]
type internal HostRun(options, places, shape, step, tensors: StepTensors, home: HostWhole, isLook: bool) =
    inherit WholeStep(options, places, shape, step)

    let room (shape: ImmutableArray<int64>) =
        if shape.IsEmpty then ImmutableArray.Create 1L else shape

    let given address shape =
        home.Given(tensors.Parameter.DType, room shape, address)

    let parameter = given tensors.Parameter.Address shape
    let gradient = given tensors.Gradient.Address shape
    let columns = Dictionary<string, HostTensor>(StringComparer.Ordinal)
    let mutable sums = 0
    override _.Parameter = parameter :> WholeTensor
    override _.Gradient = gradient :> WholeTensor

    override run.Column(name, shape) =
        let column = given (tensors.Address(run.Place name)) shape
        columns.Add(name, column)
        column :> WholeTensor

    override _.Set(name, value) =
        if not isLook then
            home.Set(columns[name], value)

    override _.SumOverAll value =
        let place = sums
        sums <- sums + 1

        if isLook then
            home.AddTotal(place, value)

        parameter.Constant(home.Total place)

    /// Runs it for its sums over all parameters alone.
    member run.Look(definition: WholeDefinition -> WholeTensor) =
        try
            definition (WholeDefinition run) |> ignore
        finally
            home.Forget()

    /// Runs it; parameter and columns change.
    member run.Run(definition: WholeDefinition -> WholeTensor) =
        try
            home.Set(parameter, definition (WholeDefinition run))
            home.Finish()
            home.Threads
        finally
            home.Forget()

/// The same on lanes.
[<Sealed>]
type internal LaneRun<'v when 'v: struct and 'v: (new: unit -> 'v) and 'v :> ValueType and 'v :> IWhole<'v>>
    (options, places, shape, step, dtype: DType, row: 'v array) =
    inherit WholeStep(options, places, shape, step)

    let tensor (lane: 'v) (shape: ImmutableArray<int64>) : WholeTensor =
        LaneTensor<'v>(lane, dtype, (if shape.IsEmpty then ImmutableArray.Create 1L else shape)) :> WholeTensor

    let next = List<struct (int * 'v)>()

    let lane (value: WholeTensor) =
        (value.To dtype :?> LaneTensor<'v>).Lane

    override _.Parameter = tensor row[0] shape
    override _.Gradient = tensor row[1] shape
    override run.Column(name, shape) = tensor row[2 + run.Place name] shape

    override run.Set(name, value) =
        next.Add(struct (2 + run.Place name, lane value))

    override _.SumOverAll _ =
        raise (NotSupportedException "sums over all parameters are not worked out on other devices")

    /// Runs it; the row becomes that after the step.
    member run.Run(definition: WholeDefinition -> WholeTensor) =
        let parameter = lane (definition (WholeDefinition run))

        for struct (place, value) in next do
            row[place] <- value

        row[0] <- parameter
