/// Chains of transforms: laws of composition, options by path, masks and partitions, and that they are rules like any other.
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

let betas = 0.9, 0.999

/// Some tensors of a dtype, with names, and gradients for each step, all from a seed.
type Sample =
    {
        DType: DType
        Shapes: (string * int64 list) list
        Steps: int
        Seed: int
    }

let sample =
    {
        DType = DType.Float32
        Shapes =
            [
                "weight", [ 5L; 7L ]
                "bias", [ 5L ]
                "scale", []
                "kernel", [ 3L; 2L; 3L; 2L ]
                "long", [ 9_001L ]
            ]
        Steps = 4
        Seed = 7
    }

let private count shape = List.fold (*) 1L shape |> int

let private tensor dtype (shape: int64 list) (random: Random) =
    let values = Array.init (count shape) (fun _ -> (random.NextDouble() - 0.5) * 2.0)

    let flat = Tensor.ofFloats dtype values
    Tensor.shaped (List.toArray shape) dtype (flat.ToDoubles())

/// Parameters at the start, and gradients of each step.
let made (s: Sample) =
    let random = Random s.Seed

    let parameters =
        Parameters.OfNamed [ for name, shape in s.Shapes -> struct (name, tensor s.DType shape random) ]

    let gradients =
        [
            for _ in 1 .. s.Steps -> Gradients.OfDense [ for _, shape in s.Shapes -> tensor s.DType shape random ]
        ]

    parameters, gradients

/// Parameters after all steps.
let runWith (rule: Rule) (options: IOptimizerOptions) (s: Sample) =
    let parameters, gradients = made s
    let mutable state = rule.Init(options, parameters)

    for gradient in gradients do
        state <- rule.Step(options, parameters, gradient, state)

    [| for parameter in parameters -> parameter.ToDoubles() |], state

let run (rule: Rule) (s: Sample) = runWith rule rule.Defaults s |> fst

/// Bit for bit; zeros of either sign are equal.
let same what (expected: float array array) (found: float array array) =
    for tensor in 0 .. expected.Length - 1 do
        for i in 0 .. expected[tensor].Length - 1 do
            if
                not (
                    expected[tensor].[i].Equals found[tensor].[i]
                    || expected[tensor].[i] = found[tensor].[i]
                )
            then
                failtestf "%s: tensor %d, element %d is %.17g, expected %.17g" what tensor i found[tensor].[i] expected[tensor].[i]

let near bound what (expected: float array array) (found: float array array) =
    for tensor in 0 .. expected.Length - 1 do
        for i in 0 .. expected[tensor].Length - 1 do
            if
                not (
                    abs (expected[tensor].[i] - found[tensor].[i])
                    <= bound * (1.0 + abs expected[tensor].[i])
                )
            then
                failtestf "%s: tensor %d, element %d is %.17g, expected %.17g" what tensor i found[tensor].[i] expected[tensor].[i]

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

let private shellTests =
    test "a chain in the shell: groups, schedules of any number, state dicts half-way, half types" {
        let rule =
            chain
                [
                    clipByGlobalNorm 1.0
                    scaleByAdam betas 1e-8
                    addDecayedWeights 0.1 |> where isMatrix
                    addNoise 0.01 0.5 1.0
                    scaleByLearningRate 0.1
                ]

        let parameters dtype =
            [|
                Param.Of("weight", Tensor.shaped [| 3L; 4L |] dtype (Array.init 12 (fun i -> float i / 7.0 - 0.8)))
                Param.Of("bias", Tensor.shaped [| 3L |] dtype [| 0.5; -0.25; 1.0 |])
            |]

        let step (optimizer: Optimizer) (parameters: Param array) t =
            for i in 0 .. parameters.Length - 1 do
                let shape = Seq.toArray (parameters[i] :> IParameter).Data.Shape
                let dtype = (parameters[i] :> IParameter).Data.DType
                let size = int (Array.fold (*) 1L shape)
                parameters[i].BindGradient(Tensor.shaped shape dtype (Array.init size (fun k -> sin (float (k + t * 5 + i)))))

            optimizer.Step()

        let optimizerOf (parameters: Param array) =
            RuleOptimizer(
                rule,
                [
                    ParameterGroup([ parameters[0] :> IParameter ]) :> IParameterOrGroup
                    (let group = ParameterGroup([ parameters[1] :> IParameter ])
                     group["scale_by_adam.beta1"] <- OptionValue.Float 0.5
                     group :> IParameterOrGroup)
                ]
            )

        for dtype in [ DType.Float32; DType.Float64; DType.Float16; DType.BFloat16 ] do
            let read (parameters: Param array) =
                parameters |> Array.map (fun p -> (p :> IParameter).Data.ToDoubles())

            let whole = parameters dtype
            let optimizer = optimizerOf whole

            let schedule =
                OptionSchedule(optimizer, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            for t in 0..5 do
                step optimizer whole t
                schedule.Step()

            Expect.isLessThan (double optimizer.ParamGroups[0].["scale_by_adam.beta2"]) 0.6 "scheduled"
            let first = parameters dtype
            let half = optimizerOf first

            let schedule =
                OptionSchedule(half, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            for t in 0..2 do
                step half first t
                schedule.Step()

            let saved = half.StateDict()

            let again =
                first |> Array.map (fun p -> Param.Of(p.Name, (p :> IParameter).Data.Copy()))

            let other = optimizerOf again
            other.LoadStateDict saved |> ignore

            let later =
                OptionSchedule(other, "scale_by_adam.beta2", Schedule.linear 1.0 0.5 6.0)

            later.LoadStateDict(schedule.StateDict()) |> ignore

            for t in 3..5 do
                step other again t
                later.Step()

            same $"resumed in {dtype.Name()}" (read whole) (read again)
    }

let private noiseTests =
    test "noise is standard normal, another one for each seed, step, parameter and element; NaN becomes zero" {
        let s =
            {
                DType = DType.Float64
                Shapes = [ "a", [ 20_000L ]; "b", [ 20_000L ] ]
                Steps = 1
                Seed = 1
            }

        let noise seed steps =
            let rule = chain [ setToZero; addNoise 1.0 0.0 seed ]
            let start, _ = made s
            let found = run rule { s with Steps = steps }
            Array.init 2 (fun row -> Array.map2 (-) found[row] (start[row].ToDoubles()))

        let one = noise 1.0 1

        for row in one do
            Expect.isLessThan (abs (Array.average row)) 0.03 "mean"
            Expect.isLessThan (abs (Array.averageBy (fun x -> x * x) row - 1.0)) 0.05 "variance"
            Expect.isLessThan (abs (Array.averageBy (fun x -> x * x * x * x) row - 3.0)) 0.3 "fourth moment"

        let correlation (a: float array) (b: float array) =
            Array.map2 (*) a b |> Array.average |> abs

        Expect.isLessThan (correlation one[0] one[1]) 0.03 "parameters"
        Expect.isLessThan (correlation one[0] (noise 2.0 1).[0]) 0.03 "seeds"
        let two = noise 1.0 2
        Expect.isLessThan (correlation one[0] (Array.map2 (-) two[0] one[0])) 0.03 "steps"
        Expect.isLessThan (correlation one[0].[..19_998] one[0].[1..]) 0.03 "elements"

        let parameters = Parameters.Of [ TensorView.Of [| 1.0; 2.0; 3.0 |] ]
        let gradients = Gradients.OfDense [ TensorView.Of [| nan; -4.0; infinity |] ]
        let rule = chain [ zeroNans; scale -0.5 ]

        rule.Step(rule.Defaults, parameters, gradients, rule.Init(rule.Defaults, parameters))
        |> ignore

        Expect.equal (parameters[0].ToDoubles()) [| 1.0; 4.0; -infinity |] "NaN alone becomes zero"
    }

let private spreadTests =
    test "sums over rows and columns are those of the elements as they lie, strided ones, too" {
        let values = Array.init 12 (fun i -> float ((i * 7) % 12) - 3.5)
        let matrix = Tensor.shaped [| 3L; 4L |] DType.Float64 values

        let transposed =
            Tensor.shaped
                [| 4L; 3L |]
                DType.Float64
                [|
                    for c in 0..3 do
                        for r in 0..2 -> values[r * 4 + c]
                |]

        let strided =
            TensorView(
                transposed.Address,
                Layout.Strided(DType.Float64, ReadOnlySpan [| 3L; 4L |], ReadOnlySpan [| 1L; 3L |]),
                transposed.Owner
            )

        let centred = chain [ centralize; scale -1.0 ]

        let parameters =
            Parameters.Of [ Tensor.shaped [| 3L; 4L |] DType.Float64 (Array.zeroCreate 12) ]

        let step (gradient: TensorView) =
            parameters[0].Clear()

            centred.Step(centred.Defaults, parameters, Gradients.OfDense [ gradient ], centred.Init(centred.Defaults, parameters))
            |> ignore

            parameters[0].ToDoubles()

        let expected =
            [|
                for r in 0..2 do
                    let row = values[r * 4 .. r * 4 + 3]
                    for x in row -> Array.average row - x
            |]

        near 1e-15 "rows" [| expected |] [| step matrix |]
        near 1e-15 "rows of a transposed tensor" [| expected |] [| step strided |]
    }

[<Tests>]
let tests =
    testSequenced
    <| testList
        "chains"
        [
            engineTests
            compositionTests
            pathTests
            kindTests
            shellTests
            noiseTests
            spreadTests
        ]
