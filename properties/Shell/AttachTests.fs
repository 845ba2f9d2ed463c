/// What is attached to an optimizer: the numbers of passes of their own, in the step's.
module AttachTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Kit

/// Clipping, averages and zeros attached to a rule give the bits of calls of their own: of parameters, averages and gradients.
let private expectSameAttached rule decay zeroes steps (make: unit -> Param list) (gradient: int -> int -> TensorView) =
    let run attached =
        let list = make ()
        let average = emaOf decay list
        let optimizer = optimizer rule [] list

        if attached then
            optimizer.Attach(ClipGradNorm 0.5, average = average, zeroGrad = zeroes)

        for step in 1..steps do
            for k, p in List.indexed list do
                p.BindGradient(gradient step k)

            if not attached then
                ClipGrad.Norm(asParameters list, 0.5) |> ignore

            optimizer.Step()

            if not attached then
                average.UpdateParameters()

                if zeroes then
                    optimizer.ZeroGrad false

        [
            for p in list do
                values p
                average[p.Name].ToDoubles()

                // A step that clips leaves gradients as they were where nothing sets them to zero.
                if zeroes then
                    p.GradientView.ToDoubles()
        ]

    for expected, actual in List.zip (run false) (run true) do
        expectSameBits actual expected "attached"

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

            let average = emaOf 0.5 list

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
            let tensor seed =
                Memory.lay seed [| 3L; 4L |] DType.Float32

            expectSameAttached "AdamW" 0.9 true 4 (fun () -> [ for k in 1..2 -> Param.Of($"p{k}", tensor k (noise k 12)) ]) (fun step k ->
                tensor (k + step) (noise (10 * step + k) 12))
        }
        test "half parameters: rounded as passes of their own would, and their averages are float32" {
            for dtype in [ DType.BFloat16; DType.Float16 ] do
                Expect.equal (emaOf 0.99 [ param "p" dtype [| 37L |] (noise 3 37) ]).["p"].DType DType.Float32 "dtype"

                expectSameAttached "Adam" 0.99 false 5 (fun () -> [ param "p" dtype [| 37L |] (noise 3 37) ]) (fun step _ ->
                    tensor dtype [| 37L |] (noise step 37))
        }
        test "neither threads nor width change a bit" {
            let run width threads =
                Setting.withWidth width (fun () ->
                    Setting.withThreads threads (fun () ->
                        let p = param "p" DType.Float32 [| 50_003L |] (noise 7 50_003)

                        let average = emaOf 0.9 [ p ]

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

                let average = emaOf 0.9 list

                let optimizer = Kit.optimizer "Adam" [] list
                optimizer.Attach(ClipGradNorm 0.5, GradScaler(), average, zeroGrad = true)

                for p in list do
                    setGradient p (Some(Array.create 8 0.1))

                for _ in 1..20 do
                    optimizer.Step()

                bytesOf (fun () ->
                    for _ in 1..10 do
                        optimizer.Step())
                / 10L

            let few, many = measure 10, measure 1000
            Expect.isLessThanOrEqual few 512L $"bytes of a step of 10 parameters: {few}"
            Expect.isLessThan many (few + 512L) $"{few} bytes a step for 10 parameters, {many} for 1000"
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
let tests = testList "around" [ testList "attached" (attachTests @ refusalTests) ]
