/// SAM and its kin over ranks: both evaluations, and the norm between them, are those of all ranks.
module SharpnessShardedTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests

/// A quadratic of its own for each leaf: 1/2 sum c (x - t)^2.
let private evaluate leaf (parameters: Param list) =
    for index, p in List.indexed parameters do
        let x = p.View.ToDoubles()
        let target = (gradientOf (fun _ _ _ -> false) small 0 leaf index).ToDoubles()

        let slope i x t =
            (1.0 + 3.0 * abs (number index i)) * (x - t)

        p.SetGradient(TensorView.OfDoubles(DType.Float32, ReadOnlySpan(Array.mapi2 slope x target), p.View.Shape.AsSpan()))

/// The bits after some steps on ranks, with 8 leaves.
let private bits ranks shard (step: Optimizer -> Func<float> -> unit) =
    onRanks ranks (fun world ->
        let sharded, parameters =
            over (run small (fun p -> SGD(p, lr = 0.1, momentum = 0.9) :> Optimizer)) shard 5000L world

        let step = step sharded.Optimizer
        let each = 8 / ranks

        for _ in 1..3 do
            step (
                Func<float>(fun () ->
                    for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
                        sharded.ZeroGrad()
                        evaluate leaf parameters
                        sharded.AddLeaf()

                    0.0)
            )

        bitsOf parameters)

/// The same of a plain optimizer, on means that the tests work out.
let private plain (step: Optimizer -> Func<float> -> unit) =
    let parameters = parametersOf small
    let step = step (SGD(given parameters, lr = 0.1, momentum = 0.9))

    for _ in 1..3 do
        step (
            Func<float>(fun () ->
                let sums =
                    [|
                        for leaf in 0..7 ->
                            evaluate leaf parameters
                            [ for p in parameters -> p.GradientView.Copy() ]
                    |]

                for index, p in List.indexed parameters do
                    let sum = treeSum (sums |> Array.map (fun leaf -> leaf[index]))

                    p.SetGradient(
                        TensorView.OfDoubles(
                            DType.Float32,
                            ReadOnlySpan(sum.ToDoubles() |> Array.map (fun x -> x / 8.0)),
                            sum.Shape.AsSpan()
                        )
                    )

                0.0)
        )

    bitsOf parameters

[<Tests>]
let tests =
    testList
        "distributed sharpness"
        [
            for name, make in
                [
                    "SAM", (fun optimizer -> SAM(optimizer, rho = 0.5) :> SharpnessAware)
                    "adaptive SAM", (fun optimizer -> SAM(optimizer, rho = 0.5, adaptive = true))
                    "WSAM", (fun optimizer -> WSAM(optimizer, rho = 0.5, maxNorm = Nullable 0.1))
                    "WSAM in one", (fun optimizer -> WSAM(optimizer, rho = 0.5, decouple = false))
                    "LookSAM", (fun optimizer -> LookSAM(optimizer, rho = 0.5, k = 2))
                ] do
                test $"{name}: the bits of one process" {
                    let step optimizer =
                        let made: SharpnessAware = make optimizer
                        fun (closure: Func<float>) -> made.Step closure |> ignore

                    let expected = plain step

                    for shard in [ Shard.None; Shard.State; Shard.Gradients ] do
                        for ranks in [ 1; 2; 4; 8 ] do
                            if name = "LookSAM" && shard <> Shard.None && ranks > 1 then
                                let error = Expect.throwsC (fun () -> bits ranks shard step |> ignore) id
                                Expect.stringContains error.Message "Shard.None" "it looks at whole gradients"
                            else
                                same expected (bits ranks shard step) $"{ranks} ranks, {shard}"
                }

            test "a closure that throws beside the parameters leaves them as they were, those of other ranks' slices, too" {
                onRanks 4 (fun world ->
                    let sharded, parameters =
                        over { run small adamW with Leaves = 4 } Shard.State 5000L world

                    let sam = SAM(sharded.Optimizer, rho = 0.5)
                    let before = bitsOf parameters
                    let mutable calls = 0

                    Expect.throwsT<InvalidOperationException>
                        (fun () ->
                            sam.Step(fun () ->
                                calls <- calls + 1

                                if calls = 2 then
                                    invalidOp "enough"

                                evaluate world.Rank parameters
                                0.0)
                            |> ignore)
                        "the closure's own exception"

                    Expect.equal (bitsOf parameters) before "put back")
                |> ignore
            }

            test "a Schedule-Free view is of all ranks, and goes back" {
                let rule = Rules.Find "schedule_free(0.9, adamw)"

                let make p =
                    RuleOptimizer(rule, p, [||]) :> Optimizer

                let views ranks shard =
                    onRanks ranks (fun world ->
                        let run = run small make
                        let sharded, parameters = over run shard 5000L world
                        train run world 0 sharded parameters
                        let training = bitsOf parameters
                        let view = ScheduleFreeView.Applied sharded.Optimizer
                        let evaluation = bitsOf parameters
                        view.Dispose()
                        Expect.equal (bitsOf parameters) training "as before"
                        evaluation)

                let expected = (views 1 Shard.State)[0]

                for shard in [ Shard.None; Shard.State ] do
                    same expected (views 4 shard) $"{shard}"
            }
        ]
