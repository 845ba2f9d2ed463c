/// Files of every kind of value, view, dtype and container that torch.save writes: what torch.load(weights_only=True) reads is read, to
/// the last bit, and written back; what it refuses is refused by name, or kept and never run.
module KindsTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit
open RecordedKinds

let private containsItself = set [ "c_recursive.pt" ]

let private recorded (name, case) =
    let path = within name

    if containsItself.Contains name then
        testCase $"{name}: a list that contains itself is refused by that" (fun () ->
            refuses<CheckpointException> name [ path; "contains itself" ] (fun () -> Checkpoint.Read path |> ignore))
    elif isRead case then
        testCase $"{name} holds what PyTorch reads, and what is written back holds it, too" (fun () ->
            let tree = Checkpoint.Read path
            let content = case.GetProperty "content"

            if content.ValueKind <> JsonValueKind.Null then
                expectContent content tree

            inFolder (fun within ->
                Checkpoint.Write(within "again.pt", tree)
                let again = Checkpoint.Read(within "again.pt")
                Expect.equal again tree "written back"

                if content.ValueKind <> JsonValueKind.Null then
                    expectContent content again))
    else
        testCase $"{name}: what PyTorch refuses is kept without running it, or refused in one sentence" (fun () ->
            match
                (try
                    Ok(Checkpoint.Read path)
                 with :? CheckpointException as e ->
                     Error e.Message)
            with
            | Ok _ -> ()
            | Error why ->
                Expect.isFalse (why.Contains '\n') why
                Expect.stringContains why path "the file"
                let kept = Checkpoint.Read(path, keepForeign = true)

                // What is written must not be what nobody may read.
                inFolder (fun within ->
                    refuses<ArgumentException> name [] (fun () -> Checkpoint.Write(within "again.pt", kept))
                    Expect.isEmpty (Directory.GetFiles(within "")) "nothing is written"))

let private pairs =
    [
        for name, case in index.Value do
            let zip = name.Replace("_legacy", "")

            if name <> zip && isRead case && File.Exists(within zip) then
                zip, name
    ]

let private inspect arguments = Command.run ("inspect" :: arguments)

/// An optimizer for the state of a file, over parameters of the shapes that its model has.
let private optimizerOf (tree: Tree) =
    let name = string (tree["args"].["name"])
    let buffers = [ "running_mean"; "running_var"; "num_batches_tracked" ]

    let weights =
        [
            for entry in tree["model"].AsMap() do
                let key = (string entry.Key).Trim '\''

                if not (buffers |> List.exists key.EndsWith) then
                    key, entry.Value.AsTensor()
        ]

    let groups = tree["optimizer"].["param_groups"].AsItems()

    let count =
        groups
        |> Seq.sumBy (fun (group: Tree) -> let ids: Tree = group["params"] in ids.AsItems().Length)

    // Muon has matrices alone.
    let weights =
        if count = weights.Length then
            weights
        else
            weights |> List.filter (fun (_, view) -> view.Shape.Length = 2)

    let list =
        [
            for key, view in weights -> param key view.DType (Array.ofSeq view.Shape) (view.ToDoubles())
        ]

    let rest = Queue list

    let grouped =
        [
            for group in groups ->
                ParameterGroup(
                    [|
                        let ids: Tree = group["params"]

                        for _ in ids.AsItems() do
                            rest.Dequeue() :> IParameter
                    |]
                )
                :> IParameterOrGroup
        ]

    createOptimizer (name.Trim '\'') grouped, list

let private goesOn (zip, legacy) =
    testCase $"{legacy} holds what {zip} holds, and training goes on from both alike" (fun () ->
        let a, b = Checkpoint.Read(within zip), Checkpoint.Read(within legacy)
        Expect.equal b a "content"
        Expect.equal (describeTree b) (describeTree a) "storages"
        let code, output, _ = inspect [ within zip; "--diff"; within legacy ]
        Expect.equal (code, output.Trim()) (0, "Both hold the same.") "inspect --diff"

        if zip.StartsWith("run_", StringComparison.Ordinal) then
            let trained =
                [
                    for file in [ zip; legacy ] do
                        let optimizer, list = optimizerOf a
                        let schedule = StepLR(optimizer, 2, 0.5)

                        // The model has buffers as well.
                        Checkpoint.Load(
                            within file,
                            false,
                            struct ("model", box (ParametersState(list |> Seq.map (fun p -> p :> IParameter)))),
                            struct ("optimizer", box optimizer),
                            struct ("scheduler", box schedule)
                        )
                        |> ignore

                        for round in 1..3 do
                            optimizer.Step(fun () ->
                                for p in list do
                                    setGradient p (Some(noise round (int p.View.Count)))

                                0.0)
                            |> ignore

                            schedule.Step()

                        [ for p in list -> values p ], describe (optimizer.StateDict()), string (schedule.StateDict())
                ]

            match trained with
            | [ (p, state, schedule); (q, other, second) ] ->
                for x, y in List.zip p q do
                    expectSameBits y x "parameters"

                Expect.equal other state "state"
                Expect.equal second schedule "schedule"
            | _ -> ())

let private sharing =
    testCase "views of one storage share memory when they are read, in both formats" (fun () ->
        for name in [ "t_tied.pt"; "views.pt"; "views_legacy.pt" ] do
            if File.Exists(within name) then
                let owners =
                    [
                        for entry in Checkpoint.Read(within name).AsMap() do
                            match entry.Value.TryGetTensor() with
                            | true, view when view.Count > 0n && view.DType = DType.Float32 -> LanguagePrimitives.PhysicalHash view.Owner
                            | _ -> ()
                    ]

                Expect.isLessThan (List.length (List.distinct owners)) (List.length owners) name)

let private parts =
    testList
        "parts"
        [
            testCase "a strange value does not cost the file: parts beside it are loaded, and it is kept" (fun () ->
                let path = within "weights_and_odd.pt"

                if File.Exists path then
                    let list =
                        [
                            param "weight" DType.Float32 [| 2L; 2L |] (Array.zeroCreate 4)
                            param "bias" DType.Float32 [| 2L |] (Array.zeroCreate 2)
                        ]

                    let state = ParametersState(list |> Seq.map (fun p -> p :> IParameter))
                    Checkpoint.Load(path, struct ("model", box state)) |> ignore
                    let kept = Checkpoint.Read(path, keepForeign = true)
                    expectSameBits (values list[0]) (kept["model"].["weight"].ToDoubles()) "weight"

                    refuses<CheckpointException> "all of it" [ path; "argparse.Namespace"; "["; "keepForeign" ] (fun () ->
                        Checkpoint.Read path |> ignore)

                    let code, _, error = inspect [ path ]
                    Expect.equal code 1 "inspect"
                    Expect.stringContains error "argparse.Namespace" "its name"
                    Expect.stringContains error "--foreign" "the option"
                    let code, output, _ = inspect [ path; "--foreign" ]
                    Expect.equal code 0 "inspect --foreign"
                    Expect.stringContains output "argparse.Namespace" "it is shown")

            testCase "numpy's random state is kept beside the rest" (fun () ->
                let path = within "hf_trainer_state.pt"

                if File.Exists path then
                    refuses<CheckpointException> "numpy" [ "numpy"; "['rng']" ] (fun () -> Checkpoint.Read path |> ignore)
                    let kept = Checkpoint.Read(path, keepForeign = true)
                    Expect.stringContains (string (kept["rng"])) "numpy" "kept")

            testCase "the weights of a TorchScript archive are read by name" (fun () ->
                let path = within "torchscript.pt"

                if File.Exists path then
                    let tree = Checkpoint.Read path
                    Expect.equal [ for key in tree.AsMap().Keys -> string key ] [ "'weight'"; "'bias'" ] "names"
                    Expect.equal (List.ofSeq (tree["weight"].AsTensor().Shape)) [ 2L; 2L ] "shape")

            testCase "what is asked of a tagged value that it is not is refused by its name" (fun () ->
                let path = within "kind_device_cuda.pt"

                if File.Exists path then
                    let value = (Checkpoint.Read path)["value"]

                    refuses<InvalidCastException> "a number" [ "torch.device"; "a number" ] (fun () ->
                        (Tree.op_Explicit value: float) |> ignore)

                    refuses<InvalidCastException> "a tensor" [ "torch.device"; "a tensor" ] (fun () -> value.AsTensor() |> ignore)
                    Expect.equal (string value) "torch.device('cuda', 1)" "printed")
        ]

[<Tests>]
let tests =
    testList
        "kinds of values in files"
        [
            testList "recorded" (index.Value |> List.map recorded)
            testList "formats" (pairs |> List.map goesOn)
            sharing
            parts
        ]
