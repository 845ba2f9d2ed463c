/// Averages of parameters: applied, warmed up, by functions of one's own, in state dicts.
module AverageTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Kit

let private averageTests =
    [
        test "applied averages are lent to the live parameters, and come back" {
            let p = vector "p" [ 1.0; 2.0 ]

            let average = emaOf 0.5 [ p ]

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

[<Tests>]
let tests = testList "around" [ testList "averages" averageTests ]
