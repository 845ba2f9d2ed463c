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
                    "on every rank"
                    "numbers over all"
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
        ]
