/// How near a recorded run's parameters, state and groups must be to PyTorch's.
module GoldenComparison

open System
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit

let dtypes =
    Map
        [
            for dtype in
                [
                    DType.Float16
                    DType.BFloat16
                    DType.Float32
                    DType.Float64
                    DType.Complex64
                    DType.Complex128
                ] -> dtype.Name(), dtype
        ]

let isHalf case =
    case.DType = "float16" || case.DType = "bfloat16"

/// Fails where `actual` is too far from PyTorch's `expected`.
let compare case slack what (actual: float[]) (expected: float[]) =
    Expect.equal actual.Length expected.Length $"{what}: number of elements"
    let mutable largest, share = 0.0, 0.0

    for i in 0 .. actual.Length - 1 do
        let difference =
            if bits actual[i] = bits expected[i] || actual[i] = expected[i] then
                0.0
            else
                abs (actual[i] - expected[i])

        let allowed = Golden.allowed case expected[i] + slack

        if not (difference <= allowed) then
            failtestf "%s, element %d: %s, PyTorch %s; off by %g, allowed %g" what i (text actual[i]) (text expected[i]) difference allowed

        largest <- max largest difference
        share <- max share (if difference = 0.0 then 0.0 else difference / allowed)

    struct (largest, share)

/// Half types: within one unit in the last place of the largest value that an element has had so far; the differences are in such units.
let compareHalf case (slack: float list list) (trajectory: float[] list list) =
    let digits, smallest = if case.DType = "float16" then 10, -24 else 7, -133

    let ulp (value: float) =
        if value = 0.0 then
            Math.ScaleB(1.0, smallest)
        else
            Math.ScaleB(1.0, max smallest (Math.ILogB value - digits))

    let largest =
        [|
            for g in case.Groups do
                for p in g.Parameters -> p.Initial |> Array.map abs
        |]

    [
        for step, (actual, expected) in List.indexed (List.zip trajectory (Option.get case.WideState)) do
            for k, (actual, expected) in List.indexed (List.zip actual expected) do
                let reached = largest[k]

                for i in 0 .. expected.Length - 1 do
                    if Double.IsFinite expected[i] then
                        reached[i] <- max reached[i] (abs expected[i])

                    let difference =
                        if bits actual[i] = bits expected[i] || actual[i] = expected[i] then
                            0.0
                        else
                            max 0.0 (abs (actual[i] - expected[i]) - slack[step][k]) / ulp (reached[i])

                    if not (difference <= 1.0) then
                        failtestf "step %d, parameter %d, element %d: %s, expected %s" step k i (text actual[i]) (text expected[i])

                    struct (difference, difference)
    ]

let compareState case (dict: StateDict) (expected: (int * (string * Golden.Tensor) list) list) =
    let steppedIds = [ for id, _ in expected -> id ] |> List.sort
    Expect.equal (List.ofSeq dict.State.Keys) steppedIds "ids in state"

    [
        for id, slots in expected do
            let state = dict.State[id]
            let keys = Set.ofSeq state.Keys
            Expect.equal keys (Set.ofList (List.map fst slots)) $"keys of the state of parameter {id}"

            for key, (value: Golden.Tensor) in slots do
                let actual = state[key].AsTensor()
                let what = $"{key} of parameter {id}"
                Expect.equal (Array.ofSeq actual.Shape) value.Shape $"shape of {what}"

                if not (isHalf case || List.contains key [ "step"; "eta"; "mu"; "mu_product" ]) then
                    Expect.equal (actual.DType.Name()) value.DType $"dtype of {what}"

                // The state of half types is wider here.
                if not (isHalf case) || key = "step" then
                    compare case 0.0 what (actual.ToDoubles()) value.Values
    ]

let compareGroups (dict: StateDict) (expected: (string * JsonElement) list list) =
    Expect.equal dict.ParamGroups.Count expected.Length "number of groups"

    for i, expected in List.indexed expected do
        let group = dict.ParamGroups[i]

        let keys =
            set
                [
                    yield! group.Keys |> Seq.filter ((<>) "precision")
                    "params"
                    if not (isNull group.ParamNames) then
                        "param_names"
                ]

        Expect.equal keys (Set.ofList (List.map fst expected)) $"keys of group {i}"

        for key, value in expected do
            match key with
            | "foreach"
            | "fused" -> ()
            | "params" -> Expect.equal (List.ofSeq group.Params) (value |> list (number >> int)) $"params of group {i}"
            | "param_names" -> Expect.equal (List.ofSeq group.ParamNames) (value |> list Golden.text) $"names of group {i}"
            | _ -> Expect.equal group[key] (option (setting value)) $"{key} of group {i}"

/// PyTorch's own dict, as a StateDict.
let recorded state groups =
    let dict = StateDict()

    for id, slots in state do
        let row = ParameterState()

        for key, (value: Golden.Tensor) in slots do
            row[key] <- Tree.Tensor(tensor (DTypes.Parse value.DType) value.Shape value.Values)

        dict.State[id] <- row

    for entries in groups do
        let group = GroupState()

        for key, value in entries do
            match key with
            | "params" -> group.Params.AddRange(value |> list (number >> int))
            | "param_names" -> group.ParamNames <- System.Collections.Generic.List(value |> list Golden.text)
            | _ -> group[key] <- option (setting value)

        dict.ParamGroups.Add group

    dict
