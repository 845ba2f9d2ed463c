namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// P: parameters in lists and groups.
[<RequireQualifiedAccess>]
module Partition =
    open Terms

    let private everyRule (_: Rule) = true

    let private only = Snapshot.only

    let private several rule =
        { Recipe.any rule with
            Absent = 25
            Length = Gen.choose (1, 40)
        }

    /// P1: groups with the same options are one group.
    let groups =
        Statement.withDraw
            "P1"
            "one group of parameters is as many groups with the same options, in any order"
            everyRule
            several
            (Gen.choose (0, 1_000_000))
            (fun subject seed s ->
                let expected = Host.final subject s
                let parameters = Host.parameters s
                let order = Array.init parameters.Length id
                Random(seed).Shuffle order

                let groups =
                    [ for k in order -> Host.group subject.Rule s.Options [ parameters[k] ] ]

                let optimizer = subject.Shell.Open subject.Rule [] groups
                Host.run subject optimizer s.DType parameters s.History

                Snapshot.compare Comparator.bit expected (Host.read s.DType optimizer parameters)
                |> Verdict.tellingIf (parameters.Length > 1 && expected.Theta <> s.Start))

    /// P2: the parameters of a list do not know of each other.
    let separate =
        Statement.about
            "P2"
            "each parameter of a list goes as if it were alone, under the gradients that it got"
            everyRule
            several
            (fun subject s ->
                let together = Run.final subject s

                seq {
                    for k in 0 .. s.Start.Length - 1 do
                        let own =
                            s.History
                            |> Array.map (fun row -> [| row[k] |])
                            |> Array.filter (fun row -> row[0].IsSome)

                        let alone =
                            Run.final
                                subject
                                { s with
                                    Start = [| s.Start[k] |]
                                    History = own
                                }

                        Snapshot.compare Comparator.bit (only 0 alone) (only k together)
                        |> Verdict.where (sprintf "parameter %d of the list" k)
                }
                |> Verdict.all
                |> Verdict.tellingIf (s.Start.Length > 1 && Run.moves subject s))

    let private usual =
        [
            "lr", Options.ofNumber 0.01
            "weight_decay", Options.ofNumber 0.1
            "lambd", Options.ofNumber 0.1
            "momentum", Options.ofNumber 0.9
            "dampening", zero
            "warmup_steps", OptionValue.Int 3L
            "update_proj_gap", OptionValue.Int 3L
            "precondition_frequency", OptionValue.Int 2L
            "inverse_steps", OptionValue.Int 2L
            "min_dim_size_to_factor", OptionValue.Int 3L
            "keep_num", OptionValue.Int 3L
        ]

    /// What an option needs of others to matter.
    let private needed =
        Map
            [
                "fixed_decay", [ "weight_decouple", Options.ofFlag true ]
                "degenerated_to_sgd", [ "rectify", Options.ofFlag true ]
                "n_sma_threshold", [ "rectify", Options.ofFlag true ]
                "lr", [ "relative_step", Options.ofFlag false ]
                "relative_step", [ "lr", Options.ofNumber 0.3 ]
                "caution", [ "betas", Options.ofPair (0.9, 0.999) ]
                "wd_schedule", [ "weight_decouple", Options.ofFlag true ]
                "constraint", [ "weight_decay", zero ]
                "subset_size", [ "sn", Options.ofFlag true ]
                "scale_eps", [ "eps", Options.ofNumber 0.25 ]
            ]

    /// Options that choose how a step runs, or on what, and not what comes of it.
    let private execution =
        [
            "foreach"
            "fused"
            "capturable"
            "differentiable"
            "precision"
            "product"
            "compute_dtype"
        ]

    /// Another value of each option, where the rule takes one: what is changed first so that the option matters, and the change.
    let private perturbations (rule: Rule) =
        let another name (value: OptionValue) =
            match name, value with
            // Betas that only cap what the step's number makes of them.
            | "betas", OptionValue.Tuple(Items [ _; _ ]) when Options.has "decay_rate" rule && rule.StepsByValues ->
                [ Options.ofPair (0.7, 0.999); Options.ofPair (0.9, 0.2) ]
            | ("beta1" | "shampoo_beta"), OptionValue.None -> [ Options.ofNumber 0.5 ]
            | "clipping_threshold", OptionValue.None -> [ Options.ofNumber 0.1 ]
            | ("g_norm_min" | "ratio_min" | "eps_scale"), _ -> [ Options.ofNumber 1e3 ]
            | "eps2", _ when rule.StepsByValues -> [ Options.ofNumber 1e3 ]
            | "gamma", _ when rule.StepsByValues -> [ Options.ofNumber 0.01 ]
            | ("min_dim_size_to_factor" | "update_proj_gap"), OptionValue.Int 3L -> [ OptionValue.Int 100L ]
            | ("max_dim" | "max_precondition_dim"), _ -> [ OptionValue.Int 2L ]
            | "betas", OptionValue.Tuple(Items [ _; _ ]) -> [ Options.ofPair (0.7, 0.999); Options.ofPair (0.9, 0.95) ]
            | "etas", _ -> [ Options.ofPair (0.3, 1.2); Options.ofPair (0.5, 1.5) ]
            | "step_sizes", _ -> [ Options.ofPair (0.02, 50.0); Options.ofPair (1e-6, 0.004) ]
            | "dampening", _ -> [ Options.ofNumber 0.4 ]
            | "t0", _ -> [ Options.ofNumber 1.0 ]
            | "clip_exp", _ -> [ zero ]
            | _, OptionValue.None -> [ Options.ofNumber 4.0 ]
            | "ns_coefficients", _ -> [ OptionValue.TupleOf [ for c in [ 1.5; -0.5; 0.01 ] -> Options.ofNumber c ] ]
            | "adjust_lr_fn", _ -> [ OptionValue.Text "match_rms_adamw" ]
            | _ when rule.ChoicesOf(name).Count > 0 -> List.ofSeq (rule.ChoicesOf name) |> List.except [ value ]
            // Of a tensor these count where it is small.
            | "eps", _ when rule.Scope = RuleScope.Matrices -> [ Options.ofNumber 1e3 ]
            | "eps", OptionValue.Tuple _ -> [ Options.ofPair (1e-3, 100.0) ]
            | _, OptionValue.Int number -> [ OptionValue.Int(number + 1L) ]
            | _, OptionValue.Bool flag -> [ Options.ofFlag (not flag) ]
            | _, OptionValue.Float number -> [ Options.ofNumber (0.5 * number + 0.25) ]
            | _, OptionValue.Tuple parts ->
                [
                    for index in 0 .. parts.Length - 1 do
                        match parts[index] with
                        | OptionValue.Float number -> OptionValue.Tuple(parts.SetItem(index, Options.ofNumber (0.5 * number + 0.25)))
                        | _ -> ()
                ]
            | _ -> []

        // What a rule does not take stays as it was.
        let set values options =
            (options, values)
            ||> List.fold (fun options value ->
                try
                    Options.set [ value ] rule options
                with :? OptionException ->
                    options)

        [
            for name in rule.OptionNames do
                if not (List.contains name execution) then
                    let options =
                        rule.Defaults
                        |> set (usual @ (needed |> Map.tryFind name |> Option.defaultValue []))

                    for value in another name (rule.Read(options, name)) do
                        let changed =
                            try
                                Some(rule.Replace(options, name, value))
                            with :? OptionException ->
                                None

                        match changed with
                        | Some changed when rule.Read(changed, name) <> rule.Read(options, name) -> name, options, changed
                        | _ -> ()
        ]

    /// Gradients of changing size and sign, under which every option of an optimizer matters.
    let private lively (rule: Rule) =
        { Recipe.one rule with
            Steps = 6, 9
            Length = Gen.choose (8, 24)
            Options = Gen.constant rule.Defaults
        }
        |> Recipe.withoutZeros

    /// The run of a vector, of a wide matrix and of a tall one, for rules whose formula depends on the shape.
    let private ofAllShapes (rule: Rule) (s: Scenario) =
        let laid (values: float[]) =
            [|
                for length in [ 9; 32; 24 ] ->
                    Array.init length (fun i -> values[i % values.Length] * (1.0 + float (i / values.Length) / 8.0))
            |]

        if not rule.StepsByValues then
            s
        else
            { s with
                Start = laid s.Start[0]
                History =
                    s.History
                    |> Array.map (fun row -> row[0] |> ValueOption.get |> laid |> Array.map ValueSome)
            }

    /// P3: no option is read and forgotten.
    let sensitivity =
        Statement.about "P3" "every option changes parameters or state when its value changes" everyRule lively (fun subject s ->
            [
                for name, before, after in perturbations subject.Rule do
                    let run options =
                        Run.final subject (ofAllShapes subject.Rule { s with Options = options })

                    (Snapshot.compare Comparator.bit (run before) (run after)).IsBroken
                    |> Verdict.require (fun () ->
                        sprintf
                            "%s makes no difference: %O and %O"
                            name
                            (subject.Rule.Read(before, name))
                            (subject.Rule.Read(after, name)))
            ]
            |> Verdict.all)
        |> Statement.fewer 10

    /// Options that matter when the state is made, where that is before anybody can edit them.
    let private early = [ "initial_accumulator_value" ]

    /// P3: the options of a group are its own.
    let ownOptions =
        Statement.about "P3" "an option of a group changes that group and no other" everyRule lively (fun subject s ->
            let rule = subject.Rule

            [
                for name, before, after in
                    perturbations rule
                    |> List.filter (fun (name, _, _) -> not (List.contains name early)) do
                    let one = ofAllShapes rule s
                    let count = one.Start.Length

                    let two =
                        { one with
                            Start = Array.append one.Start one.Start
                            History = one.History |> Array.map (fun row -> Array.append row row)
                        }

                    let run second =
                        let parameters = Host.parameters two

                        let groups =
                            [
                                Host.group rule before (List.ofArray parameters[.. count - 1])
                                Host.group rule before (List.ofArray parameters[count..])
                            ]

                        let optimizer = subject.Shell.Open rule [] groups

                        if second then
                            subject.Shell.SetOption optimizer.ParamGroups[1] name (rule.Read(after, name))

                        Host.run subject optimizer s.DType parameters two.History
                        Host.read s.DType optimizer parameters

                    let same, changed = run false, run true

                    let compared k =
                        Snapshot.compare Comparator.bit (only k same) (only k changed)

                    Verdict.both
                        (Verdict.all [ for k in 0 .. count - 1 -> compared k ]
                         |> Verdict.where (name + " of the other group"))
                        (List.exists (fun k -> (compared k).IsBroken) [ count .. 2 * count - 1 ]
                         |> Verdict.require (fun () -> name + " makes no difference to its group"))
            ]
            |> Verdict.all)
        |> Statement.fewer 6

    /// P4: a group that comes later.
    let later =
        Statement.withDraw
            "P4"
            "parameters added later go as if their optimizer had begun then"
            everyRule
            (fun rule -> { several rule with Steps = 2, 8 })
            (Gen.choose (1, 7))
            (fun subject at s ->
                let at = min at (s.History.Length - 1)
                let rule = subject.Rule
                let old, young = Host.parameters s, Host.named "later" s
                let optimizer = Host.optimizer subject s.Options old
                Host.run subject optimizer s.DType old s.History[.. at - 1]
                subject.Shell.AddGroup optimizer (Host.group rule s.Options young)

                for row in s.History[at..] do
                    Host.give s.DType old row
                    Host.give s.DType young row
                    subject.Shell.Step optimizer

                let expected = Host.final subject { s with History = s.History[at..] }

                Verdict.both
                    (Snapshot.compare Comparator.bit expected (Host.read s.DType optimizer young)
                     |> Verdict.where "those that came later")
                    (Snapshot.compare Comparator.bit (Host.final subject s) (Host.read s.DType optimizer old))
                |> Verdict.tellingIf (expected.Theta <> s.Start))

    /// P5: no parameter twice.
    let twice =
        Statement.forAll
            "P5"
            "a parameter that appears twice is refused, and nothing has changed"
            everyRule
            (fun _ -> Gen.elements [ "in a group"; "in two groups"; "in a later group" ])
            (fun _ _ -> Seq.empty)
            (fun subject where ->
                let rule = subject.Rule

                let parameter name =
                    Param.Of(name, Shapes.suit rule (Tensor.ofFloats DType.Float64 [| 1.0 |]))

                let a, b = parameter "a", parameter "b"

                let group parameters =
                    Host.group rule rule.Defaults parameters

                let refuses (act: unit -> unit) =
                    try
                        act ()
                        Verdict.Broken("taken " + where)
                    with
                    | :? ArgumentException
                    | :? InvalidOperationException -> Verdict.Telling

                match where with
                | "in a group" -> refuses (fun () -> subject.Shell.Open rule [] [ group [ a; b; a ] ] |> ignore)
                | "in two groups" -> refuses (fun () -> subject.Shell.Open rule [] [ group [ a ]; group [ b; a ] ] |> ignore)
                | _ ->
                    let optimizer = subject.Shell.Open rule [] [ group [ a ] ]

                    Verdict.both
                        (refuses (fun () -> subject.Shell.AddGroup optimizer (group [ b; a ])))
                        (optimizer.ParamGroups.Count = 1
                         |> Verdict.require (fun () -> "the refused group has been added")))
        |> Statement.fewer 12

    /// The laws of this family.
    let all = [ groups; separate; sensitivity; ownOptions; later; twice ]
