/// Parameters of TorchSharp on a GPU: who steps them, with which bits, what surrounds a step, and graphs. They run where libtorch finds a GPU, and say so
/// elsewhere.
module GpuStepTests

open System
open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open DeviceKit
open Kit
open TorchKit

type private Tensor = torch.Tensor

let private onGpu name (body: unit -> unit) =
    testSequenced
    <| test $"with a GPU and libtorch for it: {name}" {
        TorchSharpTests.skipWithoutLibtorch ()

        if not (torch.cuda.is_available ()) then
            skiptest "libtorch finds no GPU"

        body ()
    }

/// Matrices, so that every rule takes them: small ones, one of several blocks, and one that does not begin at a multiple of 16 bytes.
let private shapes =
    [ [| 3L; 50L |]; [| 7L; 1L |]; [| 100L; 90L |]; [| 30L; 41L |] ]

/// The same tensors here or there, the last one a part of a longer one.
let private tensorsOn (device: torch.Device) (dtype: torch.ScalarType) seed =
    [
        for index, shape in List.indexed shapes do
            let values = noise (seed + index) (count dtype shape)

            if index = shapes.Length - 1 then
                let longer =
                    tensorOf dtype device [| int64 values.Length + 1L |] (Array.append [| 0.0 |] values)

                longer.narrow(0L, 1L, int64 values.Length).view shape
            else
                tensorOf dtype device shape values
    ]

/// Parameters with names, and what gives them gradients.
let private side device dtype =
    let tensors =
        [ for tensor in tensorsOn device dtype 1 -> tensor.requires_grad_ true ]

    let give (tensors: Tensor list) step =
        for tensor, gradient in List.zip tensors (tensorsOn device dtype (100 * step)) do
            tensor.grad <- gradient

    tensors, Torch.Parameters [| for i, tensor in Seq.indexed tensors -> struct ($"w{i}", tensor) |], give tensors

let private same what (expected: float[]) (found: float[]) =
    ProgramKit.difference [| [| expected |] |] [| [| found |] |]
    |> Option.iter (failtestf "%s: %s" what)

let private sameState what (expected: StateDict) (found: StateDict) =
    Expect.sequenceEqual found.State.Keys expected.State.Keys what

    for KeyValue(id, state) in expected.State do
        for KeyValue(name, tree) in state do
            let found: Tree = (found.State[id])[name]
            same $"{what}, {name} of {id}" ((tree: Tree).AsTensor().ToDoubles()) (found.AsTensor().ToDoubles())

let private rules =
    Seq.append Rules.All (Catalogue.All |> Seq.map _.Rule)
    |> Seq.distinctBy _.Name
    |> Seq.filter (fun rule ->
        (rule :> obj) :? IRecorded && rule.Name <> "SparseAdam"
        || rule.Name = "Adafactor")
    |> Seq.toList

let private bitTests =
    onGpu "every rule is stepped by kernels with the processor's bits" (fun () ->
        for index, rule in List.indexed rules do
            let others =
                if index % 8 = 0 then
                    [ torch.float64; torch.bfloat16; torch.float16 ]
                else
                    []

            for dtype in torch.float32 :: others do
                let here, parametersHere, giveHere = side torch.CPU dtype
                let there, parametersThere, giveThere = side torch.CUDA dtype
                let ours, theirs = make rule [] parametersHere, make rule [] parametersThere

                for step in 1..3 do
                    giveHere step
                    giveThere step
                    ours.Step()
                    theirs.Step()

                let what = $"{rule.Name}, {dtype}"
                Expect.equal theirs.LastExecutor "kernels on cuda:0" $"{what}: who stepped"

                for index, (a, b) in List.indexed (List.zip here there) do
                    same $"{what}, w{index}" (doubles a) (doubles b)

                sameState what (ours.StateDict()) (theirs.StateDict()))

let private narrowTests =
    onGpu "narrow state has the processor's codes and scales, beside wide state of small tensors" (fun () ->
        for name in [ "AdamW"; "Lion"; "RMSprop"; "AdaBelief" ] do
            for storage in [ StateStorage.Blockwise8.From 0; StateStorage.BFloat16.From 1000 ] do
                for dtype in [ torch.float32; torch.bfloat16 ] do
                    let run device =
                        let tensors, parameters, give = side device dtype

                        let settings =
                            [| for name, value in NarrowKit.optionsOf storage -> struct (name, value) |]

                        let optimizer = RuleOptimizer(Rules.Find name, all parameters, settings)

                        for step in 1..3 do
                            give step
                            optimizer.Step()

                        (optimizer :> IStateful).SaveState(), [ for tensor in tensors -> doubles tensor ]

                    let state, data = run torch.CPU
                    let stateThere, dataThere = run torch.CUDA
                    Expect.equal stateThere state $"{name}, {storage}, {dtype}: the state"
                    Expect.equal dataThere data $"{name}, {storage}, {dtype}: the parameters")

let private aroundTests =
    onGpu "clipping, a scaler, averages and zeros have the processor's bits, and a gradient that is not finite leaves a step out" (fun () ->
        for withScaler in [ false; true ] do
            let run device =
                let tensors, parameters, give = side device torch.float32
                let parameters = Seq.toList parameters
                let optimizer = AdamW(all parameters, lr = 0.1)

                let average =
                    AveragedParameters(parameters, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.5)

                optimizer.Attach(ClipGradNorm 0.5, (if withScaler then GradScaler 4.0 else null), average, zeroGrad = true)

                let skipped =
                    [
                        for step in 1..6 do
                            give step

                            if step = 4 then
                                use bad = tensors[2].grad.view -1L
                                bad[17L] <- torch.tensor (infinity, dtype = Nullable torch.float32, device = device)

                            optimizer.Step()
                            optimizer.LastStepSkipped
                    ]

                [ for tensor in tensors -> doubles tensor ],
                [ for p in parameters -> average[p.Name].ToDoubles() ],
                [ for tensor in tensors -> doubles tensor.grad ],
                skipped

            let expected, averages, zeros, skipped = run torch.CPU
            let found, others, gradients, left = run torch.CUDA
            let sameAll what a b = List.iter2 (same what) a b
            Expect.equal skipped [ false; false; false; true; false; false ] "steps that are left out"
            Expect.equal left skipped "there, too"
            sameAll "parameters" expected found
            sameAll "averages" averages others
            sameAll "gradients afterwards" zeros gradients)

let private graphTests =
    onGpu "a graph repeats steps with a rate that is a tensor, clips, and leaves a step out" (fun () ->
        let here, parametersHere, giveHere = side torch.CPU torch.float32
        let there, parametersThere, _ = side torch.CUDA torch.float32
        let ours = AdamW(all parametersHere, lr = 0.1)
        let theirs = AdamW(all parametersThere, lr = 0.1, capturable = true)
        use rate = torch.tensor (0.1, dtype = Nullable torch.float64, device = torch.CUDA)
        theirs.ParamGroups[0].BindRate("lr", rate)
        ours.Attach(ClipGradNorm 0.5)
        theirs.Attach(ClipGradNorm 0.5)
        let given = [ for tensor in there -> tensor.``new_zeros`` (tensor.shape) ]

        for tensor, gradient in List.zip there given do
            tensor.grad <- gradient

        let give step isSpoilt =
            giveHere step

            for index, (tensor, gradient) in List.indexed (List.zip here given) do
                if isSpoilt && index = 1 then
                    tensor.grad.fill_ (Scalar.op_Implicit nan) |> ignore

                gradient.copy_ tensor.grad |> ignore

        give 1 false
        ours.Step()
        use graph = CudaGraph.Capture(torch.CUDA, (fun () -> theirs.Step()))

        for step in 2..8 do
            let lr = 0.1 / float step
            ours.ParamGroups[0]["lr"] <- OptionValue.Float lr
            theirs.ParamGroups[0]["lr"] <- OptionValue.Float lr
            give step (step = 5)
            ours.Step()
            graph.Launch()

        for a, b in List.zip here there do
            close "parameters" torch.float32 (doubles b) (doubles a)

        let steps (optimizer: Optimizer) =
            string (optimizer.StateDict().State[0]["step"])

        Expect.equal (steps theirs) (steps ours) "steps, of which one was left out")

let private trainingTests =
    onGpu "a model learns there, and goes on from a state dict as if it had not stopped" (fun () ->
        let model () =
            (network () :> torch.nn.Module).``to`` torch.CUDA :?> torch.nn.Module<Tensor, Tensor>

        let x, y = batch ()
        let x, y = x.cuda (), y.cuda ()

        let train (model: torch.nn.Module<Tensor, Tensor>) (optimizer: Optimizer) steps =
            [
                for _ in 1..steps do
                    optimizer.ZeroGrad()
                    let loss = loss model (x, y)
                    loss.backward ()
                    optimizer.Step()
                    loss.cpu().item<float32>()
            ]

        let one = model ()
        let optimizer = AdamW(all (one.NamedParameters()), lr = 0.01)
        let losses = train one optimizer 60
        Expect.isLessThan (List.last losses) (losses.Head / 2.0f) "it learns"
        let two = model ()
        two.load_state_dict (one.state_dict ()) |> ignore
        let other = AdamW(all (two.NamedParameters()), lr = 0.01)
        other.LoadStateDict(optimizer.StateDict().Clone()) |> ignore

        for step in 1..3 do
            for optimizer, (model: torch.nn.Module<Tensor, Tensor>) in [ optimizer :> Optimizer, one; other :> Optimizer, two ] do
                for index, parameter in Seq.indexed (model.parameters ()) do
                    parameter.grad <-
                        tensorOf torch.float32 torch.CUDA parameter.shape (noise (10 * step + index) (int (parameter.numel ())))

                optimizer.Step()

        for a, b in Seq.zip (one.parameters ()) (two.parameters ()) do
            same "parameters" (doubles a) (doubles b))

let private wholeTests =
    onGpu "LBFGS has the processor's bits, and Muon's numbers are the processor's up to what libtorch's products differ by" (fun () ->
        let lbfgs device =
            let tensors, parameters, _ = side device torch.float32
            let optimizer = LBFGS(all parameters, lr = 0.5, lineSearchFn = "strong_wolfe")

            // Worked out by the processor, so that gradients are the same everywhere.
            let closure () =
                let mutable loss = 0.0

                for index, tensor in List.indexed tensors do
                    let values = doubles tensor

                    let slope =
                        [| for i, x in Array.indexed values -> float (1 + i % 7) * (x - float index) |]

                    loss <-
                        loss
                        + Array.sum (Array.map2 (fun g x -> 0.5 * g * (x - float index)) slope values)

                    tensor.grad <- tensorOf torch.float32 device tensor.shape slope

                torch.tensor loss

            for _ in 1..4 do
                optimizer.Step(Func<Tensor>(closure)) |> ignore

            [ for tensor in tensors -> doubles tensor ]

        List.iter2 (same "LBFGS") (lbfgs torch.CPU) (lbfgs torch.CUDA)

        let muon device =
            let tensors, parameters, give = side device torch.float32
            let optimizer = Muon(all parameters, lr = 0.05)

            for step in 1..4 do
                give step
                optimizer.Step()

            [ for tensor in tensors -> doubles tensor ]

        for expected, found in List.zip (muon torch.CPU) (muon torch.CUDA) do
            for a, b in Array.zip expected found do
                Expect.isLessThan (abs (a - b)) 2e-3 "Muon")

let private memoryTests =
    onGpu "where there is no memory for the state, the error says so, nothing has moved, and the next step is made" (fun () ->
        match PtxToolTests.run "nvidia-smi" [ "--query-gpu=memory.free"; "--format=csv,noheader,nounits"; "-i"; "0" ] with
        | Some(0, free, _) ->
            // Of parameter, gradient and two columns not all fit.
            let elements = int64 (0.3 * float free * 1048576.0 / 4.0)
            let small = (torch.ones ([| 3L |], device = torch.CUDA)).requires_grad_ true
            small.grad <- torch.ones ([| 3L |], device = torch.CUDA)
            let large = (torch.ones ([| elements |], device = torch.CUDA)).requires_grad_ true
            large.grad <- torch.ones ([| elements |], device = torch.CUDA)
            let optimizer = AdamW(all (named [ "small", small; "large", large ]), lr = 0.1)

            let error =
                try
                    optimizer.Step()
                    None
                with e ->
                    Some e

            match error with
            | Some e -> Expect.stringContains (e.ToString()) "memory" "the error"
            | None -> failtest "there was memory"

            Expect.equal (doubles small) [| 1.0; 1.0; 1.0 |] "nothing has moved"
            Expect.isEmpty (optimizer.StateDict().State) "and there is no state"
            large.grad <- null
            optimizer.Step()
            Expect.notEqual (doubles small) [| 1.0; 1.0; 1.0 |] "the next step"
            large.Dispose()
        | _ -> skiptest "nvidia-smi tells no free memory")

[<Tests>]
let tests =
    testList
        "cuda gpu"
        [
            bitTests
            narrowTests
            aroundTests
            graphTests
            trainingTests
            wholeTests
            memoryTests
        ]
