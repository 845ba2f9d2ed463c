/// A rank as a process of its own, for the tests under MPI launchers: this program, started with --rank and what it shall do.
module RankChild

open System
open System.Diagnostics
open System.IO
open System.Threading
open Optim
open Optim.Distributed
open DistributedKit
open DataParallelTests
open ShardedCheckpointTests

/// What goes wrong on one rank.
let faults = [ "kill"; "throw"; "exit"; "sleep"; "mismatch" ]

/// What the ranks of a script do together, in order: a step with clipping, a save, a step after a load, another group.
let script (run: Run) (folder: string) (other: bool) (world: World) =
    let model =
        if other then
            { run.Model with
                Tensors =
                    run.Model.Tensors
                    |> List.map (fun (name, dtype, shape) -> name + "x", dtype, shape)
            }
        else
            run.Model

    let run = { run with Model = model }
    let sharded, parameters = over run Shard.State 3000L world
    sharded.Optimizer.Attach(ClipGradNorm 0.5)
    train { run with Steps = 2 } world 0 sharded parameters
    let file = Path.Combine(folder, "run.pt")
    save world file sharded parameters
    load world file sharded parameters |> ignore
    sharded.MeanOverRanks(double world.Rank) |> ignore
    train { run with Steps = 1 } world 2 sharded parameters
    save world file sharded parameters
    bitsOf parameters

let private act fault =
    match fault with
    | "kill" -> Process.GetCurrentProcess().Kill()
    | "throw" -> invalidOp "this rank has had enough"
    | "exit" -> exit 0
    | "sleep" -> Thread.Sleep 120000
    | _ -> ()

/// The run of a script.
let runOf ranks =
    { run small adamW with
        Leaves = max 4 ranks
    }

/// The same, where the gradients of rank 1 overflow in the first step, which all leave out.
let overflowing (world: World) =
    { runOf world.Size with
        Scale = fun _ -> if world.Rank = 1 && world.Step = 0L then 1e300 else 1.0
    }

/// Runs as a rank when the arguments ask for it: --rank FOLDER TIMEOUT FAULT OPERATION RANK.
let runChild (arguments: string array) =
    match arguments with
    | [| "--rank"; folder; timeout; fault; operation; faulty |] ->
        let timeout =
            TimeSpan.FromSeconds(Double.Parse(timeout, Globalization.CultureInfo.InvariantCulture))

        let mutable clock = Stopwatch.StartNew()

        try
            use world = World.Join(Nullable timeout)
            let isFaulty = string world.Rank = faulty

            if isFaulty then
                let mutable done' = false

                world.Calling <-
                    fun call ->
                        if not done' && call.Step >= 1L && call.Operation = operation then
                            done' <- true
                            act fault

            clock <- Stopwatch.StartNew()
            let bits = script (overflowing world) folder (fault = "mismatch" && isFaulty) world
            Console.WriteLine $"rank {world.Rank} of {world.Size}: bits {bits}, {world.Engine}"
            ValueSome 0
        with :? WorldException as error ->
            Console.WriteLine $"WorldException after {clock.Elapsed.TotalSeconds:F1} s: {error.Message}"
            Console.Out.Flush()
            ValueSome 3
    | _ -> ValueNone
