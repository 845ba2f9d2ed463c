/// Gradients are averaged, and parameters stepped, by several ranks as by one.
module DataParallelTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit

let adamW (parameters: IReadOnlyList<IParameterOrGroup>) =
    AdamW(parameters, lr = 0.1, weightDecay = 0.01) :> Optimizer

let same expected (found: string list) message =
    for rank, bits in List.indexed found do
        Expect.equal bits expected $"{message}, rank {rank}"

let private shards = [ Shard.None; Shard.State; Shard.Gradients ]

/// Some gradients are absent on some leaves, and one of them on all in one step.
let absent step leaf index =
    index = 1 && leaf % 3 = 0 || index = 2 && step = 1 || index = 3 && leaf > 4

[<Tests>]
let tests =
    testList
        "distributed data parallel"
        [
            test "gradients are summed by one tree: the bits of one process on 1, 2, 4 and 8 ranks" {
                let run = run mixed adamW
                let expected, _ = alone run

                for shard in shards do
                    for ranks in [ 1; 2; 4; 8 ] do
                        for bucket in [ 1L <<< 25; 5000L ] do
                            same expected (together ranks run shard bucket) $"{ranks} ranks, {shard}, buckets of {bucket}"
            }

            test "a gradient that is absent on some leaves is zero there, and one that is absent on all is passed over" {
                let run = { run mixed adamW with Absent = absent }
                let expected, _ = alone run

                for shard in shards do
                    for ranks in [ 1; 2; 8 ] do
                        same expected (together ranks run shard 5000L) $"{ranks} ranks, {shard}"
            }

            test "other numbers of ranks give the same bits on every rank, each time, sharded or not" {
                for ranks in [ 3; 5; 6; 7 ] do
                    let run =
                        { run mixed adamW with
                            Leaves = 2 * ranks
                            Absent = absent
                        }

                    let expected = (together ranks run Shard.None 5000L)[0]

                    for shard in shards do
                        same expected (together ranks run shard 7000L) $"{ranks} ranks, {shard}"
            }

            test "dtypes: half types, float64 and complex numbers among others" {
                let model =
                    {
                        Tensors =
                            [
                                "a", DType.BFloat16, [ 5L; 1001L ]
                                "b", DType.Float16, [ 77L ]
                                "c", DType.Float64, [ 9L; 700L ]
                                "d", DType.Complex64, [ 5000L ]
                                "e", DType.Float32, [ 3L ]
                            ]
                    }

                let run = run model (fun p -> Adam(p, lr = 0.1) :> Optimizer)
                let expected, _ = alone run

                for shard in shards do
                    for ranks in [ 2; 4 ] do
                        same expected (together ranks run shard 4096L) $"{ranks} ranks, {shard}"
            }

            test "buckets that are ready go while later gradients are still made, and nothing changes" {
                let run = { run mixed adamW with Leaves = 4 }
                let expected, _ = alone run

                for shard in shards do
                    let found =
                        onRanks 4 (fun world ->
                            let sharded, parameters = over run shard 3000L world
                            let sent = ResizeArray()

                            for step in 0 .. run.Steps - 1 do
                                sharded.ZeroGrad()

                                for index in parameters.Length - 1 .. -1 .. 0 do
                                    parameters[index].SetGradient(gradientOf run.Absent run.Model step world.Rank index)
                                    sharded.GradientReady parameters[index]

                                    if index = 3 then
                                        sent.Add world.MessagesSent

                                sharded.Step()

                            Expect.isGreaterThan sent[0] 0L "something is under way before the first gradients are there"
                            bitsOf parameters)

                    same expected found $"{shard}"
            }

            test "Collect by hand: under Shard.None the gradients become the means" {
                let run = { run mixed adamW with Leaves = 2 }

                onRanks 2 (fun world ->
                    let sharded, parameters = over run Shard.None 5000L world

                    for index, parameter in List.indexed parameters do
                        parameter.SetGradient(gradientOf run.Absent run.Model 0 world.Rank index)

                    sharded.Collect()

                    for index, parameter in List.indexed parameters do
                        let leaves = Array.init 2 (fun leaf -> gradientOf run.Absent run.Model 0 leaf index)

                        let expected =
                            (treeSum leaves).ToDoubles() |> Array.map (fun x -> double (float32 (x / 2.0)))

                        Expect.equal (parameter.GradientView.ToDoubles()) expected $"gradient {index} is the mean"

                    sharded.Step())
                |> ignore
            }

            test "leaves that are no power of two for each rank, or more than a batch has rows, are refused" {
                let make leaves ranks =
                    onRanks ranks (fun world ->
                        let run = { run small adamW with Leaves = leaves }
                        let sharded, _ = over run Shard.State 5000L world
                        Expect.throwsT<ArgumentOutOfRangeException> (fun () -> sharded.Leaves 7 |> ignore) "7 rows for 8 leaves"
                        [ for leaf in sharded.Leaves 21 -> leaf ])

                for leaves, ranks in [ 6, 4; 12, 4; 3, 1; 0, 1; 2, 4 ] do
                    Expect.throwsT<ArgumentException> (fun () -> make leaves ranks |> ignore) $"{leaves} leaves for {ranks} ranks"

                let all = make 8 4 |> Seq.collect id |> List.ofSeq
                Expect.equal [ for leaf in all -> leaf.Number ] [ 0..7 ] "every leaf once, in the order of ranks"

                let rows =
                    all |> List.sumBy (fun leaf -> leaf.Rows.End.Value - leaf.Rows.Start.Value)

                Expect.equal rows 21 "every row once"
                Expect.floatClose Accuracy.veryHigh (all |> List.averageBy _.Weight) 1.0 "the weights are those of the mean of the batch"
            }

            test "a leaf too many, and one too few, are refused" {
                let world = World.Join()

                let sharded, parameters =
                    over { run small adamW with Leaves = 2 } Shard.State 5000L world

                for p in parameters do
                    p.SetGradient p.View

                sharded.AddLeaf()
                Expect.throwsT<InvalidOperationException> sharded.Step "one of two leaves"
                sharded.AddLeaf()
                Expect.throwsT<InvalidOperationException> (fun () -> sharded.AddLeaf()) "a third leaf"
                sharded.Step()
            }

            test "the mean loss is that of all leaves, by the tree of the gradients" {
                let losses = Array.init 8 (fun leaf -> number 3 leaf)
                let expected = World.SumOf losses / 8.0

                for ranks in [ 1; 2; 4; 8 ] do
                    onRanks ranks (fun world ->
                        let sharded, _ = over (run small adamW) Shard.State 5000L world
                        let each = 8 / ranks

                        let add () =
                            for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
                                sharded.AddLeaf losses[leaf]

                        add ()
                        Expect.equal (sharded.MeanLoss()) expected $"{ranks} ranks"

                        // With the gradients, after which nobody is asked; other losses are not those of before.
                        sharded.DropLeaves()
                        add ()
                        sharded.Collect()
                        let sent = world.MessagesSent
                        Expect.equal (sharded.MeanLoss()) expected $"{ranks} ranks, after the gradients"
                        Expect.equal world.MessagesSent sent "it has come with the gradients"
                        sharded.DropLeaves()

                        for _ in 1..each do
                            sharded.AddLeaf 1.0

                        Expect.equal (sharded.MeanLoss()) 1.0 "of the leaves of now")
                    |> ignore
            }

            test "a world of one needs no launcher, and reads the parameters' own gradients" {
                use world = World.Join()
                Expect.equal (world.Rank, world.Size) (0, 1) "alone"
                let run = { run mixed adamW with Leaves = 1 }
                let expected, _ = alone run
                let sharded, parameters = over run Shard.State 5000L world
                train run world 0 sharded parameters
                same expected [ bitsOf parameters ] "a world of one"
                Expect.equal world.MessagesSent 0L "nothing is sent"
            }
        ]
