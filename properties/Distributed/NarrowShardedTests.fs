// Long, because bits, files, plans, dicts of other packages and refusals of narrow state over ranks are tested with the same model.
/// Narrow state in slices: the codes of one process, whatever is cut and by how many ranks.
module NarrowShardedTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests
open ShardedCheckpointTests

/// One that is cut in two places, those that are narrow or not by the size of the whole, a short block at the end, and nothing at all.
let private model =
    {
        Tensors =
            [
                "embedding", DType.Float32, [ 100L; 101L ]
                "bias", DType.Float32, [ 33L ]
                "last", DType.Float32, [ 4300L ]
                "none", DType.Float32, [ 0L; 3L ]
                "half", DType.BFloat16, [ 65L; 64L ]
            ]
    }

let private optionsOf (name: string) (storage: StateStorage) =
    [|
        if name = "sgd" then
            struct ("momentum", OptionValue.Float 0.9)

        for name, value in NarrowKit.optionsOf storage do
            struct (name, value)
    |]

let private makeOf (name: string) storage parameters =
    RuleOptimizer(Rules.Find name, parameters, optionsOf name storage) :> Optimizer

let private runOf name storage =
    { run model (makeOf name storage) with
        Absent = fun step leaf index -> step = 1 && index = 1 || index = 2 && leaf = 0
    }

/// Formulas and definitions, with state at once and later.
let private names =
    [
        "adamw"
        "sgd"
        "lion"
        "adagrad"
        "adabelief"
        "chain(scale_by_adam, add_decayed_weights(0.1), scale(-1e-2))"
    ]

let private storages =
    [
        StateStorage.Blockwise8
        StateStorage.Blockwise8.From 0
        (StateStorage.BFloat16.From 300).WithSeed 7L
    ]

let private saved name storage ranks shard folder =
    let path = Path.Combine(folder, $"{ranks} {shard}.pt")

    onRanks ranks (fun world ->
        let sharded, parameters = over (runOf name storage) shard 5000L world
        train (runOf name storage) world 0 sharded parameters
        save world path sharded parameters)
    |> ignore

    path

let private loaded name storage ranks shard (path: string) =
    onRanks ranks (fun world ->
        let sharded, parameters = over (runOf name storage) shard 5000L world
        load world path sharded parameters |> ignore
        train { runOf name storage with Steps = 2 } world 3 sharded parameters
        bitsOf parameters)

/// Whether the codes of a slice that is stepped by itself are those of the whole.
let private slicesAlone (first: nativeint) =
    let storage = StateStorage.Blockwise8.From 0

    let options =
        (Rules.Find "adamw")
            .With(struct ("state_storage", OptionValue.Text storage.Name), struct ("state_storage_minimum", OptionValue.Int 0L))

    let rule = Rules.Find "adamw"
    let elements = 8192

    let codes (from: int) (totals: TotalsAcross | null) =
        let part seed =
            TensorView.Of(Array.init (elements - from) (fun i -> float32 (number seed (i + from))), [| int64 (elements - from) |])

        let parameters = Parameters.OfNamed [ struct ("w", part 1) ]
        parameters.Totals <- totals
        let mutable state = rule.Init(options, parameters)

        for step in 0..2 do
            state <- rule.Step(options, parameters, Gradients.OfDense [ part (2 + step) ], state)

        let row = (state["exp_avg"])[0]
        row.AsSpan<byte>().Slice(4096 - from).ToArray()

    let at =
        { new TotalsAcross() with
            override _.LayoutOf _ : Layout =
                Layout.Contiguous(DType.Float32, ReadOnlySpan [| int64 elements |])

            override _.FirstOf _ = first
            override _.Gather _ = raise (NotSupportedException())
            override _.IsOnAny here = here
        }

    codes 4096 at = codes 0 null

[<Tests>]
let tests =
    testList
        "distributed narrow state"
        [
            for name in names do
                test $"{name}: sharded is unsharded, with the same codes, bit for bit" {
                    for storage in storages do
                        let expected, _ = alone (runOf name storage)

                        for ranks, shard in [ 2, Shard.None; 2, Shard.State; 4, Shard.State; 8, Shard.Gradients ] do
                            same expected (together ranks (runOf name storage) shard 5000L) $"{storage}, {ranks} ranks, Shard.{shard}"
                }

                test $"{name}: the same bytes from any number of ranks, and any number goes on from them with the same bits" {
                    for storage in storages do
                        inFolder (fun folder ->
                            let expected, optimizer = alone { runOf name storage with Steps = 5 }
                            let first = saved name storage 1 Shard.State folder

                            if storage.Minimum = 0 && name <> "lion" && name <> "sgd" then
                                let isNarrow =
                                    optimizer.StateDict().State[1].Keys
                                    |> Seq.exists (fun key -> key.EndsWith ".codes")

                                Expect.isTrue isNarrow "state is narrow"

                            for ranks, shard in [ 2, Shard.None; 4, Shard.State; 8, Shard.Gradients ] do
                                let path = saved name storage ranks shard folder
                                Expect.equal (File.ReadAllBytes path) (File.ReadAllBytes first) $"{storage}: {ranks} ranks, Shard.{shard}"

                            for ranks, shard in [ 1, Shard.State; 2, Shard.State; 4, Shard.None; 8, Shard.Gradients ] do
                                same expected (loaded name storage ranks shard first) $"{storage}, loaded on {ranks} ranks, Shard.{shard}")
                }

            test "parameters that do not lie in order are dealt out, with narrow state, too" {
                inFolder (fun folder ->
                    let path (ranks: int) = Path.Combine(folder, $"{ranks}.pt")

                    let trained ranks steps (from: string | null) =
                        onRanks ranks (fun world ->
                            let parameters =
                                [
                                    for name, seed in [ "first", 1; "second", 2; "third", 3 ] ->
                                        let rows =
                                            TensorView.OfDoubles(
                                                DType.Float32,
                                                ReadOnlySpan(Array.init 6000 (number seed)),
                                                ReadOnlySpan [| 60L; 100L |]
                                            )

                                        let order =
                                            Layout.Strided(DType.Float32, ReadOnlySpan [| 100L; 60L |], ReadOnlySpan [| 1L; 100L |])

                                        Param.Of(name, TensorView(rows.Address, order, rows.Owner))
                                ]

                            let sharded =
                                Sharded.Over(
                                    world,
                                    given parameters,
                                    (fun given -> AdamW(given, lr = 0.1, stateStorage = StateStorage.Blockwise8) :> Optimizer)
                                )

                            if ranks > 1 then
                                Expect.stringContains (string sharded.Plans[0]) "whole on rank" "dealt out"

                            match from with
                            | null -> ()
                            | from -> load world from sharded parameters |> ignore

                            for step in steps do
                                for seed, p in List.indexed parameters do
                                    p.SetGradient(
                                        TensorView.OfDoubles(
                                            DType.Float32,
                                            ReadOnlySpan(Array.init 6000 (number (10 * step + seed))),
                                            ReadOnlySpan [| 100L; 60L |]
                                        )
                                    )

                                sharded.Step()

                            if isNull from then
                                save world (path ranks) sharded parameters

                            bitsOf parameters)

                    let expected = (trained 1 [ 1..5 ] null)[0]

                    for ranks in [ 1; 2; 4 ] do
                        trained ranks [ 1..3 ] null |> ignore
                        Expect.equal (File.ReadAllBytes(path ranks)) (File.ReadAllBytes(path 1)) $"{ranks} ranks"

                    for ranks in [ 1; 2; 4 ] do
                        same expected (trained ranks [ 4; 5 ] (path 2)) $"loaded on {ranks} ranks")
            }

            test "float32 state is narrowed, and narrow state widened, as by one process" {
                inFolder (fun folder ->
                    for from, into in
                        [
                            StateStorage.Float32, StateStorage.Blockwise8
                            StateStorage.Blockwise8, StateStorage.Float32
                            StateStorage.BFloat16, StateStorage.Blockwise8.From 0
                        ] do
                        let path = saved "adamw" from 2 Shard.State folder
                        let expected = (loaded "adamw" into 1 Shard.State path)[0]

                        for ranks in [ 2; 4; 8 ] do
                            same expected (loaded "adamw" into ranks Shard.State path) $"{from} to {into}, {ranks} ranks")
            }

            test "each rank keeps its share of the bytes and at most a block more, of narrow and wide state together" {
                // Half of the elements are narrow, in a quarter of the bytes.
                let model =
                    {
                        Tensors =
                            [
                                "large", DType.Float32, [ 64000L ]

                                for index in 0..15 do
                                    $"small{index}", DType.Float32, [ 4000L ]
                            ]
                    }

                let run =
                    { run model (fun parameters -> AdamW(parameters, lr = 0.1, stateStorage = StateStorage.Blockwise8) :> Optimizer) with
                        Leaves = 4
                        Steps = 1
                    }

                // Counts, of which every rank has those of all parameters, aside.
                let counts = 17L * 4L
                let all = 64000L * 2L + 250L * 8L + 64000L * 8L

                let bytes =
                    onRanks 4 (fun world ->
                        let sharded, parameters = over run Shard.State 5000L world
                        train run world 0 sharded parameters
                        sharded.StateBytes - counts)

                Expect.equal (List.sum bytes) all "all ranks together have it once"

                for own in bytes do
                    Expect.isLessThanOrEqual own (all / 4L + 2L * 4L * 4096L) $"of {all}"

                let views =
                    Parameters.OfNamed [ for p in parametersOf model -> struct (nonNull p.Name, p.View) ]

                let plan =
                    ShardPlan.Of(
                        4,
                        Shard.State,
                        Rules.AdamW,
                        views,
                        { AdamW.defaults with
                            StateStorage = StateStorage.Blockwise8
                        }
                    )

                onRanks 4 (fun world -> string (fst (over run Shard.State 5000L world)).Plans[0])
                |> List.iter (fun made -> Expect.equal made (string plan) "the plan of the same options")

                for tensor in plan.Tensors do
                    for slice in tensor.Slices do
                        Expect.equal (slice.Offset % 256L) 0L "blocks stay whole"
            }

            test "F#: a step of slices with narrow state is one of whole parameters" {
                let options =
                    { Adam.defaults with
                        Lr = 0.1
                        StateStorage = StateStorage.Blockwise8
                    }

                let bits ranks =
                    onRanks ranks (fun world ->
                        let parameters = parametersOf model

                        let views =
                            Parameters.OfNamed [ for p in parameters -> struct (nonNull p.Name, p.View) ]

                        let plan = ShardPlan.Of(ranks, Shard.State, Rules.Adam, views, options)
                        let step = Sharded.step world plan (Adam.step options)

                        // The same gradients on every rank, whose mean they are.
                        let gradients at =
                            Gradients.Of
                                [
                                    for index in 0 .. parameters.Length - 1 ->
                                        gradientOf (fun _ _ _ -> false) model at 0 index |> Gradient.OfDense
                                ]

                        Seq.fold
                            (fun state at -> step views (gradients at) state)
                            (Adam.init options (Sharded.Slices(world, plan, views)))
                            [ 0..3 ]
                        |> ignore

                        bitsOf parameters)

                for ranks in [ 2; 4; 8 ] do
                    same (List.head (bits 1)) (bits ranks) $"{ranks} ranks"
            }

            test "a state dict of bitsandbytes loads into slices as into the whole" {
                let dict =
                    let dict, group = StateDict(), GroupState()

                    for index, (_, _, shape) in List.indexed model.Tensors do
                        let count = int (List.fold (*) 1L shape)
                        group.Params.Add index

                        if count > 0 then
                            let state = ParameterState()
                            state["step"] <- Tree.Int 7L

                            for n in 1..2 do
                                let codes = Array.init count (fun i -> byte ((i * 37 + n * 11) % 256))
                                let map = Array.init 256 (fun i -> float32 (double (i + 1 - 128 * (2 - n)) / 256.0))
                                let scales = Array.init ((count + 255) / 256) (fun i -> float32 (1 + i % 5))
                                state[$"state{n}"] <- Tree.Tensor(TensorView.Of(codes, Array.ofList shape))
                                state[$"qmap{n}"] <- Tree.Tensor(TensorView.Of(map, [| 256L |]))
                                state[$"absmax{n}"] <- Tree.Tensor(TensorView.Of(scales, [| int64 scales.Length |]))

                            dict.State[index] <- state

                    group["lr"] <- OptionValue.Float 0.1
                    dict.ParamGroups.Add group
                    dict

                for storage in [ StateStorage.Float32; StateStorage.Blockwise8 ] do
                    let bits ranks =
                        onRanks ranks (fun world ->
                            let sharded, parameters = over (runOf "adamw" storage) Shard.State 5000L world
                            sharded.Optimizer.LoadStateDict(dict, strict = false) |> ignore
                            train (runOf "adamw" storage) world 0 sharded parameters
                            bitsOf parameters)

                    for ranks in [ 2; 4 ] do
                        same (List.head (bits 1)) (bits ranks) $"{storage}, {ranks} ranks"
            }

            test "codes that do not fit are refused on every rank, with what they are" {
                onRanks 2 (fun world ->
                    let sharded, _ =
                        over (runOf "adamw" StateStorage.Blockwise8) Shard.State 5000L world

                    let dict, group, state = StateDict(), GroupState(), ParameterState()
                    state["step"] <- Tree.Int 1L
                    state["exp_avg.codes"] <- Tree.Tensor(TensorView.Zeros(DType.UInt8, [| 100L; 101L |]))
                    state["exp_avg.scales"] <- Tree.Tensor(TensorView.Zeros(DType.Float32, [| 39L |]))
                    state["exp_avg.map"] <- Tree.Text "optim.signed8.256"
                    dict.State[0] <- state
                    group.Params.AddRange [ 0; 1; 2; 3; 4 ]
                    dict.ParamGroups.Add group

                    let error =
                        Expect.throwsC (fun () -> sharded.Optimizer.LoadStateDict(dict, strict = false) |> ignore) id

                    Expect.stringContains error.Message "exp_avg.scales of parameter 'embedding' is float32[39]" "which"
                    Expect.stringContains error.Message "for uint8[100, 101] it must be float32[40]" "what is allowed")
                |> ignore
            }

            test "sparse gradients, and dtypes that have no narrow state, are refused on every rank" {
                onRanks 2 (fun world ->
                    let w = Param.Zeros("w", DType.Float32, [| 5000L; 2L |])

                    let sharded =
                        Sharded.Over(
                            world,
                            [ w :> IParameterOrGroup ],
                            (fun given -> Adagrad(given, stateStorage = StateStorage.BFloat16) :> Optimizer)
                        )

                    w.SetSparseGradient<float32>(ReadOnlySpan [| 3L |], ReadOnlySpan [| 1.0f; 2.0f |])
                    let error = Expect.throwsC (fun () -> sharded.Step()) id
                    Expect.stringContains error.Message "parameter 'w' has a sparse gradient, which steps some rows" "sparse")
                |> ignore

                onRanks 2 (fun world ->
                    let w = Param.Zeros("w", DType.Float64, [| 9000L |])

                    let error =
                        Expect.throwsC
                            (fun () ->
                                Sharded.Over(
                                    world,
                                    [ w :> IParameterOrGroup ],
                                    (fun given -> AdamW(given, stateStorage = StateStorage.Blockwise8) :> Optimizer)
                                )
                                |> ignore)
                            id

                    Expect.stringContains error.Message "parameter 'w' is of dtype float64" "float64")
                |> ignore
            }

            test "a mutant: blocks that are counted from the first of a slice have other codes" {
                Expect.isTrue (slicesAlone 4096n) "counted from the first of the parameter"
                Expect.isFalse (slicesAlone 0n) "counted from the first of the slice"
            }
        ]
