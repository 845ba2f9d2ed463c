/// What surrounds a step: averages, clipping and loss scaling as PyTorch recorded them, and the same numbers in the step's own pass.
module AroundTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Golden
open Kit

let private close what (actual: float[]) (expected: float[]) =
    Expect.equal actual.Length expected.Length $"{what}: number of elements"

    for i in 0 .. actual.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= 1e-11 * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, PyTorch %s" what i (text actual[i]) (text expected[i])

let private golden pattern (test: JsonElement -> unit) =
    match files pattern with
    | [] -> [ ptestCase $"golden {pattern}: no such file" ignore ]
    | found ->
        [
            for path in found do
                for i, case in Golden.cases path |> List.indexed do
                    testCase $"golden {Path.GetFileName path} #{i}" (fun () -> test case)
        ]

/// Parameters and buffers of a recorded model, in its order.
let private isBuffer (name: string) =
    name.Contains("running", StringComparison.Ordinal)
    || name.EndsWith("tracked", StringComparison.Ordinal)

let private isWhole (name: string) =
    name.EndsWith("tracked", StringComparison.Ordinal)

let private asParam (name: string, values: float[]) =
    if isWhole name then
        Param.Of(name, TensorView.Of(ReadOnlySpan(Array.map int64 values), ReadOnlySpan [||]))
    else
        vector name (List.ofArray values)

let private write (p: Param) (values: float[]) =
    if p.View.DType = DType.Int64 then
        p.View.AsSpan<int64>()[0] <- int64 values[0]
    else
        values.AsSpan().CopyTo(p.View.AsSpan<float>())

let private averaging (case: JsonElement) =
    let models = field "model" case |> list (pairs numbers)
    let expected = field "average" case |> list (pairs numbers)
    let live = models.Head |> List.map asParam

    let parts buffers =
        live
        |> List.filter (fun p -> isBuffer p.Name = buffers)
        |> Seq.map (fun p -> p :> IParameter)

    let useBuffers = (field "use_buffers" case).GetBoolean()

    let functions =
        match tryField "decay" case with
        | None ->
            [
                null, null
                null, AveragedParameters.GetSwaMultiAvgFn()
                AveragedParameters.GetSwaAvgFn(), null
            ]
        | Some decay ->
            let decay = number decay

            [
                null, AveragedParameters.GetEmaMultiAvgFn decay
                AveragedParameters.GetEmaAvgFn decay, null
            ]

    for one, many in functions do
        // The second time as functions of the user's own, which only the shell does not recognise.
        for own in [ false; true ] do
            let one =
                if own && not (isNull one) then
                    AvgFn<TensorView>(fun a x n -> one.Invoke(a, x, n))
                else
                    one

            let many =
                if own && not (isNull many) then
                    MultiAvgFn<TensorView>(fun a x n -> many.Invoke(a, x, n))
                else
                    many

            let average = AveragedParameters(parts false, one, many, useBuffers, parts true)

            for model, expected in List.zip models expected do
                for p, (_, values) in List.zip live model do
                    write p values

                average.UpdateParameters()

                for name, values in expected do
                    close name (average[name].ToDoubles()) values

            Expect.equal average.NAveraged (int64 (number (field "n_averaged" case))) "n_averaged"

let private averagingOnHost (case: JsonElement) =
    match Golden.text (field "kind" case) with
    | "swa"
    | "ema" -> averaging case
    | "update_bn" -> () // over TorchSharp's modules
    | other -> failtestf "averages of kind %s are not known" other

let private clipping (case: JsonElement) =
    let before = field "before" case |> list numbers
    let after = field "after" case |> list numbers

    let make () =
        [
            for gradient in before do
                let p = vector null (List.replicate gradient.Length 0.0)
                setGradient p (Some gradient)
                p
        ]

    let check what (list: Param list) =
        for p, expected in List.zip list after do
            close what (gradient p).Value expected

    let all (list: Param list) =
        list |> Seq.map (fun p -> p :> IParameter)

    match Golden.text (field "kind" case) with
    | "norm" ->
        let order, largest = number (field "norm_type" case), number (field "max_norm" case)

        let total = number (field "total_norm" case)
        let list = make ()
        close "total norm" [| ClipGrad.TotalNorm(all list, order) |] [| total |]
        close "returned norm" [| ClipGrad.Norm(all list, largest, order) |] [| total |]
        check "clip_grad_norm_" list
        let list = make ()
        ClipGrad.WithNorm(all list, largest, total)
        check "clip_grads_with_norm_" list

        let gradients =
            Gradients.OfDense(
                before
                |> Seq.map (fun values -> tensor DType.Float64 [| int64 values.Length |] values)
            )

        close "in F#" [| Clipping.byNorm largest order (Clipping.copy gradients) |] [| total |]
    | "value" ->
        let list = make ()
        ClipGrad.Value(all list, number (field "clip_value" case))
        check "clip_grad_value_" list
    | other -> failtestf "clipping of kind %s is not known" other

let private scaler (case: JsonElement) =
    let argument name usual =
        match field "args" case |> tryField name with
        | Some value -> number value
        | None -> usual

    let make () =
        GradScaler(
            argument "init_scale" 65536.0,
            argument "growth_factor" 2.0,
            argument "backoff_factor" 0.5,
            int64 (argument "growth_interval" 2000.0)
        )

    // By PyTorch's three calls, with and without a call of unscale_ before, and attached.
    for way in [ "step"; "unscale"; "attached" ] do
        let scaler = make ()
        let p = param "p" DType.Float32 [| 3L |] [| 1.0; 1.0; 1.0 |]
        let optimizer = SGD(parameters [ p ], lr = 0.1)

        if way = "attached" then
            optimizer.Attach(scaler = scaler)

        for row in (field "rows" case).EnumerateArray() do
            let scale = scaler.GetScale()
            let overflow = (field "overflow" row).GetBoolean()
            setGradient p (Some [| scale; 2.0 * scale; (if overflow then infinity else 3.0 * scale) |])

            let stepped =
                match way with
                | "attached" ->
                    optimizer.Step()
                    not optimizer.LastStepSkipped
                | _ ->
                    if way = "unscale" then
                        scaler.Unscale optimizer

                    let stepped = scaler.Step optimizer
                    scaler.Update()
                    stepped

            Expect.equal stepped ((field "stepped" row).GetBoolean()) "stepped"
            Expect.equal (scaler.GetScale()) (number (field "scale" row)) "scale"

            for actual, expected in Array.zip (values p) (numbers (field "params" row)) do
                Expect.isLessThan (abs (actual - expected)) (2e-5 * (1.0 + abs expected)) "parameters"

/// Averages in plain arithmetic, with a weight of its own for each update.
let private weighing (weight: Averaging -> int64 -> float) : Averages.Averager =
    fun averaging dtype values ->
        values
        |> Array.indexed
        |> Array.scan
            (fun (average: float[]) (n, value) ->
                if n = 0 then
                    value
                else
                    Array.map2 (fun a x -> Number.round dtype (a + weight averaging (int64 n) * (x - a))) average value)
            [||]
        |> Array.tail

let private averageMutants: (Averages.AverageLaw * string * Averages.Averager) list =
    [
        Averages.mean, "an update is counted twice", weighing (fun averaging n -> Averaging.weight averaging (n + 1L))
        Averages.mean, "what was worked out is kept nowhere", (fun _ _ values -> values |> Array.map (fun _ -> values[0]))
        Averages.order, "later values weigh more", weighing (fun averaging n -> 1.5 * Averaging.weight averaging n)
        Averages.sum, "the decay is the weight of the new value", weighing (fun averaging n -> 1.0 - Averaging.weight averaging n)
        Averages.constant,
        "d a + (1 - d) x",
        (fun averaging dtype values ->
            values
            |> Array.indexed
            |> Array.scan
                (fun (average: float[]) (n, value) ->
                    let w = Averaging.weight averaging (int64 n)

                    if n = 0 then
                        value
                    else
                        Array.map2
                            (fun a x -> Number.round dtype (Number.round dtype ((1.0 - w) * a) + Number.round dtype (w * x)))
                            average
                            value)
                [||]
            |> Array.tail)
        Averages.affine,
        "large values are clipped",
        (fun averaging dtype values -> Averages.real averaging dtype (values |> Array.map (Array.map (fun x -> min x 1.0))))
        Averages.between, "the average runs ahead", weighing (fun averaging n -> 1.0 + Averaging.weight averaging n)
        Averages.first,
        "the first value is taken from zero",
        (fun averaging dtype values ->
            Averages.real averaging dtype (Array.append [| Array.zeroCreate values[0].Length |] values)
            |> Array.tail)
    ]

let private clipMutants: (Clips.ClipLaw * string * Clips.Clipper) list =
    [
        Clips.byNorm,
        "short gradients are made long",
        { Clips.real with
            ByNorm =
                fun largest order gradients ->
                    let total = Clipping.totalNorm order gradients
                    Clipping.scale (largest / (total + 1e-6)) gradients Executor.Caller
                    total
        }
        Clips.byNorm,
        "each tensor by its own norm",
        { Clips.real with
            ByNorm =
                fun largest order gradients ->
                    let total = Clipping.totalNorm order gradients

                    for row in 0 .. gradients.Count - 1 do
                        Clipping.byNorm largest order (Gradients.Of [ gradients[row] ]) |> ignore

                    total
        }
        Clips.byValue,
        "only upwards",
        { Clips.real with
            ByValue =
                fun limit gradients ->
                    for row in 0 .. gradients.Count - 1 do
                        let view = gradients[row].Values
                        Tensor.fill view (view.ToDoubles() |> Array.map (fun x -> min x limit))
        }
    ]

let private lawTests =
    [
        for law in Averages.laws "averages" Averages.real @ Clips.laws "clipping" Clips.real do
            testCase law.Name (fun () -> Plain.Cases.add "laws" (law.Check()))
        for law, defect, averager in averageMutants do
            test $"{law.Id} finds: {defect}" { Expect.notEqual (law.Try averager 200 20261125UL).Broken "" "the law held" }
        for law, defect, clipper in clipMutants do
            test $"{law.Id} finds: {defect}" { Expect.notEqual (law.Try clipper 200 20261125UL).Broken "" "the law held" }
        test "each of these laws has a mutant" {
            for law in Averages.all do
                Expect.exists averageMutants (fun (other, _, _) -> obj.ReferenceEquals(other, law)) law.Id

            for law in Clips.all do
                Expect.exists clipMutants (fun (other, _, _) -> obj.ReferenceEquals(other, law)) law.Id
        }
    ]

let private asParameters (list: Param list) =
    list |> Seq.map (fun p -> p :> IParameter)

let private attachTests =
    let two () =
        [ vector "a" [ 1.0; 2.0; 3.0 ]; vector "b" [ -1.0; 0.5 ] ]

    let give (list: Param list) =
        setGradient list[0] (Some [| 3.0; 0.0; 4.0 |])
        setGradient list[1] (Some [| 12.0; 0.0 |])

    [
        test "in one visit gradients are read, and not written" {
            let list = two ()
            let optimizer = optimizer "Adam" [] list
            optimizer.Attach(ClipGradNorm 1.0)
            give list
            optimizer.Step()
            expectSameBits (gradient list[0]).Value [| 3.0; 0.0; 4.0 |] "gradient"
            let other = two ()
            let apart = Kit.optimizer "Adam" [] other
            give other
            Expect.equal (ClipGrad.Norm(asParameters other, 1.0)) 13.0 "norm"
            apart.Step()
            expectSameBits (values list[0]) (values other[0]) "parameters"
        }
        test "an error on gradients that are not finite names the parameter, and nothing has moved" {
            let list = two ()
            let average = AveragedParameters(asParameters list)
            let optimizer = optimizer "Adam" [] list
            optimizer.Attach(ClipGradNorm(1.0, errorIfNonfinite = true), average = average)
            give list
            setGradient list[1] (Some [| nan; 1.0 |])
            refuses<InvalidOperationException> "the step" [ "non-finite"; "'b'"; "order 2" ] (fun () -> optimizer.Step())
            expectSameBits (values list[0]) [| 1.0; 2.0; 3.0 |] "parameter"
            Expect.equal average.NAveraged 0L "average"
            Expect.equal (optimizer.State list[0]).Count 0 "state"
        }
        test "a norm that overflows is not a gradient that is not finite" {
            let p = vector "p" [ 1.0; 1.0 ]
            let optimizer = optimizer "SGD" [ "lr", Reference.Number 1.0 ] [ p ]
            optimizer.Attach(ClipGradNorm(5.0))
            setGradient p (Some [| 3e200; 4e200 |])
            Expect.floatClose Accuracy.veryHigh (ClipGrad.TotalNorm [ p ] / 5e200) 1.0 "norm"
            optimizer.Step()
            Expect.isFalse optimizer.LastStepSkipped "skipped"
            Expect.isLessThan (abs ((values p)[0] + 2.0)) 1e-12 "clipped to 3, 4"
        }
        test "without gradients the norm is 0, as PyTorch's" { Expect.equal (ClipGrad.Norm([ vector "p" [ 1.0 ] ], 1.0)) 0.0 "norm" }
        test "orders 0 and -infinity are those of PyTorch's norm of norms" {
            let list = two ()
            give list
            Expect.equal (ClipGrad.TotalNorm(asParameters list, 0.0)) 2.0 "tensors with a norm"
            setGradient list[0] (Some [| 3.0; 1.0; 4.0 |])
            setGradient list[1] (Some [| 12.0; 0.5 |])
            Expect.equal (ClipGrad.TotalNorm(asParameters list, Double.NegativeInfinity)) 0.5 "the smallest"
        }
        test "skipped steps run no post hooks and are not counted" {
            let list = two ()
            let optimizer = optimizer "Adam" [] list
            let mutable hooks = 0
            use _ = optimizer.RegisterStepPostHook(fun _ -> hooks <- hooks + 1)
            optimizer.Attach(ClipGradNorm 1.0)
            give list
            optimizer.Step()
            setGradient list[0] (Some [| infinity; 0.0; 0.0 |])
            optimizer.Step()
            Expect.isTrue optimizer.LastStepSkipped "skipped"
            Expect.equal (hooks, optimizer.SkippedSteps) (1, 1L) "hooks, skipped steps"
            expectSameBits (column optimizer list[0] "step") [| 1.0 |] "steps"
            give list
            optimizer.Step()
            Expect.isFalse optimizer.LastStepSkipped "the next one"
        }
        test "parameters without a gradient, or frozen, are averaged too" {
            let list = two ()

            let average =
                AveragedParameters(asParameters list, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.5)

            let optimizer = optimizer "SGD" [ "lr", Reference.Number 1.0 ] list
            optimizer.Attach(average = average)

            for value in [ 4.0; 8.0 ] do
                list[1].Data<float>().Fill value
                setGradient list[0] (Some [| 1.0; 1.0; 1.0 |])
                optimizer.Step()

            expectSameBits (average["b"].ToDoubles()) [| 6.0; 6.0 |] "without a gradient"
            expectSameBits (average["a"].ToDoubles()) [| -0.5; 0.5; 1.5 |] "with one"
        }
        test "strided parameters and gradients, and averages of other models, give the same numbers" {
            let run attached =
                let p = Param.Of("p", Memory.lay 1 [| 3L; 4L |] DType.Float32 (noise 1 12))
                let q = Param.Of("q", Memory.lay 2 [| 3L; 4L |] DType.Float32 (noise 2 12))
                let list = [ p; q ]

                let average =
                    AveragedParameters(asParameters list, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.9)

                let optimizer = Kit.optimizer "AdamW" [] list

                if attached then
                    optimizer.Attach(ClipGradNorm 0.5, average = average, zeroGrad = true)

                for step in 1..4 do
                    for k, p in List.indexed list do
                        p.BindGradient(Memory.lay (k + step) [| 3L; 4L |] DType.Float32 (noise (10 * step + k) 12))

                    if not attached then
                        ClipGrad.Norm(asParameters list, 0.5) |> ignore

                    optimizer.Step()

                    if not attached then
                        average.UpdateParameters()
                        optimizer.ZeroGrad false

                [
                    for p in list do
                        values p
                        average[p.Name].ToDoubles()
                        p.GradientView.ToDoubles()
                ]

            for expected, actual in List.zip (run false) (run true) do
                expectSameBits actual expected "strided"
        }
        test "half parameters: rounded as passes of their own would, and their averages are float32" {
            for dtype in [ DType.BFloat16; DType.Float16 ] do
                let run attached =
                    let p =
                        Param.Of("p", TensorView.OfDoubles(dtype, ReadOnlySpan(noise 3 37), ReadOnlySpan [| 37L |]))

                    let average =
                        AveragedParameters([ p ], multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.99)

                    let optimizer = Kit.optimizer "Adam" [] [ p ]

                    if attached then
                        optimizer.Attach(ClipGradNorm 0.5, average = average)

                    for step in 1..5 do
                        p.BindGradient(TensorView.OfDoubles(dtype, ReadOnlySpan(noise step 37), ReadOnlySpan [| 37L |]))

                        if not attached then
                            ClipGrad.Norm([ p ], 0.5) |> ignore

                        optimizer.Step()

                        if not attached then
                            average.UpdateParameters()

                    Expect.equal average["p"].DType DType.Float32 "dtype"
                    values p, average["p"].ToDoubles()

                let (p, average), (expected, expectedAverage) = run true, run false
                expectSameBits p expected "parameters"
                expectSameBits average expectedAverage "averages"
        }
        test "neither threads nor width change a bit" {
            let run width threads =
                Setting.withWidth width (fun () ->
                    Setting.withThreads threads (fun () ->
                        let p = param "p" DType.Float32 [| 50_003L |] (noise 7 50_003)

                        let average =
                            AveragedParameters([ p ], multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.9)

                        let optimizer = Kit.optimizer "Adam" [] [ p ]
                        optimizer.Attach(ClipGradNorm 0.5, GradScaler 3.0, average, zeroGrad = true)

                        for step in 1..3 do
                            setGradient p (Some(noise step 50_003))
                            optimizer.Step()

                        Array.concat [ values p; average["p"].ToDoubles(); (gradient p).Value ]))

            let expected = run Width.Single 1

            for width in [ Width.Bits128; Width.Bits256; Width.Bits512 ] do
                for threads in [ 1; 2; 5 ] do
                    expectSameBits (run width threads) expected $"{width}, {threads} threads"
        }
        testSequenced
        <| test "attached steps allocate nothing that grows with the number of parameters" {
            let measure count =
                let list = [ for i in 1..count -> param $"p{i}" DType.Float32 [| 8L |] (noise i 8) ]

                let average =
                    AveragedParameters(asParameters list, multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.9)

                let optimizer = Kit.optimizer "Adam" [] list
                optimizer.Attach(ClipGradNorm 0.5, GradScaler(), average, zeroGrad = true)

                for p in list do
                    setGradient p (Some(Array.create 8 0.1))

                for _ in 1..20 do
                    optimizer.Step()

                let before = GC.GetAllocatedBytesForCurrentThread()

                for _ in 1..10 do
                    optimizer.Step()

                (GC.GetAllocatedBytesForCurrentThread() - before) / 10L

            let few, many = measure 10, measure 1000
            Expect.isLessThanOrEqual few 512L "bytes of a step of 10 parameters"
            Expect.isLessThan many (few + 512L) $"{few} bytes a step for 10 parameters, {many} for 1000"
        }
    ]

let private averageTests =
    [
        test "applied averages are lent to the live parameters, and come back" {
            let p = vector "p" [ 1.0; 2.0 ]

            let average =
                AveragedParameters([ p ], multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.5)

            average.UpdateParameters()
            p.Data<float>().Fill 5.0
            average.UpdateParameters()
            let optimizer = Kit.optimizer "SGD" [] [ p ]
            optimizer.Attach(average = average)
            setGradient p (Some [| 1.0; 1.0 |])

            let lent = average.Applied()
            expectSameBits (values p) [| 3.0; 3.5 |] "lent"
            Expect.isTrue average.IsApplied "applied"
            refuses<InvalidOperationException> "again" [ "Applied" ] (fun () -> average.Applied() |> ignore)
            refuses<InvalidOperationException> "an update" [ "UpdateParameters" ] (fun () -> average.UpdateParameters())
            refuses<InvalidOperationException> "a step" [ "Step" ] (fun () -> optimizer.Step())
            lent.Dispose()
            lent.Dispose()
            expectSameBits (values p) [| 5.0; 5.0 |] "back"
            expectSameBits (average["p"].ToDoubles()) [| 3.0; 3.5 |] "the average"
        }
        test "an update every k calls, beginning with the first" {
            let p = vector "p" [ 0.0 ]
            let average = AveragedParameters([ p ], every = 3L)

            for value in 1.0 .. 7.0 do
                p.Data<float>()[0] <- value
                average.UpdateParameters()

            Expect.equal average.NAveraged 3L "updates"
            expectSameBits (average["p"].ToDoubles()) [| 4.0 |] "mean of 1, 4, 7"
        }
        test "decay warms up" {
            let warm =
                { Averaging.exponential 0.9 with
                    Warmup = true
                }

            Expect.floatClose Accuracy.veryHigh (Averaging.weight warm 1L) (1.0 - 2.0 / 11.0) "n = 1"
            Expect.floatClose Accuracy.veryHigh (Averaging.weight warm 1000L) (1.0 - 0.9) "n = 1000"
        }
        test "functions of one's own: per parameter and over the list" {
            let run (make: Param -> AveragedParameters) =
                let p = vector "p" [ 2.0; 4.0 ]
                let average = make p

                for value in [ 2.0; 6.0; 10.0 ] do
                    p.Data<float>().Fill value
                    average.UpdateParameters()

                average["p"].ToDoubles()

            let one =
                AvgFn<TensorView>(fun average current n ->
                    Expect.isGreaterThan n 0L "the first update copies"
                    TensorView.Of(Array.map2 (fun a x -> 0.75 * a + 0.25 * x) (average.ToDoubles()) (current.ToDoubles())))

            let many =
                MultiAvgFn<TensorView>(fun averages current _ ->
                    for average, current in Seq.zip averages current do
                        Tensor.fill average (Array.map2 (fun a x -> 0.75 * a + 0.25 * x) (average.ToDoubles()) (current.ToDoubles())))

            expectSameBits (run (fun p -> AveragedParameters([ p ], one))) [| 4.75; 4.75 |] "avg_fn"
            expectSameBits (run (fun p -> AveragedParameters([ p ], null, many))) [| 4.75; 4.75 |] "multi_avg_fn"
        }
        test "another structure is refused with the names that differ" {
            let average = AveragedParameters([ vector "a" [ 1.0 ]; vector "b" [ 1.0 ] ])

            refuses<ArgumentException> "another model" [ "missing: b"; "left over: c" ] (fun () ->
                average.UpdateParameters(asParameters [ vector "a" [ 1.0 ]; vector "c" [ 1.0 ] ]))

            refuses<ArgumentException> "another shape" [ "'b'"; "float64[2]"; "float64[1]" ] (fun () ->
                average.UpdateParameters(asParameters [ vector "a" [ 1.0 ]; vector "b" [ 1.0; 2.0 ] ]))
        }
        test "state dicts have PyTorch's keys, and settings after them; a restored average goes on bit for bit" {
            let make () =
                let p = param "w" DType.Float32 [| 3L |] [| 1.0; 2.0; 3.0 |]
                let running = vector "running_mean" [ 0.5 ]

                p,
                AveragedParameters(
                    [ p ],
                    multiAvgFn = AveragedParameters.GetEmaMultiAvgFn(0.9, warmup = true),
                    buffers = [ running ],
                    every = 2L
                )

            let move (p: Param) (average: AveragedParameters) steps =
                for step in steps do
                    noise step 3 |> Array.iteri (fun i x -> p.Data<float32>()[i] <- float32 x)

                    average.UpdateParameters()

            let p, average = make ()
            move p average [ 1..5 ]
            let state = average.StateDict().Copy()

            Expect.sequenceEqual
                (state.AsMap().Keys |> Seq.map string)
                [ "'n_averaged'"; "'module.w'"; "'module.running_mean'"; "'averaging'" ]
                "keys"

            let counted = state["n_averaged"].AsTensor()
            Expect.equal counted.DType DType.Int64 "n_averaged"
            let file = IO.Path.GetTempFileName() + ".pt"

            try
                Checkpoint.Save(file, struct ("average", average :> obj))

                let other =
                    AveragedParameters([ param "w" DType.Float32 [| 3L |] [| 0.0; 0.0; 0.0 |] ])

                refuses<exn> "another structure" [ "running_mean" ] (fun () ->
                    Checkpoint.Load(file, struct ("average", other :> obj)) |> ignore)

                let q, restored = make ()
                Checkpoint.Load(file, struct ("average", restored :> obj)) |> ignore
                Expect.equal restored.NAveraged 3L "n_averaged"
                move p average [ 6..9 ]
                move q restored [ 6..9 ]
                expectSameBits (restored["w"].ToDoubles()) (average["w"].ToDoubles()) "averages"
                Expect.equal (restored.StateDict()) (average.StateDict()) "states"
            finally
                File.Delete file

            // PyTorch's own have no settings.
            let _, plain = make ()

            let report =
                plain.LoadStateDict(
                    Tree.Dict(
                        struct ("n_averaged", Tree.op_Implicit (TensorView.Of([| 4L |], [||]))),
                        struct ("module.w", Tree.op_Implicit (TensorView.Of([| 1.0; 2.0; 4.0 |]))),
                        struct ("module.running_mean", Tree.op_Implicit (TensorView.Of([| 7.0 |])))
                    )
                )

            Expect.equal plain.NAveraged 4L "PyTorch's n_averaged"
            Expect.sequenceEqual report.Converted [ "w" ] "converted"
            expectSameBits (plain["w"].ToDoubles()) [| 1.0; 2.0; 4.0 |] "PyTorch's average"

            refuses<ArgumentException> "missing keys" [ "missing: n_averaged"; "left over: other" ] (fun () ->
                plain.LoadStateDict(Tree.Dict(struct ("other", Tree.Int 1L))) |> ignore)

            Expect.equal plain.NAveraged 4L "nothing has changed"
        }
        test "in F#, an update spends the average that it is given, a pure one does not" {
            let parameters = Parameters.Of [ TensorView.Of([| 1.0; 2.0 |]) ]
            let start = Average.init parameters
            let pure' = Average.pureUpdate Averaging.equal parameters start
            Expect.equal (start.Averaged, pure'.Averaged) (0L, 1L) "updates"
            let next = Average.update Averaging.equal parameters start

            refuses<SpentStateException> "the spent one" [ "Average.copy" ] (fun () ->
                Average.update Averaging.equal parameters start |> ignore)

            Expect.equal next.Averaged 1L "the next one"
        }
    ]

let private scalerTests =
    let ready () =
        let p = param "p" DType.Float32 [| 2L |] [| 1.0; 1.0 |]
        setGradient p (Some [| 8.0; 8.0 |])
        p, Kit.optimizer "SGD" [] [ p ], GradScaler 8.0

    [
        test "PyTorch's order of calls is kept, in its words" {
            let p, optimizer, scaler = ready ()
            refuses<InvalidOperationException> "update first" [ "No inf checks were recorded prior to update" ] (fun () -> scaler.Update())
            scaler.Unscale optimizer
            expectSameBits (gradient p).Value [| 1.0; 1.0 |] "unscaled"

            refuses<InvalidOperationException>
                "twice"
                [
                    "unscale_() has already been called on this optimizer since the last update()"
                ]
                (fun () -> scaler.Unscale optimizer)

            Expect.isTrue (scaler.Step optimizer) "stepped"

            refuses<InvalidOperationException> "unscale after step" [ "unscale_() is being called after step()" ] (fun () ->
                scaler.Unscale optimizer)

            refuses<InvalidOperationException> "step twice" [ "step() has already been called since the last update()" ] (fun () ->
                scaler.Step optimizer |> ignore)

            scaler.Update()
            p.DropGradient()
            refuses<InvalidOperationException> "no gradients" [ "No inf checks were recorded" ] (fun () -> scaler.Step optimizer |> ignore)

            refuses<InvalidOperationException> "a closure" [ "Closure use is not currently supported" ] (fun () ->
                scaler.Step(optimizer, Func<float>(fun () -> 0.0)) |> ignore)
        }
        test "the state of a scaler has PyTorch's keys" {
            let case = files "grad_scaler*.json" |> List.head |> Golden.cases |> Seq.head
            let expected = field "state_dict" case |> pairs number
            let scaler = GradScaler()

            let state =
                Tree.Dict [| for name, value in expected -> struct (name, Tree.Float value) |]

            scaler.LoadStateDict state |> ignore
            let saved = scaler.StateDict()
            Expect.sequenceEqual (saved.AsMap().Keys |> Seq.map string) [ for name, _ in expected -> $"'{name}'" ] "keys"

            for name, value in expected do
                expectSameBits (saved[name].ToDoubles()) [| value |] name

            refuses<InvalidOperationException> "empty" [ "The source state dict is empty" ] (fun () ->
                scaler.LoadStateDict(GradScaler(enabled = false).StateDict()) |> ignore)

            refuses<ArgumentException> "a key" [ "missing: scale" ] (fun () ->
                scaler.LoadStateDict(Tree.Dict(struct ("scales", Tree.Float 1.0))) |> ignore)
        }
        test "schedulers do not warn of a step that was skipped" {
            let p, optimizer, scaler = ready ()
            setGradient p (Some [| infinity; 1.0 |])
            let schedule = ExponentialLR(optimizer, gamma = 0.5)
            Expect.isFalse (scaler.Step optimizer) "skipped"
            let warnings = ResizeArray<string>()
            schedule.add_Warning (fun _ warning -> warnings.Add warning)
            schedule.Step()
            Expect.isEmpty warnings "warnings"
        }
        test "float16 gradients are refused" {
            let p =
                Param.Of("p", TensorView.OfDoubles(DType.Float16, ReadOnlySpan [| 1.0 |], ReadOnlySpan [| 1L |]))

            p.BindGradient(TensorView.OfDoubles(DType.Float16, ReadOnlySpan [| 1.0 |], ReadOnlySpan [| 1L |]))
            let optimizer = Kit.optimizer "SGD" [] [ p ]

            refuses<ArgumentException> "float16" [ "Attempting to unscale FP16 gradients"; "'p'" ] (fun () ->
                GradScaler().Step optimizer |> ignore)
        }
        test "settings outside of their ranges are refused by name and value" {
            for name, make in
                [
                    "init_scale", (fun () -> GradScaler 0.0)
                    "growth_factor", (fun () -> GradScaler(growthFactor = 1.0))
                    "backoff_factor", (fun () -> GradScaler(backoffFactor = 1.0))
                    "growth_interval", (fun () -> GradScaler(growthInterval = 0L))
                ] do
                refuses<OptionException> name [ name; "must be" ] (fun () -> make () |> ignore)
        }
        test "disabled, it does nothing" {
            let p, optimizer, _ = ready ()
            let scaler = GradScaler(enabled = false)
            Expect.equal (scaler.Scale 3.0, scaler.GetScale()) (3.0, 1.0) "scale"
            scaler.Unscale optimizer
            Expect.isTrue (scaler.Step optimizer) "stepped"
            scaler.Update()
            expectSameBits (gradient p).Value [| 8.0; 8.0 |] "gradient"
        }
        test "the scale never grows to infinity, and can be set" {
            let grown =
                LossScaling.update
                    false
                    { LossScaling.defaults with
                        Scale = 3e38
                        GrowthInterval = 1L
                    }

            Expect.equal grown.Scale 3e38 "scale"
            let scaler = GradScaler()
            scaler.Update(Nullable 4.0)
            Expect.equal (scaler.GetScale()) 4.0 "set"
        }
        test "two optimizers share a scaler by its own calls, and attaching it to both is refused" {
            let p, first, scaler = ready ()
            let q = param "q" DType.Float32 [| 1L |] [| 1.0 |]
            setGradient q (Some [| infinity |])
            let second = Kit.optimizer "SGD" [] [ q ]
            first.Attach(scaler = scaler)
            refuses<ArgumentException> "a second owner" [ "scaler.Step(optimizer)" ] (fun () -> second.Attach(scaler = scaler))
            first.Attach()
            Expect.equal (scaler.Step first, scaler.Step second) (true, false) "stepped"
            scaler.Update()
            Expect.equal (scaler.GetScale()) 4.0 "one overflow is enough"
            Expect.equal (values q) [| 1.0 |] "q"
            Expect.notEqual (values p) [| 1.0; 1.0 |] "p"
        }
    ]

let private refusalTests =
    [
        test "an average belongs to one optimizer, and to its parameters" {
            let p, q = vector "p" [ 1.0 ], vector "q" [ 1.0 ]
            let average = AveragedParameters [ p ]
            refuses<ArgumentException> "others" [ "other parameters" ] (fun () -> (Kit.optimizer "SGD" [] [ q ]).Attach(average = average))
            (Kit.optimizer "SGD" [] [ p ]).Attach(average = average)

            refuses<ArgumentException> "two optimizers" [ "UpdateParameters" ] (fun () ->
                (Kit.optimizer "SGD" [] [ p ]).Attach(average = average))
        }
        test "numbers that make no sense are refused by name and value" {
            let p = vector "p" [ 1.0 ]
            refuses<OptionException> "accumulate" [ "accumulate is 0" ] (fun () -> (Kit.optimizer "SGD" [] [ p ]).Attach(accumulate = 0))
            refuses<OptionException> "max_norm" [ "max_norm is -1" ] (fun () -> ClipGradNorm -1.0 |> ignore)
            refuses<OptionException> "norm_type" [ "norm_type is nan" ] (fun () -> ClipGradNorm(1.0, nan) |> ignore)
            refuses<OptionException> "clip_value" [ "clip_value is nan" ] (fun () -> ClipGradValue nan |> ignore)
            refuses<OptionException> "every" [ "every is 0" ] (fun () -> AveragedParameters([ p ], every = 0L) |> ignore)
            refuses<OptionException> "decay" [ "decay is -0.1" ] (fun () -> AveragedParameters.GetEmaAvgFn -0.1 |> ignore)
            refuses<ArgumentException> "nothing" [ "empty parameter list" ] (fun () -> AveragedParameters [] |> ignore)
        }
    ]

[<Tests>]
let tests =
    testList
        "around"
        [
            testList "averages" (golden "averaging*.json" averagingOnHost @ averageTests)
            testList "clipping" (golden "clipping*.json" clipping)
            testList "scaler" (golden "grad_scaler*.json" scaler @ scalerTests)
            testList "laws" lawTests
            testList "attached" (attachTests @ refusalTests)
        ]
