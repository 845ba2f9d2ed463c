/// Schedulers from recorded specifications.
module ScheduleKit

open System
open System.Collections.Generic
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Reference
open Golden
open Kit

/// A value of an option from JSON.
let rec optionOf (element: JsonElement) : OptionValue =
    match element.ValueKind with
    | JsonValueKind.Null -> OptionValue.None
    | JsonValueKind.True -> OptionValue.Bool true
    | JsonValueKind.False -> OptionValue.Bool false
    | JsonValueKind.Array -> OptionValue.TupleOf [ for item in element.EnumerateArray() -> optionOf item ]
    | JsonValueKind.Number ->
        match element.TryGetInt64() with
        | true, whole -> OptionValue.Int whole
        | _ -> OptionValue.Float(element.GetDouble())
    | JsonValueKind.String ->
        match element.GetString() with
        | "nan"
        | "inf"
        | "-inf" -> OptionValue.Float(number element)
        | text -> OptionValue.Text(nonNull text)
    | _ -> OptionValue.Text(element.GetRawText())

/// A tree from JSON, as a state dict is recorded; a dict whose keys are numbers is a Counter.
let rec treeOf (element: JsonElement) : Tree =
    match element.ValueKind with
    | JsonValueKind.Array -> Tree.ListOf [ for item in element.EnumerateArray() -> treeOf item ]
    | JsonValueKind.Object ->
        let entries = pairs id element
        let isNumber (key: string) = key |> Seq.forall Char.IsDigit

        if entries <> [] && entries |> List.forall (fst >> isNumber) then
            Tree.MapOf(
                MapKind.Counter,
                [
                    for key, value in entries -> KeyValuePair(TreeKey.Int(int64 key), treeOf value)
                ]
            )
        else
            Tree.MapOf(MapKind.Dict, [ for key, value in entries -> KeyValuePair(TreeKey.Text key, treeOf value) ])
    | _ -> Tree.op_Implicit (optionOf element)

/// A recorded function of a number.
let func (element: JsonElement) : float -> float =
    match tryField "table" element with
    | Some table ->
        let table = numbers table
        fun x -> table[min (int x) (table.Length - 1)]
    | None ->
        match field "kind" element |> Golden.text with
        | "pow" ->
            let b = field "base" element |> number
            fun x -> Math.Pow(b, x)
        | "inverse" ->
            let rate = field "rate" element |> number
            fun x -> 1.0 / (1.0 + rate * x)
        | "constant" ->
            let value = field "value" element |> number
            fun _ -> value
        | other -> raise (FormatException $"an unknown function {other}")

let private perGroup (element: JsonElement) =
    match element.ValueKind with
    | JsonValueKind.Array -> PerGroup.op_Implicit (numbers element)
    | _ -> PerGroup.op_Implicit (number element)

let private functions (element: JsonElement) =
    let one element =
        Func<int, float>(fun epoch -> func element (float epoch))

    match element.ValueKind with
    | JsonValueKind.Array -> Choice2Of2(list one element)
    | _ -> Choice1Of2(one element)

/// A scheduler of a class with PyTorch's arguments; `inside` are those of a container.
let scheduler (optimizer: Optimizer) (name: string) (args: (string * JsonElement) list) (inside: LRScheduler list) : LRScheduler =
    let given = Map.ofList args
    let arg name = Map.tryFind name given

    let lastEpoch =
        match arg "last_epoch" with
        | Some value -> int (number value)
        | None -> -1

    match name with
    | "LambdaLR" ->
        match functions given["lr_lambda"] with
        | Choice1Of2 f -> LambdaLR(optimizer, f, lastEpoch)
        | Choice2Of2 list -> LambdaLR(optimizer, list, lastEpoch)
    | "MultiplicativeLR" ->
        match functions given["lr_lambda"] with
        | Choice1Of2 f -> MultiplicativeLR(optimizer, f, lastEpoch)
        | Choice2Of2 list -> MultiplicativeLR(optimizer, list, lastEpoch)
    | "CyclicLR" when (arg "scale_fn").IsSome ->
        CyclicLR(
            optimizer,
            perGroup given["base_lr"],
            perGroup given["max_lr"],
            stepSizeUp = (arg "step_size_up" |> Option.map (number >> int) |> Option.defaultValue 2000),
            stepSizeDown = (arg "step_size_down" |> Option.map (number >> int) |> Option.toNullable),
            scaleFn = Func<_, _>(func given["scale_fn"]),
            scaleMode =
                (if arg "scale_mode" |> Option.map Golden.text = Some "iterations" then
                     CyclicScaleMode.Iterations
                 else
                     CyclicScaleMode.Cycle),
            cycleMomentum = (arg "cycle_momentum" |> Option.forall (fun value -> value.GetBoolean())),
            lastEpoch = lastEpoch
        )
    | "ChainedScheduler" -> ChainedScheduler inside
    | "SequentialLR" -> SequentialLR(optimizer, inside, [ for m in numbers given["milestones"] -> int m ])
    | _ -> Schedulers.Create(name, optimizer, [ for name, value in args -> struct (name, optionOf value) ])

/// A scheduler of a specification with its children.
let rec ofSpec (optimizer: Optimizer) (spec: JsonElement) : LRScheduler =
    let args =
        spec |> tryField "args" |> Option.map (pairs id) |> Option.defaultValue []

    let inside =
        spec
        |> tryField "children"
        |> Option.map (list (ofSpec optimizer))
        |> Option.defaultValue []

    scheduler optimizer (field "scheduler" spec |> Golden.text) args inside

/// An optimizer with a group for each rate, as the recordings have it.
let optimizerOf name (settings: (string * Setting) list) (rates: float list) =
    let all =
        [
            for i, lr in List.indexed rates -> group [ vector $"w{i}" [ 0.0 ] ] [ "lr", Number lr ]
        ]

    new RuleOptimizer(rule name, groups all, options (("lr", Number 0.1) :: settings)) :> Optimizer

/// SGD with a momentum, of one group.
let sgd lr =
    optimizerOf "SGD" [ "momentum", Number 0.9 ] [ lr ]

/// The same for all groups.
let all (value: float) = PerGroup.op_Implicit value

let rates (optimizer: Optimizer) =
    [
        for group in optimizer.ParamGroups -> OptionValue.op_Explicit group["lr"]: float
    ]

/// What is nearest to momentum in a group: both of betas where there are betas.
let momenta (optimizer: Optimizer) : float list list =
    [
        for group in optimizer.ParamGroups ->
            match
                group[if Seq.contains "betas" group.OptionNames then
                          "betas"
                      else
                          "momentum"]
            with
            | OptionValue.Tuple betas -> [ for beta in betas -> OptionValue.op_Explicit beta ]
            | value -> [ OptionValue.op_Explicit value ]
    ]

/// Whether a number is within a relative distance.
let near relative (actual: float) (expected: float) =
    actual = expected || abs (actual - expected) <= relative * abs expected

let expectNear relative (actual: float list) (expected: float list) what =
    Expect.equal actual.Length expected.Length $"{what}: number of values"

    for actual, expected in List.zip actual expected do
        if not (near relative actual expected) then
            failtestf "%s: %s, PyTorch %s" what (Kit.text actual) (Kit.text expected)

/// Compares two states: numbers within 1e-12 relative, and everything else, kinds and keys included, exactly.
let rec compareTrees what (actual: Tree) (expected: Tree) =
    match actual, expected with
    | (Tree.Int _ | Tree.Float _), (Tree.Int _ | Tree.Float _) ->
        // PyTorch indexes tables by what it restores: 1.0 in the place of 1 is an error there.
        Expect.equal actual.Kind expected.Kind $"{what}: whole or not"
        let actual: float = Tree.op_Explicit actual
        expectNear 1e-12 [ actual ] [ Tree.op_Explicit expected ] what
    | Tree.Map a, Tree.Map b ->
        Expect.equal (Set [ for key in a.Keys -> string key ]) (Set [ for key in b.Keys -> string key ]) $"{what}: keys"

        for entry in b.Entries do
            compareTrees $"{what}.{entry.Key}" a[entry.Key] entry.Value
    | Tree.List a, Tree.List b ->
        Expect.equal a.Length b.Length $"{what}: length"

        for i in 0 .. a.Length - 1 do
            compareTrees $"{what}[{i}]" a[i] b[i]
    | _ -> Expect.equal (string actual) (string expected) what
