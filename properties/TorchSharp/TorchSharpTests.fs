/// The tests of Optim.TorchSharp. All of them are skipped where libtorch does not load, unless OPTIM_REQUIRE_LIBTORCH is 1.
module TorchSharpTests

open System
open System.Runtime.InteropServices
open Expecto
open TorchSharp

// Not by TorchSharp, which copies 500 MB of native libraries beside the program when the ordinary way fails.
/// Whether libtorch loads, or why not.
let loads =
    lazy
        try
            NativeLibrary.Load("LibTorchSharp", typeof<torch>.Assembly, Nullable())
            |> ignore

            Ok()
        with :? DllNotFoundException as e ->
            Error(e.Message.Split('\n')[0])

/// Skips the test that asks where libtorch does not load.
let skipWithoutLibtorch () =
    if Result.isError loads.Value then
        skiptest "libtorch does not load"

let tests =
    match loads.Value with
    | Ok() ->
        testSequenced
        <| testList
            "TorchSharp"
            [
                yield! TorchStepTests.tests
                yield! TorchParameterTests.tests
                yield! TorchGraphTests.tests
                yield! TorchCostTests.tests
                testList "peers" TorchPeerTests.tests
                testList "differentiable" DifferentiableTests.tests
                testList "AsTorchSharp" AdapterTests.tests
                testList "elsewhere" (DeviceTests.tests @ DeviceSparseTests.tests @ DeviceAroundTests.tests)
                testList "LBFGS elsewhere" LBFGSDeviceTests.tests
                testList "products" TorchProductTests.tests
            ]
    | Error why ->
        testList
            "TorchSharp"
            [
                test "libtorch loads" {
                    if Environment.GetEnvironmentVariable "OPTIM_REQUIRE_LIBTORCH" = "1" then
                        failtestf "libtorch does not load: %s" why
                    else
                        skiptestf "libtorch does not load, so nothing of Optim.TorchSharp is tested: %s" why
                }
            ]
