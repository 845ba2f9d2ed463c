/// PyTorch's recorded runs, repeated by the shell's optimizers. Names begin with "golden".
module GoldenTests

open System
open System.Collections.Concurrent
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Cli.Training
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit
open GoldenComparison

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

/// One test for each case.
let private ofFile path root =
    [
        for i, element in list id root |> List.indexed do
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

[<Tests>]
let tests = TestList(Golden.recorded "optimizers*.json" ofFile, Normal)

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
                    Expect.isNull (Replay.WhyNot run) $"{run.Optimizer} {run.DType}"
    }
