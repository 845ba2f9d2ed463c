/// Data sets of the command: IDX files, whole and damaged, folders of them, and Fashion-MNIST where it is installed.
module DataTests

open System
open System.Buffers.Binary
open System.IO
open System.IO.Compression
open Expecto
open Optim.Cli.Data
open Optim.Cli.Training
open Command
open Kit

// Files are made here, byte by byte.

let private header (kind: int) (sizes: int list) =
    [|
        yield! [| 0uy; 0uy; byte kind; byte sizes.Length |]

        for size in sizes do
            let bytes = Array.zeroCreate<byte> 4
            BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(), size)
            yield! bytes
    |]

let private idx kind sizes (content: byte[]) =
    Array.append (header kind sizes) content

let private gzip (bytes: byte[]) =
    use packed = new MemoryStream()

    do
        use stream = new GZipStream(packed, CompressionLevel.Fastest)
        stream.Write(bytes, 0, bytes.Length)

    packed.ToArray()

let private big (values: float32 list) =
    [|
        for value in values do
            let bytes = Array.zeroCreate<byte> 4
            BinaryPrimitives.WriteSingleBigEndian(bytes.AsSpan(), value)
            yield! bytes
    |]

/// Four rows of 2 x 3 to train on, two to test.
let private pixels = [| 0uy .. 23uy |], [| 100uy .. 111uy |]

let private names =
    [
        "train-images-idx3-ubyte"
        "train-labels-idx1-ubyte"
        "t10k-images-idx3-ubyte"
        "t10k-labels-idx1-ubyte"
    ]

let private contents =
    [
        idx 8 [ 4; 2; 3 ] (fst pixels)
        idx 8 [ 4 ] [| 2uy; 0uy; 1uy; 2uy |]
        idx 8 [ 2; 2; 3 ] (snd pixels)
        idx 8 [ 2 ] [| 1uy; 0uy |]
    ]

/// Writes the four files, changed, into a folder, and gives its path.
let private write (file: string -> string) change =
    for i, (name, content) in List.indexed (List.zip names contents) do
        match change i (name: string) (content: byte[]) with
        | Some(name: string, content: byte[]) -> File.WriteAllBytes(file name, content)
        | None -> ()

    file ""

let private asItIs _ name content = Some(name, content)

let private only number (change: string -> byte[] -> (string * byte[]) option) i name content =
    if i = number then
        change name content
    else
        Some(name, content)

let private check (data: DataSet) =
    Expect.equal (data.Features, data.Classes, data.Count, data.TrainingRows, data.IsSplit) (6, 3, 6, 4, true) "sizes"
    Expect.equal (List.init 6 data.Label) [ 2; 0; 1; 2; 1; 0 ] "labels"
    let bytes = Array.append (fst pixels) (snd pixels) |> Array.map float
    // Mean and deviation of the rows to train on, of bytes over 255, to four decimals.
    let trained = fst pixels |> Array.map (fun each -> float each / 255.0)
    let mean = Array.average trained
    let deviation = sqrt (trained |> Array.averageBy (fun each -> (each - mean) ** 2.0))

    let expected =
        bytes
        |> Array.map (fun each -> (each / 255.0 - Math.Round(mean, 4)) / Math.Round(deviation, 4))

    Expect.equal (data.All<float>()) expected "numbers"
    Expect.equal (data.All<float32>()) (Array.map float32 expected) "numbers in single precision"

let private readers =
    [
        testCase "a folder of IDX files is read, gzipped or not, by any of the usual names" (fun () ->
            for change in
                [
                    asItIs
                    fun _ name content -> Some(name + ".gz", gzip content)
                    fun i name content ->
                        Some(
                            (if i % 2 = 0 then
                                 name + ".gz", gzip content
                             else
                                 name, content)
                        )
                    fun _ name content -> Some(name.Replace("-idx", ".idx"), content) // as some archives unpack
                    fun _ name content -> Some($"emnist-letters-{name}".Replace("t10k", "test"), content)
                    fun _ name content -> Some(name, gzip content) // packed, whatever the name says
                ] do
                inFolder (fun file -> check (DataSets.Load(write file change))))

        testCase "where a file is there packed and unpacked, the unpacked one is read" (fun () ->
            inFolder (fun file ->
                File.WriteAllBytes(file (names[0] + ".gz"), [| 1uy |])
                check (DataSets.Load(write file asItIs))))

        testCase "numbers that are no bytes are standardized exactly" (fun () ->
            inFolder (fun file ->
                let floats =
                    write file (fun i name content ->
                        match i with
                        | 0 -> Some(name, idx 0x0D [ 4; 1 ] (big [ 1.0f; 2.0f; 3.0f; 6.0f ]))
                        | 2 -> Some(name, idx 0x0D [ 2; 1 ] (big [ 3.0f; -1.0f ]))
                        | _ -> Some(name, content))

                let data = DataSets.Load floats
                let deviation = sqrt ((4.0 + 1.0 + 0.0 + 9.0) / 4.0)

                Expect.equal
                    (data.All<float>())
                    ([| -2.0; -1.0; 0.0; 3.0; 0.0; -4.0 |]
                     |> Array.map (fun each -> each / deviation))
                    "numbers"))

        testCase "every type of number is read, big-endian" (fun () ->
            inFolder (fun file ->
                for kind, content, expected in
                    [
                        0x08, [| 200uy; 3uy |], [| 200.0; 3.0 |]
                        0x09, [| 200uy; 3uy |], [| -56.0; 3.0 |]
                        0x0B, [| 1uy; 2uy; 0xFFuy; 0xFEuy |], [| 258.0; -2.0 |]
                        0x0C, [| 0uy; 1uy; 0uy; 0uy; 0xFFuy; 0xFFuy; 0xFFuy; 0xFFuy |], [| 65536.0; -1.0 |]
                        0x0D, big [ 1.5f; -2.0f ], [| 1.5; -2.0 |]
                        0x0E,
                        [|
                            0x3Fuy
                            0xF8uy
                            yield! Array.zeroCreate 6
                            0xC0uy
                            yield! Array.zeroCreate 7
                        |],
                        [| 1.5; -2.0 |]
                    ] do
                    File.WriteAllBytes(file "numbers", idx kind [ 2 ] content)
                    Expect.equal (IdxFile.Read(file "numbers").Numbers()) expected $"type {kind}"))

        testCase "pictures without any difference are not divided by zero" (fun () ->
            inFolder (fun file ->
                let flat =
                    only 0 (fun name _ -> Some(name, idx 8 [ 4; 2; 3 ] (Array.create 24 7uy)))

                Expect.all ((DataSets.Load(write file flat)).All<float>()) Double.IsFinite "finite"))

        testCase "a run trains on them, and never on the rows to test" (fun () ->
            inFolder (fun file ->
                let output =
                    succeeds "train --epochs 2 --batch-size 4 --threads 1 --data" [ write file asItIs ]

                Expect.stringContains output "6-128-3" "the model's sizes"
                Expect.stringContains output "4 rows to train on, 2 to test" "rows"
                refused [ "train"; "--data"; file ""; "--batch-size"; "5" ] [ "--batch-size"; "'5'"; "1 to 4" ]))
    ]

let private damaged =
    [
        "is missing", only 1 (fun _ _ -> None), [ "'train'"; "'label'"; "train-labels-idx1-ubyte" ]
        "is there twice", only 0 (fun name content -> Some($"my-{name}", content)), []
        "is empty", only 2 (fun name _ -> Some(name, [||])), [ names[2]; "ends too early" ]
        "ends in its header", only 2 (fun name content -> Some(name, content[..9])), [ names[2]; "ends too early" ]
        "ends in its numbers", only 0 (fun name content -> Some(name, content[.. content.Length - 2])), [ names[0]; "ends too early" ]
        "goes on after its numbers",
        only 0 (fun name content -> Some(name, Array.append content [| 0uy |])),
        [ names[0]; "more in the file than its sizes, 4 x 2 x 3" ]
        "is a text", only 0 (fun name _ -> Some(name, "hello world"B)), [ names[0]; "no IDX file"; "68656C6C" ]
        "has a type that is not known", only 0 (fun name _ -> Some(name, idx 0x0A [ 4 ] [| 1uy |])), [ names[0]; "no IDX file" ]
        "claims sizes that it cannot have",
        only 0 (fun name _ -> Some(name, idx 8 [ Int32.MaxValue; 1000; 1000 ] [| 1uy |])),
        [ names[0]; "ends too early" ]
        "claims a negative size", only 0 (fun name _ -> Some(name, idx 8 [ -1; 2; 3 ] [||])), [ names[0]; "dimension" ]
        "has no row", only 0 (fun name _ -> Some(name, idx 8 [ 0; 2; 3 ] [||])), [ names[0]; "none of size 0" ]
        "has rows without a shape", only 0 (fun name _ -> Some(name, idx 8 [ 24 ] (fst pixels))), [ names[0]; "two dimensions" ]
        "is packed and cut off", only 0 (fun name content -> Some(name, (gzip content)[..15])), [ names[0] ]
        "is packed and damaged",
        only 0 (fun name content -> Some(name, gzip content |> Array.mapi (fun i each -> if i > 12 then ~~~each else each))),
        [ names[0] ]
        "has another shape to test than to train",
        only 2 (fun name _ -> Some(name, idx 8 [ 2; 6 ] (snd pixels))),
        [ names[2]; "another shape" ]
        "has too few labels", only 1 (fun name _ -> Some(name, idx 8 [ 3 ] [| 0uy; 1uy; 2uy |])), [ names[1]; "must be 4 labels" ]
        "has labels of two dimensions", only 1 (fun name _ -> Some(name, idx 8 [ 2; 2 ] (Array.zeroCreate 4))), [ names[1]; "2 x 2" ]
        "has labels that are none",
        only 1 (fun name _ -> Some(name, idx 0x0D [ 4 ] (big [ 0.0f; 1.5f; 0.0f; 0.0f ]))),
        [ names[1]; "1.5 is no label" ]
        "has negative labels", only 3 (fun name _ -> Some(name, idx 9 [ 2 ] [| 255uy; 0uy |])), [ names[3]; "-1 is no label" ]
    ]
    |> List.map (fun (what, change, words) ->
        testCase $"refused in one sentence: a file {what}" (fun () ->
            inFolder (fun file ->
                let folder = write file change

                if what = "is there twice" then
                    write file asItIs |> ignore
                    refused [ "train"; "--data"; folder ] [ "several files"; $"my-{names[0]}"; names[0] ]
                else
                    refused [ "train"; "--data"; folder ] words)))

let private fashion =
    let isHere = Directory.Exists DataSets.FashionMnistFolder

    [
        testCase "without Fashion-MNIST there is a hint how to install it" (fun () ->
            inFolder (fun file ->
                let hint =
                    Expect.throwsC (fun () -> DataSets.Load(DataSets.FashionMnist, file "nowhere") |> ignore) (fun e -> e.Message)

                Expect.stringContains hint "apt-get install dataset-fashion-mnist" "hint"
                Expect.stringContains hint (file "nowhere") "where it was looked for"))

        testCase "Fashion-MNIST is as published" (fun () ->
            if not isHere then
                skiptest "dataset-fashion-mnist is not installed"

            let data = DataSets.Load DataSets.FashionMnist
            Expect.equal (data.Features, data.Classes, data.Count, data.TrainingRows) (784, 10, 70000, 60000) "sizes"
            Expect.equal (List.init 5 data.Label) [ 9; 0; 0; 3; 0 ] "first labels"

            let counts =
                Seq.init 60000 data.Label
                |> Seq.countBy id
                |> Seq.map snd
                |> Seq.distinct
                |> List.ofSeq

            Expect.equal counts [ 6000 ] "as many of each"
            let row = Array.zeroCreate<float> 784
            data.Reader<float>().Invoke(0, row.AsSpan())
            Expect.equal row[0] ((0.0 - 0.2860) / 0.3530) "a black pixel")

        testCase "recorded runs on Fashion-MNIST are recognised and repeated within rounding" (fun () ->
            if not isHere then
                skiptest "dataset-fashion-mnist is not installed"

            let path = Path.Combine(Golden.folder, "training.json")

            if not (File.Exists path) then
                skiptestf "there is no %s" path

            let runs =
                RecordedRun.ReadAll path
                |> Seq.filter (fun run -> run.DType = "float64" && (run.Optimizer = "SGD" || run.Optimizer = "AdamW"))
                |> ResizeArray

            let report = Replay.Run(runs, threads = Nullable 1)
            Expect.isGreaterThan report.Rows.Count 2 "runs"

            for row in report.Rows do
                Expect.equal (List.ofSeq row.Failures) [] row.Run.Optimizer
                Expect.isLessThan row.LargestLossDifference 1e-12 "losses")
    ]

[<Tests>]
let tests =
    testList
        "data"
        [
            testList "readers" readers
            testList "damaged" damaged
            testList "fashion-mnist" fashion
        ]
