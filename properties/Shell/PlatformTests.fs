/// What keeps the libraries from depending on one system.
module PlatformTests

open System
open System.Reflection
open System.Runtime.InteropServices
open Expecto
open Optim
open Optim.Core
open Optim.Kernels

let private libraries =
    [
        typeof<TensorView>.Assembly
        typeof<State>.Assembly
        typeof<Optimizer>.Assembly
        typeof<TorchParameter>.Assembly
    ]

/// Each system adds its own beginning and end: lib, .so, .dylib, .dll. "libc" is .NET's own name for the C library of a system.
let private names = Set [ "libc"; "torch_cpu"; "LibTorchSharp" ]

[<Tests>]
let tests =
    testList
        "platforms"
        [
            testCase "native libraries have names that every system completes in its own way" (fun () ->
                let all =
                    BindingFlags.Static
                    ||| BindingFlags.Instance
                    ||| BindingFlags.NonPublic
                    ||| BindingFlags.Public
                    ||| BindingFlags.DeclaredOnly

                let imports =
                    [
                        for library in libraries do
                            for declaring in library.GetTypes() do
                                for method in declaring.GetMethods all do
                                    match method.GetCustomAttribute<DllImportAttribute>() with
                                    | null -> ()
                                    | import -> import.Value, $"{declaring.FullName}.{method.Name}"
                    ]

                Expect.equal (imports |> List.map fst |> Set.ofList) names "all of them are found, and no others"

                for name, where in imports do
                    Expect.isFalse (name.Contains '.' || name.Contains '/') $"{where}: {name}")
        ]
