/// Chains of transforms: laws of composition, options by path, masks and partitions.
module ChainTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Optim.Laws
open ProgramKit

open ChainKit

let private all: (string * Transform) list =
    [
        "scale", scale -0.5
        "scale_by_learning_rate", scaleByLearningRate 0.1
        "scale_by_schedule", scaleBySchedule (Schedule.cosine 10.0)
        "scale_by_adam", scaleByAdam betas 1e-8
        "nadam", scaleByNadam betas 1e-8
        "scale_by_amsgrad", scaleByAmsgrad betas 1e-8
        "scale_by_rms", scaleByRms 0.9 1e-8
        "scale_by_stddev", scaleByStddev 0.9 1e-8
        "scale_by_lion", scaleByLion (0.9, 0.99)
        "scale_by_adamax", scaleByAdamax betas 1e-8
        "scale_by_belief", scaleByBelief betas 1e-16 1e-16
        "scale_by_yogi", scaleByYogi betas 1e-3
        "scale_by_novograd", scaleByNovograd (0.9, 0.25) 1e-6 0.1
        "scale_by_trust_ratio", scaleByTrustRatio
        "scale_by_rss", scaleByRss 0.1 1e-7
        "scale_by_adadelta", scaleByAdadelta 0.9 1e-6
        "scale_by_ademamix", scaleByAdemamix (0.9, 0.999, 0.9999) 5.0 1e-8
        "trace", trace 0.9
        "nesterov", nesterov 0.9
        "ema", ema 0.9
        "add_decayed_weights", addDecayedWeights 0.1
        "add_noise", addNoise 0.1 0.55 3.0
        "clip", clip 0.2
        "clip_by_global_norm", clipByGlobalNorm 1.0
        "clip_by_block_rms", clipByBlockRms 0.1
        "adaptive_grad_clip", adaptiveGradClip 0.1
        "adaptive_grad_clip of rows", Transforms.AdaptiveGradClip(0.1, outputFirst = true)
        "centralize", centralize
        "normalize_by_update_norm", normalizeByUpdateNorm
        "sign", sign
        "zero_nans", zeroNans
        "scale_by_optimistic_gradient", scaleByOptimisticGradient 1.0 0.5
        "fromage", fromage 0.1
        "scale_by_param_block_norm", Transforms.ScaleByParamBlockNorm()
        "scale_by_param_block_rms", Transforms.ScaleByParamBlockRms()
        "cautious", cautious
    ]

let private engineTests =
    test "every transform gives the same bits in every engine, width and number of threads, and masked ones touch nothing else" {
        for name, transform in all do
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16 ] do
                let rule = chain [ transform; scale -0.1 ]
                let s = { sample with DType = dtype }
                let expected = run rule s

                for setting in
                    [
                        Width.Bits256, Engine.Emitted, 3
                        Width.Bits256, Engine.Blocks, 3
                        Width.Single, Engine.Emitted, 1
                    ] do
                    let width, engine, threads = setting

                    let found =
                        Setting.withWidth width (fun () -> withEngine engine (fun () -> Setting.withThreads threads (fun () -> run rule s)))

                    same $"{name}, {dtype.Name()}, {setting}" expected found

                let masked = run (chain [ transform |> where (fun _ -> false); scale -0.1 ]) s

                same $"{name} masked away" (run (chain [ scale -0.1 ]) s) masked
    }

let private compositionTests =
    test "W2: chains associate, identity is their unit, and scaling by powers of two commutes with linear transforms" {
        let a, b, c = clipByGlobalNorm 1.0, scaleByAdam betas 1e-8, addDecayedWeights 0.1
        let flat = chain [ a; b; c; scale -0.01 ]
        let expected = run flat sample

        for name, other in
            [
                "to the left", chain [ sequence [ sequence [ a; b ]; c ]; scale -0.01 ]
                "to the right", chain [ a; sequence [ b; sequence [ c; scale -0.01 ] ] ]
                "with identities", chain [ identity; a; identity; sequence []; b; c; scale -0.01; identity ]
            ] do
            same name expected (run other sample)
            Expect.equal other.Name flat.Name name
            Expect.sequenceEqual other.OptionNames flat.OptionNames name
            Expect.sequenceEqual other.ColumnNames flat.ColumnNames name

        for name, linear in [ "trace", trace 0.9; "ema", ema 0.9; "centralize", centralize ] do
            same name (run (chain [ scale 0.5; linear; scale -0.25 ]) sample) (run (chain [ linear; scale 0.5; scale -0.25 ]) sample)

        let moves = run (chain [ scale 0.5; clip 0.2; scale -0.25 ]) sample
        Expect.notEqual moves (run (chain [ clip 0.2; scale 0.5; scale -0.25 ]) sample) "what is not linear does not commute"
    }

let private pathTests =
    test "options and columns are called by paths, by numbers or names where a transform comes twice, and each of them has an effect" {
        let rule =
            chain
                [
                    clipByGlobalNorm 1.0
                    scaleByAdam betas 1e-8
                    scaleByAdam (0.8, 0.99) 1e-6
                    scale -0.1
                ]

        Expect.sequenceEqual
            rule.OptionNames
            [
                "clip_by_global_norm.max_norm"
                "scale_by_adam_1.beta1"
                "scale_by_adam_1.beta2"
                "scale_by_adam_1.eps"
                "scale_by_adam_1.eps_root"
                "scale_by_adam_2.beta1"
                "scale_by_adam_2.beta2"
                "scale_by_adam_2.eps"
                "scale_by_adam_2.eps_root"
                "scale.step_size"
            ]
            "options"

        Expect.sequenceEqual
            rule.ColumnNames
            [
                "scale_by_adam_1.exp_avg"
                "scale_by_adam_1.exp_avg_sq"
                "scale_by_adam_2.exp_avg"
                "scale_by_adam_2.exp_avg_sq"
            ]
            "columns"

        let named =
            namedChain [ "first", scaleByAdam betas 1e-8; "rest", sequence [ trace 0.9; scale -0.1 ] ]

        Expect.sequenceEqual named.ColumnNames [ "first.exp_avg"; "first.exp_avg_sq"; "rest.trace.momentum_buffer" ] "named"

        Expect.containsAll (List.ofSeq named.OptionNames) [ "first.beta1"; "rest.trace.decay"; "rest.scale.step_size" ] "named"

        // Every option of every transform moves something, or is what keeps a divisor from 0.
        for name, transform in all do
            let rule = chain [ transform; scale -0.1 ]
            let expected = run rule sample

            for option in rule.OptionNames do
                let value = double (rule.Read(rule.Defaults, option))
                let other = if value = 0.0 then 0.25 else value * 0.75
                let options = rule.With(struct (option, OptionValue.Float other))
                let found = runWith rule options sample |> fst

                if
                    found = expected
                    && not (
                        option.EndsWith "min_norm"
                        || option.EndsWith "min_scale"
                        || name = "sign"
                        || option.EndsWith "eps"
                    )
                then
                    failtestf "%s: %s = %g changes nothing" name option other

        let refused words (wrong: unit -> unit) =
            try
                wrong ()
                failtestf "taken: %s" words
            with :? ArgumentException as e ->
                Expect.stringContains e.Message words words

        refused "scale_by_adam: beta1 is 1; it must be in [0, 1)" (fun () -> scaleByAdam (1.0, 0.9) 1e-8 |> ignore)
        refused "clip_by_global_norm: max_norm is 0; it must be above 0" (fun () -> clipByGlobalNorm 0.0 |> ignore)

        refused "trace.decay is 1.5; trace.decay must be in [0, 1)" (fun () ->
            (chain [ trace 0.9 ]).With(struct ("trace.decay", OptionValue.Float 1.5))
            |> ignore)

        refused "has no option 'trace.decoy'; did you mean 'trace.decay'?" (fun () ->
            (chain [ trace 0.9 ]).With(struct ("trace.decoy", OptionValue.Float 0.5))
            |> ignore)

        refused "two transforms are called 'a'" (fun () -> namedChain [ "a", identity; "a", sign ] |> ignore)
        refused "two transforms have the label 'a'" (fun () -> partition (fun _ -> "a") [ "a", sign; "a", sign ] |> ignore)
    }

let private kindTests =
    test "masks and partitions: each parameter by its own transforms, with no state of the others, and norms over all of them" {
        let isBias = isNamed "b?as"

        let label (p: ParameterDescription) =
            if isMatrix p then "matrices" else "rest"

        let rule =
            chain
                [
                    clipByGlobalNorm 1.0
                    partition label [ "matrices", scaleByAdam betas 1e-8; "rest", trace 0.9 ]
                    freeze isBias
                    scale -0.1
                ]

        let found, state = runWith rule rule.Defaults sample
        let parameters, _ = made sample
        Expect.equal found[1] (parameters[1].ToDoubles()) "the frozen one stays"
        let isThere (name: string) row = not state[name].[row].IsAbsent

        for row in 0..4 do
            let isMatrix = row = 0 || row = 3
            Expect.equal (isThere "matrices.scale_by_adam.exp_avg" row) isMatrix "Adam's state"
            Expect.equal (isThere "rest.trace.momentum_buffer" row) (not isMatrix) "momentum"

        // The norm is over all kinds: as by a chain that treats them alike.
        let alike = chain [ clipByGlobalNorm 1.0; trace 0.9; scale -0.1 ]

        let apart =
            chain
                [
                    clipByGlobalNorm 1.0
                    partition label [ "matrices", trace 0.9; "rest", trace 0.9 ]
                    scale -0.1
                ]

        near 1e-6 "a partition of equal transforms" (run alike sample) (run apart sample)

        // A norm of what another norm needs first, for some parameters only.
        let late =
            chain [ scaleByTrustRatio |> where isMatrix; clipByGlobalNorm 0.5; scale -0.1 ]

        let early =
            chain [ scaleByTrustRatio |> where (fun _ -> true); clipByGlobalNorm 0.5; scale -0.1 ]

        let onlyMatrices =
            { sample with
                Shapes = sample.Shapes |> List.filter (fun (_, shape) -> shape.Length > 1)
            }

        near 1e-6 "visits of several kinds" (run early onlyMatrices) (run late onlyMatrices)
        let mixed = run late sample
        let start, gradients = made { sample with Steps = 1 }
        let once = run late { sample with Steps = 1 }
        let norm (x: float array) = sqrt (Array.sumBy (fun v -> v * v) x)

        let updates =
            [
                for row in 0..4 do
                    let g = gradients[0].[row].Values.ToDoubles()

                    if row = 0 || row = 3 then
                        let ratio = norm (start[row].ToDoubles()) / norm g
                        Array.map (fun v -> v * ratio) g
                    else
                        g
            ]

        let total = norm (Array.concat updates)

        List.zip (List.ofArray once) updates
        |> List.iteri (fun row (found, update) ->
            let expected =
                Array.map2 (fun x u -> x - 0.1 * u * min 1.0 (0.5 / total)) (start[row].ToDoubles()) update

            near 1e-5 $"tensor {row}" [| expected |] [| found |])

        Expect.isTrue (mixed |> Array.forall (Array.forall Double.IsFinite)) "finite"

        let unknown = chain [ partition (fun p -> p.Name) [ "weight", sign ] ]

        Expect.throwsC (fun () -> run unknown sample |> ignore) (fun e ->
            Expect.stringContains
                e.Message
                "parameter 'bias' has the label 'bias', and there are transforms for: weight"
                "an unknown label")
    }

[<Tests>]
let tests =
    testSequenced
    <| testList "chains" [ engineTests; compositionTests; pathTests; kindTests ]
