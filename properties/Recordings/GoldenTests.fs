/// PyTorch's recorded runs, repeated by the shell's optimizers. Names begin with "golden".
module GoldenTests

open System
open System.Collections.Concurrent
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Cli.Data
open Optim.Cli.Training
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit

/// The largest difference from PyTorch for each rule and dtype, and the largest share of what is allowed.
let seen =
    ConcurrentDictionary<struct (string * string), struct (int * float * float)>()

/// Takes a difference into the table of `seen`.
let note optimizer dtype difference share =
    seen.AddOrUpdate(
        struct (optimizer, dtype),
        struct (1, difference, share),
        fun _ struct (count, d, s) -> struct (count + 1, max d difference, max s share)
    )
    |> ignore

let private record case difference share =
    note case.Optimizer case.DType difference share

/// The table of `seen`, empty when no such test ran.
let differences () =
    [
        if not seen.IsEmpty then
            "golden: the largest differences from PyTorch"
            sprintf "  %-10s %-10s %6s  %-18s %s" "rule" "dtype" "cases" "largest difference" "of what is allowed"

            for KeyValue(struct (rule, dtype), struct (count, difference, share)) in seen |> Seq.sortBy (fun pair -> pair.Key) do
                let difference, share = difference.ToString "0.0e+0", share.ToString "0.0e+0"
                sprintf "  %-10s %-10s %6d  %-18s %s" rule dtype count difference share
    ]

let private dtypes =
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

let private isHalf case =
    case.DType = "float16" || case.DType = "bfloat16"

/// One way through the same run: its options lie over those of the case.
type private Traversal =
    {
        Name: string
        Over: (string * Setting) list
    }

let private traversals (rule: Rule) =
    [
        { Name = "as recorded"; Over = [] }
        if rule.OptionNames |> Seq.contains "foreach" then
            {
                Name = "foreach: False"
                Over = [ "foreach", Flag false ]
            }

            {
                Name = "foreach: True"
                Over = [ "foreach", Flag true ]
            }
        if rule.OptionNames |> Seq.contains "fused" then
            {
                Name = "fused: True"
                Over = [ "foreach", Unset; "fused", Flag true ]
            }
    ]

/// What makes ours PyTorch's where quirks differ on purpose.
let private asPyTorch optimizer =
    match optimizer with
    | "Muon" -> [ "precision", Text "bfloat16" ]
    | _ -> []

/// Beside the ordinary tolerance, for each step and parameter: single flips of bfloat16 in Muon's iteration move a parameter by up to 0.003 of
/// its adjusted rate, where one step of the iteration less would move it by 0.018.
let private slack case : float list list =
    if case.Optimizer <> "Muon" then
        [ for step in case.Gradients -> [ for _ in step -> 0.0 ] ]
    else
        let factors =
            [
                for g in case.Groups do
                    for p in g.Parameters do
                        let rows, columns = float p.Shape[0], float p.Shape[1]
                        let given = Map.ofList (case.Options @ g.Options)

                        let factor =
                            match Map.tryFind "adjust_lr_fn" given with
                            | Some(Text "match_rms_adamw") -> 0.2 * sqrt (max rows columns)
                            | Some(Text "spectral_unclamped") -> sqrt (rows / columns)
                            | _ -> sqrt (max 1.0 (rows / columns))

                        let lr =
                            match Map.tryFind "lr" given with
                            | Some(Number lr) -> lr
                            | _ -> 1e-3

                        fun step group ->
                            match case.Rates with
                            | Some rates -> factor * List.item group (List.item step rates)
                            | None -> factor * lr
            ]

        let groupOf =
            [
                for index, g in List.indexed case.Groups do
                    for _ in g.Parameters -> index
            ]

        let mutable sums = factors |> List.map (fun _ -> 0.0)

        [
            for step, gradients in List.indexed case.Gradients do
                sums <-
                    List.zip (List.zip sums gradients) (List.zip factors groupOf)
                    |> List.map (fun ((sum, gradient), (factor, group)) ->
                        if Option.isSome gradient then
                            sum + factor step group
                        else
                            sum)

                [ for sum in sums -> 0.003 * sum ]
        ]

/// The parameters after every step, and the state dict at the end.
let private run case traversal =
    let settings =
        Map.ofList (case.Options @ asPyTorch case.Optimizer @ traversal.Over)
        |> Map.toSeq

    let all =
        [
            for g in case.Groups ->
                [
                    for p in g.Parameters -> param (Option.toObj p.Name) dtypes[case.DType] p.Shape p.Initial
                ]
        ]

    let own = [ for g, list in List.zip case.Groups all -> group list g.Options ]
    let optimizer = new RuleOptimizer(rule case.Optimizer, groups own, options settings)
    let list = List.concat all

    let trajectory =
        [
            for step, gradients in List.indexed case.Gradients do
                case.Rates
                |> Option.iter (fun rates ->
                    for i, lr in List.indexed rates[step] do
                        optimizer.ParamGroups[i]["lr"] <- option (Number lr))

                List.iter2 setGradient list gradients
                optimizer.Step()
                [ for p in list -> values p ]
        ]

    trajectory, optimizer.StateDict()

/// Fails where `actual` is too far from PyTorch's `expected`.
let private compare case slack what (actual: float[]) (expected: float[]) =
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
let private compareHalf case (slack: float list list) (trajectory: float[] list list) =
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

let private compareState case (dict: StateDict) (expected: (int * (string * Golden.Tensor) list) list) =
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

let private compareGroups (dict: StateDict) (expected: (string * JsonElement) list list) =
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
let private recorded state groups =
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

/// Law S7: PyTorch's dict, loaded and saved again, is PyTorch's dict.
let private compareReloaded case =
    match case.State, case.ParamGroups with
    | Some state, Some groups ->
        let list =
            [
                for g in case.Groups ->
                    group
                        [
                            for p in g.Parameters -> param (Option.toObj p.Name) dtypes[case.DType] p.Shape p.Initial
                        ]
                        []
            ]

        let optimizer = new RuleOptimizer(rule case.Optimizer, Kit.groups list, [||])
        let dict = recorded state groups
        optimizer.LoadStateDict dict |> ignore
        let saved = optimizer.StateDict()
        compareGroups saved groups

        // The numbers that are kept in double are written so.
        let saved, dict = saved.Clone(), dict.Clone()

        for KeyValue(_, slots) in dict.State do
            for name in (rule case.Optimizer).ScalarNames do
                slots[name] <- Tree.Tensor(tensor DType.Float64 [||] (slots[name].ToDoubles()))

        let lines (dict: StateDict) = describe dict |> List.sort

        // State that is kept wider than PyTorch's is written wide.
        if not (isHalf case) then
            Expect.equal (lines saved) (lines dict) "the dict, loaded and saved"
    | _ -> ()

let private check element =
    let case = case element
    let rule = rule case.Optimizer
    let trajectory, dict = run case (traversals rule).Head
    let slack = slack case

    let differences =
        [
            if isHalf case then
                yield! compareHalf case slack trajectory
            else
                for step, (actual, expected) in List.indexed (List.zip trajectory case.Expected) do
                    for i, (actual, expected) in List.indexed (List.zip actual expected) do
                        compare case (slack[step][i]) $"step {step}, parameter {i}" actual expected

            match case.State with
            | Some expected -> yield! compareState case dict expected
            | None -> ()
        ]

    case.ParamGroups |> Option.iter (compareGroups dict)
    compareReloaded case

    for traversal in (traversals rule).Tail do
        let again, dictAgain = run case traversal

        for step, (actual, expected) in List.indexed (List.zip again trajectory) do
            for i, (actual, expected) in List.indexed (List.zip actual expected) do
                expectSameBits actual expected $"{traversal.Name}, step {step}, parameter {i}"

        Expect.equal (List.ofSeq dictAgain.State.Keys) (List.ofSeq dict.State.Keys) $"{traversal.Name}: ids in state"

        for KeyValue(id, state) in dict.State do
            for KeyValue(key, value) in state do
                expectSameBits (slot dictAgain id key) (value.ToDoubles()) $"{traversal.Name}, {key} of parameter {id}"

    let largest = differences |> List.map (fun struct (d, _) -> d) |> List.fold max 0.0
    let share = differences |> List.map (fun struct (_, s) -> s) |> List.fold max 0.0
    record case largest share

/// The tests of one file: one for each case, of which those of rules that do not exist are skipped.
/// What cannot be read is one failing test.
let private ofFile (path: string) =
    let file = Path.GetFileName path

    try
        let tests =
            [
                for i, element in cases path |> List.indexed do
                    let label name =
                        tryField name element
                        |> Option.filter (fun value -> value.ValueKind = JsonValueKind.String)
                        |> Option.map Golden.text

                    match label "optimizer", label "dtype" with
                    | Some rule, Some dtype ->
                        let given =
                            match tryField "options" element with
                            | Some options -> options.GetRawText().Replace("\"", "")
                            | None -> ""

                        let gradients = label "gradients" |> Option.defaultValue ""
                        testCase $"{rule} {dtype} #{i} {gradients} {given}" (fun () -> check element)
                    | _ -> testCase $"#{i}" (fun () -> failtestf "case %d of %s has no \"optimizer\" or no \"dtype\"" i path)
            ]

        testList $"golden {file}" tests
    with e ->
        testCase $"golden {file}" (fun () -> failtestf "%s cannot be read: %s" path e.Message)

[<Tests>]
let tests =
    match files "optimizers*.json" with
    | [] -> ptestCase "golden optimizers*.json: no such file" ignore
    | files -> TestList(files |> List.map ofFile, Normal)

/// Whole training runs, as `optim train --like` repeats them: those of rules, dtypes and schedules that exist, and on Fashion-MNIST where that is installed.
[<Tests>]
let training =
    let ofFile (path: string) =
        let file = Path.GetFileName path

        let hasData =
            file.StartsWith("training_digits", StringComparison.Ordinal)
            || Directory.Exists DataSets.FashionMnistFolder

        try
            let runs = RecordedRun.ReadAll path
            let report = lazy (Like.Run runs) // all at once: the data are read once

            let check (run: RecordedRun) () =
                let row = report.Value.Rows |> Seq.find (fun row -> row.Run = run)
                Expect.isEmpty row.Failures $"largest difference of a loss: {row.LargestLossDifference}"

                if not (isNull run.Scheduler) then
                    Expect.isLessThanOrEqual row.LargestRateDifference 1e-12 "rates"

            let test i (run: RecordedRun) =
                let options = String.Join(" ", run.OptionTexts)
                let name = $"#{i} {run.Optimizer} {run.DType} {options} {run.Scheduler}"

                if hasData && isNull (Like.WhyNot run) then
                    testCase name (check run)
                else
                    ptestCase name ignore

            // One after the other: each sets the number of threads.
            testSequenced (testList $"golden training {file}" [ for i, run in Seq.indexed runs -> test i run ])
        with e ->
            testCase $"golden training {file}" (fun () -> failtestf "%s cannot be read: %s" path e.Message)

    match files "training*.json" with
    | [] -> ptestCase "golden training*.json: no such file" ignore
    | files -> TestList(files |> List.map ofFile, Normal)

/// Nothing of golden/ is passed over in silence.
[<Tests>]
let counted =
    test "golden: no recorded run is skipped, and every optimizer has some" {
        let names pattern =
            [
                for file in files pattern do
                    for element in cases file do
                        let name =
                            tryField "optimizer" element
                            |> Option.map Golden.text
                            |> Option.defaultValue "LBFGS"

                        match tryField "dtype" element |> Option.map Golden.text with
                        | Some dtype when not (dtypes.ContainsKey dtype) -> failtestf "%s: no dtype %s" file dtype
                        | _ -> ()

                        (Algorithms.Find name).Name
            ]

        let recorded =
            List.collect names [ "optimizers*.json"; "sparse*.json"; "lbfgs*.json" ]

        // Another folder may have other files, or fewer.
        if isNull (Environment.GetEnvironmentVariable "OPTIM_GOLDEN") then
            for algorithm in Algorithms.All do
                Expect.contains recorded algorithm.Name "a recorded run"

            for file in files "training_digits*.json" do
                for run in RecordedRun.ReadAll file do
                    Expect.isNull (Like.WhyNot run) $"{run.Optimizer} {run.DType}"
    }
