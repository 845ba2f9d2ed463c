/// Checkpoint files: what PyTorch wrote is read and trained on from, what is written is read back, and a load is all or nothing.
module CheckpointTests

open System
open System.Collections.Generic
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open CheckpointKit

let private index =
    lazy
        (if File.Exists(golden "checkpoints.json") then
             use document = JsonDocument.Parse(File.ReadAllText(golden "checkpoints.json"))
             Golden.list id (document.RootElement.Clone())
         else
             [])

let private fileOf case =
    golden (Path.Combine("checkpoints", Golden.text (Golden.field "file" case)))

let private matrices read case name =
    Golden.field name case |> Golden.list (Golden.list read)

/// The parameters at the moment of the save.
let private parametersOf case =
    let names = Golden.field "param_names" case |> Golden.list Golden.text

    let shapes =
        matrices (Golden.number >> int64) case "shapes" |> List.map Array.ofList

    let values = matrices Golden.number case "params_at_save" |> List.map Array.ofList
    List.map3 (fun name shape values -> param name DType.Float32 shape values) names shapes values

/// A step on these gradients, by a closure, as LBFGS needs one: the loss is the sum of p g.
let private step (optimizer: Optimizer) (list: Param list) (gradients: float[] list) =
    optimizer.Step(fun () ->
        List.iter2 (fun p gradient -> setGradient p (Some gradient)) list gradients

        List.map2 (fun p gradient -> Array.fold2 (fun sum x g -> sum + x * g) 0.0 (values p) gradient) list gradients
        |> List.sum)
    |> ignore

let private goesOn case (optimizer: Optimizer) list =
    let rounds =
        Golden.field "grads_after" case |> Golden.list (Golden.list Golden.numbers)

    let expected =
        Golden.field "params_after" case |> Golden.list (Golden.list Golden.numbers)
    // Newton-Schulz in bfloat16 there (quirks).
    let factor =
        if Golden.text (Golden.field "optimizer" case) = "Muon" then
            5e-3
        else
            2e-5

    for round, (gradients, expected) in List.indexed (List.zip rounds expected) do
        step optimizer list gradients

        for p, expected in List.zip list expected do
            for actual, expected in Array.zip (values p) expected do
                if not (abs (actual - expected) <= factor * (1.0 + abs expected)) then
                    failtestf "step %d after loading, %s: %s, PyTorch %s" (round + 1) p.Name (text actual) (text expected)

let private recordedFile case =
    let file = Golden.text (Golden.field "file" case)
    let path = fileOf case

    match Golden.tryField "optimizer" case, Golden.tryField "content" case with
    | Some name, _ ->
        let name = Golden.text name

        testList
            file
            [
                testCase "it holds what PyTorch saved" (fun () -> expectJson "" (Golden.field "state_dict" case) (Checkpoint.Read path))
                testCase "training goes on with PyTorch's numbers, and the state is saved as it was" (fun () ->
                    let list = parametersOf case

                    let optimizer = createOptimizer name list

                    inFolder (fun within ->
                        let tree = Checkpoint.Read path
                        Checkpoint.Write(within "again.pt", Tree.Dict(struct ("optimizer", tree)))

                        Checkpoint.Load(within "again.pt", struct ("optimizer", box optimizer))
                        |> ignore

                        let saved = (optimizer :> IStateful).SaveState()

                        let keys (tree: Tree) =
                            set [ for key in tree.AsMap().Keys -> key.ToString() ]

                        for KeyValue(id, row) in tree["state"].AsMap() do
                            Expect.equal (keys (saved["state"].AsMap()[id])) (keys row) $"keys of the state of {id}"

                        Expect.equal (keys (saved["param_groups"].[0])) (keys (tree["param_groups"].[0])) "keys of the group"
                        goesOn case optimizer list))
            ]
    | _, Some content -> testCase $"{file} holds what PyTorch saved" (fun () -> expectJson "" content (Checkpoint.Read path))
    | _ -> testCase $"{file} is refused" (fun () -> refuses<CheckpointException> file [ file ] (fun () -> Checkpoint.Read path |> ignore))

/// Everything that a file can hold.
let everything () =
    let values = noise 3 24
    let whole = tensor DType.Float32 [| 4L; 6L |] values

    let view shape strides offset =
        TensorView(
            whole.Address + nativeint (4 * offset),
            Layout.Strided(DType.Float32, ReadOnlySpan(Array.ofList shape), ReadOnlySpan(Array.ofList strides)),
            whole.Owner
        )

    let entries kind (list: (string * Tree) list) =
        Tree.MapOf(kind, [ for key, value in list -> KeyValuePair(TreeKey.Text key, value) ])

    entries
        MapKind.Dict
        [
            "none", Tree.None
            "flags", Tree.ListOf [ Tree.Bool true; Tree.Bool false ]
            "ints",
            Tree.ListOf
                [
                    for n in
                        [
                            0L
                            1L
                            255L
                            256L
                            65535L
                            65536L
                            -1L
                            -200L
                            1L <<< 31
                            -(1L <<< 31)
                            1L <<< 40
                            Int64.MinValue
                            Int64.MaxValue
                        ] -> Tree.Int n
                ]
            "floats",
            Tree.ListOf
                [
                    for x in [ 0.0; -0.0; 0.1; 1e300; nan; infinity; -infinity; 5e-324 ] -> Tree.Float x
                ]
            "texts",
            Tree.ListOf
                [
                    for text in [ ""; "cos"; "größer"; "日本"; "\U0001F600"; "a\nb\"c"; String('x', 300) ] -> Tree.Text text
                ]
            "tuples", Tree.ListOf [ for n in 0..5 -> Tree.TupleOf [ for i in 1..n -> Tree.Float(float i) ] ]
            "empty",
            Tree.ListOf
                [
                    Tree.ListOf []
                    Tree.TupleOf []
                    entries MapKind.Dict []
                    entries MapKind.OrderedDict []
                    entries MapKind.Counter []
                ]
            "ordered", entries MapKind.OrderedDict [ "z", Tree.Int 1L; "a", Tree.Int 2L ]
            "counter",
            Tree.MapOf(
                MapKind.Counter,
                [
                    KeyValuePair(TreeKey.Int 30L, Tree.Int 1L)
                    KeyValuePair(TreeKey.Int 80L, Tree.Int 2L)
                ]
            )
            "numbered", Tree.MapOf(MapKind.Dict, [ for i in 0..300 -> KeyValuePair(TreeKey.Int(int64 i), Tree.Text $"n{i}") ])
            "whole", Tree.Tensor whole
            "transposed", Tree.Tensor(view [ 6L; 4L ] [ 1L; 6L ] 0)
            "column", Tree.Tensor(view [ 4L ] [ 6L ] 2)
            "last rows", Tree.Tensor(view [ 2L; 6L ] [ 6L; 1L ] 12)
            "repeated", Tree.Tensor(view [ 3L; 2L ] [ 0L; 1L ] 1)
            "scalar", Tree.Tensor(tensor DType.Float64 [||] [| 0.5 |])
            "no rows", Tree.Tensor(tensor DType.Float32 [| 0L; 3L |] [||])
            "no columns", Tree.Tensor(tensor DType.Float64 [| 3L; 0L |] [||])
        ]

/// A tensor of each dtype that PyTorch 1.13 has.
let everyDType () =
    let bytes = Array.init 48 byte

    let dtypes =
        Enum.GetValues<DType>()
        |> Array.filter (fun dtype -> dtype < DType.Float8_E5M2 && dtype <> DType.Complex32)

    Tree.Dict
        [|
            for dtype in dtypes do
                let block =
                    TensorView.Of(
                        ReadOnlySpan(
                            if dtype = DType.Bool then
                                Array.map (fun b -> b % 2uy) bytes
                            else
                                bytes
                        ),
                        ReadOnlySpan [| 48L |]
                    )

                let layout = Layout.Contiguous(dtype, ReadOnlySpan [| 48L / int64 (dtype.Size()) |])
                struct (dtype.Name(), Tree.Tensor(TensorView(block.Address, layout, block.Owner)))
        |]

let private trained seed name given =
    let list = [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]
    let optimizer = optimizer name given list
    step optimizer list [ noise seed 2; noise (seed + 1) 1 ]
    optimizer, list

let private files =
    testList
        "files"
        [
            testCase "everything that a .pt file can hold comes back, kinds and bits, order and shared storages" (fun () ->
                inFolder (fun within ->
                    for tree in [ everything (); everyDType () ] do
                        Checkpoint.Write(within "all.pt", tree)
                        let again = Checkpoint.Read(within "all.pt")
                        Expect.equal again tree "content"
                        Checkpoint.Write(within "twice.pt", again)
                        Expect.equal (describeTree (Checkpoint.Read(within "twice.pt"))) (describeTree again) "storages"

                        Expect.sequenceEqual
                            (File.ReadAllBytes(within "twice.pt"))
                            (File.ReadAllBytes(within "all.pt"))
                            "the same content gives the same bytes"))

            testCase "windows of one memory stay windows of one storage" (fun () ->
                inFolder (fun within ->
                    Checkpoint.Write(within "all.pt", everything ())
                    let again = Checkpoint.Read(within "all.pt")

                    let owners =
                        [
                            for key in [ "whole"; "transposed"; "column"; "last rows"; "repeated" ] -> again[key].AsTensor().Owner
                        ]

                    Expect.equal
                        (owners
                         |> List.distinctBy (fun owner -> LanguagePrimitives.PhysicalHash owner)
                         |> List.length)
                        1
                        "storages"

                    again["whole"].AsTensor().Clear()
                    expectSameBits (again["column"].ToDoubles()) (Array.zeroCreate 4) "what is written through one is seen in the others"))

            testCase "a window with gaps is saved alone, without what lies around it" (fun () ->
                inFolder (fun within ->
                    let whole = tensor DType.Float32 [| 1000L; 1000L |] (Array.zeroCreate 1000000)

                    let column =
                        TensorView(
                            whole.Address,
                            Layout.Strided(DType.Float32, ReadOnlySpan [| 1000L |], ReadOnlySpan [| 1000L |]),
                            whole.Owner
                        )

                    Checkpoint.Write(within "column.pt", Tree.Dict(struct ("w", Tree.Tensor column)))
                    Expect.isLessThan (FileInfo(within "column.pt").Length) 8000L "bytes"
                    Expect.equal (Checkpoint.Read(within "column.pt")["w"]) (Tree.Tensor column) "content"))

            testCase "every dtype of .safetensors comes back, and metadata" (fun () ->
                inFolder (fun within ->
                    let wide =
                        [
                            DType.UInt16
                            DType.UInt32
                            DType.UInt64
                            DType.Float8_E5M2
                            DType.Float8_E4M3FN
                        ]
                        |> List.map (fun dtype ->
                            let block = TensorView.Of(ReadOnlySpan [| 1uy .. 16uy |], ReadOnlySpan [| 16L |])

                            let layout =
                                Layout.Contiguous(dtype, ReadOnlySpan [| 2L; 8L / int64 (dtype.Size()) |])

                            struct (dtype.Name(), Tree.Tensor(TensorView(block.Address, layout, block.Owner))))

                    let tree =
                        Tree.Dict
                            [|
                                for KeyValue(key, value) in everyDType().AsMap() do
                                    if value.AsTensor().DType <> DType.Complex128 then
                                        struct (key.ToString().Trim '\'', value)
                                yield! wide
                                struct ("transposed", everything()["transposed"])
                                struct ("scalar", everything()["scalar"])
                                struct ("no rows", everything()["no rows"])
                            |]

                    let metadata = Dictionary(dict [ "format", "pt"; "note", "größer" ])
                    Checkpoint.Write(within "all.safetensors", tree, metadata)
                    let again = Checkpoint.Read(within "all.safetensors")

                    for KeyValue(key, value) in tree.AsMap() do
                        Expect.equal (again.AsMap()[key]) value $"{key}"

                    Expect.equal (again.AsMap().Count) (tree.AsMap().Count) "names"

                    let texts (metadata: seq<KeyValuePair<string, string>>) =
                        set [ for KeyValue(key, value) in metadata -> key, value ]

                    Expect.equal (texts (Checkpoint.ReadMetadata(within "all.safetensors"))) (texts metadata) "metadata"

                    // The dtypes that PyTorch 1.13 lacks, in a .pt file.
                    Checkpoint.Write(within "wide.pt", Tree.Dict(Array.ofList wide))
                    Expect.equal (Checkpoint.Read(within "wide.pt")) (Tree.Dict(Array.ofList wide)) ".pt"))

            testCase "tensors begin at multiples of 64 in .pt files, and of their size in .safetensors files" (fun () ->
                inFolder (fun within ->
                    Checkpoint.Write(within "all.pt", everything ())
                    use file = new Checkpoints.FileBytes(within "all.pt")

                    for KeyValue(name, entry) in Checkpoints.ZipReader.Read(file, Checkpoints.Budget(ReadBudget.Default)) do
                        Expect.equal (entry.Place % 64L) 0L name

                    Checkpoint.Write(
                        within "all.safetensors",
                        everyDType().AsMap()
                        |> Seq.filter (fun e -> e.Value.AsTensor().DType <> DType.Complex128)
                        |> fun entries -> Tree.MapOf(MapKind.Dict, entries)
                    )

                    use file = Checkpoints.CheckpointFile.Open(within "all.safetensors")
                    let bytes = File.ReadAllBytes(within "all.safetensors")
                    Expect.equal (BitConverter.ToInt64(bytes, 0) % 8L) 0L "header"
                    Expect.isNonEmpty (file.Tree.AsMap().Entries) "tensors"))

            testCase "what .safetensors cannot hold is refused by name, and nothing is written" (fun () ->
                inFolder (fun within ->
                    for what, words, tree in
                        [
                            "a number", [ "'epoch'"; ".pt" ], Tree.Dict(struct ("epoch", Tree.Int 3L))
                            "a list", [ "'list'" ], Tree.Dict(struct ("list", Tree.ListOf []))
                            "a tensor without a name", [ "named" ], Tree.Tensor(tensor DType.Float32 [||] [| 1.0 |])
                        ] do
                        refuses<ArgumentException> what words (fun () -> Checkpoint.Write(within "x.safetensors", tree))
                        Expect.isEmpty (Directory.GetFiles(Path.GetDirectoryName(within "x"))) "files"))

            testCase "CRC-32 by folding is CRC-32 by tables, for every length and split" (fun () ->
                let bytes = Array.init 1000 (fun i -> byte (i * 37 + i / 7))

                let plain (bytes: byte[]) =
                    ~~~(Checkpoints.Crc32.Plain(~~~0u, ReadOnlySpan bytes))

                Expect.equal (Checkpoints.Crc32.Append(0u, ReadOnlySpan "123456789"B)) 0xCBF43926u "the check value"

                for length in 0..1000 do
                    Expect.equal
                        (Checkpoints.Crc32.Append(0u, ReadOnlySpan(bytes, 0, length)))
                        (plain bytes[.. length - 1])
                        $"{length} bytes"

                for split in 0..999 do
                    let first = Checkpoints.Crc32.Append(0u, ReadOnlySpan(bytes, 0, split))

                    Expect.equal
                        (Checkpoints.Crc32.Append(first, ReadOnlySpan(bytes, split, 1000 - split)))
                        (plain bytes)
                        $"split at {split}"

                    let second = Checkpoints.Crc32.Append(0u, ReadOnlySpan(bytes, split, 1000 - split))

                    Expect.equal (Checkpoints.Crc32.Combine(first, second, int64 (1000 - split))) (plain bytes) $"put together at {split}")
        ]

/// A part of one's own.
type private Counter() =
    member val Value = 0L with get, set
    member val Fails = false with get, set

    interface IStateful with
        member counter.SaveState() =
            Tree.Dict(struct ("value", Tree.Int counter.Value))

        member counter.PrepareLoad(state, _) =
            if counter.Fails then
                invalidArg "state" "the counter does not want it"

            let value: int64 = Tree.op_Explicit state["value"]
            PreparedLoad(LoadReport.Empty, (fun () -> counter.Value <- value), null)

let private parts =
    testList
        "parts"
        [
            testCase "optimizers, parts of one's own and plain values come back under their names" (fun () ->
                for name, given in everyRule do
                    inFolder (fun within ->
                        let source, list = trained 1 name given
                        let counter = Counter(Value = 7L)
                        let path = within "run.pt"

                        Checkpoint.Save(
                            path,
                            struct ("optimizer", box source),
                            struct ("counter", box counter),
                            struct ("epoch", box 3),
                            struct ("note", box "warm"),
                            struct ("best", null),
                            struct ("rate", box 0.5f)
                        )

                        let target, other = trained 5 name given
                        let second = Counter()

                        let loaded =
                            Checkpoint.Load(path, struct ("optimizer", box target), struct ("counter", box second))

                        Expect.equal (describe (target.StateDict())) (describe (source.StateDict())) name
                        Expect.equal second.Value 7L "counter"
                        Expect.equal (loaded["epoch"]) (Tree.Int 3L) "epoch"
                        Expect.equal (Set.ofSeq loaded.Others.Keys) (set [ "epoch"; "note"; "best"; "rate" ]) "others"
                        Expect.equal (List.ofSeq loaded.Reports["optimizer"].Matched) [ "a"; "b" ] "report"
                        refuses<CheckpointException> "an entry" [ "'loss'"; "epoch" ] (fun () -> loaded["loss"] |> ignore)

                        // The same bits from here on.
                        for p, q in List.zip list other do
                            q.View.CopyFrom p.View

                        for round in 1..3 do
                            step source list [ noise round 2; noise round 1 ]
                            step target other [ noise round 2; noise round 1 ]

                        for p, q in List.zip list other do
                            expectSameBits (values q) (values p) name))

            testCase "loading is all or nothing over all parts" (fun () ->
                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source), struct ("counter", box (Counter(Value = 7L))))

                    let attempts: (string * string list * (Optimizer -> Counter -> struct (string * obj) array)) list =
                        [
                            "a part that refuses",
                            [ "'counter'"; "does not want" ],
                            fun optimizer counter ->
                                counter.Fails <- true
                                [| struct ("optimizer", box optimizer); struct ("counter", box counter) |]
                            "a part that is not there",
                            [ "'scheduler'"; "'optimizer', 'counter'" ],
                            fun optimizer counter ->
                                [|
                                    struct ("counter", box counter)
                                    struct ("optimizer", box optimizer)
                                    struct ("scheduler", box counter)
                                |]
                            "a part of another kind",
                            [ "'counter'"; "'state'" ],
                            fun optimizer counter -> [| struct ("optimizer", box counter); struct ("counter", box optimizer) |]
                        ]

                    for what, _, parts in attempts do
                        let target, _ = trained 5 "Adam" [ "lr", Number 0.5 ]
                        let counter = Counter(Value = 1L)
                        let before = describe (target.StateDict())
                        let given = parts target counter
                        refuses<CheckpointException> what [ path ] (fun () -> Checkpoint.Load(path, given) |> ignore)
                        Expect.equal (describe (target.StateDict())) before $"{what}: the optimizer"
                        Expect.equal counter.Value 1L $"{what}: the counter"))

            testCase "names, shapes and dtypes are checked against the optimizer, and the report says what was done" (fun () ->
                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source))
                    let shaped = Kit.optimizer "Adam" [] [ vector "a" [ 1.0 ]; vector "b" [ 3.0 ] ]

                    refuses<CheckpointException> "another shape" [ "'a'"; "exp_avg" ] (fun () ->
                        Checkpoint.Load(path, struct ("optimizer", box shaped)) |> ignore)

                    let other =
                        [
                            param "a" DType.Float32 [| 2L |] [| 1.0; 2.0 |]
                            param "c" DType.Float32 [| 1L |] [| 1.0 |]
                        ]

                    let target = Kit.optimizer "Adam" [] other

                    refuses<CheckpointException> "other names" [ "c"; "b" ] (fun () ->
                        Checkpoint.Load(path, struct ("optimizer", box target)) |> ignore)

                    let report =
                        Checkpoint.Load(path, false, struct ("optimizer", box target)).Reports["optimizer"]

                    Expect.equal (List.ofSeq report.Matched) [ "a" ] "used"
                    Expect.equal (List.ofSeq report.Missing) [ "c" ] "missed"
                    Expect.equal (List.ofSeq report.Unexpected) [ "b" ] "left over"
                    Expect.equal (List.length (List.ofSeq report.Converted)) 2 "converted"))

            testCase "what cannot be saved or loaded into is refused by name" (fun () ->
                inFolder (fun within ->
                    refuses<ArgumentException> "a date" [ "'when'"; "DateTime" ] (fun () ->
                        Checkpoint.Save(within "x.pt", struct ("when", box DateTime.Now)))

                    refuses<ArgumentException> "a name twice" [ "'a'"; "twice" ] (fun () ->
                        Checkpoint.Save(within "x.pt", struct ("a", box 1), struct ("a", box 2)))

                    refuses<ArgumentException> "a number" [ "'epoch'"; "returns" ] (fun () ->
                        Checkpoint.Load(within "x.pt", struct ("epoch", box 1)) |> ignore)

                    refuses<CheckpointException> "no file" [ within "x.pt" ] (fun () -> Checkpoint.Read(within "x.pt") |> ignore)
                    refuses<CheckpointException> "a folder" [ within "" ] (fun () -> Checkpoint.Read(within "") |> ignore)
                    Expect.isEmpty (Directory.GetFiles(within "")) "files"))

            testCase "no file stays open or mapped after loading" (fun () ->
                if not (Directory.Exists "/proc/self/fd") then
                    skiptest "there is no /proc here"

                inFolder (fun within ->
                    let path = within "run.pt"
                    let source, _ = trained 1 "Adam" []
                    Checkpoint.Save(path, struct ("optimizer", box source))
                    Checkpoint.Load(path, struct ("optimizer", box source)) |> ignore
                    let tree = Checkpoint.Read path

                    let links =
                        [
                            for link in Directory.GetFiles "/proc/self/fd" ->
                                (try
                                    FileInfo(link).LinkTarget
                                 with _ ->
                                     null)
                        ]

                    Expect.isFalse (List.contains path links) "open"
                    Expect.isFalse ((File.ReadAllText "/proc/self/maps").Contains path) "mapped"
                    GC.KeepAlive tree))
        ]

[<Tests>]
let tests =
    testList "checkpoints" [ testList "recorded" (index.Value |> List.map recordedFile); files; parts ]
