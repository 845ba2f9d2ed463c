/// The samples run, and do what they show.
module SampleTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels

/// Lion on one element, from the paper, as plain arithmetic.
let private lion start gradients =
    let beta1, beta2, lr, decay = 0.9, 0.99, 0.01, 0.1

    gradients
    |> List.fold
        (fun (x, m) g ->
            let direction = beta1 * m + (1.0 - beta1) * g
            x - lr * (float (sign direction) + decay * x), beta2 * m + (1.0 - beta2) * g)
        (start, 0.0)
    |> fst

let private lionGradients = [ 1.0; -0.5; 0.25; 0.0; -3.0; 2.0; -2.0; 0.125 ]

let private inFSharp () =
    let parameters = Parameters.Of [ TensorView.Of([| 0.75; -0.5; 0.0 |]) ]

    let options =
        OwnRuleFSharp.Lion.rule.With(struct ("lr", OptionValue.Float 0.01), struct ("weight_decay", OptionValue.Float 0.1))

    let step state (g: double) =
        Rule.step OwnRuleFSharp.Lion.rule options parameters (Gradients.OfDense [ TensorView.Of([| g; -g; g |]) ]) state

    lionGradients
    |> List.fold step (Rule.init OwnRuleFSharp.Lion.rule options parameters)
    |> ignore

    parameters[0].ToDoubles()

let private inCSharp () =
    let values = [| 0.75; -0.5; 0.0 |]
    use param = new Param("x", values)
    let optimizer = OwnRuleCSharp.Lion([ param ], lr = 0.01, weightDecay = 0.1)

    for g in lionGradients do
        param.SetGradient(ReadOnlySpan [| g; -g; g |])
        optimizer.Step()

    Array.copy values, optimizer.StateDict()

[<Tests>]
let tests =
    testList
        "samples"
        [
            test "the pipeline fits the line, and its pure form gives the same bits" {
                let options = { Adam.defaults with Lr = 0.05 }
                let points = Pipeline.Program.batches 300 16 |> Seq.cache
                let struct (slope, offset, steps) = Pipeline.Program.train options points
                Expect.isLessThan (abs (slope - 3.0)) 0.02 "slope"
                Expect.isLessThan (abs (offset + 1.0)) 0.02 "offset"
                Expect.equal steps 300L "one step a batch"
                Expect.equal (Pipeline.Program.trainPurely options points) (struct (slope, offset, steps)) "the pure form"
            }
            test "the C# loop separates the clouds" { Expect.isLessThan (Loop.Train()) 0.1 "loss" }
            test "the TorchSharp model trains" {
                TorchSharpTests.skipWithoutLibtorch ()

                Expect.isLessThan (TorchSharpTraining.Train()) 0.1f "loss"
            }
            test "the TorchSharp model trains on several ranks, with the loss of one" {
                TorchSharpTests.skipWithoutLibtorch ()

                let alone = Optim.Distributed.World.Join() |> DistributedTraining.Train
                Expect.isLessThan alone 0.1 "loss"

                for ranks in [ 2; 4 ] do
                    for loss in Optim.Distributed.World.Simulated(ranks).Run(Func<_, _> DistributedTraining.Train) do
                        Expect.equal loss alone $"{ranks} ranks"
            }
            test "the learning rate is learnt" {
                TorchSharpTests.skipWithoutLibtorch ()

                let struct (first, last, rate) = LearnedRate.Learn()
                Expect.isGreaterThan first 2.5 "with a rate of 0.001 nothing has moved"
                Expect.isLessThan last 0.1 "with the last one"
                Expect.isLessThan (abs (rate - 0.5)) 0.3 "the rate"
            }
            test "the manual's examples of averages recognise the digits" {
                TorchSharpTests.skipWithoutLibtorch ()

                for name, outcome in [ "SWA", WeightAveraging.Swa(); "EMA", WeightAveraging.Ema() ] do
                    Expect.isGreaterThan outcome.Raw 0.9 $"{name}, the trained model"
                    Expect.isGreaterThan outcome.Averaged 0.95 $"{name}, the averaged model"
            }
            test "a rule of one's own computes its paper's formula, in F# and in C# with the same bits" {
                let fsharp, (csharp, dict) = inFSharp (), inCSharp ()
                Expect.equal csharp fsharp "both languages"

                for x, start, sign in [ fsharp[0], 0.75, 1.0; fsharp[1], -0.5, -1.0; fsharp[2], 0.0, 1.0 ] do
                    let expected = lion start (lionGradients |> List.map ((*) sign))
                    Expect.isLessThan (abs (x - expected)) 1e-14 "the formula"

                Expect.sequenceEqual dict.State[0].Keys [ "exp_avg" ] "its state has PyTorch's form"
            }
            test "a rule of one's own has its options checked by name" {
                let refused () =
                    OwnRuleCSharp.Lion([ Param.Zeros("x", DType.Float32, 2L) ], lr = -1.0) |> ignore

                Expect.throwsC refused (fun error ->
                    Expect.isTrue (error :? OptionException) "kind"
                    Expect.stringContains error.Message "lr is -1" "option and value")
            }
        ]
