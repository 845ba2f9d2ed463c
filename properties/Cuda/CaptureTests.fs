// Long, because all of its tests step here, there and as a graph.
/// Steps that a graph of a device repeats: counts, numbers and rates are the device's.
module CaptureTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Ptx
open PretendKit

/// The rules that have the option, by options under which their steps differ most.
let private rules: (Rule * IOptimizerOptions) list =
    let on (rule: Rule) values =
        rule,
        rule.Replace(
            rule.Defaults,
            [
                for name, value in ("capturable", OptionValue.Bool true) :: values -> Collections.Generic.KeyValuePair(name, value)
            ]
        )

    [
        for rule in Rules.All do
            if rule.Has "capturable" then
                on rule []

                if rule.Has "weight_decay" then
                    on rule [ "weight_decay", OptionValue.Float 0.1 ]

        on (Rules.Find "Adam") [ "amsgrad", OptionValue.Bool true ]
        on (Rules.Find "ASGD") [ "t0", OptionValue.Float 3.0; "lambd", OptionValue.Float 0.1 ]
        on
            (Rules.Find "RAdam")
            [
                "betas", OptionValue.TupleOf [ OptionValue.Float 0.9; OptionValue.Float 0.99 ]
            ]
        on (Rules.Find "RMSprop") [ "momentum", OptionValue.Float 0.9; "centered", OptionValue.Bool true ]
        on
            (Rules.Find "NAdam")
            [
                "decoupled_weight_decay", OptionValue.Bool true
                "weight_decay", OptionValue.Float 0.1
            ]
    ]

let private plain (rule: Rule) (options: IOptimizerOptions) =
    rule.Replace(options, "capturable", OptionValue.Bool false)

/// How far numbers may differ that are made of powers: they are worked out otherwise there, in double.
let private near what dtype (expected: TensorView seq) (found: TensorView seq) =
    let tolerance =
        match dtype with
        | DType.Float64 -> 1e-12
        | DType.Float32 -> 1e-6
        | _ -> 1e-2

    for a, b in Seq.zip expected found do
        for x, y in Array.zip (a.ToDoubles()) (b.ToDoubles()) do
            if abs (x - y) > tolerance * (abs x + 1.0) then
                failtestf "%s: %g and %g" what x y

let private gradientsOf dtype step = tensors dtype (10 + step)

let private repeatTests =
    test "a graph repeats the step of every capturable rule, first, early and late steps alike, and state tells what it has counted" {
        let struct (device, gpu) = fresh ()

        for rule, options in rules do
            for dtype in [ DType.Float32; DType.Float64; DType.BFloat16; DType.Complex64 ] do
                if
                    dtype = DType.Float32
                    || rule.Name = "Adam"
                    || rule.Name = "RAdam" && dtype = DType.Float64
                then
                    let what = $"{rule.Name}, {dtype.Name()}"
                    let here = Parameters.Of(tensors dtype 1)
                    let there = Parameters.Of(here |> Seq.map device.Moved)
                    let mutable a = rule.Init(plain rule options, here)
                    let mutable b = rule.Init(options, there)
                    let given = gradientsOf dtype 1 |> List.map device.Moved

                    let give step =
                        for source, target in List.zip (gradientsOf dtype step) given do
                            target.CopyFrom source

                    let stepHere step =
                        a <- rule.Step(plain rule options, here, Gradients.OfDense(gradientsOf dtype step), a)

                    let stepThere () =
                        b <- rule.Step(options, there, Gradients.OfDense given, b)

                    // The first one is made, the second noted and not made.
                    stepHere 1
                    stepThere ()
                    gpu.BeginCapture()
                    stepThere ()
                    let graph = gpu.EndCapture()
                    Expect.equal (b.Count 0) 1L $"{what}: what is noted is not counted"

                    for step in 2..9 do
                        give step
                        stepHere step
                        graph.Invoke()

                    near what dtype here there

                    for column, other in Seq.zip a.Columns b.Columns do
                        for row in 0 .. a.RowCount - 1 do
                            if not column[row].IsAbsent then
                                near $"{what}, {column.Name}" DType.Float32 [ column[row] ] [ other[row] ]

                    Expect.equal (b.Count 0) 9L $"{what}: steps"

                    for name in rule.ScalarNames do
                        Expect.floatClose Accuracy.veryHigh (b.Scalar(name, 0)) (a.Scalar(name, 0)) $"{what}: {name}"

                    // And on by steps of its own, captured or not.
                    give 10
                    stepHere 10
                    stepThere ()
                    near what dtype here there
                    Expect.equal (b.Count 0) 10L $"{what}: steps"
                    let options = plain rule options
                    give 11
                    stepHere 11
                    b <- rule.Step(options, there, Gradients.OfDense given, b)
                    near what dtype here there
                    Expect.equal (b.Count 0) 11L $"{what}: steps"
    }

/// The same parameters here and there, stepped by AdamW, there by a graph.
let private adamW = Rules.Find "AdamW"

let private capturable =
    adamW.Replace(adamW.Defaults, "capturable", OptionValue.Bool true)

/// Takes the message of what an action is refused with.
let private refused (action: unit -> unit) =
    match
        (try
            action ()
            None
         with e ->
             Some e)
    with
    | Some(:? NotSupportedException as e) -> e.Message
    | Some e -> failtestf "another error: %s" (string e)
    | None -> failtest "it was not refused"

let private rateTests =
    test "a rate that is a tensor is read in each step: what a graph repeats takes another one when the tensor changes" {
        let struct (device, gpu) = fresh ()

        for dtype in [ DType.Float32; DType.Float64 ] do
            let rate =
                device.Moved(TensorView.OfDoubles(dtype, ReadOnlySpan [| 1e-3 |], ReadOnlySpan [||]))

            let options = adamW.WithRate(capturable, "lr", rate)

            let beta =
                device.Moved(TensorView.OfDoubles(dtype, ReadOnlySpan [| 0.5 |], ReadOnlySpan [||]))

            let options = adamW.WithRate(options, "beta1", beta)
            let here = Parameters.Of(tensors DType.Float32 1)
            let there = Parameters.Of(here |> Seq.map device.Moved)
            let mutable a, b = adamW.Init(adamW.Defaults, here), adamW.Init(options, there)
            let given = gradientsOf DType.Float32 1
            let moved = given |> List.map device.Moved

            let stepHere lr =
                let options =
                    adamW.With(
                        struct ("lr", OptionValue.Float(if dtype = DType.Float32 then double (float32 lr) else lr)),
                        struct ("betas", OptionValue.TupleOf [ OptionValue.Float 0.5; OptionValue.Float 0.999 ])
                    )

                a <- adamW.Step(options, here, Gradients.OfDense given, a)

            let stepThere () =
                b <- adamW.Step(options, there, Gradients.OfDense moved, b)

            stepHere 1e-3
            stepThere ()
            gpu.BeginCapture()
            stepThere ()
            let graph = gpu.EndCapture()

            for lr in [ 1e-3; 0.1; 0.03 ] do
                rate.Fill lr
                stepHere lr
                graph.Invoke()
                near $"lr {lr}" DType.Float32 here there

        let wrong =
            device.Moved(TensorView.OfDoubles(DType.Float32, ReadOnlySpan [| 1.0; 2.0 |], ReadOnlySpan [| 2L |]))

        Expect.throwsT<ArgumentException> (fun () -> adamW.WithRate(capturable, "lr", wrong) |> ignore) "two elements"
        Expect.throwsT<OptionException> (fun () -> adamW.WithRate(capturable, "rate", wrong) |> ignore) "no such number"
        let sgd = Rules.Find "SGD"

        Expect.throwsT<NotSupportedException>
            (fun () ->
                sgd.WithRate(
                    sgd.Defaults,
                    "lr",
                    device.Moved(TensorView.OfDoubles(DType.Float32, ReadOnlySpan [| 1.0 |], ReadOnlySpan [||]))
                )
                |> ignore)
            "not capturable"
    }

let private groupTests =
    test "a group whose rate is a tensor reads and writes that, as schedulers do, and saves it" {
        let struct (device, _) = fresh ()

        let parameter = Param.Of("w", device.Moved(List.head (tensors DType.Float32 1)))
        parameter.BindGradient(device.Moved(List.head (tensors DType.Float32 2)))
        let optimizer = Adam([ parameter ], 1e-2, capturable = true)
        let group = optimizer.ParamGroups[0]

        let rate =
            device.Moved(TensorView.OfDoubles(DType.Float64, ReadOnlySpan [| 0.25 |], ReadOnlySpan [||]))

        group.BindRate("lr", rate)
        Expect.equal group["lr"] (OptionValue.Float 0.25) "the tensor's"
        group["lr"] <- OptionValue.Float 0.5
        Expect.equal (rate.ToDoubles()) [| 0.5 |] "written"
        rate.Fill 0.125
        group["weight_decay"] <- OptionValue.Float 0.5
        Expect.equal (rate.ToDoubles()) [| 0.125 |] "another option leaves it alone"
        let scheduler = ExponentialLR(optimizer, 0.5)
        optimizer.Step()
        scheduler.Step()
        Expect.equal (rate.ToDoubles()) [| 0.0625 |] "a scheduler's"
        Expect.equal (optimizer.StateDict().ParamGroups[0].["lr"]) (OptionValue.Float 0.0625) "saved"
        Expect.throwsT<OptionException> (fun () -> group["lr"] <- OptionValue.Float -1.0) "out of range"
        Expect.equal (rate.ToDoubles()) [| 0.0625 |] "and then nothing is written"
    }

let private clipTests =
    test "a graph clips by norm, leaves a step out where a gradient is not finite, and does not count it" {
        let struct (device, gpu) = fresh ()

        let side (move: TensorView -> TensorView) capturable =
            let gradients = tensors DType.Float32 1 |> List.map move

            let parameters =
                [
                    for index, values in List.indexed (tensors DType.Float32 1) ->
                        let parameter = Param.Of($"p{index}", move values)
                        parameter.BindGradient gradients[index]
                        parameter
                ]

            let optimizer =
                AdamW(Seq.cast<IParameterOrGroup> parameters, 0.1, capturable = capturable)

            optimizer.Attach(ClipGradNorm 0.5, zeroGrad = false)
            parameters, gradients, optimizer

        let here, gradientsHere, ours = side id false
        let there, gradientsThere, theirs = side device.Moved true

        let give step isSpoilt =
            for gradients in [ gradientsHere; gradientsThere ] do
                for index, (gradient, values) in List.indexed (List.zip gradients (tensors DType.Float32 (20 + step))) do
                    if isSpoilt && index = 1 then
                        values.Fill nan

                    gradient.CopyFrom values

        give 1 false
        ours.Step()
        theirs.Step()
        gpu.BeginCapture()
        theirs.Step()
        let graph = gpu.EndCapture()

        for step in 2..6 do
            give step (step = 4)
            ours.Step()
            graph.Invoke()

            near $"step {step}" DType.Float32 [ for p in here -> (p :> IParameter).Data ] [ for p in there -> (p :> IParameter).Data ]

        Expect.equal
            (ours.StateDict().State[0].["step"].ToString())
            (theirs.StateDict().State[0].["step"].ToString())
            "steps, one of which was left out"
    }

let private launchTests =
    test "a capturable step takes two launches and waits for nothing, and the graph repeats just them" {
        let struct (device, gpu) = fresh ()
        let there = Parameters.Of(tensors DType.Float32 1 |> Seq.map device.Moved)
        let gradients = Gradients.OfDense(tensors DType.Float32 2 |> List.map device.Moved)
        let mutable state = adamW.Init(capturable, there)
        state <- adamW.Step(capturable, there, gradients, state)
        let launches, waits, uploads = device.Kernels.Launches, gpu.Waits, gpu.Uploads
        state <- adamW.Step(capturable, there, gradients, state)
        Expect.equal (device.Kernels.Launches - launches) 2L "launches"
        Expect.equal (gpu.Waits - waits, gpu.Uploads - uploads) (0, 0) "waits and uploads"
        state <- adamW.Step(adamW.Replace(capturable, "lr", OptionValue.Float 0.5), there, gradients, state)
        Expect.equal (gpu.Uploads - uploads) 1 "a number that is another one is uploaded"
    }

let private refusalTests =
    test "what a graph cannot repeat is refused in words, and nothing has moved" {
        let struct (device, gpu) = fresh ()
        let onCpu = Parameters.Of(tensors DType.Float32 1)

        let refusal =
            refused (fun () ->
                adamW.Step(capturable, onCpu, Gradients.OfDense(tensors DType.Float32 2), adamW.Init(capturable, onCpu))
                |> ignore)

        Expect.stringContains refusal "capturable is True, and parameter 0 lies on cpu" "on the CPU"
        let there = Parameters.Of(tensors DType.Float32 1 |> Seq.map device.Moved)
        let before = [ for p in there -> p.ToDoubles() ]
        let gradients = Gradients.OfDense(tensors DType.Float32 2 |> List.map device.Moved)

        let elsewhere =
            TensorView.OfDoubles(DType.Float32, ReadOnlySpan [| 1.0 |], ReadOnlySpan [||])

        let options = adamW.WithRate(capturable, "lr", elsewhere)

        let refusal =
            refused (fun () -> adamW.Step(options, there, gradients, adamW.Init(options, there)) |> ignore)

        Expect.stringContains refusal "the tensor of lr on cpu" "a rate that lies elsewhere"

        for rule in [ adamW; Rules.Find "SGD"; Rules.Find "LAMB" ] do
            let mutable state = rule.Init(rule.Defaults, there)
            gpu.BeginCapture()

            let refusal =
                refused (fun () -> rule.Step(rule.Defaults, there, gradients, state) |> ignore)

            gpu.EndCapture() |> ignore
            Expect.stringContains refusal $"{rule.Name}: a graph is being captured" "not capturable"

        let state = adamW.Init(capturable, there)
        let state = adamW.Step(capturable, there, gradients, state)
        let after = [ for p in there -> p.ToDoubles() ]
        Expect.notEqual after before "it has stepped"

        for surrounding, word in
            [
                Step.unscale LossScaling.defaults, "a loss scale"
                Step.average 0.9 (Average.init there), "averages"
                Step.clipByGlobalNormOf 3.0 1.0, "norm"
            ] do
            gpu.BeginCapture()

            try
                try
                    Step.around [ surrounding ]
                    |> Step.run (adamW :?> Rule<AdamOptions>) (capturable :?> AdamOptions) there gradients state
                    |> ignore

                    failtestf "%s was not refused" word
                with
                | :? NotSupportedException as e -> Expect.stringContains e.Message word "what is refused"
                | :? PtxException as e when word = "norm" -> Expect.stringContains e.Message "captured" "what is refused"
            finally
                gpu.EndCapture() |> ignore

        Expect.equal [ for p in there -> p.ToDoubles() ] after "nothing has moved"
    }

/// A step of NAdam and RAdam and a graph of them, with a rate that is a tensor: what the parameters are then, and the counts.
let private repeated change =
    let struct (device, gpu) = fresh ()
    gpu.Change <- change

    [
        for name in [ "NAdam"; "RAdam" ] do
            let rule = Rules.Find name

            let rate =
                device.Moved(TensorView.OfDoubles(DType.Float32, ReadOnlySpan [| 1e-3 |], ReadOnlySpan [||]))

            let options =
                rule.WithRate(rule.Replace(rule.Defaults, "capturable", OptionValue.Bool true), "lr", rate)

            let there = Parameters.Of(tensors DType.Float32 1 |> Seq.map device.Moved)

            let gradients =
                Gradients.OfDense(gradientsOf DType.Float32 1 |> List.map device.Moved)

            let mutable state = rule.Init(options, there)
            state <- rule.Step(options, there, gradients, state)
            gpu.BeginCapture()
            state <- rule.Step(options, there, gradients, state)
            let graph = gpu.EndCapture()

            for step in 2..8 do
                rate.Fill(1e-3 / double step)
                graph.Invoke()

            [
                for p in there do
                    yield! p.ToDoubles()

                double (state.Count 0)

                for name in rule.ScalarNames do
                    state.Scalar(name, 0)
            ]
    ]

let private mutants =
    [
        "steps are not counted", @"\tst\.global\.f64 \[(%d\d+)\+0\], %w\d+;\n", ""
        "a kept number is not kept", @"\tst\.global\.f64 \[(%d\d+)\+8\], %w\d+;\n", ""
        "a count is kept as another", @"(st\.global\.f64 \[%d\d+)\+8\]", "$1+16]"
        "a rate is read beside its place", @"(ld\.global\.f32 %v\d+, \[%d\d+)\]", "$1+4]"
        "a rate is another option", @"(ld\.global\.u64 %d\d+, \[%d\d+)\+(\d+)\];(?=\n\tld\.global\.f32)", "$1+0];"
        "the second step is the first", @"ld\.global\.f64 (%w\d+), \[(%d\d+)\+0\];", "mov.b64 $1, 0x3FF0000000000000;"
    ]

let private mutantTests =
    test "what is wrong in the text that works out numbers from leaves is seen" {
        let expected = repeated (Func<_, _> id)
        let tells change = repeated change <> expected
        Expect.equal (PtxKit.survivors mutants tells) [] "mutants that live"
    }

[<Tests>]
let tests =
    testList
        "cuda capture"
        [
            repeatTests
            rateTests
            groupTests
            clipTests
            launchTests
            refusalTests
            mutantTests
        ]
