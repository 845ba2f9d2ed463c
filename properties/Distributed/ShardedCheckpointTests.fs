/// Checkpoints that all ranks write and read together.
module ShardedCheckpointTests

open System
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open Optim.Kernels
open DistributedKit
open DataParallelTests

let inFolder (body: string -> 'a) =
    let folder = Directory.CreateTempSubdirectory "optim-distributed"

    try
        body folder.FullName
    finally
        folder.Delete true

let private make (name: string) parameters =
    match name with
    | "muon" -> ForMuon.Optimizer(Seq.cast<IParameter> parameters) :> Optimizer
    | "lbfgs" -> LBFGS(parameters, maxIter = 3, historySize = 2) :> Optimizer
    | name -> RuleOptimizer(Rules.Find name, parameters, [||]) :> Optimizer

let private parts (sharded: Sharded) (parameters: Param list) : struct (string * obj) array =
    [|
        struct ("model", box (ParametersState(Seq.cast<IParameter> parameters)))
        struct ("optimizer", box sharded)
    |]

let save world path sharded parameters =
    ShardedCheckpoint.Save(world, path, [| for struct (name, part) in parts sharded parameters -> struct (name, part) |])

let load world path sharded parameters =
    ShardedCheckpoint.Load(world, path, [| for struct (name, part) in parts sharded parameters -> struct (name, part) |])

/// Steps from one on, also of LBFGS, whose closure gives gradients of its own.
let private go (run: Run) name (world: World) first steps (sharded: Sharded) (parameters: Param list) =
    if name = "lbfgs" then
        for _ in first .. first + steps - 1 do
            sharded.Step(fun () ->
                sharded.DropLeaves()
                let each = run.Leaves / world.Size

                for leaf in world.Rank * each .. (world.Rank + 1) * each - 1 do
                    sharded.ZeroGrad()

                    for index, p in List.indexed parameters do
                        let target = (gradientOf run.Absent run.Model 0 leaf index).ToDoubles()

                        p.SetGradient(
                            TensorView.OfDoubles(
                                p.View.DType,
                                ReadOnlySpan(Array.map2 (fun x t -> 2.0 * (x - t)) (p.View.ToDoubles()) target),
                                p.View.Shape.AsSpan()
                            )
                        )

                    sharded.AddLeaf 1.0

                0.0)
            |> ignore
    else
        train { run with Steps = steps } world first sharded parameters

let private names =
    [ "adamw"; "sgd"; "muon"; "adafactor"; "prodigy"; "adagrad"; "lbfgs"; "nadam" ]

[<Tests>]
let tests =
    testList
        "distributed checkpoints"
        [
            for name in names do
                test $"{name}: the same bytes from any number of ranks, and any number goes on from them with the same bits" {
                    inFolder (fun folder ->
                        let run = { run small (make name) with Steps = 2 }

                        // One process that never stops, of which the others must have the bits.
                        let expected =
                            (onRanks 1 (fun world ->
                                let sharded, parameters = over run Shard.State 3000L world
                                go run name world 0 4 sharded parameters
                                bitsOf parameters))[0]

                        let path (ranks: int) = Path.Combine(folder, $"{ranks}.pt")

                        for ranks in [ 1; 2; 4; 8 ] do
                            onRanks ranks (fun world ->
                                let sharded, parameters = over run Shard.State 3000L world
                                go run name world 0 2 sharded parameters
                                save world (path ranks) sharded parameters)
                            |> ignore

                            Expect.equal
                                (File.ReadAllBytes(path ranks))
                                (File.ReadAllBytes(path 1))
                                $"{ranks} ranks write the bytes of one"

                        for ranks, shard in [ 1, Shard.State; 2, Shard.None; 4, Shard.State; 8, Shard.Gradients ] do
                            onRanks ranks (fun world ->
                                let sharded, parameters = over run shard 3000L world
                                load world (path 4) sharded parameters |> ignore
                                go run name world 2 2 sharded parameters
                                bitsOf parameters)
                            |> fun found -> same expected found $"loaded on {ranks} ranks, {shard}")
                }

            test "the file is that of Checkpoint.Save in one process, which loads it, too" {
                inFolder (fun folder ->
                    let run = run small (make "adamw")
                    let file, plain = Path.Combine(folder, "ranks.pt"), Path.Combine(folder, "plain.pt")

                    onRanks 4 (fun world ->
                        let sharded, parameters = over run Shard.State 3000L world
                        train run world 0 sharded parameters
                        save world file sharded parameters)
                    |> ignore

                    let parameters = parametersOf small
                    let optimizer = make "adamw" (given parameters)

                    Checkpoint.Load(
                        file,
                        struct ("model", box (ParametersState(Seq.cast<IParameter> parameters))),
                        struct ("optimizer", box optimizer)
                    )
                    |> ignore

                    let expected, alone = alone run
                    Expect.equal (bitsOf parameters) expected "parameters"

                    Expect.equal (optimizer.StateDict().ToTree()) (alone.StateDict().ToTree()) "the state is that of one process"

                    Checkpoint.Save(
                        plain,
                        struct ("model", box (ParametersState(Seq.cast<IParameter> parameters))),
                        struct ("optimizer", box optimizer)
                    )

                    Expect.equal (File.ReadAllBytes file) (File.ReadAllBytes plain) "byte for byte")
            }

            test "gradients that were added up for a step to come are saved, too" {
                inFolder (fun folder ->
                    let around (optimizer: Optimizer) _ =
                        optimizer.Attach(ClipGradNorm 0.5, accumulate = 3)
                        ignore

                    let run =
                        { run small (make "adamw") with
                            Around = around
                            Absent = absent
                        }

                    let expected, _ = alone { run with Steps = 6 }
                    let path (ranks: int) = Path.Combine(folder, $"{ranks}.pt")

                    for ranks in [ 1; 4 ] do
                        onRanks ranks (fun world ->
                            let sharded, parameters = over run Shard.State 3000L world
                            train { run with Steps = 4 } world 0 sharded parameters
                            save world (path ranks) sharded parameters)
                        |> ignore

                    Expect.equal (File.ReadAllBytes(path 4)) (File.ReadAllBytes(path 1)) "the same bytes"

                    onRanks 2 (fun world ->
                        let sharded, parameters = over run Shard.State 3000L world
                        load world (path 4) sharded parameters |> ignore
                        train { run with Steps = 2 } world 4 sharded parameters
                        bitsOf parameters)
                    |> fun found -> same expected found "loaded on 2 ranks")
            }

            test "a file that cannot be written, and one that one rank cannot read, are errors on all ranks, and nothing changes" {
                inFolder (fun folder ->
                    let run = run small (make "adamw")
                    let file = Path.Combine(folder, "run.pt")

                    onRanks 4 (fun world ->
                        let sharded, parameters = over run Shard.State 3000L world
                        train run world 0 sharded parameters
                        save world file sharded parameters

                        Expect.throwsT<CheckpointException>
                            (fun () -> save world (Path.Combine(folder, "missing", "run.pt")) sharded parameters)
                            $"rank {world.Rank} hears that the file cannot be written"

                        let before = bitsOf parameters

                        let other =
                            Path.Combine(folder, (if world.Rank = 2 then "not there.pt" else "run.pt"))

                        Expect.throwsT<CheckpointException>
                            (fun () -> load world other sharded parameters |> ignore)
                            $"rank {world.Rank} hears that rank 2 cannot read it"

                        Expect.equal (bitsOf parameters) before "nothing was loaded"
                        load world file sharded parameters |> ignore)
                    |> ignore)
            }

            test "ranks that save different things are refused, and the old file stays" {
                inFolder (fun folder ->
                    let file = Path.Combine(folder, "run.pt")
                    File.WriteAllText(file, "old")

                    let errors =
                        World
                            .Simulated(3, Nullable(TimeSpan.FromSeconds 5.0))
                            .Outcomes(fun world ->
                                let epoch = if world.Rank = 1 then 4 else 3
                                ShardedCheckpoint.Save(world, file, struct ("epoch", box epoch)))

                    for error in errors do
                        match error with
                        | :? WorldException as error -> Expect.stringContains error.Message "rank 1" "it says who differs"
                        | other -> failtest $"not refused: {other}"

                    Expect.equal (File.ReadAllText file) "old" "the old file")
            }

            test "the state alone, outside of a save of all ranks, is refused in words" {
                onRanks 2 (fun world ->
                    let sharded, parameters = over (run small (make "adamw")) Shard.State 3000L world
                    train (run small (make "adamw")) world 0 sharded parameters
                    let tree = (sharded :> IStateful).SaveState()

                    Expect.throwsT<InvalidOperationException>
                        (fun () -> Checkpoint.Write(Path.Combine(Path.GetTempPath(), $"never-{Guid.NewGuid()}.pt"), tree))
                        "by Checkpoint.Write")
                |> ignore
            }
        ]
