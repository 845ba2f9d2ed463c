/// Plans, and steps of slices as functions.
module ShardPlanTests

open System
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
        "distributed plans"
        [
            test "a plan is a value: equal for equal parameters, and printed" {
                let parameters =
                    Parameters.OfNamed [ for p in parametersOf mixed -> struct (nonNull p.Name, p.View) ]

                let plan ranks =
                    ShardPlan.Of(ranks, Shard.State, Rules.AdamW, parameters)

                Expect.equal (plan 4) (plan 4) "the same"
                Expect.notEqual (plan 4) (plan 3) "other ranks"
                let text = string (plan 3)
                Expect.stringContains text "embedding: float32[90, 100], [0, 8192) on rank 0, [8192, 9000) on rank 1" "who steps what"
                Expect.stringContains (string (ShardPlan.Of(2, Shard.State, Rules.Muon, parameters))) "whole on rank" "whole tensors"

                Expect.stringContains
                    (string (ShardPlan.Of(2, Shard.State, Rules.Find "Prodigy", parameters)))
                    "weight: float32[33, 20], [0, 660) on rank 1"
                    "numbers over all parameters go over ranks"

                Expect.stringContains
                    (string (ShardPlan.Of(2, Shard.None, Rules.Adam, parameters)))
                    "all of it on every rank"
                    "nothing is cut"
            }

            test "F#: a step of slices is one of whole parameters, with what surrounds it" {
                let options =
                    { Adam.defaults with
                        Lr = 0.1
                        WeightDecay = 0.01
                    }

                let fold ranks surrounded =
                    onRanks ranks (fun world ->
                        let parameters = parametersOf mixed

                        let views =
                            Parameters.OfNamed [ for p in parameters -> struct (nonNull p.Name, p.View) ]

                        let plan = ShardPlan.Of(ranks, Shard.State, Rules.Adam, views)
                        let start = Adam.init options (Sharded.Slices(world, plan, views))

                        let gradientsOf step =
                            // One leaf for each rank: those of four leaves, summed here where there are fewer ranks.
                            let each = 4 / ranks

                            Gradients.Of
                                [
                                    for index in 0 .. parameters.Length - 1 ->
                                        [|
                                            for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 ->
                                                gradientOf (fun _ _ _ -> false) mixed step leaf index
                                        |]
                                        |> treeSum
                                        |> Gradient.OfDense
                                ]

                        if surrounded then
                            let step =
                                Sharded.Step(
                                    world,
                                    plan,
                                    Func<_, _, _, _>(fun parameters gradients state ->
                                        (Step.run
                                            Adam.rule
                                            options
                                            parameters
                                            gradients
                                            state
                                            (Step.around [ Step.clipByGlobalNorm 0.05 ]))
                                            .State)
                                )

                            Seq.fold (fun state at -> step.Invoke(views, gradientsOf at, state)) start [ 0..2 ]
                            |> ignore
                        else
                            let step = Sharded.step world plan (Adam.step options)

                            Seq.fold (fun state at -> step views (gradientsOf at) state) start [ 0..2 ]
                            |> ignore

                        bitsOf parameters)

                for surrounded in [ false; true ] do
                    // The means of four leaves on four ranks, and the sums of pairs on two are the same up to a factor, which Adam without eps takes out.
                    let four = fold 4 surrounded
                    same four[0] four "4 ranks"

                let whole =
                    onRanks 1 (fun world ->
                        let parameters = parametersOf mixed

                        let views =
                            Parameters.OfNamed [ for p in parameters -> struct (nonNull p.Name, p.View) ]

                        ignore world

                        let means step =
                            Gradients.Of
                                [
                                    for index in 0 .. parameters.Length - 1 ->
                                        let sum =
                                            treeSum (Array.init 4 (fun leaf -> gradientOf (fun _ _ _ -> false) mixed step leaf index))

                                        TensorView.OfDoubles(
                                            sum.DType,
                                            ReadOnlySpan(sum.ToDoubles() |> Array.map (fun x -> x / 4.0)),
                                            sum.Shape.AsSpan()
                                        )
                                        |> Gradient.OfDense
                                ]

                        Seq.fold (fun state at -> Adam.step options views (means at) state) (Adam.init options views) [ 0..2 ]
                        |> ignore

                        bitsOf parameters)

                same whole[0] (fold 4 false) "4 ranks have the bits of one process"
            }

            test "F#: rules that make numbers of all parameters, too" {
                for name in
                    [
                        "prodigy"
                        "dadaptsgd"
                        "chain(clip_by_global_norm(0.1), scale_by_adam, scale(-1e-2))"
                        "lamb"
                    ] do
                    let rule = Rules.Find name

                    let bits ranks =
                        onRanks ranks (fun world ->
                            let parameters = parametersOf mixed

                            let views =
                                Parameters.OfNamed [ for p in parameters -> struct (nonNull p.Name, p.View) ]

                            let plan = ShardPlan.Of(ranks, Shard.State, rule, views)

                            let step = Sharded.step world plan (fun p g s -> rule.Step(rule.Defaults, p, g, s))

                            // The same gradients on every rank, whose mean they are.
                            let gradients at =
                                Gradients.Of
                                    [
                                        for index in 0 .. parameters.Length - 1 ->
                                            gradientOf (fun _ _ _ -> false) mixed at 0 index |> Gradient.OfDense
                                    ]

                            let start = rule.Init(rule.Defaults, Sharded.Slices(world, plan, views))

                            Seq.fold (fun state at -> step views (gradients at) state) start [ 0..2 ]
                            |> ignore

                            bitsOf parameters)

                    for ranks in [ 2; 4; 8 ] do
                        same (List.head (bits 1)) (bits ranks) $"{name}, {ranks} ranks"
            }

            test "what a step costs, counted on the plan, is what one counts by hand" {
                let block = int64 Reduction.BlockLength

                let cost ranks (lengths: int64 list) =
                    let items =
                        [|
                            for index, length in List.indexed lengths ->
                                PlanItem($"p{index}", Layout.Contiguous(DType.Float32, ReadOnlySpan [| length |]), Division.Sliced)
                        |]

                    PlanCost.Of(ShardPlan.Of(ranks, Shard.Gradients, items, false), 25L <<< 20, 8)

                // A block for each of n ranks, a power of two: log2 n messages that way and back, (n - 1) / n of all bytes each, and those to another
                // node of 8 are the last.
                for levels, between in [ 0, 0L; 1, 0L; 2, 0L; 3, 0L; 4, 2L; 5, 4L; 7, 8L ] do
                    let ranks = 1 <<< levels
                    let bytes = 4L * block * int64 ranks

                    Expect.equal
                        (cost ranks [ block * int64 ranks ])
                        (PlanCost(block, bytes, 2L * bytes * int64 (ranks - 1) / int64 ranks, 2L * int64 levels, between))
                        $"{ranks} ranks"

                // Three: rank 1 hands all to rank 0, which sums with rank 2, keeps its block, and sends that of rank 1 back; and the other way round.
                Expect.equal (cost 3 [ 3L * block ]) (PlanCost(block, 12L * block, (4L + 4L + 8L + 12L) * block, 4L, 0L)) "3 ranks"

                // Two buckets, each of another rank: one goes there as gradients, the other one as parameters.
                let bucket = 25L <<< 20
                Expect.equal (cost 2 [ bucket / 2L ]) (PlanCost(bucket / 4L, bucket, 2L * bucket, 2L, 0L)) "two buckets"

                // Cut at the first end of a block behind the half: the second rank has one element, which takes 8 bytes.
                Expect.equal (cost 2 [ block; block + 1L ]) (PlanCost(2L * block, 8L * block + 8L, 8L * block + 8L, 2L, 0L)) "a tail"

                // Messages grow as the logarithm of the number of ranks while there is a block for each.
                let messages =
                    [ for levels in 1..10 -> (cost (1 <<< levels) [ block <<< levels ]).Messages ]

                Expect.equal messages [ for levels in 1..10 -> 2L * int64 levels ] "up to 1024 ranks, of one bucket"
            }
        ]
