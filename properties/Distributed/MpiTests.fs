/// The same under real launchers. Skipped where there are none, unless OPTIM_REQUIRE_MPI is 1.
/// OPTIM_MPI_FAULTS=all tries every fault in every call on every rank of 4, which takes half an hour.
module MpiTests

open System
open System.Diagnostics
open System.IO
open Expecto
open Optim.Distributed
open DistributedKit
open ShardedCheckpointTests
open RankChild

let private launchers =
    [
        "Open MPI",
        "mpirun.openmpi",
        [
            "--oversubscribe"
            "--mca"
            "btl"
            "self,vader,tcp"
            "--mca"
            "btl_tcp_if_include"
            "lo"
            "--mca"
            "oob_tcp_if_include"
            "lo"
        ]
        @ (if Environment.UserName = "root" then
               [ "--allow-run-as-root" ]
           else
               [])
        "MPICH", "mpirun.mpich", [ "-iface"; "lo" ]
    ]

let private find (program: string) =
    (nonNull (Environment.GetEnvironmentVariable "PATH")).Split ':'
    |> Array.map (fun folder -> Path.Combine(folder, program))
    |> Array.tryFind File.Exists

let private required = Environment.GetEnvironmentVariable "OPTIM_REQUIRE_MPI" = "1"

let private everything =
    Environment.GetEnvironmentVariable "OPTIM_MPI_FAULTS" = "all"

let private start launcher (arguments: string list) ranks (child: string list) =
    match find launcher with
    | None when required -> failtest $"there is no {launcher}, and OPTIM_REQUIRE_MPI is 1"
    | None -> skiptest $"there is no {launcher}"
    | Some program ->
        let info =
            ProcessStartInfo(program, RedirectStandardOutput = true, RedirectStandardError = true)

        for argument in arguments @ [ "-n"; string ranks; nonNull Environment.ProcessPath ] do
            info.ArgumentList.Add argument

        if (nonNull (Path.GetFileNameWithoutExtension(nonNull Environment.ProcessPath))) = "dotnet" then
            info.ArgumentList.Add(typeof<Run>.Assembly.Location)

        for argument in child do
            info.ArgumentList.Add argument

        info.Environment["DOTNET_DbgEnableMiniDump"] <- "0"
        info.Environment["OPTIM_THREADS"] <- "1"
        use running = nonNull (Process.Start info)

        let output, errors =
            running.StandardOutput.ReadToEndAsync(), running.StandardError.ReadToEndAsync()

        let clock = Stopwatch.StartNew()

        if not (running.WaitForExit 300000) then
            running.Kill true
            failtest $"{launcher} has not ended within five minutes: {output.Result} {errors.Result}"

        running.ExitCode, output.Result, errors.Result, clock.Elapsed.TotalSeconds

/// The bits of a simulated world.
let private expected ranks =
    inFolder (fun folder -> (onRanks ranks (fun world -> script (overflowing world) folder false world))[0])

let private fault launcher arguments ranks kind operation rank =
    inFolder (fun folder ->
        let code, output, errors, seconds =
            // A sleeping rank is waited for, longer than a busy machine takes to start; the other faults are found at once, however slow the machine is.
            let timeout = if kind = "sleep" then "10" else "100"
            start launcher arguments ranks [ "--rank"; folder; timeout; kind; operation; string rank ]

        let said =
            $"{kind} at {operation} on rank {rank}: exit {code} after {seconds:F1} s\n{output}\n{errors}"

        Expect.notEqual code 0 said

        if kind = "sleep" then
            Expect.stringContains output "no answer from another rank within 10 s" said
        else
            Expect.isFalse (output.Contains "no answer from another rank") $"found at once, and not by the timeout: {said}"

        if kind = "mismatch" then
            Expect.stringContains output "must be the same on all ranks" said

        let file = Path.Combine(folder, "run.pt")

        if File.Exists file then
            let parameters = parametersOf small

            Optim.Checkpoint.Load(file, struct ("model", box (Optim.ParametersState(Seq.cast<Optim.IParameter> parameters))))
            |> ignore)

[<Tests>]
let tests =
    testList
        "distributed mpi"
        [
            for name, launcher, arguments in launchers do
                // One after the other for each launcher; the launchers beside each other.
                testSequencedGroup name
                <| testList
                    name
                    [
                        test "the bits of a simulated world, on 4 processes, of which one overflows in a step" {
                            inFolder (fun folder ->
                                let code, output, errors, _ =
                                    start launcher arguments 4 [ "--rank"; folder; "100"; "none"; ""; "0" ]

                                Expect.equal code 0 $"{output}\n{errors}"
                                let bits = expected 4

                                for rank in 0..3 do
                                    Expect.stringContains output $"rank {rank} of 4: bits {bits}" $"{output}\n{errors}")
                        }

                        for kind in faults do
                            test $"{kind} on one rank ends all" {
                                if everything then
                                    for operation in
                                        [
                                            "sum of gradients"
                                            "which gradients are there"
                                            "norm of gradients"
                                            "parameters"
                                            "save"
                                            "save, a piece"
                                            "load"
                                            "mean over ranks"
                                        ] do
                                        for rank in 0..3 do
                                            fault launcher arguments 4 kind operation rank
                                else
                                    fault launcher arguments 2 kind "parameters" 1
                            }
                    ]
        ]
