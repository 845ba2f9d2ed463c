/// optax's transforms, chains and wrappers by ours: golden/beyond/optax*.json.
module ChainGolden

open System
open System.Collections.Generic
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Golden
open Plain

let private betas = 0.9, 0.999
let private isWeight = isNamed "weight"
let private ruleOf transforms = chain transforms :> Rule
let private withRate lr transforms = ruleOf (transforms @ [ scale -lr ])

/// A rule of the catalogue with other defaults.
let private preset name (values: (string * OptionValue) list) : Rule =
    match Rules.Find name with
    | :? WholeRule as rule -> rule.Renamed(name, rule.Replace(rule.Defaults, values |> List.map KeyValuePair)) :> Rule
    | rule -> failtestf "%s is no rule over whole tensors" rule.Name

/// A rule of the catalogue with a rate.
let private ruleWith (name: string) (lr: float) =
    let rule = Rules.Find name

    let options =
        rule.Replace(rule.Defaults, [ KeyValuePair("lr", OptionValue.Float lr) ])

    Wrappers.Before(Transforms.Identity, rule, options)

let private cosine steps =
    Schedule.cosine steps |> Schedule.hold steps

/// By optax's name for it: our rule.
let private expressed: Map<string, Rule> =
    Map
        [
            "sgd", withRate 0.1 []
            "sgd momentum 0.9", withRate 0.1 [ trace 0.9 ]
            "sgd nesterov 0.9", withRate 0.1 [ nesterov 0.9 ]
            "adam", withRate 0.01 [ scaleByAdam betas 1e-8 ]
            "adam eps_root 1e-6", withRate 0.01 [ Transforms.ScaleByAdam(epsRoot = 1e-6) ]
            "adamw 0.1", withRate 0.01 [ scaleByAdam betas 1e-8; addDecayedWeights 0.1 ]
            "nadam", withRate 0.01 [ scaleByNadam betas 1e-8 ]
            "nadamw", withRate 0.01 [ scaleByNadam betas 1e-8; addDecayedWeights 0.1 ]
            "adamax", withRate 0.01 [ scaleByAdamax betas 1e-8 ]
            "amsgrad", withRate 0.01 [ scaleByAmsgrad betas 1e-8 ]
            "lion", withRate 0.01 [ scaleByLion (0.9, 0.99); addDecayedWeights 1e-3 ]
            "lion wd 0.1 b 0.95 0.98", withRate 0.01 [ scaleByLion (0.95, 0.98); addDecayedWeights 0.1 ]
            "lamb", withRate 0.01 [ scaleByAdam betas 1e-6; scaleByTrustRatio ]
            "lamb wd 0.1", withRate 0.01 [ scaleByAdam betas 1e-6; addDecayedWeights 0.1; scaleByTrustRatio ]
            "lars",
            ruleOf
                [
                    addDecayedWeights 0.01
                    Transforms.ScaleByTrustRatio(trustCoefficient = 1e-3)
                    scaleByLearningRate 0.1
                    trace 0.9
                ]
            "adabelief", withRate 0.01 [ scaleByBelief betas 1e-16 1e-16 ]
            "novograd", withRate 0.01 [ scaleByNovograd (0.9, 0.25) 1e-6 0.1 ]
            "sign_sgd", withRate 0.01 [ sign ]
            "rmsprop", withRate 0.01 [ scaleByRms 0.9 1e-8 ]
            "rmsprop centered momentum", ruleOf [ scaleByStddev 0.9 1e-8; scale -0.01; trace 0.9 ]
            "adagrad", withRate 0.1 [ scaleByRss 0.1 1e-7 ]
            "adadelta", withRate 1.0 [ scaleByAdadelta 0.9 1e-6 ]
            "adafactor", preset "optax.adafactor" [ "lr", OptionValue.Float 0.1; "min_dim_size_to_factor", OptionValue.Int 2L ]
            "muon", preset "optax.muon" [ "lr", OptionValue.Float 0.01 ]
            "optimistic", withRate 0.1 [ scaleByOptimisticGradient 1.0 1.0 ]
            "fromage", ruleOf [ fromage 0.01 ]
            "ademamix", withRate 0.01 [ scaleByAdemamix (0.9, 0.999, 0.9999) 5.0 1e-8 ]
            "chain: clip_by_global_norm 1, scale_by_adam, add_decayed_weights 0.1, scale -0.01",
            withRate 0.01 [ clipByGlobalNorm 1.0; scaleByAdam betas 1e-8; addDecayedWeights 0.1 ]
            "chain: clip 0.5, trace 0.9, scale -0.1", withRate 0.1 [ clip 0.5; trace 0.9 ]
            "chain: clip_by_block_rms 0.5, scale_by_rms, scale -0.01", withRate 0.01 [ clipByBlockRms 0.5; scaleByRms 0.9 1e-8 ]
            "chain: adaptive_grad_clip 0.1, sgd 0.1", withRate 0.1 [ adaptiveGradClip 0.1 ]
            "chain: centralize, sgd 0.1", withRate 0.1 [ centralize ]
            "chain: normalize_by_update_norm, scale -0.1", withRate 0.1 [ normalizeByUpdateNorm ]
            "chain: scale_by_trust_ratio, scale -0.1", withRate 0.1 [ scaleByTrustRatio ]
            "chain: scale_by_adam, scale_by_schedule -cosine(0.1, 10)",
            ruleOf [ scaleByAdam betas 1e-8; Transforms.ScaleBySchedule(cosine 10.0, -0.1) ]
            "adam with learning rate cosine(0.1, 10)", withRate 0.1 [ scaleByAdam betas 1e-8; scaleBySchedule (cosine 10.0) ]
            "chain: ema 0.9, scale -0.1", withRate 0.1 [ ema 0.9 ]
            "chain: add_decayed_weights 0.1 masked to weight, sgd 0.1", withRate 0.1 [ addDecayedWeights 0.1 |> where isWeight ]
            "multi_transform: weight adam 0.01, others sgd 0.1",
            ruleOf
                [
                    partition
                        (fun parameter -> if isWeight parameter then "weight" else "others")
                        [
                            "weight", sequence [ scaleByAdam betas 1e-8; scale -0.01 ]
                            "others", scale -0.1
                        ]
                ]
            "freeze: weight set_to_zero, others sgd 0.1", withRate 0.1 [ freeze isWeight ]
            "MultiSteps 3 of adam 0.01", Wrap.accumulate 3 (withRate 0.01 [ scaleByAdam betas 1e-8 ])
            "apply_if_finite 2 of sgd 0.1", Wrap.applyIfFinite 2 (withRate 0.1 [])
            "lookahead 3 0.5 of sgd 0.1", Wrap.lookahead 3 0.5 (withRate 0.1 [])
            "skip_large_updates", Wrap.skipLargeUpdates 9.0 (withRate 0.1 [])
            "prodigy", Rules.Find "optax.prodigy"
            "dadapt_adamw", Rules.Find "optax.dadapt_adamw"
            "dog", Rules.Find "optax.dog"
            "dowg", Rules.Find "optax.dowg"
            "cocob", Rules.Find "optax.cocob"
            "acprop", ruleWith "optax.acprop" 0.01
            "madgrad", ruleWith "optax.madgrad" 0.01
            "schedule_free_sgd", Wrap.scheduleFree 0.9 (withRate 0.1 [])
            "schedule_free_adamw", Wrap.scheduleFree 0.9 (withRate 0.01 [ Transforms.ScaleByAdam(beta1 = 0.0) ])
        ]

/// What is not expected to be as recorded, and why.
let private otherwise =
    Map
        [
            "yogi", "optax starts the first moment at 1e-6, too, and corrects both as if they had started at 0"
            "adan", "optax weighs differences by 1 - beta2, where the paper has beta2"
            "rprop", "optax takes the update of the step before"
        ]

let private repeat (rule: Rule) (case: JsonElement) =
    let shapes = field "shapes" case |> pairs (list (number >> int64))

    let parameters =
        [
            for name, shape in shapes do
                let parameter = Param.Zeros(name, DType.Float64, List.toArray shape)
                let initial = field "initial" case |> field name |> list number
                (List.toArray initial).AsSpan().CopyTo(parameter.Data<float>())
                name, parameter
        ]

    let optimizer =
        RuleOptimizer(rule, parameters |> Seq.map (fun (_, p) -> p :> IParameterOrGroup))

    let mutable worst = 0.0
    let moves = Array.zeroCreate<float> 1

    for gradients, expected in List.zip (field "grads" case |> list id) (field "params" case |> list id) do
        for name, parameter in parameters do
            let values = field name gradients |> list number |> List.toArray
            parameter.SetGradient(ReadOnlySpan<float> values)

        optimizer.Step()

        for name, parameter in parameters do
            let found = parameter.Data<float>().ToArray()

            for a, b in List.zip (List.ofArray found) (field name expected |> list number) do
                if not (Double.IsNaN a && Double.IsNaN b) && a <> b then
                    let difference = abs (a - b) / (1.0 + abs b)

                    worst <-
                        if Double.IsNaN difference then
                            infinity
                        else
                            max worst difference

            let start = field "initial" case |> field name |> list number

            for a, b in List.zip (List.ofArray found) start do
                moves[0] <- max moves[0] (abs (a - b))

    worst, moves[0]

/// Where optax computes in float32 inside.
let private bounds =
    Map [ "MultiSteps 3 of adam 0.01", 1e-9; "adafactor", 1e-7; "madgrad", 1e-8 ]

let private check name rule case () =
    let worst, moved = repeat rule case
    let bound = bounds |> Map.tryFind name |> Option.defaultValue 1e-11

    if not (worst <= bound) then
        failtestf "%s: differs by %g" name worst

    // A rule that hardly moves is near to anything that does not.
    if not (worst <= 1e-3 * moved || Double.IsNaN moved) then
        failtestf "%s: differs by %g, and moves by %g only" name worst moved

    Cases.add "optax" 1

let private ofFile _ (root: JsonElement) =
    [
        for case in tryField "transforms" root |> Option.map (list id) |> Option.defaultValue [] do
            let name = field "transform" case |> text

            match Map.tryFind name expressed, Map.tryFind name otherwise with
            | Some rule, _ -> testCase name (check name rule case)
            | None, Some reason -> ptestCase $"{name}: {reason}" ignore
            | None, None -> ptestCase name ignore
    ]

[<Tests>]
let tests = testList "transforms of optax" (recorded "beyond/optax*.json" ofFile)
