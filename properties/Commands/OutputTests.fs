/// Where the command writes its files: pictures, results and checkpoints.
module OutputTests

open System
open System.IO
open System.Threading.Tasks
open Expecto
open Optim
open Optim.Checkpoints
open Command
open Kit
open SpecialFileTests

let private schedule (options: string list) =
    run ([ "schedule"; "cosine"; "--set"; "T_max=10"; "--steps"; "12" ] @ options)

let private train (options: string list) =
    run ([ "train"; "--optimizer"; "sgd"; "--epochs"; "1"; "--hidden"; "4" ] @ options)

[<Tests>]
let tests =
    testList
        "files of the command"
        [
            testCase "results and pictures go into pipes and devices, which stay what they are" (fun () ->
                if OperatingSystem.IsWindows() then
                    skiptest "devices and pipes have no names in folders here"

                inFolder (fun within ->
                    let target = pipe (within "pipe")
                    File.CreateSymbolicLink(within "link", target) |> ignore
                    File.CreateSymbolicLink(within "null", "/dev/null") |> ignore

                    for option, beginning in [ "--json", "{"; "--svg", "<" ] do
                        for path in [ target; within "link" ] do
                            let reader = Task.Run(fun () -> File.ReadAllText target)
                            let code, _, error = schedule [ option; path ]
                            Expect.equal (code, error) (0, "") $"{option} {path}"
                            Expect.stringStarts (reader.Result.TrimStart(char 0xfeff)) beginning option

                        let code, _, error = schedule [ option; within "null" ]
                        Expect.equal (code, error) (0, "") $"{option}, a device"

                    Expect.isTrue (SpecialFile.IsStream target) "a pipe"
                    Expect.isTrue (SpecialFile.IsStream "/dev/null") "a device"
                    Expect.equal (FileInfo(within "null").LinkTarget) "/dev/null" "a link"))

            testCase "a run's checkpoint, results and picture go to devices" (fun () ->
                if OperatingSystem.IsWindows() then
                    skiptest "devices have no names in folders here"

                inFolder (fun within ->
                    File.CreateSymbolicLink(within "null.pt", "/dev/null") |> ignore
                    let path = within "null.pt"
                    let code, _, error = train [ "--checkpoint"; path; "--json"; path; "--svg"; path ]
                    Expect.equal (code, error) (0, "") "trained"
                    Expect.isTrue (SpecialFile.IsStream "/dev/null") "a device"
                    Expect.equal (Directory.GetFileSystemEntries(within "")) [| path |] "and nothing else"))

            testCase "a file that could not be written is refused before anything is done" (fun () ->
                inFolder (fun within ->
                    for option in [ "--json"; "--svg"; "--checkpoint" ] do
                        for path, word in [ within "none/x", "no folder"; within "", "folder"; "", "empty" ] do
                            refused [ "train"; "--epochs"; "1"; option; path ] [ option; word ]))

            testCase "a disk that is full at the end is said in one sentence" (fun () ->
                if not (File.Exists "/dev/full") then
                    skiptest "there is no /dev/full here"

                let code, _, error = schedule [ "--json"; "/dev/full" ]
                Expect.equal (code, error.Trim().Split('\n').Length) (1, 1) error
                Expect.stringContains (error.ToLowerInvariant()) "space" "message")
        ]
