/// Narrow state on a device that is none: steps, what surrounds them, files and errors are as on the processor.
module NarrowStepTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Cuda
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open NarrowKit
open PretendKit

/// That both have the same codes, scales and numbers.
let private agree what (here: Parameters) (there: Parameters) (a: State) (b: State) =
    sameTensors what here there

    for expected, found in Seq.zip a.Columns b.Columns do
        if not (expected.Equals found) then
            failtestf "%s: %s is %O instead of %O" what expected.Name found expected

let private ruleTests =
    test "every rule with narrow state has the processor's codes, scales and parameters over several steps, with any seed and minimum" {
        let struct (device, gpu) = fresh ()
        Expect.isGreaterThan rules.Length 40 "rules"

        for index, rule in List.indexed (List.distinctBy (fun (rule: Rule) -> rule.Name) rules) do
            let dtypes =
                if PtxKit.isWhole || index % 8 = 0 then
                    [ DType.Float32; DType.BFloat16; DType.Float16 ]
                else
                    [ DType.Float32 ]

            for dtype in dtypes do
                for storage in [ always[index % 2]; formats[1 - index % 2].WithSeed(int64 index) ] do
                    let options = stored rule storage rule.Defaults
                    let here = Parameters.Of(tensors dtype 1)
                    let there = Parameters.Of(here |> Seq.map device.Moved)
                    let mutable a, b = rule.Init(options, here), rule.Init(options, there)
                    let waits = gpu.Waits

                    for step in 1..3 do
                        let gradients = tensors dtype (10 + step)
                        a <- rule.Step(options, here, Gradients.OfDense gradients, a)
                        b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)

                    Expect.equal gpu.Waits waits $"{rule.Name} waits for the device"
                    agree $"{rule.Name}, {dtype.Name()}, {storage}" here there a b

        Expect.equal device.Others.Asked 0 "nobody else"
    }

let private parametersOf (device: PretendDevice voption) =
    [
        for index, tensor in List.indexed (tensors DType.Float32 1) ->
            let data =
                match device with
                | ValueSome device -> device.Moved tensor
                | ValueNone -> tensor

            Param.Of($"p{index}", data)
    ]

let private bind (device: PretendDevice voption) (parameters: Param list) (gradients: TensorView list) =
    for parameter, gradient in List.zip parameters gradients do
        let gradient: TensorView =
            match device with
            | ValueSome device -> device.Moved gradient
            | ValueNone -> gradient

        parameter.BindGradient gradient

let private stateOf (optimizer: Optimizer) = (optimizer :> IStateful).SaveState()

let private asItems (parameters: Param list) =
    parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray


let private surroundTests =
    test "what surrounds a step is the host's with narrow state: norms, scales of losses, averages, zeros, and steps that are left out" {
        let struct (device, _) = fresh ()

        for storage in formats do
            let run (on: PretendDevice voption) =
                let parameters = parametersOf on
                let optimizer = AdamW(asItems parameters, 0.01, stateStorage = storage)
                let average = AveragedParameters(parameters |> Seq.cast<IParameter>)
                let scaler = GradScaler(1024.0, growthInterval = 2L)
                optimizer.Attach(ClipGradNorm 0.5, scaler, average, zeroGrad = true)

                for step in 1..5 do
                    let gradients = tensors DType.Float32 (20 + step)

                    if step = 3 then
                        gradients[2].AsSpan<float32>()[4321] <- infinityf

                    bind on parameters gradients
                    let before = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                    optimizer.Step()
                    let after = [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
                    Expect.equal (before = after) (step = 3) $"step {step}"

                stateOf optimizer, (average :> IStateful).SaveState(), [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]

            let a, b = run ValueNone, run (ValueSome device)
            Expect.equal b a $"{storage}"
    }

let private launchTests =
    test
        "parameters with narrow state take a launch, those below the minimum another one, and tables are uploaded where something has moved" {
        let struct (device, _) = fresh ()
        let parameters = parametersOf (ValueSome device)

        let optimizer = Adam(asItems parameters, stateStorage = StateStorage.Blockwise8)

        bind (ValueSome device) parameters (tensors DType.Float32 2)

        let kernels () =
            device.Kernels.Launches, device.Kernels.Uploads

        optimizer.Step()
        Expect.equal device.Kernels.Launches 2L "one for the large tensor, one for the small ones"
        optimizer.Step()
        let launches, uploads = kernels ()
        optimizer.Step()
        let later, others = kernels ()
        Expect.equal (later - launches, others - uploads) (2L, 0L) "nothing has moved"
    }

let private loadTests =
    test "narrow and wide state dicts are loaded on a device, which goes on as the processor does, and format and seed may change" {
        let struct (device, _) = fresh ()

        let run (on: PretendDevice voption) (before: StateStorage) (after: StateStorage) widen =
            let parameters = parametersOf on
            let first = AdamW(asItems parameters, 0.01, stateStorage = before)

            let step (optimizer: Optimizer) seed =
                bind on parameters (tensors DType.Float32 seed)
                optimizer.Step()

            step first 31
            step first 32
            let dict = first.StateDict(widen = widen)
            let second = AdamW(asItems parameters, 0.01, stateStorage = after)
            second.LoadStateDict dict |> ignore
            step second 33
            stateOf second, [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]

        for before, after, widen in
            [
                StateStorage.Blockwise8, StateStorage.Blockwise8, false
                StateStorage.Blockwise8, StateStorage.BFloat16, true
                StateStorage.Float32, StateStorage.Blockwise8.WithSeed 5L, false
                StateStorage.BFloat16, StateStorage.Float32, false
            ] do
            Expect.equal (run (ValueSome device) before after widen) (run ValueNone before after widen) $"{before} to {after}"
    }

let private changeTests =
    test "a step with narrow state goes on with another seed, and columns that begin elsewhere than at 0 are made on the device" {
        let struct (device, _) = fresh ()
        let rule = Rules.Find "AdamW"
        let adagrad = Rules.Find "Adagrad"

        for rule, more in [ rule, []; adagrad, [ "initial_accumulator_value", OptionValue.Float 0.3 ] ] do
            let here = Parameters.Of(tensors DType.Float32 1)
            let there = Parameters.Of(here |> Seq.map device.Moved)

            let optionsOf seed =
                stored
                    rule
                    (StateStorage.Blockwise8.WithSeed seed)
                    (rule.Replace(rule.Defaults, more |> List.map Collections.Generic.KeyValuePair))

            let mutable a, b = rule.Init(optionsOf 0L, here), rule.Init(optionsOf 0L, there)
            agree $"{rule.Name} before the first step" here there a b

            for step in 1..4 do
                let options = optionsOf (int64 (step / 2))
                let gradients = tensors DType.Float32 (40 + step)
                a <- rule.Step(options, here, Gradients.OfDense gradients, a)
                b <- rule.Step(options, there, Gradients.OfDense(gradients |> List.map device.Moved), b)
                agree $"{rule.Name}, step {step}" here there a b
    }

let private captureTests =
    test "a graph repeats steps with narrow state, each rounded by its own step" {
        let struct (device, gpu) = fresh ()

        for name, storage in
            [
                "RMSprop", StateStorage.Blockwise8.From 0
                "Adam", StateStorage.BFloat16.From 0
            ] do
            let rule = Rules.Find name
            let plain = stored rule storage rule.Defaults
            let options = rule.Replace(plain, "capturable", OptionValue.Bool true)
            let here = Parameters.Of(tensors DType.Float32 1)
            let there = Parameters.Of(here |> Seq.map device.Moved)
            let mutable a, b = rule.Init(plain, here), rule.Init(options, there)
            let given = tensors DType.Float32 11 |> List.map device.Moved

            let stepHere step =
                let gradients = tensors DType.Float32 (10 + step)
                a <- rule.Step(plain, here, Gradients.OfDense gradients, a)

                for source, target in List.zip gradients given do
                    target.CopyFrom source

            let stepThere () =
                b <- rule.Step(options, there, Gradients.OfDense given, b)

            stepHere 1
            stepThere ()
            gpu.BeginCapture()
            stepThere ()
            let graph = gpu.EndCapture()

            for step in 2..5 do
                stepHere step
                graph.Invoke()

            stepHere 6
            stepThere ()
            Expect.equal (b.Count 0) 6L "steps"

            if name = "RMSprop" then
                // Its numbers are the processor's to the bit.
                agree name here there a b
            else
                for x, y in Seq.zip here there do
                    for p, q in Array.zip (x.ToDoubles()) (y.ToDoubles()) do
                        Expect.isLessThan (abs (p - q)) 1e-4 name
    }

let private errorTests =
    test "an error of the device leaves parameters and narrow state as they were" {
        let struct (device, gpu) = fresh ()
        let parameters = parametersOf (ValueSome device)

        let optimizer = Adam(asItems parameters, stateStorage = StateStorage.Blockwise8)

        bind (ValueSome device) parameters (tensors DType.Float32 2)
        optimizer.Step()

        let state, data =
            stateOf optimizer, [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]
        // The table has to be made anew, as the stream is another, and there is no memory for it.
        device.Heap.Most <- 0n
        gpu.StreamNow <- 1n
        Expect.throwsT<CudaException> (fun () -> optimizer.Step()) "no memory"
        device.Heap.Most <- nativeint Int64.MaxValue
        Expect.equal (stateOf optimizer) state "the state"
        Expect.equal [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ] data "the parameters"
        optimizer.Step()
    }

let private refusalTests =
    test "narrow state is refused by name where libtorch's operators would step it" {
        let struct (device, _) = fresh ()
        ProgramDevice.Forget device.Device.Kind
        let parameters = Parameters.Of(tensors DType.Float32 1 |> List.map device.Moved)
        let rule = Rules.Find "AdamW"
        let options = stored rule StateStorage.Blockwise8 rule.Defaults

        let error =
            Expect.throwsC (fun () -> rule.Init(options, parameters) |> ignore) (fun e -> e)

        for words in
            [
                "AdamW"
                "state_storage is blockwise8"
                device.Device.Kind
                "keep its state in float32"
            ] do
            Expect.stringContains error.Message words "the message"
    }

[<Tests>]
let tests =
    testList
        "cuda steps narrow"
        [
            ruleTests
            surroundTests
            launchTests
            loadTests
            changeTests
            captureTests
            errorTests
            refusalTests
        ]
