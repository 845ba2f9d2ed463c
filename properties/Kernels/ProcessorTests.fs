/// The kernels on other processors: this program again, with vector instructions switched off.
module ProcessorTests

open System
open System.Diagnostics
open System.Reflection
open Expecto
open Optim.Kernels
open KernelRuns
open Plain

[<Literal>]
let private ChildArgument = "--kernel-checksum"

/// For the entry point to call before anything else: the tests start this program again with vector instructions switched off.
/// The exit code when it was started for that; nothing otherwise.
let runChild (arguments: string[]) : int voption =
    match arguments with
    | [| ChildArgument |] ->
        Console.Out.WriteLine(string Lanes.WidestBits + " " + checksum ())
        ValueSome 0
    | _ -> ValueNone

let tests =
    let child (variable: string) =
        let start =
            ProcessStartInfo(Environment.ProcessPath, RedirectStandardOutput = true, UseShellExecute = false)

        if IO.Path.GetFileNameWithoutExtension Environment.ProcessPath = "dotnet" then
            start.ArgumentList.Add(Assembly.GetEntryAssembly().Location)

        start.ArgumentList.Add ChildArgument
        start.Environment[variable] <- "0"
        use running = Process.Start start
        let output = running.StandardOutput.ReadToEnd()
        running.WaitForExit()
        Expect.equal running.ExitCode 0 "the exit code"
        output.Trim().Split ' '

    let check variable bits =
        test (sprintf "with %s=0 the kernels are %d bits wide, and give the same bits" variable bits) {
            if Lanes.WidestBits <= bits then
                skiptestf "this machine has %d bits at most" Lanes.WidestBits

            let result = child variable
            Expect.equal result [| string bits; checksum () |] "width and checksum"
            Cases.add "kernels" 1
        }

    [
        check "DOTNET_EnableAVX512" 256
        check "DOTNET_EnableAVX2" 128
        check "DOTNET_EnableHWIntrinsic" 0
    ]
