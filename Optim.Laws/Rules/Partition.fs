namespace Optim.Laws

open System
open FsCheck
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
        ]

    /// Settings of other options that some options wait for.
    let private needed =
        [
            "weight_decouple", Options.ofFlag true
            "decouple", Options.ofFlag true
            "rectify", Options.ofFlag true
            "pre_norm", Options.ofFlag true
            "centered", Options.ofFlag true
            "nesterov", Options.ofFlag true
            "relative_step", Options.ofFlag false
            "beta1_warmup", Options.ofNumber 4.0
            "t_max", Options.ofNumber 4.0
            "trust_coeff", Options.ofNumber 1.0
            "sn", Options.ofFlag true
            "d0", Options.ofNumber 1.0
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

    /// Options that count when the rate changes, for half types, or once a distance grows.
    let private elsewhere =
        [ "normalized"; "corrected_weight_decay"; "kahan_sum"; "growth_rate" ]

    /// Other values in the place of one, each list for itself: some of its values must make a difference, under some settings of the other options.
    let private changes (rule: Rule) name (usual: OptionValue) : (OptionValue -> OptionValue list) list =
        let each values =
            values |> List.map (fun value -> fun _ -> [ value ])

        let number x =
            if 0.5 * x + 0.25 = x then 0.4 else 0.5 * x + 0.25

        match name, usual with
        | "etas", _ -> each [ Options.ofPair (0.3, 1.2); Options.ofPair (0.5, 1.5) ]
        | "step_sizes", _ -> each [ Options.ofPair (0.02, 50.0); Options.ofPair (1e-6, 0.004) ]
        | "dampening", _ -> each [ Options.ofNumber 0.4 ]
        | "t0", _ -> each [ Options.ofNumber 1.0 ]
        | "ns_coefficients", OptionValue.Tuple _ -> each [ OptionValue.TupleOf [ for c in [ 1.5; -0.5; 0.01 ] -> Options.ofNumber c ] ]
        // Of some rules two names are of one function.
        | "adjust_lr_fn", _ when rule.Scope = RuleScope.Matrices -> each [ OptionValue.Text "match_rms_adamw" ]
        // Of a tensor these count where it is small.
        | "eps", _ when rule.Scope = RuleScope.Matrices -> each [ Options.ofNumber 1e3 ]
        | "eps", OptionValue.Tuple _ -> each [ Options.ofPair (1e-3, 100.0) ]
        | _ when rule.ChoicesOf(name).Count > 0 -> [ fun value -> List.ofSeq (rule.ChoicesOf name) |> List.except [ value ] ]
        | _, OptionValue.Tuple parts ->
            [
                for index in 0 .. parts.Length - 1 do
                    fun value ->
                        match value with
                        | OptionValue.Tuple parts ->
                            match parts[index] with
                            | OptionValue.Float x ->
                                [
                                    for other in [ number x; 0.2 * x; 0.0 ] ->
                                        OptionValue.Tuple(parts.SetItem(index, Options.ofNumber other))
                                ]
                            | _ -> []
                        | _ -> []
            ]
        | _ ->
            [
                function
                | OptionValue.Int x ->
                    [
                        for other in [ x + 1L; x - 1L; 4L * x; 1L; 2L; 100L ] -> OptionValue.Int other
                    ]
                | OptionValue.Bool flag -> [ Options.ofFlag (not flag) ]
                | OptionValue.Float x ->
                    [
                        for other in [ number x; 0.0; 8.0 * x; 0.01 * x; 1.02; 1e3 ] -> Options.ofNumber other
                    ]
                | OptionValue.None ->
                    [
                        Options.ofNumber 4.0
                        Options.ofNumber 0.5
                        Options.ofNumber 0.1
                        Options.ofFlag true
                    ]
                | _ -> []
            ]

    /// Settings of the other options under which an option may matter: usual ones, then drawn ones with small whole numbers.
    let private settings (rule: Rule) : IOptimizerOptions seq =
        // What a rule does not take stays as it was.
        let set values options =
            (options, values)
            ||> List.fold (fun options value ->
                try
                    Options.set [ value ] rule options
                with :? OptionException ->
                    options)

        let small (count: int -> int) (options: IOptimizerOptions) =
            set
                [
                    for index, name in Seq.indexed rule.OptionNames do
                        match rule.Read(options, name) with
                        | OptionValue.Int _ -> name, OptionValue.Int(int64 (count index))
                        | _ -> ()
                ]
                options

        seq {
            set usual rule.Defaults
            small (fun _ -> 3) (set (usual @ needed) rule.Defaults)
            small (fun _ -> 2) (set usual rule.Defaults)

            for index, options in Gen.sampleWithSeed (Rnd 20261126UL) 50 40 (Options.generate rule) |> Seq.indexed do
                set [ "lr", Options.ofNumber (if index % 2 = 0 then 0.01 else 0.03) ] options
                |> small (fun place -> 1 + (7 * index + 3 * place) % 5)
        }

    /// The subject's parameters as matrices of four rows.
    let private asMatrices (subject: Subject) =
        let shaped (view: TensorView) =
            if view.IsAbsent || view.Shape.Length <> 1 || view.Count % 4n <> 0n then
                view
            else
                TensorView(view.Address, Layout.Contiguous(view.DType, ReadOnlySpan [| 4L; int64 view.Count / 4L |]), view.Owner)

        let parameters (given: Parameters) =
            Parameters.Of [ for k in 0 .. given.Count - 1 -> shaped given[k] ]

        let gradients (given: Gradients) =
            Gradients.Of
                [
                    for k in 0 .. given.Count - 1 ->
                        if given[k].Kind = GradientKind.Dense then
                            Gradient.OfDense(shaped given[k].Values)
                        else
                            given[k]
                ]

        { subject with
            Init = fun options theta -> subject.Init options (parameters theta)
            Step = fun options theta given state -> subject.Step options (parameters theta) (gradients given) state
        }

    /// The run without its last element: an odd number of them stays a vector for rules that are tried on matrices otherwise.
    let private shorter (s: Scenario) =
        let cut (values: float[]) = values[.. values.Length - 2]

        { s with
            Start = s.Start |> Array.map cut
            History = s.History |> Array.map (Array.map (ValueOption.map cut))
        }

    /// The ways in which a run is tried: as vectors or matrices, with gradients of some size, which is below 0 where all have one sign.
    let private ways (subject: Subject) =
        [
            subject, 1.0
            if subject.Rule.Scope <> RuleScope.Elements then
                asMatrices subject, 1.0
            subject, 100.0
            subject, 0.01
            subject, -1.0
        ]

    let private scaled factor (s: Scenario) =
        if factor = 1.0 then
            s
        else
            { s with
                History =
                    s.History
                    |> Array.map (Array.map (ValueOption.map (Array.map (fun g -> factor * (if factor < 0.0 then abs g else g)))))
            }

    /// For each option and each change of it whether some setting, before and after the change, makes the difference that is looked for.
    let private perturbed (rule: Rule) (differs: string -> IOptimizerOptions -> IOptimizerOptions -> bool) : Verdict =
        let settings = Seq.cache (settings rule)

        [
            for name in rule.OptionNames do
                if not (List.contains name (execution @ elsewhere)) then
                    for change in changes rule name (rule.Read(Seq.head settings, name)) do
                        let replaced options value =
                            try
                                Some(options, rule.Replace(options, name, value))
                            with :? OptionException ->
                                None

                        let pairs =
                            settings
                            |> Seq.collect (fun options -> change (rule.Read(options, name)) |> List.choose (replaced options))

                        if not (Seq.isEmpty pairs) then
                            pairs
                            |> Seq.exists (fun (before, after) ->
                                try
                                    differs name before after
                                with :? OptionException ->
                                    false)
                            |> Verdict.require (fun () ->
                                let before, after = Seq.head pairs
                                $"{name} makes no difference, such as {rule.Read(before, name)} and {rule.Read(after, name)}")
        ]
        |> Verdict.all

    /// Gradients of changing size and sign, under which every option of an optimizer matters.
    let private lively says holds =
        let recipe (rule: Rule) =
            { Recipe.one rule with
                Steps = 6, 9
                Length = Gen.choose (4, 7) |> Gen.map ((*) 4)
                Options = Gen.constant rule.Defaults
            }
            |> Recipe.withoutZeros

        // Not made smaller: in small runs less matters.
        Statement.forAll "P3" says everyRule (fun rule -> Recipe.generate rule (recipe rule)) (fun _ _ -> Seq.empty) holds

    /// P3: no option is read and forgotten.
    let sensitivity =
        lively "every option changes parameters or state when its value changes" (fun subject s ->
            perturbed subject.Rule (fun _ before after ->
                ways subject
                |> List.exists (fun (subject, factor) ->
                    let s = if factor = 0.01 then shorter s else s

                    let run options =
                        Run.final
                            subject
                            { scaled factor s with
                                Options = options
                            }

                    (Snapshot.compare Comparator.bit (run before) (run after)).IsBroken)))
        |> Statement.fewer 10

    /// Options that matter when the state is made, where that is before anybody can edit them.
    let private early = [ "initial_accumulator_value" ]

    /// P3: the options of a group are its own.
    let ownOptions =
        lively "an option of a group changes that group and no other" (fun subject s ->
            let rule = subject.Rule

            let mutable others = Verdict.Trivial

            let own =
                perturbed rule (fun name before after ->
                    List.contains name early
                    || [ 1.0; 100.0; 0.01; -1.0 ]
                       |> List.exists (fun factor ->
                           let two =
                               { scaled factor s with
                                   Start = Array.replicate 2 s.Start[0]
                               }

                           let two =
                               { two with
                                   History = two.History |> Array.map (fun row -> Array.replicate 2 row[0])
                               }

                           let run second =
                               let parameters = Host.parameters two

                               let groups =
                                   [
                                       Host.group rule before [ parameters[0] ]
                                       Host.group rule before [ parameters[1] ]
                                   ]

                               let optimizer = subject.Shell.Open rule [] groups

                               if second then
                                   subject.Shell.SetOption optimizer.ParamGroups[1] name (rule.Read(after, name))

                               Host.run subject optimizer s.DType parameters two.History
                               Host.read s.DType optimizer parameters

                           let same, changed = run false, run true

                           others <-
                               Verdict.both
                                   others
                                   (Snapshot.compare Comparator.bit (only 0 same) (only 0 changed)
                                    |> Verdict.where (name + " of the other group"))

                           // What matters for matrices only is seen by the law above.
                           rule.Scope = RuleScope.Tensors
                           || (Snapshot.compare Comparator.bit (only 1 same) (only 1 changed)).IsBroken))

            Verdict.both others own)
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
