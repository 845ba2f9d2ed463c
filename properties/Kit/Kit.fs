/// What the tests share: parameters from plain numbers, options by name, comparison bit for bit.
module Kit

open System
open System.Collections.Generic
open System.Globalization
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference

/// Round-trip text of a number, whatever the culture.
let text (number: float) =
    number.ToString("R", CultureInfo.InvariantCulture)

/// Bytes of managed memory that an action takes: the least of some times, as what the runtime compiles in between is not its own.
let bytesOf (act: unit -> unit) =
    Seq.init 5 (fun _ ->
        let before = GC.GetAllocatedBytesForCurrentThread()
        act ()
        GC.GetAllocatedBytesForCurrentThread() - before)
    |> Seq.min

/// How often a property is tried, with the seed of the laws.
let drawn count =
    { FsCheckConfig.defaultConfig with
        maxTest = count
        replay = Some(Optim.Laws.Statement.seed, 1UL, None)
    }

let rec option setting : OptionValue =
    match setting with
    | Number number -> OptionValue.op_Implicit number
    | Flag flag -> OptionValue.op_Implicit flag
    | Pair(first, second) -> OptionValue.op_Implicit (struct (first, second))
    | Several settings -> OptionValue.TupleOf(List.map option settings)
    | Text text -> OptionValue.Text text
    | Unset -> OptionValue.None

let options (settings: seq<string * Setting>) =
    [| for name, setting in settings -> struct (name, option setting) |]

let rule name =
    match Rules.All |> Seq.tryFind (fun (rule: Rule) -> rule.Name = name) with
    | Some rule -> rule
    | None -> failtestf "there is no rule %s" name

/// The element-wise rules that take dense gradients.
let denseRules =
    List.ofSeq Rules.All
    |> List.filter (fun rule ->
        rule.Sparse rule.Defaults <> SparseGradients.Required
        && rule.Scope = RuleScope.Elements)

/// The rules, each with options that use all its columns.
let everyRule =
    [
        "SGD", [ "lr", Number 0.1; "momentum", Number 0.9 ]
        "Adadelta", [ "lr", Number 0.5 ]
        "Adagrad", [ "lr", Number 0.1; "lr_decay", Number 0.1 ]
        "Adam", [ "lr", Number 0.01; "amsgrad", Flag true ]
        "AdamW", [ "lr", Number 0.01; "weight_decay", Number 0.1 ]
        "Adamax", [ "lr", Number 0.01 ]
        "ASGD", [ "lr", Number 0.1; "t0", Number 1.0 ]
        "NAdam", [ "lr", Number 0.01 ]
        "RAdam", [ "lr", Number 0.01 ]
        "RMSprop", [ "lr", Number 0.01; "momentum", Number 0.9; "centered", Flag true ]
        "Rprop", [ "lr", Number 0.01 ]
    ]

/// Whether a parameter has state before its first step.
let hasStateAtOnce name = (name = "Adagrad")

let tensor dtype (shape: int64[]) (values: float[]) =
    TensorView.OfDoubles(dtype, ReadOnlySpan values, ReadOnlySpan shape)

/// A parameter of its own memory. `name` may be null.
let param name dtype shape values =
    Param.Of(name, tensor dtype shape values)

let vector name (values: float list) =
    param name DType.Float64 [| int64 values.Length |] (Array.ofList values)

let parameters (list: seq<Param>) =
    list |> Seq.map (fun p -> p :> IParameterOrGroup)

let groups (list: seq<ParameterGroup>) =
    list |> Seq.map (fun group -> group :> IParameterOrGroup)

/// A tensor of some elements of another one.
let part (whole: TensorView) start (shape: int64 list) (strides: int64 list) =
    let layout =
        Layout.Strided(whole.DType, ReadOnlySpan(List.toArray shape), ReadOnlySpan(List.toArray strides))

    TensorView(whole.Address + nativeint (start * whole.DType.Size()), layout, whole.Owner)

let slice whole start length = part whole start [ length ] [ 1L ]

/// Parameters of any provider.
let asParameters (list: seq<Param>) =
    list |> Seq.map (fun p -> p :> IParameter)

/// An exponential average of parameters.
let emaOf decay (list: seq<Param>) =
    AveragedParameters(asParameters list, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn decay)

let values (p: Param) = p.View.ToDoubles()

let setGradient (p: Param) (gradient: float[] option) =
    match gradient with
    | None -> p.DropGradient()
    | Some gradient -> p.SetGradient(tensor p.View.DType (Seq.toArray p.View.Shape) gradient)

/// A sparse gradient: indices of rows, and their values one after the other.
let setSparseGradient (p: Param) (rows: int64 list) (values: float list) =
    p.SetSparseGradient(ReadOnlySpan(List.toArray rows), ReadOnlySpan(List.toArray values))

let gradient (p: Param) =
    if p.HasGradient then
        Some(p.GradientView.ToDoubles())
    else
        None

let group (list: seq<Param>) (settings: seq<string * Setting>) =
    let group = ParameterGroup(list |> Seq.map (fun p -> p :> IParameter))

    for name, setting in settings do
        group[name] <- option setting

    group

/// An optimizer of one group.
let optimizer name (settings: seq<string * Setting>) (list: seq<Param>) =
    new RuleOptimizer(rule name, parameters list, options settings)

/// A step on a gradient of one element.
let stepOn (optimizer: Optimizer) (p: Param) (gradient: float) =
    setGradient p (Some [| gradient |])
    optimizer.Step()

/// What a scheduler warns of from now on.
let warningsOf (scheduler: LRScheduler) =
    let warnings = ResizeArray<string>()
    scheduler.add_Warning (fun _ warning -> warnings.Add warning)
    warnings

/// The elements of a column of a parameter's state.
let column (optimizer: Optimizer) (p: Param) (name: string) =
    let state = optimizer.State p
    state[name].ToDoubles()

/// The elements of a tensor in a state dict.
let slot (dict: StateDict) id (key: string) =
    let state = dict.State[id]
    state[key].ToDoubles()

/// Bits of a double; all NaN are one.
let bits (value: float) =
    if Double.IsNaN value then
        Int64.MaxValue
    else
        BitConverter.DoubleToInt64Bits value

let sameBits (a: float[]) (b: float[]) =
    a.Length = b.Length && Array.forall2 (fun a b -> bits a = bits b) a b

let expectSameBits (actual: float[]) (expected: float[]) what =
    Expect.equal actual.Length expected.Length $"{what}: number of elements"

    for i in 0 .. actual.Length - 1 do
        if bits actual[i] <> bits expected[i] then
            failtestf "%s, element %d: %s, expected %s" what i (text actual[i]) (text expected[i])

/// Everything that a state dict says, as text: for comparing two of them, bits and order included.
let describe (dict: StateDict) =
    let tensor (view: TensorView) =
        let shape = String.Join(",", view.Shape)
        let elements = String.Join(" ", view.ToDoubles() |> Array.map text)
        $"{view.DType.Name()}[{shape}] {elements}"

    [
        for KeyValue(id, state) in dict.State do
            for KeyValue(key, value) in state do
                match value with
                | Tree.Tensor view -> $"{id} {key} = {tensor view}"
                | value -> $"{id} {key} = {value}"
        for group in dict.ParamGroups do
            for KeyValue(key, value) in group do
                $"{key} = {value}"

            let ids = String.Join(",", group.Params)
            $"params {ids}"

            if not (isNull group.ParamNames) then
                let names = String.Join(",", group.ParamNames)
                $"names {names}"
    ]

/// A folder that is gone afterwards.
let inFolder action =
    let folder = Directory.CreateTempSubdirectory "optim"

    try
        action (fun name -> Path.Combine(folder.FullName, name))
    finally
        folder.Delete true

/// What nobody holds any more is gone.
let collect () =
    GC.Collect()
    GC.WaitForPendingFinalizers()
    GC.Collect()

/// The process grows by less than so many bytes in a round. What else it does comes in between, so one round of three is enough: what
/// leaves memory behind does so in each.
let expectFlat (bytes: int64) (round: unit -> unit) =
    let workingSet () =
        collect ()
        Environment.WorkingSet

    let rec attempt left =
        let before = workingSet ()
        round ()
        let grown = workingSet () - before

        if grown >= bytes && left > 1 then
            attempt (left - 1)
        else
            Expect.isLessThan grown bytes "growth of the working set"

    attempt 3

/// Small deterministic numbers in (-2, 2), for gradients.
let noise seed count =
    let random = Random(seed: int)
    Array.init count (fun _ -> 4.0 * random.NextDouble() - 2.0)

/// Three parameters by name, of two, one and three elements.
let abc () =
    [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ]; vector "c" [ -1.0; 0.5; 0.25 ] ]

/// A step of these parameters on gradients of noise.
let stepOnNoise (optimizer: Optimizer) seed (list: Param list) =
    for i, p in List.indexed list do
        setGradient p (Some(noise (seed + 31 * i) (values p).Length))

    optimizer.Step()

/// The exception that `action` throws.
let thrown what (action: unit -> unit) : exn =
    let found =
        try
            action ()
            None
        with e ->
            Some e

    match found with
    | Some e -> e
    | None -> failtestf "%s was accepted" what

/// The exception that `action` throws, which must be a 'e and say each of `words`.
let refuses<'e when 'e :> exn> what (words: string list) (action: unit -> unit) =
    match thrown what action with
    | :? 'e as e ->
        for word in words do
            if not (e.Message.Contains(word, StringComparison.OrdinalIgnoreCase)) then
                failtestf "%s: the message does not say \"%s\": %s" what word e.Message
    | e -> failtestf "%s: %s instead of %s: %s" what (e.GetType().Name) typeof<'e>.Name e.Message
