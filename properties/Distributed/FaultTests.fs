/// What happens when a rank does not do what the others do, in each call, on each rank.
module DistributedFaultTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Optim
open Optim.Core
open Optim.Distributed
open DistributedKit
open DataParallelTests
open ShardedCheckpointTests
open RankChild

let private ranks = 4

/// The calls of a rank in a script without faults.
let private trace (body: World -> unit) =
    onRanks ranks (fun world ->
        let calls = ResizeArray()

        world.Calling <-
            fun call ->
                if not (call.Operation.EndsWith ", a piece") then
                    calls.Add(string call)

        body world
        List.ofSeq calls)

let private scriptIn folder world =
    script (runOf ranks) folder false world |> ignore

let private operations =
    lazy
        (inFolder (fun folder ->
            let found = Collections.Concurrent.ConcurrentDictionary<string, bool>()

            onRanks ranks (fun world ->
                world.Calling <- fun call -> found[call.Operation] <- true
                scriptIn folder world)
            |> ignore

            found.Keys |> Seq.sort |> List.ofSeq))

/// Runs the script with a fault at the first time that a rank makes a call; the fault is told of the worlds.
let private withFault (seconds: double) operation rank (fault: World array -> unit) check =
    inFolder (fun folder ->
        let simulated = World.Simulated(ranks, Nullable(TimeSpan.FromSeconds seconds))
        let worlds: World array = Array.zeroCreate ranks
        use joined = new Barrier(ranks)

        let errors =
            simulated.Outcomes(fun world ->
                worlds[world.Rank] <- world
                joined.SignalAndWait()

                if world.Rank = rank then
                    let mutable done' = false

                    world.Calling <-
                        fun call ->
                            if not done' && call.Operation = operation then
                                done' <- true
                                fault worlds

                scriptIn folder world)

        check errors

        for world in worlds do
            Expect.isTrue world.IsClosed $"{operation}, rank {rank}: the world of rank {world.Rank} is closed"
            let later = Expect.throwsC world.Wait id
            Expect.stringContains later.Message "closed" "a later call is refused"

        // What was saved before is whole.
        let file = Path.Combine(folder, "run.pt")

        if File.Exists file then
            let parameters = parametersOf small

            Checkpoint.Load(file, struct ("model", box (ParametersState(Seq.cast<IParameter> parameters))))
            |> ignore

            Expect.equal (Directory.GetFiles folder) [| file |] "nothing is left of a file that was not finished")

let private others rank (errors: exn array) (check: WorldException -> unit) =
    for index, error in Array.indexed errors do
        if index <> rank then
            match error with
            | :? WorldException as error ->
                Expect.equal error.Rank index "it names the rank"
                Expect.isNotEmpty error.Operation "and what it was doing"
                check error
            | :? CheckpointException as error when rank = 0 ->
                // Rank 0 writes: what it could not do the others hear as it is.
                Expect.stringContains error.Message "could not write" "they hear that the file was not written"
            | other -> failtest $"rank {index}: {other}"

/// Gives no answer until all others have given up, however slow the machine is.
let private silent rank (worlds: World array) =
    let isOver () =
        worlds |> Array.forall (fun world -> world.Rank = rank || world.IsClosed)

    if not (SpinWait.SpinUntil(isOver, TimeSpan.FromSeconds 120.0)) then
        failtest "the others have not given up"

let private all = Environment.GetEnvironmentVariable "OPTIM_MPI_FAULTS" = "all"

[<Tests>]
let tests =
    testSequencedGroup "distributed faults"
    <| testList
        "distributed faults"
        [
            test "the calls of a run are known, and the same on every rank in the same order" {
                inFolder (fun folder ->
                    let traces = trace (scriptIn folder)
                    Expect.isGreaterThan traces[0].Length 20 "there are calls"

                    for calls in traces do
                        Expect.equal calls traces[0] "the same calls")

                for operation in
                    [
                        "sum of gradients"
                        "parameters"
                        "norm of gradients"
                        "save"
                        "load"
                        "save, a piece"
                        "optimizer"
                        "mean over ranks"
                    ] do
                    Expect.contains operations.Value operation "what the faults are tried at"
            }

            test "a rank that skips a call, or makes another, is found and does not hang" {
                for skipped in 0 .. ranks - 1 do
                    let errors =
                        World
                            .Simulated(ranks, Nullable(TimeSpan.FromSeconds 20.0))
                            .Outcomes(fun world ->
                                let sharded, parameters = over (runOf ranks) Shard.State 3000L world
                                train { runOf ranks with Steps = 1 } world 0 sharded parameters

                                if world.Rank <> skipped then
                                    sharded.MeanOverRanks 1.0 |> ignore

                                train { runOf ranks with Steps = 1 } world 1 sharded parameters)

                    let messages = [ for error in errors -> if isNull error then "" else error.Message ]
                    Expect.exists messages (fun message -> message.Contains "every rank must make the same calls") $"rank {skipped}"
            }

            test "an exception on one rank, in each call: the others hear of it at once" {
                let cases =
                    [|
                        for operation in operations.Value do
                            for rank in 0 .. ranks - 1 -> operation, rank
                    |]

                for operation, rank in cases do
                    // Rank 0 alone writes, and the others answer: a piece is asked for by one and given by others.
                    withFault 120.0 operation rank (fun _ -> invalidOp "a fault") (fun errors ->
                        Expect.stringContains errors[rank].Message "a fault" $"{operation}, rank {rank}: its own exception"
                        others rank errors (fun error -> Expect.stringContains error.Message "a fault" "they hear why"))
            }

            test "a rank that gives no answer, in each call: the others give up after the timeout" {
                let cases =
                    [|
                        for operation in operations.Value do
                            for rank in 0 .. ranks - 1 -> operation, rank
                    |]

                let slow = new SemaphoreSlim(if all then 4 else 24)

                cases
                |> Array.map (fun (operation, rank) ->
                    Task.Factory.StartNew(
                        (fun () ->
                            slow.Wait()

                            try
                                withFault 1.5 operation rank (silent rank) (fun errors ->
                                    others rank errors (fun error ->
                                        if error.Message.Contains "no answer" |> not then
                                            failtest $"{operation}, rank {rank}: {error.Message}"))
                            finally
                                slow.Release() |> ignore),
                        TaskCreationOptions.LongRunning
                    ))
                |> Task.WaitAll
            }

            test "other parameters, shapes, rules, options, leaves or groups on one rank are refused when they are given" {
                let make lr parameters = AdamW(parameters, lr = lr) :> Optimizer
                let plain = runOf ranks

                let cases =
                    [
                        "names",
                        { plain with
                            Model =
                                {
                                    Tensors = plain.Model.Tensors |> List.map (fun (n, d, s) -> n + "x", d, s)
                                }
                        }
                        "shapes", { plain with Model = mixed }
                        "rule",
                        { plain with
                            Make = fun parameters -> Adam(parameters, lr = 0.1) :> Optimizer
                        }
                        "options", { plain with Make = make 0.2 }
                        "leaves", { plain with Leaves = 8 }
                    ]

                for what, other in cases do
                    for rank in 0 .. ranks - 1 do
                        let errors =
                            World
                                .Simulated(ranks, Nullable(TimeSpan.FromSeconds 20.0))
                                .Outcomes(fun world ->
                                    over
                                        (if world.Rank = rank then
                                             other
                                         else
                                             { plain with Make = make 0.1 })
                                        Shard.State
                                        3000L
                                        world
                                    |> ignore)

                        for error in errors do
                            match error with
                            | :? WorldException as error ->
                                Expect.stringContains error.Message "must be the same on all ranks" $"{what}, rank {rank}"

                                if rank > 0 then
                                    Expect.stringContains error.Message $"on rank {rank}" "it says which rank"
                            | other -> failtest $"{what}, rank {rank}: {other}"

                for rank in 0 .. ranks - 1 do
                    let errors =
                        World
                            .Simulated(ranks, Nullable(TimeSpan.FromSeconds 20.0))
                            .Outcomes(fun world ->
                                let sharded, _ = over plain Shard.State 3000L world

                                let group =
                                    ParameterGroup [ Param.Zeros("more", Optim.Kernels.DType.Float32, [| 2L |]) :> IParameter ]

                                group["lr"] <- OptionValue.Float(if world.Rank = rank then 0.5 else 0.1)
                                sharded.AddParamGroup group)

                    for error in errors do
                        Expect.stringContains error.Message "new group" $"a group, rank {rank}"
            }
        ]
