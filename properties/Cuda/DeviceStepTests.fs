// Long, because one pretend device, and what is compared on it, serves all kinds of steps.
/// Steps on a device that is none: kernels are interpreted, and everything else is as on one of NVIDIA's.
module DeviceStepTests

open System
open System.Collections.Immutable
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open PtxKit
open PretendKit

/// Some steps of a rule there and here, which agree; says how often the processor has waited, where kernels made all of them.
let private agree (device: PretendDevice) (gpu: InterpretedGpu) (rule: Rule) dtype steps =
    let options = rule.Defaults
    let here = Parameters.Of(tensors dtype 1)
    let there = Parameters.Of(here |> Seq.map device.Moved)
    let mutable a, b = rule.Init(options, here), rule.Init(options, there)
    let asked, waits = device.Others.Asked, gpu.Waits

    for step in 1..steps do
        let gradients = tensors dtype (10 + step)
        a <- rule.Step(options, here, Gradients.OfDense gradients, a)
        b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

    if device.Others.Asked = asked then
        let what = $"{rule.Name}, {dtype.Name()}"
        sameTensors what here there
        sameState what a b
        Some(gpu.Waits - waits)
    else
        None

/// Rules that keep a number which is made of all tensors, which the processor works out for the next step: they wait once in a step.
let private waiting =
    [
        "AvaGrad"
        "DAdaptAdaGrad"
        "DAdaptAdam"
        "DAdaptAdan"
        "DAdaptLion"
        "DAdaptSGD"
        "DoG"
        "DoWG"
        "Prodigy"
        "SWATS"
        "dadaptation.DAdaptAdaGrad"
        "dadaptation.DAdaptAdam"
        "dadaptation.DAdaptAdan"
        "dadaptation.DAdaptLion"
        "dadaptation.DAdaptSGD"
        "pytorch_optimizer.ASGD"
    ]

let private ruleTests =
    test "every element-wise rule and definition, the catalogue's too, is stepped by kernels with the processor's bits, and few wait" {
        let struct (device, gpu) = fresh ()

        let rules =
            Seq.append Rules.All (Catalogue.All |> Seq.map _.Rule)
            |> Seq.distinctBy _.Name
            |> Seq.filter (fun rule -> (rule :> obj) :? IRecorded && rule.Name <> "SparseAdam")
            |> Seq.toList

        Expect.isGreaterThan rules.Length 100 "rules"

        let steps =
            [
                for index, rule in List.indexed rules do
                    let dtypes =
                        if isWhole then
                            [ DType.Float32; DType.BFloat16; DType.Float64 ]
                        elif index % 8 = 0 then
                            [ DType.Float32; DType.BFloat16 ]
                        else
                            [ DType.Float32 ]

                    for dtype in dtypes do
                        let waits = agree device gpu rule dtype 2

                        if dtype = DType.Float32 then
                            rule.Name, waits
            ]

        let others = steps |> List.filter (snd >> Option.isNone) |> List.map fst
        Expect.isEmpty others "rules that kernels do not step"

        let waits =
            steps
            |> List.choose (function
                | name, Some waits when waits > 0 -> Some(if waits = 2 then name else $"{name}: {waits} in 2 steps")
                | _ -> None)

        Expect.sequenceEqual (List.sort waits) (List.sort waiting) "rules whose steps wait for the device"
    }

let private muonTests =
    test "Muon's momentum, norm and move are kernels over all matrices, with the processor's bits, and products are asked of others" {
        let struct (device, _) = fresh ()
        let rule = Rules.Find "Muon"
        let shapes = [ [| 30L; 50L |]; [| 70L; 20L |]; [| 30L; 50L |]; [| 1L; 4099L |] ]

        let matrices dtype seed =
            let random = Random(seed: int)

            [
                for shape in shapes ->
                    let count = int (shape[0] * shape[1])
                    TensorView.OfDoubles(dtype, ReadOnlySpan(Array.init count (fun _ -> random.NextDouble() - 0.5)), ReadOnlySpan shape)
            ]

        for dtype in [ DType.Float32; DType.BFloat16; DType.Float64 ] do
            for nesterov in [ true; false ] do
                let options =
                    rule.Replace(
                        rule.Defaults,
                        [
                            PtxKit.setting "ns_steps" (OptionValue.Int 0L)
                            PtxKit.setting "nesterov" (OptionValue.Bool nesterov)
                        ]
                    )

                let here = Parameters.Of(matrices dtype 1)
                let there = Parameters.Of(here |> Seq.map device.Moved)
                let mutable a, b = rule.Init(options, here), rule.Init(options, there)

                for step in 1..3 do
                    let gradients = matrices dtype (10 + step)
                    a <- rule.Step(options, here, Gradients.OfDense gradients, a)
                    let before = device.Kernels.Launches
                    b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)
                    // Sums and what they come to, directions, and a move for each shape.
                    Expect.isLessThanOrEqual (device.Kernels.Launches - before) 8L "launches"

                sameTensors $"{dtype.Name()}, nesterov {nesterov}" here there
                sameState $"{dtype.Name()}, nesterov {nesterov}" a b

        Expect.equal device.Others.Asked 0 "nobody multiplies"
        let there = Parameters.Of(matrices DType.Float32 1 |> List.map device.Moved)

        rule.Step(
            rule.Defaults,
            there,
            Gradients.OfDense(matrices DType.Float32 2 |> List.map device.Moved),
            rule.Init(rule.Defaults, there)
        )
        |> ignore

        Expect.equal device.Others.Asked shapes.Length "each direction is made orthogonal by others"
    }

let private parametersOf (device: PretendDevice voption) dtype =
    [
        for index, tensor in List.indexed (tensors dtype 1) ->
            let data =
                match device with
                | ValueSome device -> device.Moved tensor
                | ValueNone -> tensor

            Param.Of($"{dtype.Name()}.{index}", data)
    ]

let private bind (device: PretendDevice voption) (parameters: Param list) dtype seed =
    for parameter, gradient in List.zip parameters (tensors dtype seed) do
        let gradient: TensorView =
            match device with
            | ValueSome device -> device.Moved gradient
            | ValueNone -> gradient

        parameter.BindGradient gradient

let private stateOf (optimizer: Optimizer) = (optimizer :> IStateful).SaveState()

let private launchTests =
    test "a list of tensors takes one launch for each dtype and step count, and the table is uploaded where an address has changed" {
        let struct (device, _) = fresh ()

        let single, double =
            parametersOf (ValueSome device) DType.Float32, parametersOf (ValueSome device) DType.Float64

        let optimizer = Adam(single @ double |> Seq.cast<IParameterOrGroup> |> Seq.toArray)
        let mutable launches, uploads = 0L, 0L

        let step seed =
            bind (ValueSome device) single DType.Float32 seed
            bind (ValueSome device) double DType.Float64 seed
            let before = device.Kernels.Launches, device.Kernels.Uploads
            optimizer.Step()
            launches <- device.Kernels.Launches - fst before
            uploads <- device.Kernels.Uploads - snd before

        step 1
        Expect.equal launches 2L "a launch for each dtype"
        optimizer.Step()
        let before = device.Kernels.Launches, device.Kernels.Uploads
        optimizer.Step()
        Expect.equal (device.Kernels.Launches - fst before, device.Kernels.Uploads - snd before) (2L, 0L) "nothing has moved"
        step 2
        Expect.equal (launches, uploads) (2L, 2L) "new gradients"
        // One that waits counts for itself.
        single[0].DropGradient()
        optimizer.Step()
        bind (ValueSome device) single DType.Float32 3
        let before = device.Kernels.Launches
        optimizer.Step()
        Expect.equal (device.Kernels.Launches - before) 3L "and for each step count"
        Expect.stringContains optimizer.LastExecutor "kernels on" "who stepped"
        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private surroundTests =
    test "what surrounds a step is part of its launch: state dicts, averages and gradients are the host's" {
        let struct (device, gpu) = fresh ()

        for dtype in [ DType.Float32; DType.BFloat16 ] do
            let run (on: PretendDevice voption) =
                let parameters = parametersOf on dtype

                let optimizer =
                    AdamW(parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray, 0.01)

                let average = AveragedParameters(parameters |> Seq.cast<IParameter>)
                optimizer.Attach(ClipGradNorm 0.5, average = average, zeroGrad = true)

                for step in 1..3 do
                    bind on parameters dtype (20 + step)
                    let waits = gpu.Waits
                    optimizer.Step()
                    // Whether a step was made is asked by the next one.
                    Expect.equal (gpu.Waits - waits) (if on.IsSome && step > 1 then 1 else 0) "waits"

                stateOf optimizer,
                (average :> IStateful).SaveState(),
                [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ],
                [ for p in parameters -> p.GradientView.ToDoubles() ]

            let a, b = run ValueNone, run (ValueSome device)
            Expect.equal b a (dtype.Name())
    }

let private scalerTests =
    test "a scaler unscales gradients on a device, and passes over a step in which one of them is not finite, as on the host" {
        let struct (device, _) = fresh ()

        for dtype in [ DType.Float32; DType.BFloat16 ] do
            let run (on: PretendDevice voption) =
                let parameters = parametersOf on dtype

                let optimizer =
                    AdamW(parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray, 0.01)

                let scaler = GradScaler(1024.0, growthInterval = 2L)
                optimizer.Attach(ClipGradNorm 0.5, scaler)

                let scales =
                    [
                        for step in 1..6 do
                            bind on parameters dtype (20 + step)

                            if step = 3 then
                                // In one element of one tensor: all of them stay.
                                let spoilt = parameters[2].GradientView.ToDoubles()
                                spoilt[4321] <- infinity

                                let spoilt =
                                    TensorView.OfDoubles(dtype, ReadOnlySpan spoilt, ReadOnlySpan shapes[2])

                                parameters[2].GradientView.CopyFrom spoilt

                            let before = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                            optimizer.Step()
                            let after = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                            Expect.equal (before = after) (step = 3) $"step {step}"
                            scaler.GetScale()
                    ]

                Expect.isTrue (scales[2] < scales[1]) $"the overflow shrinks the scale: {scales}"
                stateOf optimizer, scales, [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]

            let a, b = run ValueNone, run (ValueSome device)
            Expect.equal b a (dtype.Name())
    }

let private strideTests =
    test "tensors of other strides are brought into order on the device" {
        let struct (device, _) = fresh ()
        let rule = Rules.Find "AdamW"

        let turned (tensor: TensorView) =
            TensorView(tensor.Address, Layout.Strided(tensor.DType, ReadOnlySpan [| 50L; 3L |], ReadOnlySpan [| 1L; 50L |]), tensor.Owner)

        let data = tensors DType.Float32 1 |> List.head
        let gradient = tensors DType.Float32 2 |> List.head

        let straight =
            TensorView(gradient.Address, Layout.Contiguous(DType.Float32, ReadOnlySpan [| 50L; 3L |]), gradient.Owner)

        let here, there =
            Parameters.Of [ turned data ], Parameters.Of [ device.Moved(turned data) ]

        let mutable a, b = rule.Init(rule.Defaults, here), rule.Init(rule.Defaults, there)

        for _ in 1..2 do
            a <- rule.Step(rule.Defaults, here, Gradients.OfDense [ straight ], a)
            b <- rule.Step(rule.Defaults, there, Gradients.OfDense [ device.Moved straight ], b)

        sameTensors "turned" here there
        sameState "turned" a b
        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private streamTests =
    test "what a step keeps on the device is made anew where the stream is another" {
        let struct (device, gpu) = fresh ()
        let rule = Rules.Find "LAMB"
        let here = Parameters.Of(tensors DType.Float32 1)
        let there = Parameters.Of(here |> Seq.map device.Moved)
        let mutable a, b = rule.Init(rule.Defaults, here), rule.Init(rule.Defaults, there)

        for step in 1..3 do
            gpu.StreamNow <- nativeint step
            let gradients = tensors DType.Float32 (30 + step)
            a <- rule.Step(rule.Defaults, here, Gradients.OfDense gradients, a)
            b <- rule.Step(rule.Defaults, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

        sameTensors "streams" here there
    }

[<Tests>]
let tests =
    testList
        "cuda steps"
        [
            ruleTests
            muonTests
            launchTests
            surroundTests
            scalerTests
            strideTests
            streamTests
        ]
