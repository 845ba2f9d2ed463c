/// Devices, pipes and links to them are written into and stay what they are; they are not read.
module SpecialFileTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Optim
open Optim.Checkpoints
open Optim.Core
open Kit
open SavingKit

let private unixOnly () =
    if OperatingSystem.IsWindows() then
        skiptest "devices and pipes have no names in folders here"

let pipe (path: string) =
    if not (succeeds "mkfifo" [ path ]) then
        skiptest "there is no mkfifo here"

    path

let private weights = Tree.Dict(struct ("w", (treeOf 1L 1000).["w"]))

let private refusing =
    Watched(
        (fun name file ->
            if name <> "open" && not (name = "write" && not (file.StartsWith "/dev/")) then
                failtestf "%s %s" name file),
        (fun _ _ -> ())
    )

[<Tests>]
let tests =
    testList
        "devices and pipes"
        [
            testCase "a pipe gets the file from beginning to end, also by a link, and stays a pipe" (fun () ->
                unixOnly ()

                inFolder (fun within ->
                    for extension in [ "pt"; "safetensors" ] do
                        let target = pipe (within $"pipe.{extension}")
                        File.CreateSymbolicLink(within $"link.{extension}", target) |> ignore

                        File.CreateSymbolicLink(within $"links.{extension}", $"link.{extension}")
                        |> ignore

                        for path in [ target; within $"link.{extension}"; within $"links.{extension}" ] do
                            let reader = Task.Run(fun () -> File.ReadAllBytes target)
                            Checkpoint.Write(path, weights)
                            File.WriteAllBytes(within $"copy.{extension}", reader.Result)
                            Expect.equal (Checkpoint.Read(within $"copy.{extension}")) weights path
                            Expect.isTrue (SpecialFile.IsStream target) "still a pipe"
                            Expect.isNull (FileInfo(target).LinkTarget) "and no link"))

            testCase "devices are written into, never replaced, also by links" (fun () ->
                unixOnly ()

                inFolder (fun within ->
                    File.CreateSymbolicLink(within "null.pt", "/dev/null") |> ignore
                    File.CreateSymbolicLink(within "link.pt", within "null.pt") |> ignore
                    let paths = [ "/dev/null"; within "null.pt"; within "link.pt" ]

                    for path in paths do
                        Checkpoints.TreeFile.Write(path, weights, null, refusing)
                        AtomicFile.Write(path, [| 1uy |], refusing)
                        AtomicFile.Check(path, refusing)

                    // Now that it is known to leave them alone.
                    for path in paths do
                        Checkpoint.Save(path, struct ("epoch", box 3))
                        AtomicFile.Write(path, [| 1uy |])
                        AtomicFile.Check path

                    Expect.isTrue (SpecialFile.IsStream "/dev/null") "a device"
                    Expect.isEmpty (File.ReadAllBytes "/dev/null") "with nothing inside"

                    if File.Exists "/dev/full" then
                        refuses<CheckpointException> "a full device" [ "/dev/full"; "space" ] (fun () ->
                            Checkpoint.Write("/dev/full", weights))

                    // A device in an ordinary folder, which only its kind tells from a file.
                    if succeeds "mknod" [ within "device"; "c"; "1"; "3" ] then
                        Checkpoints.TreeFile.Write(within "device", weights, null, refusing)
                        Expect.isTrue (SpecialFile.IsStream(within "device")) "a device"))

            testCase "the standard output is written to where it stands, be it a file, and is not replaced" (fun () ->
                unixOnly ()

                inFolder (fun within ->
                    File.CreateSymbolicLink(within "out", "/dev/stdout") |> ignore

                    for path in [ "/dev/stdout"; "/dev/fd/1"; within "out" ] do
                        let program = String.Join("' '", "dotnet" :: childOf [ "save"; path; "5"; "1" ])

                        let line =
                            $"cd '{within String.Empty}' && {{ printf before; '{program}'; printf after; }} > text && {{ '{program}' | cat; }} > piped"

                        Expect.isTrue (succeeds "sh" [ "-c"; line ]) path
                        let text = File.ReadAllBytes(within "text")
                        let ascii = Text.Encoding.ASCII
                        Expect.equal (ascii.GetString(text, 0, 6)) "before" "what was there"
                        Expect.equal (ascii.GetString(text, text.Length - 5, 5)) "after" "what comes after"
                        Expect.equal text[6 .. text.Length - 6] (File.ReadAllBytes(within "piped")) "the same into a pipe"
                        File.WriteAllBytes(within "copy.pt", text[6 .. text.Length - 6])
                        Expect.equal (wholeNumber (within "copy.pt")) 5L path))

            testCase "what is neither file nor folder is told apart, and files and folders are none" (fun () ->
                unixOnly ()

                inFolder (fun within ->
                    File.WriteAllText(within "file", "")
                    File.CreateSymbolicLink(within "dangling", within "nothing") |> ignore
                    File.CreateSymbolicLink(within "round", within "round") |> ignore

                    for path in
                        [
                            within "file"
                            within ""
                            within "nothing"
                            within "dangling"
                            within "round"
                        ] do
                        Expect.isFalse (SpecialFile.Is path) path

                    Checkpoint.Write(within "dangling", weights)
                    Expect.equal (Checkpoint.Read(within "nothing")) weights "a link to a file that is not there yet"
                    refuses<CheckpointException> "a circle of links" [ "round" ] (fun () -> Checkpoint.Write(within "round", weights))
                    Expect.isTrue (SpecialFile.Is "/dev/null" && SpecialFile.Is(pipe (within "pipe"))) "device and pipe"))

            testCase "a pipe, a device and a folder are refused at once when they are read" (fun () ->
                unixOnly ()

                inFolder (fun within ->
                    for path, word in [ pipe (within "pipe.pt"), "pipe"; "/dev/null", "device"; within "", "folder" ] do
                        refuses<CheckpointException> path [ path; word ] (fun () -> Checkpoint.Read path |> ignore)))
        ]
