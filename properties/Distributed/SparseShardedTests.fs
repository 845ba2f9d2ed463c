/// Sparse gradients over ranks: their rows have the bits of one process, and of dense gradients where a rule does not tell them apart.
module SparseShardedTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests
open ShardedCheckpointTests

/// Rows that are cut in the middle by blocks of 4096 elements, and rows of which a slice has many.
let private model =
    {
        Tensors =
            [
                "embedding", DType.Float32, [ 150L; 100L ]
                "weight", DType.Float32, [ 33L; 20L ]
                "small", DType.Float32, [ 40L; 8L ]
            ]
    }

let private isSparse index = index <> 1

/// The rows of a leaf, some of them more than once; none on some leaves.
let private rowsOf step leaf index =
    let _, _, shape = model.Tensors[index]
    let count = (step + 3 * leaf + index) % 5

    [|
        for i in 0..count -> int64 (abs (number (11 + step + 17 * leaf) (i + 100 * index)) * 2.0 * double shape.Head)
    |]

let private sparse step leaf index : struct (TensorView * TensorView) =
    let _, dtype, shape = model.Tensors[index]
    let rows = rowsOf step leaf index

    let values =
        Array.init (rows.Length * int shape[1]) (number (7 + 31 * step + 1009 * leaf + 100003 * index))

    struct (TensorView.Of(ReadOnlySpan rows, ReadOnlySpan [| rows.LongLength |]),
            TensorView.OfDoubles(dtype, ReadOnlySpan values, ReadOnlySpan [| rows.LongLength; shape[1] |]))

/// The same as a dense tensor; nothing is minus zero.
let private dense index (struct (rows: TensorView, values: TensorView)) =
    let _, dtype, shape = model.Tensors[index]
    let all = Array.create (int (shape[0] * shape[1])) -0.0
    let numbers, width = values.ToDoubles(), int shape[1]

    for i, row in Array.indexed (rows.AsSpan<int64>().ToArray()) do
        for k in 0 .. width - 1 do
            let at = int row * width + k
            all[at] <- double (float32 (all[at] + numbers[i * width + k]))

    TensorView.OfDoubles(dtype, ReadOnlySpan all, ReadOnlySpan(Array.ofList shape))

/// How a leaf's gradient is given.
type private Giving =
    | Rows
    | Mixed
    | Dense

let private give giving step leaf index (p: Param) =
    if not (isSparse index) then
        p.SetGradient(gradientOf (fun _ _ _ -> false) model step leaf index)
    elif giving = Dense || giving = Mixed && (step + leaf) % 3 = 0 then
        p.SetGradient(dense index (sparse step leaf index))
    elif (step + leaf + index) % 4 = 3 then
        p.DropGradient()
    else
        let struct (rows, values) = sparse step leaf index
        p.SetSparseGradient(rows, values)

let private only (p: Param list) giving =
    // SparseAdam takes nothing else.
    if giving then [ p[0]; p[2] ] else p

/// The mean over all leaves, worked out by the tests: dense, and its rows.
let private meanOf leaves giving step index =
    let parts =
        Array.init leaves (fun leaf ->
            if
                giving <> Dense
                && (step + leaf + index) % 4 = 3
                && not (giving = Mixed && (step + leaf) % 3 = 0)
            then
                TensorView()
            else
                dense index (sparse step leaf index))

    let sum = treeSum parts

    let rows =
        [|
            for leaf in 0 .. leaves - 1 do
                if not parts[leaf].IsAbsent then
                    yield! rowsOf step leaf index
        |]
        |> Array.distinct
        |> Array.sort

    let _, dtype, shape = model.Tensors[index]
    let mean = sum.ToDoubles() |> Array.map (fun x -> x / double leaves)
    let width = int shape[1]

    let values =
        [|
            for row in rows do
                yield! mean[int row * width .. int row * width + width - 1]
        |]

    struct (TensorView.OfDoubles(dtype, ReadOnlySpan mean, sum.Shape.AsSpan()),
            TensorView.Of(ReadOnlySpan rows, ReadOnlySpan [| rows.LongLength |]),
            TensorView.OfDoubles(dtype, ReadOnlySpan values, ReadOnlySpan [| rows.LongLength; shape[1] |]))

let private takesAll (make: IReadOnlyList<IParameterOrGroup> -> Optimizer) =
    not ((make (given (parametersOf model))).Algorithm.Name = "SparseAdam")

/// One process, a plain optimizer, means of the tests.
let private expected steps giving (around: Optimizer -> unit) make =
    let parameters = parametersOf model
    let stepped = only parameters (not (takesAll make))
    let optimizer = make (given stepped)
    around optimizer

    for step in 0 .. steps - 1 do
        for index, p in List.indexed parameters do
            if not (isSparse index) then
                let sum =
                    treeSum (Array.init 8 (fun leaf -> gradientOf (fun _ _ _ -> false) model step leaf index))

                p.SetGradient(
                    TensorView.OfDoubles(DType.Float32, ReadOnlySpan(sum.ToDoubles() |> Array.map (fun x -> x / 8.0)), sum.Shape.AsSpan())
                )
            else
                let struct (whole, rows, values) = meanOf 8 giving step index

                if giving = Rows then
                    p.SetSparseGradient(rows, values)
                else
                    p.SetGradient whole

        optimizer.Step()

    bitsOf parameters

let private trained leaves steps giving around make shard (world: World) =
    let parameters = parametersOf model
    let stepped = only parameters (not (takesAll make))

    let sharded =
        Sharded.Over(world, given stepped, Func<_, _> make, shard, Nullable leaves, 20000L)

    around sharded.Optimizer
    let each = leaves / world.Size

    let run first count =
        for step in first .. first + count - 1 do
            for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
                sharded.ZeroGrad()

                for index, p in List.indexed parameters do
                    give giving step leaf index p

                sharded.AddLeaf()

            sharded.Step()

    run 0 steps
    sharded, parameters, run

let private bits leaves steps giving around make shard ranks =
    onRanks ranks (fun world ->
        let _, parameters, _ = trained leaves steps giving around make shard world
        bitsOf parameters)

let private shards = [ Shard.None; Shard.State; Shard.Gradients ]
let private plain (_: Optimizer) = ()

let private rules: (string * (IReadOnlyList<IParameterOrGroup> -> Optimizer)) list =
    [
        "SparseAdam", (fun p -> SparseAdam(p, lr = 0.1) :> Optimizer)
        "SGD", (fun p -> SGD(p, lr = 0.1) :> Optimizer)
        "SGD with momentum", (fun p -> SGD(p, lr = 0.1, momentum = 0.9) :> Optimizer)
        "Adagrad", (fun p -> Adagrad(p, lr = 0.1) :> Optimizer)
        "a rule by definition", (fun p -> RuleOptimizer(Rules.Find "lion", p, [||]) :> Optimizer)
    ]

[<Tests>]
let tests =
    testList
        "distributed sparse gradients"
        [
            for name, make in rules do
                test $"{name}: the bits of one process" {
                    let expected = expected 3 Rows plain make

                    for shard in shards do
                        for ranks in [ 1; 2; 4; 8 ] do
                            same expected (bits 8 3 Rows plain make shard ranks) $"{ranks} ranks, {shard}"
                }

            test "other numbers of ranks give the same bits, sharded or not" {
                for _, make in rules do
                    for ranks in [ 3; 5 ] do
                        let expected = (bits (2 * ranks) 2 Rows plain make Shard.None ranks)[0]

                        for shard in shards do
                            same expected (bits (2 * ranks) 2 Rows plain make shard ranks) $"{ranks} ranks, {shard}"
            }

            test "sparse on some leaves and dense on others: summed as dense ones" {
                let make p = SGD(p, lr = 0.1) :> Optimizer
                let expected = expected 4 Mixed plain make

                for shard in [ Shard.None; Shard.State ] do
                    for ranks in [ 1; 2; 4; 8 ] do
                        if shard = Shard.State || ranks < 8 then
                            same expected (bits 8 4 Mixed plain make shard ranks) $"{ranks} ranks, {shard}"

                for shard, ranks in [ Shard.Gradients, 4; Shard.None, 8 ] do
                    onRanks ranks (fun world ->
                        let error =
                            Expect.throwsC (fun () -> trained 8 2 Mixed plain make shard world |> ignore) id

                        Expect.stringContains error.Message "sparse on some ranks and dense on others" $"{shard}")
                    |> ignore
            }

            test "clipping by the norm, loss scales and accumulation see the rows of all ranks" {
                let clipped (optimizer: Optimizer) = optimizer.Attach(ClipGradNorm 0.05)

                for _, make in rules do
                    let expected = expected 3 Rows clipped make

                    for shard in shards do
                        for ranks in [ 2; 8 ] do
                            same expected (bits 8 3 Rows clipped make shard ranks) $"{ranks} ranks, {shard}"

                let accumulated (optimizer: Optimizer) =
                    optimizer.Attach(ClipGradNorm 0.05, GradScaler(initScale = 4.0), accumulate = 2)

                for _, make in rules do
                    let expected = (bits 8 4 Rows accumulated make Shard.None 1)[0]

                    for ranks in [ 2; 4 ] do
                        same expected (bits 8 4 Rows accumulated make Shard.State ranks) $"accumulated, {ranks} ranks"
            }

            test "an element that is not finite on one rank, each of 4, leaves out the step on all" {
                for faulty in 0..3 do
                    onRanks 4 (fun world ->
                        let parameters = parametersOf model

                        let sharded =
                            Sharded.Over(world, given [ parameters[0]; parameters[2] ], Func<_, _>(fun p -> SparseAdam p :> Optimizer))

                        sharded.Optimizer.Attach(ClipGradNorm 1.0)
                        let before = bitsOf parameters

                        for index in [ 0; 2 ] do
                            let struct (rows, values) = sparse 0 world.Rank index

                            if world.Rank = faulty && index = 2 then
                                values.AsSpan<float32>()[0] <- Single.PositiveInfinity

                            parameters[index].SetSparseGradient(rows, values)

                        sharded.Step()
                        Expect.isTrue sharded.Optimizer.LastStepSkipped $"rank {faulty}: skipped"
                        Expect.equal (bitsOf parameters) before "nothing has moved")
                    |> ignore
            }

            test "state of sparse gradients is cut, saved at n ranks and loaded at m" {
                inFolder (fun folder ->
                    for name, make in List.take 3 rules do
                        let expected = expected 5 Rows plain make

                        let path ranks =
                            IO.Path.Combine(folder, $"{name} {ranks}.pt")

                        for ranks in [ 1; 2; 4 ] do
                            onRanks ranks (fun world ->
                                let sharded, parameters, _ = trained 8 3 Rows plain make Shard.State world

                                if ranks = 4 && name = "SparseAdam" then
                                    Expect.isLessThan sharded.StateBytes (2L * 4L * (15320L / 4L + 4096L) + 64L) "its share and a block"

                                save world (path ranks) sharded parameters)
                            |> ignore

                            Expect.equal (IO.File.ReadAllBytes(path ranks)) (IO.File.ReadAllBytes(path 1)) "the same bytes"

                        for ranks in [ 2; 8 ] do
                            onRanks ranks (fun world ->
                                let sharded, parameters, run = trained 8 0 Rows plain make Shard.State world
                                load world (path 4) sharded parameters |> ignore
                                run 3 2
                                bitsOf parameters)
                            |> fun found -> same expected found $"{name}, loaded at {ranks} ranks")
            }

            test "rules that take no sparse gradients refuse them on every rank" {
                onRanks 2 (fun world ->
                    let error =
                        Expect.throwsC (fun () -> trained 2 1 Rows plain adamW Shard.State world |> ignore) id

                    Expect.stringContains error.Message "sparse" "the rule says why")
                |> ignore
            }
        ]
