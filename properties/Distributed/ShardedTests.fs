/// State in slices: every rule, and what surrounds its steps, has the bits of one process.
module ShardedTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests

let private every: Rule list =
    [
        yield! Rules.All

        for entry in Catalogue.All do
            entry.Rule
    ]
    |> List.filter (fun rule -> rule.Sparse rule.Defaults <> SparseGradients.Required)

let private makeOf (rule: Rule) (parameters: IReadOnlyList<IParameterOrGroup>) =
    RuleOptimizer(rule, parameters, [||]) :> Optimizer

let private modelOf (rule: Rule) =
    if rule.Scope = RuleScope.Matrices then matrices else small

/// Bytes of the state of a plain optimizer.
let private bytesOf (optimizer: Optimizer) =
    optimizer.StateDict().State.Values
    |> Seq.collect _.Values
    |> Seq.sumBy (fun tree ->
        if tree.IsTensor then
            int64 (tree.AsTensor().Count) * int64 (tree.AsTensor().DType.Size())
        else
            0L)

[<Tests>]
let tests =
    testList
        "distributed sharded"
        [
            for rule in every do
                test $"{rule.Name}: sharded is unsharded, bit for bit" {
                    let ranks = 2 <<< (abs (hash rule.Name) % 3)

                    let run =
                        { run (modelOf rule) (makeOf rule) with
                            Absent = fun step leaf index -> step = 1 && index = 1 || index = 2 && leaf = 0
                        }

                    let expected, _ = alone run
                    same expected (together ranks run Shard.State 3000L) $"{ranks} ranks"
                }

            test "each rank keeps its share of the state and at most a block more" {
                for rule in [ Rules.Find "adamw"; Rules.Find "sgd"; Rules.Find "rmsprop" ] do
                    for ranks in [ 2; 3; 5; 8 ] do
                        let run =
                            { run mixed (makeOf rule) with
                                Leaves = ranks
                            }

                        let _, optimizer = alone run
                        // The step of each parameter is on every rank.
                        let steps =
                            if rule.KeepsStep then
                                int64 (4 * mixed.Tensors.Length)
                            else
                                0L

                        let all = bytesOf optimizer - steps

                        let columns =
                            max
                                1L
                                (all
                                 / 4L
                                 / int64 (mixed.Tensors |> List.sumBy (fun (_, _, s) -> List.fold (*) 1L s)))

                        onRanks ranks (fun world ->
                            let sharded, parameters = over run Shard.State 5000L world
                            train run world 0 sharded parameters
                            let own = sharded.StateBytes - steps
                            let most = all / int64 ranks + columns * 4L * 4096L
                            Expect.isLessThanOrEqual own most $"{rule.Name}, rank {world.Rank} of {ranks}: {own} of {all} bytes"
                            own)
                        |> List.sum
                        |> fun total -> Expect.equal total all $"{rule.Name}: all ranks together have it once"
            }

            test "under Shard.Gradients the gradients of the backward pass are dropped, and under Shard.State they stay" {
                for shard, stays in [ Shard.State, true; Shard.Gradients, false ] do
                    onRanks 2 (fun world ->
                        let sharded, parameters = over { run mixed adamW with Leaves = 2 } shard 5000L world

                        for index, p in List.indexed parameters do
                            p.SetGradient(gradientOf (fun _ _ _ -> false) mixed 0 world.Rank index)

                        sharded.Step()

                        for p in parameters do
                            Expect.equal p.HasGradient stays $"{shard}: the gradient of {p.Name}")
                    |> ignore
            }

            test "groups with options of their own, added later, too" {
                let group (parameters: Param list) skip take lr =
                    let group =
                        ParameterGroup(
                            parameters
                            |> Seq.skip skip
                            |> Seq.take take
                            |> Seq.map (fun p -> p :> IParameter)
                        )

                    group["lr"] <- OptionValue.Float lr
                    group

                let expected =
                    let parameters = parametersOf mixed
                    let all = parameters

                    let optimizer =
                        AdamW([| group all 0 2 0.1 :> IParameterOrGroup; group all 2 2 0.01 |])

                    for step in 0..3 do
                        if step = 2 then
                            optimizer.AddParamGroup(group all 4 1 0.3)

                        for index, p in List.indexed parameters do
                            let sum =
                                treeSum (Array.init 4 (fun leaf -> gradientOf (fun _ _ _ -> false) mixed step leaf index))

                            p.SetGradient(
                                TensorView.OfDoubles(
                                    DType.Float32,
                                    ReadOnlySpan(sum.ToDoubles() |> Array.map (fun x -> x / 4.0)),
                                    sum.Shape.AsSpan()
                                )
                            )

                        optimizer.Step()

                    bitsOf parameters

                let found =
                    onRanks 4 (fun world ->
                        let parameters = parametersOf mixed
                        let all = parameters

                        let sharded =
                            Sharded.Over(
                                world,
                                [| group all 0 2 0.1 :> IParameterOrGroup; group all 2 2 0.01 |],
                                Func<_, _>(fun groups -> AdamW groups :> Optimizer)
                            )

                        Expect.throwsT<InvalidOperationException>
                            (fun () -> sharded.Optimizer.AddParamGroup(group all 4 1 0.3))
                            "groups are added to all ranks"

                        for step in 0..3 do
                            if step = 2 then
                                sharded.AddParamGroup(group all 4 1 0.3)

                            for index, p in List.indexed parameters do
                                p.SetGradient(gradientOf (fun _ _ _ -> false) mixed step world.Rank index)

                            sharded.Step()

                        bitsOf parameters)
                    |> List.ofSeq

                same expected found "4 ranks"
            }

            test "an optimizer of several rules: matrices are dealt out, the rest is cut" {
                let make (parameters: IReadOnlyList<IParameterOrGroup>) =
                    ForMuon.Optimizer(Seq.cast<IParameter> parameters) :> Optimizer

                let run =
                    { run small make with
                        Around =
                            fun optimizer _ ->
                                optimizer.Attach(ClipGradNorm 0.5)
                                ignore
                    }

                let expected, _ = alone run

                for ranks in [ 2; 4; 8 ] do
                    same expected (together ranks run Shard.State 2000L) $"{ranks} ranks"
            }

            for search in [ null; "strong_wolfe" ] do
                test $"LBFGS ({search}): dot products go over all ranks" {
                    // A quadratic of its own for each leaf: 1/2 sum c (x - t)^2.
                    let lossOf leaf (parameters: Param list) =
                        let mutable loss = 0.0

                        for index, p in List.indexed parameters do
                            let x = p.View.ToDoubles()
                            let target = (gradientOf (fun _ _ _ -> false) mixed 0 leaf index).ToDoubles()
                            let curvature i = 1.0 + 3.0 * abs (number index i)

                            loss <-
                                loss
                                + (Array.mapi2 (fun i x t -> 0.5 * curvature i * (x - t) * (x - t)) x target
                                   |> Array.sum)

                            p.SetGradient(
                                TensorView.OfDoubles(
                                    DType.Float32,
                                    ReadOnlySpan(Array.mapi2 (fun i x t -> curvature i * (x - t)) x target),
                                    p.View.Shape.AsSpan()
                                )
                            )

                        loss

                    let digests ranks shard =
                        onRanks ranks (fun world ->
                            let run =
                                run mixed (fun p -> LBFGS(p, maxIter = 4, historySize = 3, lineSearchFn = search) :> Optimizer)

                            let sharded, parameters = over run shard 5000L world
                            let each = 8 / ranks

                            for _ in 1..3 do
                                sharded.Step(fun () ->
                                    sharded.DropLeaves()

                                    for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
                                        sharded.ZeroGrad()
                                        sharded.AddLeaf(lossOf leaf parameters)

                                    0.0)
                                |> ignore

                            bitsOf parameters)
                        |> List.ofSeq

                    let expected = (digests 1 Shard.State)[0]

                    for ranks in [ 2; 4; 8 ] do
                        same expected (digests ranks Shard.State) $"{ranks} ranks"
                        same expected (digests ranks Shard.None) $"{ranks} ranks, nothing cut"
                }

            test "rules that make numbers of all parameters are cut, but for those that look at whole tensors, too" {
                let looking = every |> List.filter _.LooksOverAll

                let cut, whole =
                    looking
                    |> List.partition (fun rule -> ShardPlan.DivisionOf rule = Division.Sliced)

                Expect.isGreaterThan cut.Length 8 $"cut: {[ for rule in cut -> rule.Name ]}; whole: {[ for rule in whole -> rule.Name ]}"

                for name in
                    [
                        "prodigy"
                        "dadaptadam"
                        "chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-2))"
                    ] do
                    Expect.equal (ShardPlan.DivisionOf(Rules.Find name)) Division.Sliced name

                for rule in Rules.All do
                    if rule.Sparse rule.Defaults = SparseGradients.Required then
                        Expect.equal (ShardPlan.DivisionOf rule) Division.Sliced rule.Name
            }

            test "mutants: a number over all parameters without the other ranks' blocks, or with these in another order, is found" {
                let lonely (totals: TotalsAcross) =
                    { new TotalsAcross() with
                        member _.LayoutOf row = totals.LayoutOf row
                        member _.FirstOf row = totals.FirstOf row
                        member _.IsOnAny here = totals.IsOnAny here

                        member _.Gather here =
                            [| for rows in here -> [| for row in rows -> row |] :> IReadOnlyList<_> |] :> IReadOnlyList<_>
                    }

                let oneByOne (totals: TotalsAcross) =
                    { new TotalsAcross() with
                        member _.LayoutOf row = totals.LayoutOf row
                        member _.FirstOf row = totals.FirstOf row
                        member _.IsOnAny here = totals.IsOnAny here

                        member _.Gather here =
                            [|
                                for rows in totals.Gather here ->
                                    [| for struct (row, parts) in rows -> struct (row, [| Array.sum parts |]) |] :> IReadOnlyList<_>
                            |]
                            :> IReadOnlyList<_>
                    }

                // Many blocks, of numbers that have all digits of their sums.
                let model =
                    {
                        Tensors = [ "first", DType.Float64, [ 5L; 4097L ]; "second", DType.Float64, [ 30000L ] ]
                    }

                let run =
                    { run model (fun p -> RuleOptimizer(Rules.Find "chain(clip_by_global_norm(3), scale(-1))", p, [||]) :> Optimizer) with
                        Leaves = 4
                        Steps = 6
                    }

                let bits change =
                    onRanks 4 (fun world ->
                        let sharded, parameters = over run Shard.State 50000L world
                        let list = sharded.Optimizer.ParamGroups[0].List
                        list.Totals <- change (nonNull list.Totals)
                        train run world 0 sharded parameters
                        bitsOf parameters)

                let expected, _ = alone run
                same expected (bits id) "as it is"
                Expect.notEqual (List.head (bits lonely)) expected "without the others"
                Expect.notEqual (List.head (bits oneByOne)) expected "one after the other"
            }
        ]
