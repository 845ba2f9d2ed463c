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

let private treeOf (number: int64) elements =
    Tree.Dict(
        struct ("number", Tree.Int number),
        struct ("w", Tree.Tensor(tensor DType.Float64 [| int64 elements |] (Array.create elements (float number))))
    )

/// Saves until it is killed, in a process of its own: `properties save-on PATH`.
let runChild (arguments: string array) =
    match arguments with
    | [| "save-on"; path |] ->
        let mutable number = 1L

        while true do
            Checkpoint.Write(path, treeOf number 200000)
            number <- number + 1L

        ValueSome 0
    | _ -> ValueNone

/// The file holds one save as a whole.
let private expectWhole (path: string) =
    let tree = Checkpoint.Read path
    let number: int64 = Tree.op_Explicit tree["number"]
    Expect.isTrue (tree["w"].ToDoubles() |> Array.forall (fun x -> x = float number)) "all elements are of one save"

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
                let start =
                    ProcessStartInfo("dotnet", [ typeof<Golden.Tensor>.Assembly.Location; "save-on"; path ])

                use child = nonNull (Process.Start start)
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
                expectWhole path
                replaced <- replaced + (if File.GetLastWriteTimeUtc path <> before then 1 else 0)

            Expect.isGreaterThan replaced 0 "saves took place"
            Checkpoint.Write(path, treeOf 3L 10)
            Expect.equal (Directory.GetFiles(within "")) [| path |] "what killed saves had left is swept away by the next"))

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

                let run (command: string) (arguments: string list) =
                    try
                        use child =
                            nonNull (Process.Start(ProcessStartInfo(command, arguments, RedirectStandardError = true)))

                        child.StandardError.ReadToEnd() |> ignore
                        child.WaitForExit()
                        child.ExitCode = 0
                    with :? ComponentModel.Win32Exception ->
                        false

                if not (run "mount" [ "-t"; "tmpfs"; "-o"; "size=2m"; "tmpfs"; folder ]) then
                    skiptest "a small file system cannot be mounted here (it needs root)"

                try
                    let path = Path.Combine(folder, "run.pt")
                    Checkpoint.Write(path, treeOf 1L 1000)

                    refuses<CheckpointException> "a full disk" [ path; "space" ] (fun () -> Checkpoint.Write(path, treeOf 2L 1000000))

                    Expect.equal (Checkpoint.Read path) (treeOf 1L 1000) "the old file"
                    Expect.equal (Directory.GetFiles folder) [| path |] "nothing beside it"
                finally
                    run "umount" [ folder ] |> ignore))
    ]

[<Tests>]
let tests =
    testList "saving" [ killed |> testSequenced; testList "failures" failures ]
