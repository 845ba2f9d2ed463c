/// Files that want to do harm, or are damaged: each is read or refused in one clear sentence, in bounded time and memory.
module HostileTests

open System
open System.Diagnostics
open System.IO
open System.Text
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit

let private index =
    lazy
        (let path = golden (Path.Combine("hostile", "index.json"))

         if File.Exists path then
             use document = JsonDocument.Parse(File.ReadAllText path)
             Golden.list id (document.RootElement.Clone())
         else
             [])

let private pathOf case =
    golden (Path.Combine("hostile", Golden.text (Golden.field "file" case)))

/// Whether a tree holds what the index says: plain lists for .pt, shape, dtype and values for .safetensors.
let private expectContent (content: JsonElement) (tree: Tree) =
    Expect.equal
        (set [ for key in tree.AsMap().Keys -> key.ToString().Trim '\'' ])
        (set [ for entry in content.EnumerateObject() -> entry.Name ])
        "names"

    for entry in content.EnumerateObject() do
        let view = tree[entry.Name].AsTensor()

        if entry.Value.ValueKind = JsonValueKind.Array then
            expectSameBits (view.ToDoubles()) (Golden.numbers entry.Value) entry.Name
        else
            Expect.equal (view.DType.Name()) (Golden.text (Golden.field "dtype" entry.Value)) $"{entry.Name}: dtype"

            Expect.equal
                (List.ofSeq view.Shape)
                (Golden.field "shape" entry.Value |> Golden.list (Golden.number >> int64))
                $"{entry.Name}: shape"

            expectSameBits (view.ToDoubles()) (Golden.numbers (Golden.field "values" entry.Value)) entry.Name

let private recorded case =
    let file = Golden.text (Golden.field "file" case)
    let why = Golden.text (Golden.field "why" case)

    testCase $"{file}: {why}" (fun () ->
        let path = pathOf case

        if Golden.text (Golden.field "expect" case) = "read" then
            expectContent (Golden.field "content" case) (Checkpoint.Read path)

            Golden.tryField "metadata" case
            |> Option.iter (fun metadata ->
                for entry in metadata.EnumerateObject() do
                    Expect.equal ((Checkpoint.ReadMetadata path)[entry.Name]) (Golden.text entry.Value) entry.Name)
        else
            refuses<CheckpointException> file [ path ] (fun () -> Checkpoint.Read path |> ignore)

            match thrown file (fun () -> Checkpoint.Read path |> ignore) with
            | e -> Expect.isFalse (e.Message.Contains '\n') $"one sentence: {e.Message}")

let private bounds =
    testSequenced (
        testCase "inspect takes at most 2 seconds and 256 MB more than on an empty file, and says what is wrong in one sentence" (fun () ->
            needsProcesses ()

            inFolder (fun within ->
                File.WriteAllBytes(within "empty.pt", [||])
                let struct (_, floor, least, _) = inspected [ within "empty.pt" ]

                for case in index.Value do
                    let struct (code, seconds, peak, error) = inspected [ pathOf case ]
                    let file = Golden.text (Golden.field "file" case)
                    let read = Golden.text (Golden.field "expect" case) = "read"
                    Expect.equal code (if read then 0 else 1) $"{file}: exit code; {error}"
                    Expect.equal (error.Trim().Split('\n').Length) 1 $"{file}: one sentence: {error}"
                    // What counts is the processor's time beyond that of an empty file: the machine may be busy.
                    Expect.isLessThan seconds (2.0 + floor) $"{file}: seconds"
                    Expect.isLessThan (peak - least) (256L <<< 20) $"{file}: bytes"))
    )

let private plain =
    lazy (entriesOf (golden (Path.Combine("checkpoints", "SGD.pt"))))

/// Those that the index does not have.
let private made =
    let refused what words zip64 change =
        testCase what (fun () ->
            inFolder (fun within ->
                rawZip zip64 (within "x.pt") (change plain.Value)
                refuses<CheckpointException> what words (fun () -> Checkpoint.Read(within "x.pt") |> ignore)))

    let replaced name content entries =
        entries
        |> List.map (fun entry ->
            if entry.Name.EndsWith(name, StringComparison.Ordinal) then
                rawEntry entry.Name content
            else
                entry)

    let first change entries =
        match entries with
        | first :: rest -> change first :: rest
        | [] -> []

    testList
        "made"
        [
            refused "a byte order that is none" [ "middle-endian" ] false (replaced "byteorder" "middle"B)
            refused "an entry twice" [ "SGD/data/0"; "twice" ] false (fun entries ->
                entries @ [ entries |> List.find _.Name.EndsWith("data/0") ])
            refused
                "a local header of another name"
                [ "disagree" ]
                false
                (first (fun entry ->
                    { entry with
                        LocalName = "SGD/data.pkx"
                    }))
            testCase "names with line ends and other controls are shown without them" (fun () ->
                inFolder (fun within ->
                    let renamed entry =
                        { entry with
                            Name = "SGD/a\nb\027[31m"
                            LocalName = "SGD/c"
                        }

                    for what, change in
                        [
                            "disagree", first renamed
                            "twice",
                            (fun entries ->
                                let other =
                                    { renamed (List.head entries) with
                                        LocalName = "SGD/a\nb\027[31m"
                                    }

                                entries @ [ other; other ])
                        ] do
                        rawZip false (within "x.pt") (change plain.Value)
                        let e = thrown what (fun () -> Checkpoint.Read(within "x.pt") |> ignore)
                        Expect.stringContains e.Message what "why"
                        Expect.stringContains e.Message @"SGD/a\nb\x1b[31m" "the name"
                        Expect.isFalse (Seq.exists Char.IsControl e.Message) e.Message))
            refused "a local header of another size" [ "disagree" ] false (first (fun entry -> { entry with LocalSize = 1L }))
            refused "a local header of another checksum" [ "disagree" ] false (first (fun entry -> { entry with LocalCrc = 1u }))
            refused "a local header of another size, zip64" [ "disagree" ] true (first (fun entry -> { entry with LocalSize = 1L <<< 40 }))
            testCase "zip64 is read" (fun () ->
                inFolder (fun within ->
                    rawZip true (within "x.pt") plain.Value

                    Expect.equal
                        (Checkpoint.Read(within "x.pt"))
                        (Checkpoint.Read(golden (Path.Combine("checkpoints", "SGD.pt"))))
                        "content"))
            testCase "a whole number of more bytes than PyTorch reads, a dict with a list as key, an instruction of protocol 1" (fun () ->
                for what, pickle in
                    [
                        "whole number", Array.concat [ [| 0x80uy; 2uy; 0x8buy; 0uy; 1uy; 0uy; 0uy |]; Array.create 256 1uy; "."B ]
                        "key", Array.append [| 0x80uy; 2uy |] "}]K\001s."B
                        "instruction 0x49", Array.append [| 0x80uy; 2uy |] "I1\n."B
                    ] do
                    inFolder (fun within ->
                        rawZip false (within "x.pt") (replaced "data.pkl" pickle plain.Value)
                        refuses<CheckpointException> what [ within "x.pt" ] (fun () -> Checkpoint.Read(within "x.pt") |> ignore)))
        ]

let private goodFiles =
    lazy
        [
            if Directory.Exists Golden.folder then
                for path in Directory.GetFiles(golden "checkpoints") |> Array.sort do
                    if not (path.Contains "malicious" || path.Contains "legacy") then
                        path

                for case in index.Value do
                    if Golden.text (Golden.field "expect" case) = "read" then
                        pathOf case
        ]

/// Some bytes changed, cut out, doubled, or replaced by extremes.
let private mutate (random: Random) (bytes: byte[]) =
    let bytes = ResizeArray bytes

    for _ in 0 .. random.Next 4 do
        if bytes.Count > 0 then
            let at = random.Next bytes.Count

            match random.Next 6 with
            | 0 -> bytes[at] <- bytes[at] ^^^ (1uy <<< random.Next 8)
            | 1 -> bytes[at] <- byte (random.Next 256)
            | 2 -> bytes[at] <- if random.Next 2 = 0 then 0uy else 255uy
            | 3 -> bytes.RemoveRange(at, min (1 + random.Next 8) (bytes.Count - at))
            | 4 -> bytes.InsertRange(at, bytes.GetRange(at, min (1 + random.Next 16) (bytes.Count - at)))
            | _ ->
                for i in at .. min (at + 7) (bytes.Count - 1) do
                    bytes[i] <- 255uy

    bytes.ToArray()

let private mutations (path: string) =
    let name = nonNull (Path.GetFileName path)

    testCase $"{name}, changed at random, is read or refused" (fun () ->
        let random = Random(name.Length + int (FileInfo path).Length)
        let whole = File.ReadAllBytes path
        let isZip = whole.Length > 1 && whole[0] = byte 'P'
        let entries = if isZip then entriesOf path else []
        let count = casesOf "OPTIM_MUTATIONS" 500

        inFolder (fun within ->
            let changed = within ("x" + Path.GetExtension path)

            for case in 1..count do
                // Half of the archives are put together anew, so that the damage is behind a checksum that fits.
                if isZip && case % 2 = 0 then
                    rawZip
                        false
                        changed
                        (entries
                         |> List.map (fun entry ->
                             if entry.Name.EndsWith("data.pkl", StringComparison.Ordinal) then
                                 rawEntry entry.Name (mutate random entry.Content)
                             else
                                 entry))
                else
                    File.WriteAllBytes(changed, mutate random whole)

                let clock = Stopwatch.StartNew()
                let before = GC.GetAllocatedBytesForCurrentThread()

                try
                    use file = Checkpoints.CheckpointFile.Open changed
                    Optim.Cli.Inspection.TreeText.Write(file.Tree, file.Length, Action<string> ignore)
                with
                | :? CheckpointException as e -> Expect.isFalse (e.Message.Contains '\n') e.Message
                | e ->
                    let kept =
                        Path.Combine(Path.GetTempPath(), $"optim-mutation-{case}{Path.GetExtension path}")

                    File.Copy(changed, kept, true)
                    failtestf "case %d (kept as %s): %O" case kept e

                Expect.isLessThan (GC.GetAllocatedBytesForCurrentThread() - before) (256L <<< 20) "bytes"
                // Milliseconds; a busy machine may let it wait.
                Expect.isLessThan clock.Elapsed.TotalSeconds 60.0 "seconds"))

[<Tests>]
let tests =
    testList
        "hostile files"
        [
            testList "recorded" (index.Value |> List.map recorded)
            made
            bounds
            testList "mutations" (goodFiles.Value |> List.map mutations)
        ]
