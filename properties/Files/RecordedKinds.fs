/// The recorded files of every kind of value that torch.save writes, and whether a tree holds what their index says.
module RecordedKinds

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

let folder = Path.Combine(Golden.folder, "kinds")

let within name = Path.Combine(folder, name)

let index =
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

let isRead (case: JsonElement) =
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
let expectContent (json: JsonElement) (tree: Tree) =
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
