/// Files of every kind of value, view, dtype and container that torch.save writes: what torch.load(weights_only=True) reads is read, to
/// the last bit, and written back; what it refuses is refused by name, or kept and never run.
module KindsTests

open System
open System.Collections.Generic
open System.Collections.Immutable
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit

let private folder = Path.Combine(Golden.folder, "kinds")

let private within name = Path.Combine(folder, name)

let private index =
    lazy
        (if File.Exists(within "index.json") then
             // As deep as the values that it describes.
             use document =
                 JsonDocument.Parse(File.ReadAllText(within "index.json"), JsonDocumentOptions(MaxDepth = 4000))

             [
                 for entry in document.RootElement.GetProperty("files").EnumerateObject() -> entry.Name, entry.Value.Clone()
             ]
         else
             [])

let private isRead (case: JsonElement) =
    Golden.text (Golden.field "weights_only" case) = "read"

let private hex (view: TensorView) =
    let copy = view.Copy()

    let bytes =
        TensorView(
            copy.Address,
            Layout.Contiguous(DType.UInt8, ReadOnlySpan [| int64 copy.Count * int64 (copy.DType.Size()) |]),
            copy.Owner
        )

    Convert.ToHexStringLower(bytes.AsSpan<byte>().ToArray())

/// Whether a tree holds what the index describes; containers that are named again must be one and the same.
let private expectContent (json: JsonElement) (tree: Tree) =
    let containers = List<Tree>()
    let kind (json: JsonElement) = json[0].GetString()

    let longs (json: JsonElement) =
        [ for n in json.EnumerateArray() -> n.GetInt64() ]

    let rec numbers (json: JsonElement) =
        [
            for n in json.EnumerateArray() do
                if n.ValueKind = JsonValueKind.Array then
                    yield! numbers n
                else
                    n.GetDouble()
        ]

    let tagged where name (tree: Tree) =
        match tree with
        | Tree.Tagged(found, arguments) ->
            Expect.equal found name $"{where}: name"
            List.ofSeq arguments
        | _ -> failtestf "%s: %s instead of %s" where tree.Described name

    let elements where (expected: JsonElement) (tree: Tree) =
        Expect.sequenceEqual (tree.ToDoubles()) (numbers expected) where

    let rec go (where: string) (json: JsonElement) (tree: Tree) : unit =
        match json.ValueKind, tree with
        | JsonValueKind.Null, Tree.None -> ()
        | (JsonValueKind.True | JsonValueKind.False), Tree.Bool flag -> Expect.equal flag (json.GetBoolean()) where
        | JsonValueKind.Array, _ -> value where (kind json) json[1] tree
        | _ -> failtestf "%s: %s" where tree.Described

    and value (where: string) (kind: string) (json: JsonElement) (tree: Tree) : unit =
        match kind, tree with
        | "int", (Tree.Int _ | Tree.BigInt _) -> Expect.equal (string tree) (json.GetString()) where
        | "float", Tree.Float number ->
            let expected =
                if json.ValueKind = JsonValueKind.String && json.GetString() = "-0.0" then
                    -0.0
                else
                    Golden.number json

            expectSameBits [| number |] [| expected |] where
        | "str", Tree.Text text -> Expect.equal text (json.GetString()) where
        | "str16", Tree.Text text ->
            let bytes = Convert.FromHexString(json.GetString())

            Expect.sequenceEqual
                [ for c in text -> int c ]
                [
                    for i in 0..2 .. bytes.Length - 1 -> int bytes[i] ||| (int bytes[i + 1] <<< 8)
                ]
                where
        | "bytes", Tree.Bytes bytes -> Expect.equal (Convert.ToHexStringLower(bytes.AsSpan())) (json.GetString()) where
        | "bytearray", _ -> value where "bytes" json (tagged where "builtins.bytearray" tree).Head
        | "complex", Tree.Complex number -> Expect.equal [ number.Real; number.Imaginary ] (numbers json) where
        | "set", _ ->
            containers.Add tree
            items where json (tree.AsItems())
        | "list", Tree.List found
        | "tuple", Tree.Tuple found ->
            containers.Add tree
            items where json found
        | ("dict" | "OrderedDict" | "Counter"), Tree.Map map ->
            containers.Add tree
            Expect.equal (string map.Kind) (if kind = "dict" then "Dict" else kind) $"{where}: class"
            Expect.equal map.Count (json.GetArrayLength()) $"{where}: entries"

            for entry, found in Seq.zip (json.EnumerateArray()) map do
                go $"a key of {where}" entry[0] found.Key.Tree
                go $"{where}[{found.Key}]" entry[1] found.Value
        | "again", _ -> Expect.isTrue (Object.ReferenceEquals(containers[json.GetInt32()], tree)) $"{where}: one value in two places"
        | "dtype", _
        | "layout", _ -> Expect.equal (string tree) (json.GetString()) where
        | "device", _ ->
            let arguments = tagged where "torch.device" tree
            Expect.equal (String.Join(":", arguments |> List.map (fun a -> (string a).Trim '\''))) (json.GetString()) where
        | "Size", _ -> Expect.equal [ for n in tree.AsItems() -> (Tree.op_Explicit n: int64) ] (longs json) where
        | "storage", Tree.Tagged(_, arguments) ->
            Expect.equal (hex (arguments[0].AsTensor())) (json.GetProperty("bytes").GetString()) where
            let dtype = "torch." + arguments[0].AsTensor().DType.Name()
            Expect.equal dtype (json.GetProperty("dtype").GetString()) $"{where}: dtype"
        | ("tensor" | "parameter"), _ -> tensor where json tree
        | _ -> failtestf "%s: %s instead of a %s" where tree.Described kind

    and items (where: string) (json: JsonElement) (found: ImmutableArray<Tree>) : unit =
        Expect.equal found.Length (json.GetArrayLength()) $"{where}: items"

        for i, json in Seq.indexed (json.EnumerateArray()) do
            go $"{where}[{i}]" json found[i]

    and tensor (where: string) (json: JsonElement) (tree: Tree) : unit =
        let has (name: string) = fst (json.TryGetProperty(name))
        let text (name: string) = json.GetProperty(name).GetString()
        let shape = longs (json.GetProperty "shape")

        if has "scheme" then
            match tagged where "torch._utils._rebuild_qtensor" tree with
            | [ dtype; stored; Tree.Tuple scheme ] ->
                Expect.equal (string dtype) (text "dtype") $"{where}: dtype"
                Expect.equal (List.ofSeq (stored.AsTensor().Shape)) shape $"{where}: shape"
                elements where (json.GetProperty "stored") stored
                Expect.equal (string scheme[0]) (text "scheme") $"{where}: scheme"

                if has "scales" then
                    elements $"{where}: scales" (json.GetProperty "scales") scheme[1]
                    elements $"{where}: zero points" (json.GetProperty "zero_points") scheme[2]
                else
                    Expect.equal (Tree.op_Explicit scheme[1]: float) (json.GetProperty("scale").GetDouble()) $"{where}: scale"
                    Expect.equal (Tree.op_Explicit scheme[2]: int64) (json.GetProperty("zero_point").GetInt64()) $"{where}: zero point"
            | _ -> failtestf "%s: %s" where tree.Described
        elif text "device" = "meta" then
            match tagged where "torch._utils._rebuild_meta_tensor_no_storage" tree with
            | dtype :: size :: _ ->
                Expect.equal (string dtype) (text "dtype") $"{where}: dtype"
                Expect.equal [ for n in size.AsItems() -> (Tree.op_Explicit n: int64) ] shape $"{where}: shape"
            | _ -> failtestf "%s: %s" where tree.Described
        elif text "layout" <> "torch.strided" then
            match tagged where "torch._utils._rebuild_sparse_tensor" tree with
            | [ layout; Tree.Tuple data ] ->
                Expect.equal (string layout) (text "layout") $"{where}: layout"

                let parts =
                    [
                        for entry in json.EnumerateObject() do
                            if entry.Value.ValueKind = JsonValueKind.Array && entry.Name <> "shape" then
                                entry.Value
                    ]

                for part, expected in Seq.zip data parts do
                    elements where expected part

                let size = data |> Seq.item parts.Length
                Expect.equal [ for n in size.AsItems() -> (Tree.op_Explicit n: int64) ] shape $"{where}: shape"
            | _ -> failtestf "%s: %s" where tree.Described
        else
            let view = tree.AsTensor()
            Expect.equal ("torch." + view.DType.Name()) (text "dtype") $"{where}: dtype"
            Expect.equal (List.ofSeq view.Shape) shape $"{where}: shape"

            if json.GetProperty("bytes").ValueKind = JsonValueKind.String then
                Expect.equal (hex view) (text "bytes") where

            match json.TryGetProperty("attributes") with
            | true, attributes ->
                match tagged where "torch._tensor._rebuild_from_type_v2" tree with
                | [ _; _; Tree.Map found ] ->
                    Expect.equal
                        [ for key in found.Keys -> (string key).Trim '\'' ]
                        [ for entry in attributes.EnumerateObject() -> entry.Name ]
                        $"{where}: attributes"

                    for entry, attribute in Seq.zip (attributes.EnumerateObject()) found do
                        go $"{where}.{entry.Name}" entry.Value attribute.Value
                | _ -> failtestf "%s: attributes" where
            | _ -> Expect.isTrue tree.IsTensor $"{where}: no attributes"

    go "" json tree

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
