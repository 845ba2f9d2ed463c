/// Clipping, loss scaling, accumulation, averages and schedules over ranks.
module SurroundedShardedTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests

[<Tests>]
let tests =
    testList
        "distributed surroundings"
        [
            test "clipping by the norm of all gradients, of several orders" {
                for order in [ 2.0; 1.0; infinity; 3.0; 0.0 ] do
                    let around (optimizer: Optimizer) _ =
                        optimizer.Attach(ClipGradNorm(0.05, order))
                        ignore

                    let run =
                        { run mixed adamW with
                            Around = around
                            Absent = absent
                        }

                    let expected, _ = alone run

                    for shard in [ Shard.None; Shard.State; Shard.Gradients ] do
                        for ranks in [ 2; 8 ] do
                            same expected (together ranks run shard 5000L) $"order {order}, {ranks} ranks, {shard}"
            }

            test "a GradScaler, attached or by hand: an overflow on one rank skips the step on all" {
                for attached in [ true; false ] do
                    let scaler (optimizer: Optimizer) (scalers: Dictionary<Optimizer, GradScaler>) =
                        lock scalers (fun () ->
                            match scalers.TryGetValue optimizer with
                            | true, known -> known
                            | _ ->
                                let made = GradScaler(initScale = 3.0e38, growthInterval = 2L)
                                scalers[optimizer] <- made
                                made)

                    let scalers = Dictionary<Optimizer, GradScaler>(HashIdentity.Reference)

                    let run =
                        { run mixed adamW with
                            Steps = 10
                            Around =
                                fun optimizer _ ->
                                    if attached then
                                        optimizer.Attach(scaler = scaler optimizer scalers)

                                    ignore
                            Scale = fun optimizer -> (scaler optimizer scalers).GetScale() * 16.0
                            Step =
                                fun optimizer ->
                                    if attached then
                                        optimizer.Step()
                                    else
                                        let scaler = scaler optimizer scalers
                                        scaler.Unscale optimizer
                                        scaler.Step optimizer |> ignore
                                        scaler.Update()
                        }

                    let expected, optimizer = alone run
                    Expect.isGreaterThan optimizer.SkippedSteps 0L "a step is skipped"
                    Expect.isLessThan optimizer.SkippedSteps 9L "and not all of them"

                    for shard in [ Shard.None; Shard.State ] do
                        same expected (together 4 run shard 5000L) $"{shard}, attached {attached}"
            }

            test
                "an overflow on one rank, each of 4, in a parameter of one rank or another leaves out the step on all, and nothing has changed" {
                for faulty in 0..3 do
                    for place in [ 0; mixed.Tensors.Length - 1 ] do
                        for shard in [ Shard.None; Shard.State; Shard.Gradients ] do
                            for scaled in [ true; false ] do
                                onRanks 4 (fun world ->
                                    let run = { run mixed adamW with Leaves = 4 }
                                    let sharded, parameters = over run shard 5000L world
                                    let scaler = GradScaler(initScale = 4.0)

                                    if scaled then
                                        sharded.Optimizer.Attach(scaler = scaler)
                                    else
                                        sharded.Optimizer.Attach(ClipGradNorm 1.0)

                                    let before = bitsOf parameters

                                    for index, p in List.indexed parameters do
                                        p.SetGradient(gradientOf run.Absent mixed 0 world.Rank index)

                                    if world.Rank = faulty then
                                        let gradient = parameters[place].Gradient<float32>()
                                        gradient[gradient.Length - 1] <- Single.PositiveInfinity

                                    let message = $"rank {faulty}, parameter {place}, {shard}, scaled {scaled}"
                                    sharded.Step()
                                    Expect.isTrue sharded.Optimizer.LastStepSkipped $"{message}: skipped on every rank"
                                    Expect.equal (bitsOf parameters) before $"{message}: nothing has moved"
                                    Expect.equal sharded.Optimizer.SkippedSteps 1L $"{message}: counted"

                                    if scaled then
                                        Expect.equal (scaler.GetScale()) 2.0 $"{message}: the scale falls on every rank"

                                    // The next step is one.
                                    for index, p in List.indexed parameters do
                                        p.SetGradient(gradientOf run.Absent mixed 1 world.Rank index)

                                    sharded.Step()
                                    Expect.isFalse sharded.Optimizer.LastStepSkipped $"{message}: the next step is taken"
                                    bitsOf parameters)
                                |> fun found -> same found[0] found $"rank {faulty}, parameter {place}, {shard}"
            }

            test "accumulation, an average and a schedule agree with one process" {
                let averages = Dictionary<Optimizer, AveragedParameters>(HashIdentity.Reference)
                let found = Dictionary<Optimizer, string>(HashIdentity.Reference)

                let around (optimizer: Optimizer) (parameters: Param list) =
                    let average =
                        new AveragedParameters(
                            [| for p in parameters -> p :> IParameter |],
                            multiAvgFn = AveragedParameters.GetEmaMultiAvgFn 0.9
                        )

                    lock averages (fun () -> averages[optimizer] <- average)
                    optimizer.Attach(ClipGradNorm 0.5, average = average, accumulate = 2, zeroGrad = true)
                    let schedule = CosineAnnealingLR(optimizer, tMax = 4)

                    fun _ ->
                        if not optimizer.IsAccumulating then
                            schedule.Step()

                        lock averages (fun () -> found[optimizer] <- digest [ for row in 0 .. parameters.Length - 1 -> average.Row row ])

                let run =
                    { run mixed adamW with
                        Around = around
                        Steps = 6
                        Absent = absent
                    }

                let expected, optimizer = alone run
                let average = found[optimizer]

                for shard in [ Shard.None; Shard.State; Shard.Gradients ] do
                    found.Clear()
                    same expected (together 4 run shard 5000L) $"{shard}"

                    for KeyValue(_, bits) in found do
                        Expect.equal bits average $"{shard}: the average"
            }
        ]
