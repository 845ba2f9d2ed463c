// Long, because each test of it needs the driver that gcc builds, of which a process has one.
/// NVIDIA's driver as it is called, against one without a device, which gcc builds.
module CudaDriverTests

open System
open System.Diagnostics
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Cli.Commands
open Optim.Cuda
open Optim.Kernels
open Optim.Laws
open Optim.Ptx

let private library =
    lazy
        let path =
            Path.Combine(Path.GetTempPath(), $"libfakecuda-{Environment.ProcessId}.so")

        let source = Path.Combine(AppContext.BaseDirectory, "Cuda", "fake.c")

        try
            use gcc =
                Process.Start(ProcessStartInfo("gcc", [ "-shared"; "-fPIC"; "-O1"; "-o"; path; source ], RedirectStandardError = true))

            let errors = gcc.StandardError.ReadToEnd()
            gcc.WaitForExit()
            if gcc.ExitCode = 0 then Ok path else Error errors
        with :? ComponentModel.Win32Exception ->
            Error "there is no gcc"

let mutable private made = 0

/// A device by the fake driver.
let private fake () =
    match library.Value with
    | Error why when why = "there is no gcc" && isNull (Environment.GetEnvironmentVariable "CI") -> skiptest why
    | Error why -> failtest why
    | Ok path ->
        made <- made + 1
        let heap = PretendHeap()
        let driver = FakeDriver(path, heap)
        let gpu = DriverGpu(driver.Driver, driver, 0)
        struct (heap, driver, gpu, PretendDevice($"fake-cuda-{made}", heap, gpu))

let private tensor seed count =
    let random = Random(seed: int)
    Tensor.ofFloats DType.Float32 (Array.init count (fun _ -> random.NextDouble() - 0.5))

let private counts = [ 300; 7; 4100 ]

/// The same parameters here and there, and an optimizer for each.
let private both (device: PretendDevice) make =
    let side (move: TensorView -> TensorView) =
        let parameters =
            [
                for index, count in List.indexed counts ->
                    let parameter = Param.Of($"p{index}", move (tensor index count))
                    parameter.BindGradient(move (tensor (10 + index) count))
                    parameter
            ]

        parameters, (make (parameters |> Seq.cast<IParameterOrGroup> |> Seq.toArray): Optimizer)

    side id, side device.Moved

let private stateOf (optimizer: Optimizer) = (optimizer :> IStateful).SaveState()

let private dataOf (parameters: Param list) =
    [ for p in parameters -> (p :> IParameter).Data.ToDoubles() ]

let private stepTests =
    testSequenced
    <| test "steps by the driver have the host's state dicts, one launch each, and leave no context behind" {
        let struct (_, driver, gpu, device) = fake ()

        let rules: (string * (IParameterOrGroup array -> Optimizer) * int) list =
            [
                "AdamW", (fun parameters -> AdamW(parameters) :> Optimizer), 1
                "SGD", (fun parameters -> SGD(parameters, 0.1, momentum = 0.9) :> Optimizer), 1
                "LAMB", (fun parameters -> RuleOptimizer(Rules.Find "LAMB", Seq.ofArray parameters) :> Optimizer), 7
            ]

        for name, make, launches in rules do
            let (here, ours), (there, theirs) = both device make
            let waits = driver.Waits

            for _ in 1..3 do
                let before = driver.Launches
                ours.Step()
                theirs.Step()
                Expect.isNull driver.Error name
                Expect.equal (driver.Launches - before) launches $"launches of {name}"
                Expect.equal driver.Depth 0 "contexts that were entered and not left"

            Expect.equal driver.Waits waits $"waits of {name}"
            Expect.equal (dataOf there) (dataOf here) name
            Expect.equal (stateOf theirs) (stateOf ours) name

        Expect.equal (gpu.Model, gpu.Capability) ("Fake 1", struct (9, 0)) "the device"
    }

let private openTests =
    testSequenced
    <| test "clipping by norm waits for no stream: whoever asks for state or for a step that was left out waits for that step alone" {
        let struct (_, driver, _, device) = fake ()

        let (here, ours), (there, theirs) =
            both device (fun parameters -> AdamW(parameters) :> Optimizer)

        for optimizer in [ ours; theirs ] do
            optimizer.Attach(ClipGradNorm 0.5)

        let both action =
            action (here, ours)
            action (there, theirs)

        let step isSpoilt =
            both (fun (parameters, optimizer) ->
                let spoilt = parameters[2].GradientView
                let kept = spoilt.ToDoubles()

                if isSpoilt then
                    let values = Array.copy kept
                    values[4000] <- nan
                    spoilt.CopyFrom(TensorView.OfDoubles(DType.Float32, ReadOnlySpan values, ReadOnlySpan [| int64 values.Length |]))

                optimizer.Step()
                spoilt.CopyFrom(TensorView.OfDoubles(DType.Float32, ReadOnlySpan kept, ReadOnlySpan [| int64 kept.Length |])))

        step false
        step false
        let streams, events = driver.Waits, driver.EventWaits

        for isSpoilt in [ false; true; false; true ] do
            step isSpoilt

        Expect.equal driver.Waits streams "waits for a stream"
        Expect.equal (driver.EventWaits - events) 4 "each step asks for the one before it"
        Expect.isNull driver.Error "kernels"
        Expect.isTrue theirs.LastStepSkipped "the last one"
        Expect.equal (driver.EventWaits - events) 5 "and who asks"
        Expect.equal (theirs.SkippedSteps, ours.SkippedSteps) (2L, 2L) "steps that were left out"
        Expect.equal (stateOf theirs) (stateOf ours) "state"
        Expect.equal (dataOf there) (dataOf here) "parameters"
        step true
        Expect.equal (stateOf theirs) (stateOf ours) "state of a step that was left out, asked for first"
        step false
        let again = Param.Of("more", device.Moved(tensor 7 9))
        theirs.AddParamGroup(ParameterGroup [ again ])
        step false
        Expect.equal (dataOf there) (dataOf here) "a group that came while it was not known"
        Expect.equal driver.EventWaits (events + 7) "in all"
        // Whoever goes by a step is told at once.
        let mutable seen = 0
        use _ = theirs.RegisterStepPostHook(fun _ -> seen <- seen + 1)
        step true
        step false
        Expect.equal seen 1 "hooks after steps"
        Expect.equal driver.Depth 0 "contexts"
    }

let private averageTests =
    testSequenced
    <| test "averages and zeroed gradients wait for no stream either: the average's count is known when it is asked for" {
        let struct (_, driver, _, device) = fake ()

        let (here, ours), (there, theirs) =
            both device (fun parameters -> AdamW(parameters) :> Optimizer)

        let attach (parameters: Param list) (optimizer: Optimizer) =
            let average =
                AveragedParameters(parameters |> Seq.cast<IParameter>, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn(0.5), every = 2L)

            optimizer.Attach(ClipGradNorm 0.5, average = average, zeroGrad = true)
            average

        let average, other = attach here ours, attach there theirs

        let step number isSpoilt =
            for parameters, optimizer in [ here, ours; there, theirs ] do
                for index, parameter in List.indexed parameters do
                    let values = (tensor (30 * number + index) counts[index]).ToDoubles()

                    if isSpoilt && index = 1 then
                        values[3] <- nan

                    parameter.GradientView.CopyFrom(
                        TensorView.OfDoubles(DType.Float32, ReadOnlySpan values, ReadOnlySpan [| int64 values.Length |])
                    )

                optimizer.Step()

        step 1 false
        let waits, events = driver.Waits, driver.EventWaits

        for number, isSpoilt in [ 2, false; 3, true; 4, false; 5, false; 6, true ] do
            step number isSpoilt

            for parameter in there do
                Expect.all (parameter.GradientView.ToDoubles()) (fun value -> value = 0.0) $"gradients are zero after step {number}"

        Expect.equal (driver.Waits, driver.EventWaits - events) (waits, 5) "each step asks for the one before it"
        Expect.equal other.NAveraged average.NAveraged "updates of the average"
        Expect.equal (driver.EventWaits - events) 6 "and who asks"
        Expect.equal ((other :> IStateful).SaveState()) ((average :> IStateful).SaveState()) "averages"
        Expect.equal (dataOf there, stateOf theirs) (dataOf here, stateOf ours) "parameters and state"
        step 7 false
        theirs.Attach(ClipGradNorm 0.5)
        ours.Attach(ClipGradNorm 0.5)
        Expect.equal ((other :> IStateful).SaveState()) ((average :> IStateful).SaveState()) "an average that was let go"
        Expect.isNull driver.Error "kernels"
        Expect.equal driver.Depth 0 "contexts"
    }

let private graphTests =
    testSequenced
    <| test
        "a graph is captured in a stream of its own and launched on the current one; what it cannot repeat is refused, and leaves no capture behind" {
        let struct (_, driver, gpu, device) = fake ()

        let (here, ours), (there, _) =
            both device (fun parameters -> AdamW(parameters) :> Optimizer)

        let theirs = AdamW(Seq.cast<IParameterOrGroup> there, capturable = true)

        let near what =
            for a, b in Seq.zip (dataOf here) (dataOf there) do
                for x, y in Array.zip a b do
                    Expect.isLessThanOrEqual (abs (x - y)) 1e-6 what

        use graph = GpuGraph.Capture(gpu, Action theirs.Step)
        Expect.isNull driver.Error "kernels"
        Expect.equal driver.StreamNow 5n "the stream of before"
        ours.Step()
        near "captured, and made once"
        let waits, launches = driver.Waits, driver.Launches

        for _ in 1..3 do
            graph.Launch()
            ours.Step()

        Expect.equal (driver.Waits, driver.Launches - launches) (waits, 6) "two kernels for each, and no wait"
        near "repeated"
        Expect.equal (theirs.StateDict().State[0].["step"].ToDoubles()) [| 4.0 |] "counted there"
        Expect.equal driver.Depth 0 "contexts"
        let before = dataOf there

        // Another rate is a number that must be uploaded; another parameter needs memory.
        let twice = ref 0

        let changing () =
            twice.Value <- twice.Value + 1

            if twice.Value = 2 then
                theirs.ParamGroups[0].["lr"] <- OptionValue.Float 0.5

            theirs.Step()

        let error =
            Expect.throwsC (fun () -> GpuGraph.Capture(gpu, Action changing) |> ignore) id

        Expect.stringContains error.Message "a graph is being captured, and addresses or numbers are others than in the step before" "words"
        Expect.isFalse gpu.IsCapturing "no capture goes on"
        Expect.notEqual (dataOf there) before "it was made once"
        driver.RefuseModules 218

        let error =
            Expect.throwsC (fun () -> GpuGraph.Capture(gpu, Action theirs.Step) |> ignore) id

        Expect.stringContains error.Message "what was launched cannot be repeated as a graph" "a graph that is refused"
        driver.RefuseModules 0
        Expect.isFalse gpu.IsCapturing "no capture goes on"
        graph.Launch()
        graph.Dispose()
        graph.Dispose()
        Expect.throwsT<ObjectDisposedException> graph.Launch "given back"
        Expect.equal driver.Depth 0 "contexts"
        Expect.isNull driver.Error "kernels"
    }

let private clippedGraphTests =
    testSequenced
    <| test "a graph of a clipped step is captured and counted, whether the step before it is known to be made or not" {
        for isAsked in [ false; true ] do
            let struct (_, driver, gpu, device) = fake ()

            let (here, ours), (there, _) =
                both device (fun parameters -> AdamW(parameters) :> Optimizer)

            let theirs = AdamW(Seq.cast<IParameterOrGroup> there, capturable = true)

            ours.Attach(ClipGradNorm 0.5)
            theirs.Attach(ClipGradNorm 0.5)

            let mutable calls = 0

            let step () =
                // The second call is noted.
                if calls = 1 && isAsked then
                    Expect.isFalse theirs.LastStepSkipped "the first one was made"

                calls <- calls + 1
                theirs.Step()

            use graph = GpuGraph.Capture(gpu, Action step)

            for _ in 1..4 do
                graph.Launch()

            for _ in 1..5 do
                ours.Step()

            Expect.equal (theirs.StateDict().State[0].["step"].ToDoubles()) [| 5.0 |] "counted there"

            for a, b in Seq.zip (dataOf here) (dataOf there) do
                for x, y in Array.zip a b do
                    Expect.isLessThanOrEqual (abs (x - y)) 1e-6 "repeated"

            theirs.Attach(ClipGradNorm(0.5, errorIfNonfinite = true))

            let error =
                Expect.throwsC (fun () -> GpuGraph.Capture(gpu, Action theirs.Step) |> ignore) id

            Expect.stringContains error.Message "errorIfNonfinite" "an error that no graph raises"
            Expect.isNull driver.Error "kernels"
            Expect.equal driver.Depth 0 "contexts"
    }

let private refusalTests =
    testSequenced
    <| test "what the driver refuses is an error that names it, and parameters and state stay as they were" {
        for refuse, words in
            [
                (fun (driver: FakeDriver) error -> driver.RefuseModules(if error then 218 else 0)),
                [ "cuda:0 (Fake 1)"; "CUDA_ERROR_INVALID_PTX"; "line 1: told to refuse it" ]
                (fun driver error -> driver.RefuseLaunches(if error then 701 else 0)),
                [ "cuda:0 (Fake 1)"; "launch"; "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES" ]
                (fun driver error -> driver.RefuseCopies(if error then 1 else 0)),
                [ "cuda:0 (Fake 1)"; "copied"; "CUDA_ERROR_INVALID_VALUE" ]
            ] do
            let struct (_, driver, _, device) = fake ()

            let (here, ours), (there, theirs) =
                both device (fun parameters -> AdamW(parameters) :> Optimizer)

            let before = dataOf there, stateOf theirs
            refuse driver true
            let error = Expect.throwsC theirs.Step id

            match error with
            | :? CudaException as error ->
                Expect.isFalse error.IsLost error.Message

                for word in words do
                    Expect.stringContains error.Message word word
            | other -> failtestf "%O" other

            refuse driver false
            Expect.equal (dataOf there, stateOf theirs) before "nothing has changed"
            Expect.equal driver.Depth 0 "contexts"
            ours.Step()
            theirs.Step()
            Expect.equal (dataOf there, stateOf theirs) (dataOf here, stateOf ours) "and it goes on"
    }

let private memoryTests =
    testSequenced
    <| test "where the device has no memory for a step, parameters and state stay as they were" {
        let struct (heap, _, _, device) = fake ()

        let (here, ours), (there, theirs) =
            both device (fun parameters -> AdamW(parameters) :> Optimizer)

        ours.Step()
        theirs.Step()
        let before = dataOf there, stateOf theirs
        heap.Most <- heap.Used
        let lamb = Rules.Find "LAMB"
        let parameters = Parameters.Of [ for p in there -> (p :> IParameter).Data ]

        Expect.throwsT<CudaException>
            (fun () ->
                let state = lamb.Init(lamb.Defaults, parameters)

                lamb.Step(lamb.Defaults, parameters, Gradients.OfDense [ for p in there -> p.GradientView ], state)
                |> ignore)
            "no room"

        Expect.equal (dataOf there, stateOf theirs) before "nothing has changed"
        heap.Most <- IntPtr.MaxValue
        ours.Step()
        theirs.Step()
        Expect.equal (dataOf there, stateOf theirs) (dataOf here, stateOf ours) "and it goes on"
    }

let private lossTests =
    testSequenced
    <| test "a lost device is an error that names it, later steps throw, and host state and the last checkpoint are whole" {
        let struct (_, driver, _, device) = fake ()

        let (here, ours), (_, theirs) =
            both device (fun parameters -> AdamW(parameters) :> Optimizer)

        let path =
            Path.Combine(Path.GetTempPath(), $"optim-lost-{Environment.ProcessId}.pt")

        try
            ours.Step()
            theirs.Step()
            let saved, held = stateOf ours, dataOf here
            Checkpoint.Save(path, struct ("optimizer", box theirs))
            driver.RefuseLaunches 719

            for attempt in 1..3 do
                match Expect.throwsC theirs.Step id with
                | :? CudaException as error ->
                    Expect.isTrue error.IsLost error.Message
                    Expect.equal error.Error "CUDA_ERROR_LAUNCH_FAILED" "the driver's name of it"
                    Expect.stringContains error.Message "cuda:0 (Fake 1) is lost" $"attempt {attempt}"
                | other -> failtestf "%O" other

            // It may recover, but its memory is gone with its context.
            driver.RefuseLaunches 0
            Expect.throwsT<CudaException> (fun () -> theirs.Step()) "it stays lost"
            Expect.equal (stateOf ours, dataOf here) (saved, held) "what lies on the host"

            let fresh =
                [
                    for index, count in List.indexed counts -> Param.Of($"p{index}", tensor index count)
                ]

            let again = AdamW(fresh |> Seq.cast<IParameterOrGroup> |> Seq.toArray)
            Checkpoint.Load(path, struct ("optimizer", box again)) |> ignore
            Expect.equal (stateOf again) saved "the last checkpoint"
            ours.Step()
            Expect.notEqual (dataOf here) held "the host goes on"
            Expect.equal driver.Depth 0 "contexts"
        finally
            File.Delete path
    }

let private absentTests =
    test "without a driver there are no kernels" { Expect.isNull (CudaDriver.TryLoad "libnone-such.so.1") "no library" }

let private registerTests =
    testSequenced
    <| test "kernels are registered for a kind of device: nobody where there is no driver, and one for each device where there is" {
        let host (driver: FakeDriver) = driver :> CudaHost

        match library.Value with
        | Error why -> skiptest why
        | Ok path ->
            let driver = FakeDriver(path, PretendHeap())
            let mutable asked = 0
            let warnings = ResizeArray<string>()

            use listener =
                { new TraceListener() with
                    member _.Write(_: string | null) = ()
                    member _.WriteLine(text: string | null) = warnings.Add(string text)
                }

            Trace.Listeners.Add listener |> ignore

            CudaKernels.Register(
                "registered-none",
                host driver,
                fun () ->
                    asked <- asked + 1
                    null
            )

            for _ in 1..3 do
                Expect.isNull (ProgramDevice.Find(Device("registered-none", 0))) "nobody"

            Expect.equal asked 1 "looked for once"
            CudaKernels.Register("registered-neither", host driver, (fun () -> null))
            Expect.isNull (ProgramDevice.Find(Device("registered-neither", 0))) "nobody here, either"
            Trace.Listeners.Remove listener
            Expect.isLessThan warnings.Count 2 $"one warning in a process: {warnings}"
            CudaKernels.Register("registered", host driver, (fun () -> driver.Driver))
            let found = ProgramDevice.Find(Device("registered", 0))
            Expect.equal (nonNull found).Name "kernels on cuda:0" "who runs programs"
            Expect.isTrue (obj.ReferenceEquals(found, ProgramDevice.Find(Device("registered", 0)))) "the same one"
            // The fake driver has one device: what lies on another one is left to libtorch's operators.
            Expect.isNull (ProgramDevice.Find(Device("registered", 1))) "no such device"
    }

let private checkTests =
    testSequenced
    <| test "the check of a device compares every kernel with the processor, finds what differs, and says so where there is no device" {
        let struct (_, driver, _, _) = fake ()
        let lines = ResizeArray<string>()

        let programs =
            [
                for program in GpuCheckCommand.Programs() do
                    let struct (name, _) = program

                    if List.contains name [ "Adam"; "AdamW"; (Rules.Find "LAMB").Name; "AdamW, surrounded" ] then
                        program
            ]

        Expect.equal programs.Length 4 "programs"
        Expect.isGreaterThan (GpuCheckCommand.Programs().Count) 100 "in all"
        let check = GpuCheck(driver.Driver, driver, 0, Action<string> lines.Add)
        Expect.isTrue (check.Run(ResizeArray programs, 2, 1024L)) (String.Join('\n', lines))
        Expect.isNull driver.Error "no error"
        let output = String.Join('\n', lines)

        for words in
            [
                "cuda:0: Fake 1, compute capability 9.0"
                "AdamW, surrounded"
                "AdamW, clipped there"
                "Lamb, clipped there"
                "Adafactor"
                "AdamW, blockwise8"
                "Adam, bfloat16"
                "state in blockwise8"
                " 0 differ"
                "in two streams by turns: 0 differ"
                "of a copy"
                "16 x 64, us"
            ] do
            Expect.stringContains output words words

        driver.Change <- Func<_, _>(fun text -> text.Replace("sub.rn.f32", "add.rn.f32"))
        lines.Clear()
        let other = GpuCheck(driver.Driver, driver, 0, Action<string> lines.Add)
        Expect.isFalse (other.Run(ResizeArray(List.truncate 1 programs), 1, 1024L)) "a device that computes otherwise"

        if isNull (CudaDriver.TryLoad()) then
            Command.refused [ "gpu-check" ] [ "no device"; "libcuda.so.1" ]

        Command.refused [ "gpu-check"; "--repetitions"; "0" ] [ "--repetitions is 0"; "at least 1" ]
        Command.refused [ "gpu-check"; "--elements"; "100" ] [ "--elements is 100"; "a multiple of 64" ]
        Command.refused [ "gpu-check"; "--rule"; "Adm" ] [ "--rule is Adm"; "one of"; "AdamW, surrounded" ]
    }

let private severalTests =
    testSequenced
    <| test "parameters on two devices step together, each in its own context, and their norms are over all of them" {
        let struct (_, driver, _, _) = fake ()
        driver.HaveDevices 2
        let e name = Expression.Input name

        let program =
            StepProgram(
                [| "param"; "grad" |],
                [
                    Assignment(
                        "param",
                        e "param"
                        - e "grad" / Expression.NormOverAll(e "grad") * Expression.Norm(e "param")
                    )
                ]
            )

        Expect.equal (GpuCheck.CompareDevices(driver.Driver, driver, program)) 0L "elements that differ"
        Expect.isNull driver.Error "no error"
        Expect.equal driver.Depth 0 "contexts that were entered and not left"
        let lines = ResizeArray<string>()
        driver.HaveDevices 1
        Expect.isTrue (GpuCheckCommand.Together(driver.Driver, driver, Action<string> lines.Add)) (String.Join('\n', lines))
        Expect.stringContains (String.Join('\n', lines)) "1 devices together: 0 elements differ" "what it says"
    }

[<Tests>]
let tests =
    testList
        "cuda driver"
        [
            stepTests
            openTests
            averageTests
            graphTests
            clippedGraphTests
            refusalTests
            memoryTests
            lossTests
            absentTests
            registerTests
            checkTests
            severalTests
        ]
