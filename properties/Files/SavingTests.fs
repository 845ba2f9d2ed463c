/// Saves are whole or do not happen: a killed process, a full disk, and a failure in the middle leave the old file.
module SavingTests

open System
open System.Diagnostics
open System.IO
open System.Threading
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit
open SavingKit

let private killed =
    testCase "kill -9 at random moments never leaves a checkpoint that cannot be read" (fun () ->
        if OperatingSystem.IsWindows() then
            skiptest "there is no kill -9 here"

        inFolder (fun within ->
            let path = within "run.pt"
            Checkpoint.Write(path, treeOf 0L 10)
            let random = Random 1
            let mutable replaced = 0

            for _ in 1 .. casesOf "OPTIM_KILLS" 20 do
                use child = (start "dotnet" (childOf [ "save-on"; path ])).Value
                let before = File.GetLastWriteTimeUtc path
                // Until its first save, and then somewhere into the next ones.
                let clock = Stopwatch.StartNew()

                while File.GetLastWriteTimeUtc path = before
                      && not child.HasExited
                      && clock.Elapsed.TotalSeconds < 30.0 do
                    Thread.Sleep 1

                Thread.Sleep(random.Next 30)
                Expect.isFalse child.HasExited "the saving process goes on"
                child.Kill()
                child.WaitForExit()
                wholeNumber path |> ignore
                replaced <- replaced + (if File.GetLastWriteTimeUtc path <> before then 1 else 0)

            Expect.isGreaterThan replaced 0 "saves took place"

            for left in Directory.GetFiles(within "") |> Array.except [ path ] do
                File.SetLastWriteTimeUtc(left, DateTime.UtcNow.AddHours -2.0)

            Checkpoint.Write(path, treeOf 3L 10)
            Expect.equal (Directory.GetFiles(within "")) [| path |] "what killed saves had left is swept away by a later one"))

/// Memory of which a part cannot be read.
type private Unreadable(good: int64) =
    inherit DeferredMemory()

    override _.Read(place, bytes) =
        if place + int64 bytes.Length > good then
            raise (IOException "the source has failed")

        bytes.Clear()

let private failures =
    [
        testCase "a failure in the middle of writing keeps the old file, and leaves nothing beside it" (fun () ->
            inFolder (fun within ->
                for extension in [ "pt"; "safetensors" ] do
                    let path = within $"run.{extension}"
                    let old = Tree.Dict(struct ("w", (treeOf 1L 10).["w"]))
                    Checkpoint.Write(path, old)

                    for good in [ 0L; 1L <<< 20; 5L <<< 20 ] do
                        let broken =
                            TensorView(0n, Layout.Contiguous(DType.Float32, ReadOnlySpan [| 2L <<< 20 |]), Unreadable good)

                        refuses<CheckpointException> extension [ path; "the source has failed" ] (fun () ->
                            Checkpoint.Write(path, Tree.Dict(struct ("w", Tree.Tensor broken))))

                        Expect.equal (Checkpoint.Read path) old "the old file"
                        Expect.equal (Directory.GetFiles(within "", $"*.{extension}*")) [| path |] "nothing beside it"))

        testCase "a part that fails while it is asked for its state leaves the old file" (fun () ->
            inFolder (fun within ->
                let path = within "run.pt"
                Checkpoint.Write(path, treeOf 1L 10)
                refuses<ArgumentException> "a date" [ "'when'" ] (fun () -> Checkpoint.Save(path, struct ("when", box DateTime.Now)))
                Expect.equal (Checkpoint.Read path) (treeOf 1L 10) "the old file"))

        testCase "a folder that is not there, and a folder in the place of the file, are clear errors" (fun () ->
            inFolder (fun within ->
                refuses<CheckpointException> "no folder" [ within "none/run.pt" ] (fun () ->
                    Checkpoint.Write(within "none/run.pt", Tree.None))

                Directory.CreateDirectory(within "folder.pt") |> ignore

                refuses<CheckpointException> "a folder" [ "folder.pt"; "folder" ] (fun () ->
                    Checkpoint.Write(within "folder.pt", Tree.None))))

        testCase "a link stays a link, and the rights of the old file stay" (fun () ->
            if OperatingSystem.IsWindows() then
                skiptest "links and rights are others here"

            inFolder (fun within ->
                Checkpoint.Write(within "real.pt", Tree.Int 1L)
                let mode = UnixFileMode.UserRead ||| UnixFileMode.UserWrite
                File.SetUnixFileMode(within "real.pt", mode)
                File.CreateSymbolicLink(within "link.pt", within "real.pt") |> ignore
                Checkpoint.Write(within "link.pt", Tree.Int 2L)
                Expect.equal (Checkpoint.Read(within "real.pt")) (Tree.Int 2L) "content"
                Expect.isNotNull (FileInfo(within "link.pt").LinkTarget) "link"
                Expect.equal (File.GetUnixFileMode(within "real.pt")) mode "rights"))

        testCase "a full disk is a clear error, and the old file stays" (fun () ->
            inFolder (fun within ->
                let folder = Directory.CreateDirectory(within "small").FullName

                if not (succeeds "mount" [ "-t"; "tmpfs"; "-o"; "size=2m"; "tmpfs"; folder ]) then
                    skiptest "a small file system cannot be mounted here (it needs root)"

                try
                    let path = Path.Combine(folder, "run.pt")
                    Checkpoint.Write(path, treeOf 1L 1000)

                    refuses<CheckpointException> "a full disk" [ path; "space" ] (fun () -> Checkpoint.Write(path, treeOf 2L 1000000))

                    Expect.equal (Checkpoint.Read path) (treeOf 1L 1000) "the old file"
                    Expect.equal (Directory.GetFiles folder) [| path |] "nothing beside it"
                finally
                    succeeds "umount" [ folder ] |> ignore))
    ]

/// Everything that takes a path, with one that no system has or that is fine.
let private withPath: (string * (string -> unit)) list =
    [
        "Save", fun path -> Checkpoint.Save(path, struct ("epoch", box 3))
        "Write", fun path -> Checkpoint.Write(path, Tree.Int 1L)
        "Read", fun path -> Checkpoint.Read path |> ignore
        "ReadMetadata", fun path -> Checkpoint.ReadMetadata path |> ignore
        "Load", fun path -> Checkpoint.Load path |> ignore
    ]

let private arguments =
    [
        testCase "a path that no system has is an ArgumentException, wherever it is given" (fun () ->
            for name, call in withPath do
                for path, words in [ "", [ "path"; "empty" ]; "run\000.pt", [ "path"; "NUL" ] ] do
                    refuses<ArgumentException> $"{name} '{path}'" words (fun () -> call path)

                refuses<ArgumentNullException> $"{name} null" [ "path" ] (fun () -> call (Unchecked.defaultof<string>)))

        testCase "a file that is not there, and one that cannot be made, is a CheckpointException" (fun () ->
            inFolder (fun within ->
                for name, call in withPath do
                    refuses<CheckpointException> name [ within "none/run.pt" ] (fun () -> call (within "none/run.pt"))))

        testCase "parts without a name, or two of one name, are an ArgumentException, and nothing is saved or loaded" (fun () ->
            inFolder (fun within ->
                let path = within "run.pt"
                Checkpoint.Save(path, struct ("a", box (SGD([ param "w" DType.Float32 [| 1L |] [| 1.0 |] ], 0.1))))
                let before = File.ReadAllBytes path

                let sgd rate =
                    SGD([ param "w" DType.Float32 [| 1L |] [| 1.0 |] ], rate)

                let first, second = sgd 0.3, sgd 0.4

                let nameless: string = Unchecked.defaultof<string>

                refuses<ArgumentException> "save" [ "part 1"; "null" ] (fun () ->
                    Checkpoint.Save(path, struct ("a", box 1), struct (nameless, box 2)))

                refuses<ArgumentException> "save twice" [ "'a'" ] (fun () ->
                    Checkpoint.Save(path, struct ("a", box 1), struct ("a", box 2)))

                refuses<ArgumentException> "load" [ "part 0"; "null" ] (fun () ->
                    Checkpoint.Load(path, struct (nameless, box first)) |> ignore)

                refuses<ArgumentException> "load twice" [ "'a'" ] (fun () ->
                    Checkpoint.Load(path, struct ("a", box first), struct ("a", box second))
                    |> ignore)

                refuses<ArgumentException> "into nothing" [ "'a'"; "null" ] (fun () ->
                    Checkpoint.Load(path, struct ("a", null)) |> ignore)

                let rates: float list =
                    [
                        for o in [ first; second ] -> OptionValue.op_Explicit o.ParamGroups[0].["lr"]
                    ]

                Expect.equal rates [ 0.3; 0.4 ] "nothing is loaded"
                Expect.equal (File.ReadAllBytes path) before "nothing is saved"))

        testCase "null where a state is needed is an ArgumentNullException" (fun () ->
            let p = param "w" DType.Float32 [| 1L |] [| 1.0 |]
            let sgd = SGD([ p ], 0.1)
            let nothing: Tree = Unchecked.defaultof<Tree>

            let all: (string * (unit -> unit)) list =
                [
                    "StateDict.FromTree", fun () -> StateDict.FromTree nothing |> ignore
                    "optimizer", fun () -> (sgd :> IStateful).PrepareLoad nothing |> ignore
                    "scheduler", fun () -> StepLR(sgd, 1).LoadStateDict nothing |> ignore
                    "parameters", fun () -> ParametersState([ p :> IParameter ]).PrepareLoad nothing |> ignore
                    "scaler", fun () -> GradScaler().LoadStateDict nothing |> ignore
                    "Write", fun () -> Checkpoint.Write("run.pt", nothing)
                    "Register", fun () -> Checkpoint.Register(Unchecked.defaultof<Func<obj, IStateful>>)
                ]

            for name, call in all do
                refuses<ArgumentNullException> name [] call)

        testCase "a shape of more elements or bytes than there are addresses is an ArgumentException" (fun () ->
            let all: (string * (unit -> unit)) list =
                [
                    "elements", fun () -> TensorView.Zeros(DType.Float32, [| 1L <<< 40; 1L <<< 40 |]) |> ignore
                    "bytes", fun () -> TensorView.Zeros(DType.Float64, [| 1L <<< 61 |]) |> ignore
                    "a parameter", fun () -> Param.Zeros("w", DType.Float32, [| 1L <<< 40; 1L <<< 40 |]) |> ignore
                    "values",
                    fun () ->
                        TensorView.OfDoubles(DType.Float32, ReadOnlySpan [| 1.0 |], ReadOnlySpan [| 1L <<< 40; 1L <<< 40 |])
                        |> ignore
                    "a layout",
                    fun () ->
                        Layout.Strided(DType.Int8, ReadOnlySpan [| 1L <<< 62; 4L |], ReadOnlySpan [| 0L; 0L |])
                        |> ignore
                ]

            for name, call in all do
                refuses<ArgumentException> name [ "more" ] call

            refuses<ArgumentException> "two rows that together are too long" [] (fun () ->
                let half = Layout.Contiguous(DType.Float64, ReadOnlySpan [| 1L <<< 59 |])
                TensorView.Slab(ReadOnlySpan [| half; half; half; half |]) |> ignore))
    ]

let private weights =
    [
        testCase ".safetensors files say that they are PyTorch's, unless they say another format" (fun () ->
            inFolder (fun within ->
                let path = within "w.safetensors"

                let tree =
                    Tree.Dict(struct ("w", Tree.Tensor(tensor DType.Float32 [| 1L |] [| 1.0 |])))

                let metadata () =
                    [ for entry in Checkpoint.ReadMetadata path -> entry.Key, entry.Value ]
                    |> List.sort

                Checkpoint.Write(path, tree)
                Expect.equal (metadata ()) [ "format", "pt" ] "without metadata"
                Checkpoint.Write(path, tree, dict [ "step", "3" ] |> Collections.Generic.Dictionary)
                Expect.equal (metadata ()) [ "format", "pt"; "step", "3" ] "with others"
                Checkpoint.Write(path, tree, dict [ "format", "np" ] |> Collections.Generic.Dictionary)
                Expect.equal (metadata ()) [ "format", "np" ] "with its own"))

        testCase "metadata and names that the format cannot hold are refused, and the old file stays" (fun () ->
            inFolder (fun within ->
                let path = within "w.safetensors"
                let w = Tree.Tensor(tensor DType.Float32 [| 1L |] [| 1.0 |])
                let tree = Tree.Dict(struct ("w", w))
                Checkpoint.Write(path, tree)
                let before = File.ReadAllBytes path

                // The compiler would put another character in its place.
                let half = string (char 0xD800)

                let metadata key value =
                    fun () -> Checkpoint.Write(path, tree, dict [ key, value ] |> Collections.Generic.Dictionary)

                refuses<ArgumentException> "null" [ "'note'"; "null" ] (metadata "note" (Unchecked.defaultof<string>))
                refuses<ArgumentException> "half a character" [ "half a character" ] (metadata "note" half)
                refuses<ArgumentException> "half a character" [ "half a character" ] (metadata $"no{half}te" "")

                refuses<ArgumentException> "half a character" [ "half a character" ] (fun () ->
                    Checkpoint.Write(path, Tree.Dict(struct ($"w{half}", w))))

                refuses<ArgumentException> "more than a header holds" [ "100000000" ] (metadata "note" (String('x', 100_000_000)))
                Expect.equal (File.ReadAllBytes path) before "the old file"
                Expect.equal (Directory.GetFiles(within "")) [| path |] "nothing beside it"))
    ]

[<Tests>]
let tests =
    testList
        "saving"
        [
            testList "arguments" arguments
            testList "weights" weights
            killed |> testSequenced
            testList "failures" failures
        ]
