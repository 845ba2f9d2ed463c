/// What the tests of checkpoint files share.
module CheckpointKit

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

let golden (name: string) = Path.Combine(Golden.folder, name)

/// A number of cases that an environment variable may raise.
let casesOf (variable: string) fewer =
    match Int32.TryParse(Environment.GetEnvironmentVariable variable) with
    | true, count -> count
    | _ -> fewer

/// Whether a tree holds what JSON says: {"tensor": {shape, dtype, values}} for tensors, keys as texts.
let rec expectJson (where: string) (json: JsonElement) (tree: Tree) =
    match json.ValueKind, tree with
    | JsonValueKind.Null, Tree.None -> ()
    | (JsonValueKind.True | JsonValueKind.False), Tree.Bool flag -> Expect.equal flag (json.GetBoolean()) where
    | JsonValueKind.Number, Tree.Int number -> Expect.equal (double number) (json.GetDouble()) where
    | (JsonValueKind.Number | JsonValueKind.String), Tree.Float number -> expectSameBits [| number |] [| Golden.number json |] where
    | JsonValueKind.String, Tree.Text text -> Expect.equal text (Golden.text json) where
    | JsonValueKind.Array, (Tree.List items | Tree.Tuple items) ->
        Expect.equal items.Length (json.GetArrayLength()) $"{where}: items"

        for i, json in Seq.indexed (json.EnumerateArray()) do
            expectJson $"{where}[{i}]" json items[i]
    | JsonValueKind.Object, Tree.Tensor view ->
        let tensor = json.GetProperty "tensor"
        Expect.equal (view.DType.Name()) (Golden.text (tensor.GetProperty "dtype")) $"{where}: dtype"

        let shape =
            tensor.GetProperty "shape" |> Golden.list Golden.number |> List.map int64

        Expect.equal (List.ofSeq view.Shape) shape $"{where}: shape"
        expectSameBits (view.ToDoubles()) (Golden.numbers (tensor.GetProperty "values")) where
    | JsonValueKind.Object, Tree.Map map ->
        let expected = [ for entry in json.EnumerateObject() -> entry.Name ]

        let text (key: TreeKey) =
            if key.IsText then
                key.ToString().Trim '\''
            else
                key.ToString()

        Expect.equal [ for key in map.Keys -> text key ] expected $"{where}: keys"

        for (entry: JsonProperty), (found: KeyValuePair<TreeKey, Tree>) in Seq.zip (json.EnumerateObject()) map do
            expectJson $"{where}.{entry.Name}" entry.Value found.Value
    | kind, _ -> failtestf "%s: %s instead of %O" where (tree.Described) kind

/// A tree in one line, with kinds, bits, strides, and which tensors share a storage: as python/checkpoints.py describes what torch.load gives.
let describeTree (tree: Tree) =
    let storages = List<obj>()

    let storageOf (view: TensorView) =
        match storages.IndexOf view.Owner with
        | -1 ->
            storages.Add view.Owner
            storages.Count - 1
        | index -> index

    // As Python's json.dumps.
    let text (value: string) =
        let escaped (c: char) =
            match c with
            | '"' -> "\\\""
            | '\\' -> "\\\\"
            | '\n' -> "\\n"
            | c when c < ' ' || c > '~' -> "\\u" + (int c).ToString "x4"
            | c -> string c

        "\"" + String.collect escaped value + "\""

    let join (separator: string) (items: seq<string>) = String.Join(separator, items)

    let rec go tree =
        match tree with
        | Tree.None -> "None"
        | Tree.Bool flag -> if flag then "True" else "False"
        | Tree.Int number -> $"{number}"
        | Tree.Float number -> "f" + BitConverter.DoubleToInt64Bits(number).ToString "x16"
        | Tree.Text value -> text value
        | Tree.Tensor view ->
            let copy = view.Copy()

            let bytes =
                TensorView(
                    copy.Address,
                    Layout.Contiguous(DType.UInt8, ReadOnlySpan [| int64 copy.Count * int64 (copy.DType.Size()) |]),
                    copy.Owner
                )

            let hex = Convert.ToHexString(bytes.AsSpan<byte>().ToArray()).ToLowerInvariant()

            let shape, strides =
                join "," (Seq.map string view.Shape), join "," (Seq.map string view.Strides)

            $"{view.DType.Name()}[{shape}]({strides})@{storageOf view}:{hex}"
        | Tree.List items -> "[" + join ", " (Seq.map go items) + "]"
        | Tree.Tuple items -> "(" + join ", " (Seq.map go items) + ")"
        | Tree.BigInt _
        | Tree.Complex _
        | Tree.Bytes _ -> string tree
        | Tree.Tagged("torch.Size", arguments) -> go arguments[0] // a tuple in Python, too
        | Tree.Tagged(name, arguments) -> name + "(" + join ", " (Seq.map go arguments) + ")"
        | Tree.Map map ->
            let name =
                match map.Kind with
                | MapKind.OrderedDict -> "OrderedDict"
                | MapKind.Counter -> "Counter"
                | _ -> "dict"

            let key (key: TreeKey) =
                if key.IsText then
                    text (key.ToString()[1 .. key.ToString().Length - 2])
                else
                    key.ToString()

            name
            + "{"
            + join ", " (map |> Seq.map (fun entry -> key entry.Key + ": " + go entry.Value))
            + "}"

    go tree

/// The public class of that name with default options: it takes the parameters first, and whatever else is optional.
let createOptimizer (name: string) (list: seq<#IParameterOrGroup>) : Optimizer =
    let found =
        typeof<Optimizer>.Assembly.GetType($"Optim.{name}", throwOnError = true)
        |> nonNull

    let takesParameters (constructor: Reflection.ConstructorInfo) =
        match constructor.GetParameters() |> List.ofArray with
        | first :: rest ->
            first.ParameterType.IsAssignableFrom typeof<IParameterOrGroup[]>
            && rest |> List.forall _.IsOptional
        | [] -> false

    let constructor = found.GetConstructors() |> Array.find takesParameters
    let given = list |> Seq.map (fun p -> p :> IParameterOrGroup) |> Seq.toArray

    let arguments =
        constructor.GetParameters()
        |> Array.mapi (fun i p -> if i = 0 then box given else p.DefaultValue)

    constructor.Invoke arguments :?> Optimizer

/// A zip archive of stored entries, written without regard to what is right.
type RawEntry =
    {
        Name: string
        Content: byte[]
        /// In the local header, where it differs from the directory's.
        LocalName: string
        LocalSize: int64
        LocalCrc: uint32
    }

let rawEntry name (content: byte[]) =
    {
        Name = name
        Content = content
        LocalName = name
        LocalSize = content.LongLength
        LocalCrc = Checkpoints.Crc32.Append(0u, ReadOnlySpan content)
    }

let rawZip zip64 (path: string) (entries: RawEntry list) =
    use file = File.Create path
    use writer = new BinaryWriter(file)
    let u16 (value: int) = writer.Write(uint16 value)
    let u32 (value: uint32) = writer.Write value

    let narrow (value: int64) =
        if zip64 then UInt32.MaxValue else uint32 value

    let places =
        [
            for entry in entries do
                let place = file.Position
                let name = Encoding.UTF8.GetBytes entry.LocalName
                u32 0x04034b50u
                [ 45; 0x800; 0; 0; 0x21 ] |> List.iter u16
                u32 entry.LocalCrc
                u32 (narrow entry.LocalSize)
                u32 (narrow entry.LocalSize)
                u16 name.Length
                u16 (if zip64 then 20 else 0)
                writer.Write name

                if zip64 then
                    u16 1
                    u16 16
                    writer.Write entry.LocalSize
                    writer.Write entry.LocalSize

                writer.Write entry.Content
                entry, place
        ]

    let directory = file.Position

    for entry, place in places do
        let name = Encoding.UTF8.GetBytes entry.Name
        u32 0x02014b50u
        [ 45; 45; 0x800; 0; 0; 0x21 ] |> List.iter u16
        u32 (Checkpoints.Crc32.Append(0u, ReadOnlySpan entry.Content))
        u32 (narrow entry.Content.LongLength)
        u32 (narrow entry.Content.LongLength)
        u16 name.Length
        u16 (if zip64 then 28 else 0)
        [ 0; 0; 0 ] |> List.iter u16
        u32 0u
        u32 (narrow place)
        writer.Write name

        if zip64 then
            u16 1
            u16 24
            writer.Write entry.Content.LongLength
            writer.Write entry.Content.LongLength
            writer.Write place

    let size = file.Position - directory

    if zip64 then
        let record = file.Position
        u32 0x06064b50u
        writer.Write 44L
        u16 45
        u16 45
        u32 0u
        u32 0u
        writer.Write(int64 entries.Length)
        writer.Write(int64 entries.Length)
        writer.Write size
        writer.Write directory
        u32 0x07064b50u
        u32 0u
        writer.Write record
        u32 1u

    u32 0x06054b50u
    u16 0
    u16 0
    u16 (if zip64 then 0xffff else entries.Length)
    u16 (if zip64 then 0xffff else entries.Length)
    u32 (narrow size)
    u32 (narrow directory)
    u16 0

/// The entries of an archive, by .NET's own reader.
let entriesOf (path: string) =
    use archive = Compression.ZipFile.OpenRead path

    [
        for entry in archive.Entries do
            use stream = entry.Open()
            use memory = new MemoryStream()
            stream.CopyTo memory
            rawEntry entry.FullName (memory.ToArray())
    ]

/// The exit code of `optim inspect` in a process of its own, the seconds of a processor and the most memory that it takes, and its errors.
let inspected (arguments: string list) =
    let start =
        ProcessStartInfo(
            "dotnet",
            Path.Combine(AppContext.BaseDirectory, "optim.dll") :: "inspect" :: arguments,
            RedirectStandardOutput = true,
            RedirectStandardError = true
        )

    use child = nonNull (Process.Start start)
    let output = child.StandardOutput.BaseStream.CopyToAsync Stream.Null
    let error = child.StandardError.ReadToEndAsync()
    let mutable peak = 0L
    let mutable seconds = 0.0

    while not (child.WaitForExit 4) do
        try
            seconds <- child.TotalProcessorTime.TotalSeconds

            for line in File.ReadLines $"/proc/{child.Id}/status" do
                if line.StartsWith("VmHWM:", StringComparison.Ordinal) then
                    peak <-
                        max
                            peak
                            (Int64.Parse(line.Split([| ' '; '\t' |], StringSplitOptions.RemoveEmptyEntries)[1])
                             * 1024L)
        with
        | :? IOException
        | :? InvalidOperationException
        | :? System.ComponentModel.Win32Exception -> () // It has ended meanwhile.

    output.Wait()
    error.Wait()
    struct (child.ExitCode, seconds, peak, error.Result)

/// Skips a test where processes cannot be measured.
let needsProcesses () =
    if
        not (Directory.Exists "/proc/self")
        || not (File.Exists(Path.Combine(AppContext.BaseDirectory, "optim.dll")))
    then
        skiptest "there is no /proc here, or no optim.dll beside the tests"

/// A dict of these keys and values.
let keyed entries =
    Tree.MapOf(MapKind.Dict, [ for (key: Tree), value in entries -> KeyValuePair(TreeKey.Of key, value) ])
