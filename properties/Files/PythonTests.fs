/// PyTorch itself reads what we write, and we read what it writes. Skipped where python3 has no torch, unless OPTIM_REQUIRE_TORCH is 1.
module PythonTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open CheckpointKit

let private script =
    Path.Combine(AppContext.BaseDirectory, "python", "checkpoints.py")

/// Debian's packages are for Debian's python.
let private python =
    if File.Exists "/usr/bin/python3" then
        "/usr/bin/python3"
    else
        "python3"

let private run (arguments: string list) =
    try
        let start =
            ProcessStartInfo(
                python,
                arguments,
                RedirectStandardOutput = true,
                RedirectStandardError = true,
                StandardOutputEncoding = Encoding.UTF8
            )
        // Not the libraries of another libtorch that the tests themselves load.
        start.Environment.Remove "LD_LIBRARY_PATH" |> ignore
        start.Environment.Remove "LD_PRELOAD" |> ignore
        use child = nonNull (Process.Start start)
        let error = child.StandardError.ReadToEndAsync()
        let output = child.StandardOutput.ReadToEnd()
        child.WaitForExit()

        if child.ExitCode = 0 then
            Ok(List.ofArray (output.TrimEnd('\n').Split '\n'))
        else
            Error error.Result
    with :? ComponentModel.Win32Exception as e ->
        Error e.Message

let private torch = lazy (run [ "-c"; "import torch; print(torch.__version__)" ])

let private required () =
    match torch.Value with
    | Ok _ -> ()
    | Error why when Environment.GetEnvironmentVariable "OPTIM_REQUIRE_TORCH" = "1" -> failtestf "python3 has no torch: %s" why
    | Error why ->
        let last = why.Trim().Split('\n') |> Array.last
        skiptestf "python3 has no torch (Debian: apt-get install python3-torch), so PyTorch does not check our files: %s" last

let private output arguments =
    match run arguments with
    | Ok lines -> lines
    | Error why -> failtestf "%s" why

/// One of each kind of training checkpoint that there is, and what it must be read as.
let private ours () =
    [
        "everything", CheckpointContents.everything ()
        "dtypes", CheckpointContents.everyDType ()

        for name in
            [
                "SGD"
                "Adam"
                "AdamW"
                "RMSprop"
                "Rprop"
                "Adagrad"
                "Adadelta"
                "Adamax"
                "NAdam"
                "RAdam"
                "ASGD"
                "Adafactor"
                "Muon"
                "LBFGS"
            ] do
            let matrix seed =
                param $"w{seed}" DType.Float32 [| 2L; 3L |] (noise seed 6)

            let list = [ matrix 1; matrix 2 ]

            let optimizer = createOptimizer name list

            for round in 1..2 do
                optimizer.Step(fun () ->
                    for p in list do
                        setGradient p (Some(noise round 6))

                    1.0 / float round)
                |> ignore

            name,
            Tree.Dict(
                struct ("model",
                        Tree.MapOf(
                            MapKind.OrderedDict,
                            [
                                for p in list -> Collections.Generic.KeyValuePair(TreeKey.Text p.Name, Tree.Tensor p.View)
                            ]
                        )),
                struct ("optimizer", (optimizer :> IStateful).SaveState()),
                struct ("epoch", Tree.Int 3L)
            )
    ]

let private tensorsOnly () =
    Tree.MapOf(
        MapKind.OrderedDict,
        [
            for entry in CheckpointContents.everything().AsMap() do
                if entry.Value.Kind = TreeKind.Tensor then
                    entry
        ]
    )

let private both =
    testSequenced (
        testList
            "PyTorch"
            [
                testCase "it reads back every file that we write: values, bits, order, kinds, strides and shared storages" (fun () ->
                    required ()

                    inFolder (fun within ->
                        let trees = ours ()

                        let files =
                            [
                                for name, tree in trees do
                                    let path = within $"{name}.pt"
                                    Checkpoint.Write(path, tree)
                                    path
                            ]

                        Checkpoint.Write(within "tensors.pt", tensorsOnly ())

                        let lines =
                            output ([ script; "read" ] @ files @ [ "weights_only"; within "tensors.pt" ])

                        let expected =
                            [
                                for file in files @ [ within "tensors.pt" ] -> describeTree (Checkpoint.Read file)
                            ]

                        Expect.equal lines.Length expected.Length "files"

                        for (name, _), (line, expected) in List.zip (trees @ [ "tensors", Tree.None ]) (List.zip lines expected) do
                            Expect.equal line expected name))

                testCase "we read what it writes: models, optimizers, schedulers, views, every dtype; protocols 2 and 4" (fun () ->
                    required ()

                    inFolder (fun within ->
                        let pairs = output [ script; "write"; within "" ] |> List.chunkBySize 2
                        Expect.isGreaterThan pairs.Length 10 "files"

                        for pair in pairs do
                            Expect.equal (describeTree (Checkpoint.Read pair[0])) pair[1] pair[0]))
            ]
    )

/// The names that torch.load(weights_only=True) of PyTorch 2 knows and that we write.
let private allowedNames =
    set
        [
            "collections OrderedDict"
            "collections Counter"
            "torch._utils _rebuild_tensor_v2"
            "torch._utils _rebuild_tensor_v3"
            "torch.storage UntypedStorage"
            for storage in
                [
                    "Float"
                    "Double"
                    "Half"
                    "BFloat16"
                    "Long"
                    "Int"
                    "Short"
                    "Char"
                    "Byte"
                    "Bool"
                    "ComplexFloat"
                    "ComplexDouble"
                ] do
                $"torch {storage}Storage"
        ]

/// Walks over the instructions of a pickle: those that weights_only knows, with their lengths (Lib/pickletools.py).
let private walk (pickle: byte[]) =
    let names = ResizeArray<string>()
    let mutable at = 0

    let line () =
        let finish = Array.IndexOf(pickle, 10uy, at)
        let text = Encoding.ASCII.GetString(pickle, at, finish - at)
        at <- finish + 1
        text

    let mutable go = true

    while go do
        let opcode = pickle[at]
        at <- at + 1

        match char opcode with
        | '.' -> go <- false
        | 'c' ->
            let first = line ()
            names.Add(first + " " + line ())
        | 'X' -> at <- at + 4 + BitConverter.ToInt32(pickle, at)
        | 'K'
        | 'q'
        | 'h'
        | '\128' -> at <- at + 1
        | 'M' -> at <- at + 2
        | 'J'
        | 'r'
        | 'j' -> at <- at + 4
        | 'G' -> at <- at + 8
        | '\138' -> at <- at + 1 + int pickle[at]
        | '}'
        | ']'
        | ')'
        | '('
        | 'N'
        | '\136'
        | '\137'
        | '\133'
        | '\134'
        | '\135'
        | 't'
        | 'R'
        | 'e'
        | 'u'
        | 'Q' -> ()
        | other -> failtestf "instruction %x at byte %d" (int other) (at - 1)

    Expect.equal at pickle.Length "the end"
    Set.ofSeq names

let private instructions =
    testCase "our pickles have only instructions and names that weights_only=True knows" (fun () ->
        inFolder (fun within ->
            for name, tree in ours () do
                Checkpoint.Write(within "x.pt", tree)

                let pickle =
                    entriesOf (within "x.pt")
                    |> List.find (fun entry -> entry.Name = "archive/data.pkl")

                Expect.isEmpty (walk pickle.Content - allowedNames) name))

[<Tests>]
let tests = testList "python" [ both; instructions ]
