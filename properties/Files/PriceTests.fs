/// What reading a file may cost: memory and time grow with its size, not with its cunning. A file that needs more than its budget is
/// refused by a message that names the budget, what was reached, and how it is raised.
module PriceTests

open System
open System.Collections.Generic
open System.Diagnostics
open System.IO
open System.Text
open Expecto
open Optim
open Optim.Core
open Kit
open CheckpointKit

/// A pickle put together from pieces.
type private Pickle() =
    let bytes = new MemoryStream()
    do bytes.Write(ReadOnlySpan [| 0x80uy; 2uy |])

    member pickle.Add(piece: byte[]) =
        bytes.Write(ReadOnlySpan piece)
        pickle

    member pickle.Add(piece: string) =
        pickle.Add(Encoding.Latin1.GetBytes piece)

    member pickle.Repeat(count: int, piece: string) =
        let piece = Encoding.Latin1.GetBytes piece

        for _ in 1..count do
            bytes.Write(ReadOnlySpan piece)

        pickle

    member pickle.Text(text: string) =
        pickle.Add("X").Add(BitConverter.GetBytes(Encoding.UTF8.GetByteCount text)).Add(Encoding.UTF8.GetBytes text)

    member _.Write(path: string) =
        bytes.WriteByte(byte '.')

        rawZip false path [ rawEntry "x/data.pkl" (bytes.ToArray()); rawEntry "x/version" "3\n"B ]

/// A .safetensors file of a header and some bytes after it.
let private safetensors (path: string) (pieces: seq<string>) (length: int) =
    use file = File.Create path
    file.Position <- 8L

    for piece in pieces do
        file.Write(ReadOnlySpan(Encoding.UTF8.GetBytes piece))

    let header = file.Position - 8L
    file.Write(ReadOnlySpan(Array.zeroCreate<byte> length))
    file.Position <- 0L
    file.Write(ReadOnlySpan(BitConverter.GetBytes header))

type private Outcome =
    | Read
    | Refused of words: string list

let private overBudget = Refused [ "budget"; "are reached"; "--budget-" ]

let private one = """{"dtype":"U8","shape":[1],"data_offsets":[0,1]}"""

/// What is done to files, how it ends, and how the file is made.
let private cunning: (string * string list * Outcome * string * (string -> unit)) list =
    [
        "a list of 40,000 pairs that is made a dict 500 times",
        [],
        overBudget,
        "a.pt",
        fun path ->
            let pairs = Pickle().Add("ccollections\nOrderedDict\nq\000](")

            for i in 0..39999 do
                pairs.Add("J").Add(BitConverter.GetBytes i).Add("K\000\x86") |> ignore

            pairs.Add("eq\001](").Repeat(500, "h\000h\001\x85R").Add("e").Write path
        "a key of a million characters that is set 20,000 times",
        [],
        Read,
        "b.pt",
        fun path -> Pickle().Add("}").Text(String('k', 1000000)).Add("q\0000").Repeat(20000, "h\000Ns").Write path
        "20,000 dicts of one key of a million characters",
        [],
        Read,
        "c.pt",
        fun path -> Pickle().Text(String('k', 1000000)).Add("q\0000](").Repeat(20000, "}h\000Ns").Add("e").Write path
        "20 million empty dicts", [], overBudget, "d.pt", (fun path -> Pickle().Add("](").Repeat(20000000, "}").Add("e").Write path)
        "50 million instructions that come to nothing",
        [],
        overBudget,
        "e.pt",
        fun path -> Pickle().Repeat(25000000, "N0").Add("N").Write path
        "40 million numbers", [], overBudget, "f.pt", (fun path -> Pickle().Add("](").Repeat(40000000, "K\001").Add("e").Write path)
        "200,000 keys that have one hash if theirs is their own",
        [],
        Read,
        "g.pt",
        fun path ->
            let keys = Pickle().Add("}(")

            for i in 1..200000 do
                keys.Add("\x8a\008").Add(BitConverter.GetBytes((int64 i <<< 32) ||| int64 i)).Add("N")
                |> ignore

            keys.Add("u").Write path
        "a tuple as key that unfolds without end",
        [],
        overBudget,
        "h.pt",
        fun path -> Pickle().Add("}K\001q\0000").Repeat(60, "h\000h\000\x86q\0000").Add("h\000Ns").Write path
        "lists that unfold without end",
        [],
        overBudget,
        "i.pt",
        fun path -> Pickle().Add("]q\0000").Repeat(60, "](h\000h\000eq\0000").Add("h\000").Write path
        "501 references to a text of a million characters, as JSON",
        [ "--json" ],
        Read,
        "j.pt",
        fun path -> Pickle().Text(String('t', 1000000)).Add("q\0000](").Repeat(501, "h\000").Add("e").Write path
        "a text that is said to be longer than the budget",
        [],
        overBudget,
        "k.pt",
        fun path -> Pickle().Text(String('t', 60000000)).Write path
        "an archive of 250,000 entries",
        [],
        overBudget,
        "l.pt",
        fun path ->
            let nothing = rawEntry "" [||]

            rawZip
                true
                path
                [
                    for i in 1..250000 ->
                        { nothing with
                            Name = $"x/{i}"
                            LocalName = $"x/{i}"
                        }
                ]
        "a header of 100 MB of tensors",
        [],
        overBudget,
        "m.safetensors",
        fun path ->
            let entry i =
                $"\"%07d{i}\":{{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[0,0]}}"

            let pieces =
                seq {
                    yield "{"
                    yield entry 0

                    for i in 1..1650000 do
                        yield "," + entry i

                    yield "}"
                }

            safetensors path pieces 0
        "a header of 100 MB of one name",
        [],
        overBudget,
        "n.safetensors",
        fun path -> safetensors path [ "{\""; String('n', 99000000); $"\":{one}}}" ] 1
        "a shape of 40 million dimensions",
        [],
        Refused [ "64 dimensions" ],
        "o.safetensors",
        fun path ->
            let ones = String.replicate 1000000 "1,"

            safetensors
                path
                ([ "{\"a\":{\"dtype\":\"U8\",\"shape\":[" ]
                 @ List.replicate 40 ones
                 @ [ "1],\"data_offsets\":[0,1]}}" ])
                1
        "a header of 90 MB of spaces",
        [],
        Read,
        "p.safetensors",
        fun path -> safetensors path [ "{"; String(' ', 90000000); $"\"a\":{one}}}" ] 1
        "a field of 90 MB that the format does not have",
        [],
        Read,
        "q.safetensors",
        fun path ->
            let zeros = String.replicate 1000000 "0,"

            safetensors
                path
                ([ "{\"a\":{\"more\":[" ]
                 @ List.replicate 45 zeros
                 @ [ "0],\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}" ])
                1
    ]

let private inProcess =
    testList
        "budget"
        [
            testCase
                "a budget that does not suffice is named, with what was reached and the argument that raises it; a larger one reads"
                (fun () ->
                    inFolder (fun within ->
                        let path = within "x.pt"
                        Checkpoint.Write(path, Tree.ListOf [ for i in 1..1000 -> Tree.Dict(struct ($"key {i}", Tree.Text $"value {i}")) ])

                        for part, small in
                            [
                                "Nodes", ReadBudget(Nodes = 100L)
                                "Bytes", ReadBudget(Bytes = 10000L)
                                "HashedCharacters", ReadBudget(HashedCharacters = 0L)
                            ] do
                            refuses<CheckpointException>
                                part
                                [ path; "budget"; "are reached"; "ReadBudget.Default with"; part ]
                                (fun () -> Checkpoint.Read(path, budget = small) |> ignore)

                        Expect.equal (Checkpoint.Read(path).AsItems().Length) 1000 "the usual one suffices"))

            testCase "no recorded file comes near the budget" (fun () ->
                let near =
                    ReadBudget(Nodes = 1000000L, Bytes = 10000000L, HashedCharacters = 1000000L, RepeatedBytes = 1000000L)

                for folder in [ "checkpoints"; "kinds" ] do
                    if Directory.Exists(golden folder) then
                        for path in Directory.GetFiles(golden folder, "*.pt") do
                            try
                                Checkpoint.Read(path, budget = near) |> ignore
                            with :? CheckpointException as e ->
                                let isMeantTo = path.Contains "p_laughs" || path.Contains "t_expand_shared"
                                Expect.isTrue (isMeantTo || not (e.Message.Contains "budget")) e.Message)
        ]

let private outOfProcess =
    testSequenced (
        testCase "files of up to 100 MB take at most 256 MB and 2 seconds, headers of .safetensors 10, whatever they are made of" (fun () ->
            needsProcesses ()

            inFolder (fun within ->
                File.WriteAllBytes(within "empty.pt", [||])
                let struct (_, floor, least, _) = inspected [ within "empty.pt" ]

                let recorded =
                    [
                        for name in [ "p_laughs_10M.pt"; "t_expand_shared.pt"; "json_duplicate_key.pt" ] do
                            for options in [ []; [ "--json" ] ] do
                                if File.Exists(golden (Path.Combine("kinds", name))) then
                                    let path = golden (Path.Combine("kinds", name))
                                    name, options, Read, path, ignore
                    ]

                let made =
                    cunning
                    |> List.map (fun (what, options, outcome, file, make) -> what, options, outcome, within file, make)

                for what, options, outcome, path, make in recorded @ made do
                    make path
                    let struct (code, seconds, peak, error) = inspected (path :: options)
                    let most = if path.EndsWith ".safetensors" then 10.0 else 2.0

                    match outcome with
                    | Read -> Expect.equal (code, error) (0, "") what
                    | Refused words ->
                        Expect.equal code 1 $"{what}: exit code"

                        for word in words do
                            Expect.stringContains error word what

                    // The collector's threads work beside: what they take is a fraction of this.
                    let written = if what.EndsWith "as JSON" then 8.0 else 0.0
                    Expect.isLessThan seconds (floor + 1.5 * most + written) $"{what}: seconds of a processor"
                    Expect.isLessThan (peak - least) (256L <<< 20) $"{what}: bytes"

                    if path.StartsWith(within "", StringComparison.Ordinal) then
                        File.Delete path))
    )

/// Starts a command that nobody reads from.
let private start (program: string) (arguments: string list) =
    nonNull (Process.Start(ProcessStartInfo(program, arguments, RedirectStandardOutput = true, RedirectStandardError = true)))

let private waiting =
    testSequenced (
        testList
            "waiting"
            [
                testCase "a named pipe is refused at once, and so is a folder" (fun () ->
                    if not (OperatingSystem.IsLinux() || OperatingSystem.IsMacOS()) then
                        skiptest "there are no named pipes here"

                    inFolder (fun within ->
                        use made = start "mkfifo" [ within "pipe.pt" ]
                        made.WaitForExit()

                        let reading =
                            System.Threading.Tasks.Task.Run(fun () ->
                                refuses<CheckpointException> "a pipe" [ "pipe" ] (fun () -> Checkpoint.Read(within "pipe.pt") |> ignore))

                        Expect.isTrue (reading.Wait 20000) "it does not wait"
                        Directory.CreateDirectory(within "folder.pt") |> ignore
                        refuses<CheckpointException> "a folder" [ "folder" ] (fun () -> Checkpoint.Read(within "folder.pt") |> ignore)))

                testCase "inspect ends when it is told to, where nobody reads what it says" (fun () ->
                    needsProcesses ()

                    if OperatingSystem.IsWindows() then
                        skiptest "there are no such signals here"

                    inFolder (fun within ->
                        Pickle().Text(String('t', 1000000)).Add("q\0000](").Repeat(501, "h\000").Add("e").Write(within "x.pt")
                        let program = Path.Combine(AppContext.BaseDirectory, "optim.dll")
                        use child = start "dotnet" [ program; "inspect"; "--json"; within "x.pt" ]
                        child.StandardOutput.BaseStream.ReadByte() |> ignore
                        use kill = start "kill" [ "-TERM"; string child.Id ]
                        kill.WaitForExit()
                        Expect.isTrue (child.WaitForExit 30000) "it ends"
                        Expect.equal child.ExitCode 143 "as shells expect it"))
            ]
    )

[<Tests>]
let tests = testList "the price of files" [ inProcess; outOfProcess; waiting ]
