/// What PyTorch refuses, we refuse: golden/refusals*.json. Names begin with "golden".
module RefusalTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open TorchSharp
open Reference
open Golden
open Kit

/// PyTorch's kinds of errors and ours: what types rule out never gets this far.
let private sameKind (kind: string) (thrown: exn) =
    match kind, thrown with
    | "ValueError", (:? ArgumentException)
    | "KeyError", (:? ArgumentException)
    | "RuntimeError", (:? ArgumentException)
    | "RuntimeError", (:? InvalidOperationException)
    | "RuntimeError", (:? NotSupportedException)
    | "TypeError", (:? ArgumentException) -> true
    | _ -> false

/// The options that PyTorch's message speaks of: by name or by value.
let private blamed (options: (string * Setting) list) (message: string) =
    let says (words: string) =
        message.Contains(words, StringComparison.OrdinalIgnoreCase)

    let python (number: float) =
        let text = text number

        if text.Contains '.' || text.Contains 'E' then
            text
        else
            text + ".0"

    options
    |> List.filter (fun (name, value) ->
        says name
        || match value with
           | Number number -> says (python number)
           | Pair(first, second) -> says (": " + python first) || says (": " + python second)
           | Several _
           | Text _
           | Flag _
           | Unset -> false)

let private refused kind what action =
    match thrown what action with
    | e when sameKind kind e -> e.Message
    | e -> failtestf "%s: %s is not the kind of PyTorch's %s: %s" what (e.GetType().Name) kind e.Message

let private checkOptions name options (error: string) =
    let kind, message =
        error.Substring(0, error.IndexOf ':'), error.Substring(error.IndexOf ':')

    let square () =
        param "weight" DType.Float64 [| 2L; 2L |] [| 1.0; 2.0; 3.0; 4.0 |]

    let rules =
        [
            "constructor", (fun () -> optimizer name options [ square () ] |> ignore)
            "group",
            (fun () ->
                new RuleOptimizer(rule name, groups [ group [ square () ] options ], [||])
                |> ignore)
            "add_param_group",
            (fun () ->
                let optimizer =
                    optimizer name [] [ param "other" DType.Float64 [| 1L; 1L |] [| 0.0 |] ]

                optimizer.AddParamGroup(group [ square () ] options))
        ]

    let given = Kit.options options

    /// It takes one group.
    let lbfgs =
        [
            "constructor",
            (fun () ->
                let values = [ for struct (name, value) in given -> KeyValuePair(name, value) ]

                let options = LBFGS.algorithm.Replace(LBFGS.defaults, values) |> unbox<LBFGSOptions>
                new LBFGS(parameters [ square () ], options) |> ignore)
            "group", (fun () -> new LBFGS(groups [ group [ square () ] options ]) |> ignore)
            "an option of its group",
            (fun () ->
                let optimizer = new LBFGS(parameters [ square () ])

                for struct (name, value) in given do
                    optimizer.ParamGroups[0][name] <- value)
        ]

    let ways = if name = "LBFGS" then lbfgs else rules

    for way, action in ways do
        let said = refused kind way action

        let blamed = blamed options message

        let says value =
            match value with
            | Number number -> [ text number ]
            | Pair(first, second) -> [ text first; text second ]
            | other -> [ string other ]
            |> List.exists (fun value -> said.Contains(value, StringComparison.OrdinalIgnoreCase))

        Expect.isNonEmpty blamed "PyTorch's message speaks of an option"

        for option, _ in blamed do
            if not (said.Contains(option, StringComparison.Ordinal)) then
                failtestf "%s: the message does not name %s: %s" way option said

        if not (blamed |> List.exists (fun (_, value) -> says value)) then
            failtestf "%s: the message does not say what the value was: %s" way said

/// Types rule a call out when no constructor of any optimizer takes such an argument.
let private ruledOut (argument: Type) =
    for rule in Rules.All do
        match typeof<Optimizer>.Assembly.GetType("Optim." + rule.Name) with
        | null -> failtestf "there is no class %s" rule.Name
        | face ->
            for constructor in face.GetConstructors() do
                let first = (Array.head (constructor.GetParameters())).ParameterType

                if first.IsAssignableFrom argument then
                    failtestf "%s takes a %s" rule.Name argument.Name

let private sgd (list: seq<Param>) =
    new SGD(parameters list, lr = 0.1) :> Optimizer

let private ofGroups (list: ParameterGroup list) =
    new SGD(groups list, lr = 0.1) :> Optimizer

let private one name = vector name [ 1.0; 2.0 ]

let private load (from: Optimizer) (into: Optimizer) =
    into.LoadStateDict(from.StateDict(), matchBy = MatchBy.Order) |> ignore

/// PyTorch's words for a case, and the same case here. Where PyTorch accepts, quirks.md says why we do not.
let private cases: Map<string, unit -> unit> =
    let by kind action =
        fun () -> refused kind "the case" action |> ignore

    let value = "ValueError"

    /// A scheduler that is refused over one parameter, and what the message must say.
    let scheduler kind words (make: Optimizer -> #LRScheduler) =
        fun () ->
            let said = refused kind "the case" (fun () -> make (sgd [ one "a" ]) |> ignore)

            for word: string in words do
                if not (said.Contains(word, StringComparison.Ordinal)) then
                    failtestf "the message does not say \"%s\": %s" word said

    Map
        [
            "empty list", by value (fun () -> sgd [] |> ignore)
            "empty generator", by value (fun () -> sgd (Seq.empty |> Seq.filter (fun _ -> true)) |> ignore)
            "one tensor, not a list", (fun () -> ruledOut typeof<Param>)
            "not a tensor", (fun () -> ruledOut typeof<float[]>)
            "params as a set",
            by "TypeError" (fun () ->
                let set = HashSet<IParameterOrGroup>(parameters [ one "a"; one "b" ])
                new SGD(set, lr = 0.1) |> ignore)
            "same parameter twice in one group",
            by value (fun () ->
                let p = one "a"
                sgd [ p; p ] |> ignore)
            "same parameter in two groups",
            by value (fun () ->
                let p = one "a"
                ofGroups [ group [ p ] []; group [ p ] [] ] |> ignore)
            "named and unnamed mixed in one group", by value (fun () -> sgd [ one "a"; one null ] |> ignore)
            "named and unnamed groups mixed", by value (fun () -> ofGroups [ group [ one "a" ] []; group [ one null ] [] ] |> ignore)
            "duplicate names", by value (fun () -> sgd [ one "a"; one "a" ] |> ignore)
            "LBFGS with two groups", by value (fun () -> new LBFGS(groups [ group [ one "a" ] []; group [ one "b" ] [] ]) |> ignore)
            "load: different number of groups",
            by value (fun () -> load (sgd [ one "a"; one "b" ]) (ofGroups [ group [ one "a" ] []; group [ one "b" ] [] ]))
            "load: different group size", by value (fun () -> load (sgd [ one "a"; one "b" ]) (sgd [ one "a" ]))
            "EMA decay 2", by value (fun () -> AveragedParameters.GetEmaMultiAvgFn 2.0 |> ignore)
            "AveragedModel both functions",
            by "ValueError" (fun () ->
                AveragedParameters([ one "a" ], AveragedParameters.GetSwaAvgFn(), AveragedParameters.GetSwaMultiAvgFn())
                |> ignore)
            "clip_grad_norm_ nonfinite",
            by "RuntimeError" (fun () ->
                let p = one "a"
                setGradient p (Some [| nan; 1.0 |])
                ClipGrad.Norm([ p ], 1.0, errorIfNonfinite = true) |> ignore)
            "sparse gradient to Adam",
            by "RuntimeError" (fun () ->
                let weights = tensor DType.Float64 [| 3L; 2L |] (Array.zeroCreate 6)

                let sparse =
                    Gradient.OfSparse(
                        TensorView.Of(ReadOnlySpan [| 1L |], ReadOnlySpan [| 1L |]),
                        tensor DType.Float64 [| 1L; 2L |] [| 1.0; 2.0 |]
                    )

                let parameters = Parameters.OfNamed [ struct ("weight", weights) ]
                let state = Adam.init Adam.defaults parameters
                Adam.step Adam.defaults parameters (Gradients.Of [ sparse ]) state |> ignore)

            "dense gradient to SparseAdam",
            by "RuntimeError" (fun () ->
                let p = one "a"
                setGradient p (Some [| 1.0; 1.0 |])
                (optimizer "SparseAdam" [] [ p ]).Step())
            "Muon on 1-D", by value (fun () -> optimizer "Muon" [] [ one "a" ] |> ignore)
            "non-leaf",
            (fun () ->
                let w =
                    try
                        torch.ones (2L, requires_grad = true)
                    with e ->
                        skiptest $"libtorch does not load: {e.Message}"

                use twice = w + w
                by value (fun () -> Torch.Parameters [| struct ("twice", twice) |] |> ignore) ())
            "WarmRestarts T_0 0", scheduler value [ "T_0 is 0" ] (fun o -> CosineAnnealingWarmRestarts(o, 0))
            "WarmRestarts T_mult 0", scheduler value [ "T_mult is 0" ] (fun o -> CosineAnnealingWarmRestarts(o, 1, tMult = 0))

            "StepLR with last_epoch 5 before the groups have initial_lr",
            scheduler "KeyError" [ "last_epoch is 5"; "initial_lr" ] (fun o -> StepLR(o, 3, lastEpoch = 5))
            "OneCycleLR no length", scheduler value [ "total_steps is None" ] (fun o -> OneCycleLR(o, PerGroup.op_Implicit 1.0))
            "OneCycleLR past the end",
            scheduler value [ "total_steps is 3"; "4" ] (fun o ->
                let cycle = OneCycleLR(o, PerGroup.op_Implicit 1.0, totalSteps = Nullable 3)

                for _ in 1..4 do
                    cycle.Step()

                cycle)
            "CyclicLR without momentum",
            by value (fun () ->
                let rprop = optimizer "Rprop" [] [ one "a" ]

                CyclicLR(rprop, PerGroup.op_Implicit 0.1, PerGroup.op_Implicit 1.0) |> ignore)
            "LinearLR start_factor 0", scheduler value [ "start_factor is 0" ] (fun o -> LinearLR(o, startFactor = 0.0))
            "LinearLR end_factor 2", scheduler value [ "end_factor is 2" ] (fun o -> LinearLR(o, endFactor = 2.0))
            "ConstantLR factor 2", scheduler value [ "factor is 2" ] (fun o -> ConstantLR(o, factor = 2.0))
            "SequentialLR wrong milestones",
            scheduler value [ "milestones is [1, 2]"; "2 schedulers" ] (fun o ->
                SequentialLR(o, [ ExponentialLR(o, 0.9); ExponentialLR(o, 0.9) ], [ 1; 2 ]))
            "SequentialLR empty", scheduler value [ "schedulers is empty" ] (fun o -> SequentialLR(o, [], []))
            "SequentialLR other optimizer",
            scheduler value [ "schedulers[0]"; "ExponentialLR" ] (fun o -> SequentialLR(o, [ ExponentialLR(sgd [ one "b" ], 0.9) ], []))
            "Chained other optimizer",
            scheduler value [ "schedulers[1]"; "ExponentialLR" ] (fun o ->
                ChainedScheduler [ ExponentialLR(o, 0.9); ExponentialLR(sgd [ one "b" ], 0.9) ])
            "ReduceLROnPlateau factor 1", scheduler value [ "factor is 1" ] (fun o -> ReduceLROnPlateau(o, factor = 1.0))
            "ReduceLROnPlateau mode",
            scheduler value [ "mode is best"; "'min'" ] (fun o ->
                Schedulers.Create("plateau", o, [ struct ("mode", OptionValue.Text "best") ]))
            "ReduceLROnPlateau min_lr length",
            scheduler value [ "min_lr is (0.1, 0.2)" ] (fun o -> ReduceLROnPlateau(o, minLr = PerGroup.op_Implicit [| 0.1; 0.2 |]))
            "LambdaLR wrong count",
            scheduler value [ "lr_lambda has 2" ] (fun o ->
                let half = Func<int, float>(fun _ -> 0.5)
                LambdaLR(o, [ half; half ]))
            "SWALR strategy",
            scheduler value [ "anneal_strategy is step"; "'linear'" ] (fun o ->
                Schedulers.Create(
                    "SWALR",
                    o,
                    [
                        struct ("swa_lr", OptionValue.Float 0.1)
                        struct ("anneal_strategy", OptionValue.Text "step")
                    ]
                ))
            "SWALR anneal_epochs -1",
            scheduler value [ "anneal_epochs is -1" ] (fun o -> SWALR(o, PerGroup.op_Implicit 0.1, annealEpochs = -1))
            "scheduler on a non-optimizer",
            (fun () ->
                for kind in typeof<LRScheduler>.Assembly.GetExportedTypes() do
                    if typeof<LRScheduler>.IsAssignableFrom kind then
                        for constructor in kind.GetConstructors() do
                            if
                                constructor.GetParameters()
                                |> Array.exists (fun p -> p.ParameterType.IsAssignableFrom typeof<int> && p.Name = "optimizer")
                            then
                                failtestf "%s takes a number for an optimizer" kind.Name)
        ]

let private ofFile path root =
    [
        for i, element in list id root |> List.indexed do
            match tryField "optimizer" element, tryField "case" element with
            | Some name, _ ->
                let name = Golden.text name
                let given = (field "options" element).GetRawText().Replace("\"", "")

                testCase $"#{i} {name} {given}" (fun () ->
                    checkOptions name (field "options" element |> pairs setting) (field "error" element |> Golden.text))
            | None, Some words ->
                let words = Golden.text words
                let label = $"#{i} {words}"

                match cases |> Map.tryFind words with
                | Some check -> testCase label check
                | None -> testCase label (fun () -> failtestf "nothing checks this case of %s" path)
            | None, None -> testCase $"#{i}" (fun () -> failtestf "case %d of %s has no \"optimizer\" and no \"case\"" i path)
    ]

[<Tests>]
let tests = TestList(recorded "refusals*.json" ofFile, Normal)

[<Tests>]
let ofLBFGS =
    testCase "golden refusals: those of LBFGS are all checked" (fun () ->
        let speaks (element: JsonElement) =
            element.GetRawText().Contains("LBFGS", StringComparison.Ordinal)

        let found =
            [
                for path in files "refusals*.json" do
                    for element in Golden.cases path do
                        if speaks element then
                            match tryField "case" element with
                            | Some words -> Expect.isTrue (cases.ContainsKey(Golden.text words)) (Golden.text words)
                            | None -> Expect.equal (Golden.text (field "optimizer" element)) "LBFGS" "the optimizer"

                            element
            ]

        Expect.isGreaterThanOrEqual found.Length 2 "cases")
