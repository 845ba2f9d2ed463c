/// What training gives: losses that go down, the same bits for the same settings, averages, runs that are stopped.
module TrainTests

open System.Collections.Generic
open System.Collections.Immutable
open System.Threading
open Expecto
open Optim
open Optim.Core
open Optim.Cli.Training
open Optim.Kernels
open Kit

/// Two epochs of a small model.
let private small =
    TrainingSettings(Epochs = 2, BatchSize = 64, Hidden = ImmutableArray.Create 16, ThreadCount = 1)

let private train (settings: TrainingSettings) = Trainer.Run settings

let private sameLosses (a: IReadOnlyList<float>) (b: IReadOnlyList<float>) =
    sameBits (Array.ofSeq a) (Array.ofSeq b)

let private runs =
    [
        testCase "with its defaults it reaches 96 %" (fun () ->
            let result = train TrainingSettings.Defaults
            Expect.isGreaterThanOrEqual result.TestAccuracy 0.96 "test accuracy"
            Expect.isFalse result.Interrupted "ran to its end")

        testCase "every rule trains, in both dtypes" (fun () ->
            for rule in Kit.denseRules @ [ Rules.Find "Adafactor"; Rules.Find "Muon" ] do
                for dtype in [ DType.Float32; DType.Float64 ] do
                    let result =
                        train (TrainingSettings(Rule = rule, DType = dtype, Epochs = 5, Hidden = ImmutableArray.Create 16))

                    let losses = Array.ofSeq result.Losses
                    let count = losses.Length / 5

                    let first, last =
                        Array.averageBy id losses[.. count - 1], Array.averageBy id losses[losses.Length - count ..]

                    Expect.isLessThan last first $"{rule.Name}, {dtype}: the loss goes down")

        testCase "the same settings give the same bits, with any number of threads; another seed does not" (fun () ->
            let settings threads seed =
                TrainingSettings(Epochs = 2, Hidden = ImmutableArray.Create(96, 32), ThreadCount = threads, Seed = seed)

            let one = train (settings 1 5L)
            Expect.isTrue (sameLosses one.Losses (train (settings 1 5L)).Losses) "again"
            Expect.isTrue (sameLosses one.Losses (train (settings 2 5L)).Losses) "two threads"
            Expect.isTrue (sameLosses one.Losses (train (settings 3 5L)).Losses) "three threads"
            Expect.isFalse (sameLosses one.Losses (train (settings 1 6L)).Losses) "another seed")

        testCase "the number of threads is as it was afterwards" (fun () ->
            let before = Threads.Count

            train (TrainingSettings(Epochs = 1, BatchSize = 1437, ThreadCount = before + 1))
            |> ignore

            Expect.equal Threads.Count before "threads")

        testCase "a run that is stopped has the results so far, and they are those of the whole run" (fun () ->
            let whole = train small
            use stop = new CancellationTokenSource()

            let stopped =
                Trainer.Run(
                    small,
                    (fun progress ->
                        if progress.Step = 7 then
                            stop.Cancel()),
                    stop.Token
                )

            Expect.isTrue stopped.Interrupted "says so"
            Expect.equal stopped.Losses.Count 7 "steps"
            Expect.isTrue (sameLosses stopped.Losses (Seq.take 7 whole.Losses |> ResizeArray)) "losses"
            Expect.isFalse whole.Interrupted "the whole one does not")

        testCase "an average is tested beside the parameters, and moves none of them; clipping does" (fun () ->
            for rule in [ "AdamW"; "Muon" ] do
                let settings ema clip =
                    TrainingSettings(
                        Rule = Rules.Find rule,
                        Epochs = 10,
                        Hidden = ImmutableArray.Create 16,
                        Ema = Option.toNullable ema,
                        Clip = Option.toNullable clip
                    )

                let plain = train (settings None None)
                let averaged = train (settings (Some 0.9) None)
                let last = train (settings (Some 0.0) None)
                let clipped = train (settings None (Some 1e-3))
                Expect.isFalse plain.AveragedTestAccuracy.HasValue $"{rule}: no average"
                Expect.isTrue (sameLosses plain.Losses averaged.Losses) $"{rule}: the same run"
                Expect.equal averaged.TestAccuracy plain.TestAccuracy $"{rule}: the parameters are back"
                Expect.isGreaterThan averaged.AveragedTestAccuracy.Value 0.5 $"{rule}: the average has learnt"
                Expect.equal last.AveragedTestAccuracy.Value last.TestAccuracy $"{rule}: with decay 0 it is the last parameters"
                Expect.isFalse (sameLosses plain.Losses clipped.Losses) $"{rule}: another run")

        testCase "autograd gives the losses of the model over host arrays" (fun () ->
            TorchSharpTests.skipWithoutLibtorch ()

            let settings backend =
                TrainingSettings(Epochs = 3, Hidden = ImmutableArray.Create(24, 16), DType = DType.Float64, Backend = backend)

            let host, autograd =
                train (settings Backend.Host), train (settings Backend.TorchSharp)

            Expect.equal autograd.Losses.Count host.Losses.Count "steps"

            for a, b in Seq.zip host.Losses autograd.Losses do
                Expect.isLessThan (abs (a - b)) 1e-9 "loss"

            Expect.equal autograd.TestAccuracy host.TestAccuracy "accuracy")
    ]

[<Tests>]
let tests = testSequenced <| testList "train" [ testList "runs" runs ]
