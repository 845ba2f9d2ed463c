/// The formats of checkpoint files: what is written is read back, to the bit, and lies where the formats ask for it.
module CheckpointFormatTests

open System
open System.Collections.Generic
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit
open CheckpointContents

let tests =
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

            testCase "tensors without elements give the same file, wherever they lie" (fun () ->
                inFolder (fun within ->
                    let memory = tensor DType.Float32 [| 64L |] (Array.zeroCreate 64)

                    let at (offset: int) =
                        TensorView(
                            memory.Address + nativeint offset,
                            Layout.Contiguous(DType.Float32, ReadOnlySpan [| 0L |]),
                            memory.Owner
                        )

                    let file offsets =
                        let tree =
                            Tree.ListOf(Tree.Tensor memory :: [ for offset in offsets -> Tree.Tensor(at offset) ])

                        Checkpoint.Write(within "empty.pt", tree)
                        Expect.equal (Checkpoint.Read(within "empty.pt")) tree "content"
                        File.ReadAllBytes(within "empty.pt")

                    let expected = file [ 0; 0 ]

                    for offsets in [ [ 0; 64 ]; [ 64; 0 ]; [ 256; 128 ] ] do
                        Expect.sequenceEqual (file offsets) expected $"{offsets}"))

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
