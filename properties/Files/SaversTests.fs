/// Many savers to one path, what killed ones leave, and names of any length.
module SaversTests

open System
open System.IO
open System.Threading
open System.Threading.Tasks
open Expecto
open Optim
open Kit
open SavingKit

let private filesOf (within: string -> string) =
    Directory.GetFiles(within "") |> Array.map Path.GetFileName

/// Runs savers, and readers beside them; each reader reads at least some whole files.
let private together (within: string -> string) (savers: (string -> unit) list) =
    let path = within "run.pt"
    Checkpoint.Write(path, treeOf 1L 2000)
    use over = new CancellationTokenSource()

    let readers =
        [
            for _ in 1..2 ->
                Task.Run(fun () ->
                    let mutable reads = 0

                    while not over.IsCancellationRequested || reads = 0 do
                        wholeNumber path |> ignore
                        reads <- reads + 1)
        ]

    let saving =
        [
            for save in savers -> Task.Factory.StartNew((fun () -> save path), TaskCreationOptions.LongRunning)
        ]

    try
        Task.WaitAll(Array.ofList saving)
    finally
        over.Cancel()

    Task.WaitAll(Array.ofList readers)
    let last = wholeNumber path
    Expect.isGreaterThan last 1L "one of them was the last"
    Expect.equal (filesOf within) [| "run.pt" |] "nothing is left beside it"
    Checkpoint.Write(path, treeOf 7L 2000)
    Expect.equal (wholeNumber path) 7L "who saves last wins"

let private child (program: string) (before: string list) (number: int) (path: string) =
    use child =
        (start program (before @ childOf [ "save"; path; string (1000 * number); "60" ])).Value

    let errors = child.StandardError.ReadToEnd()
    child.WaitForExit()
    Expect.equal (child.ExitCode, errors) (0, "") "every save succeeds"

let private savers =
    [
        testCase "threads that save to one path all succeed, and readers never fail" (fun () ->
            inFolder (fun within ->
                together
                    within
                    [
                        for number in 1..6 ->
                            fun path ->
                                for i in 1..80 do
                                    Checkpoint.Write(path, treeOf (int64 (1000 * number + i)) 2000)
                    ]))

        testCase "processes that save to one path all succeed, and readers never fail" (fun () ->
            inFolder (fun within -> together within [ for number in 1..4 -> child "dotnet" [] number ]))

        testCase "processes with equal ids, as in containers on one volume, all succeed" (fun () ->
            // Each is the first process of a namespace of its own: its id is 1.
            let apart = [ "--pid"; "--fork"; "--kill-child" ]

            if not (succeeds "unshare" (apart @ [ "true" ])) then
                skiptest "process ids cannot be set apart here (Linux, as root)"

            inFolder (fun within -> together within [ for number in 1..3 -> child "unshare" (apart @ [ "dotnet" ]) number ]))

        testCase "a name that is taken is another's: it stays, and the save takes another one" (fun () ->
            inFolder (fun within ->
                let path = within "run.pt"
                let taken = ref ""

                saveWatched
                    (fun name file ->
                        if name = "create" && taken.Value = "" then
                            taken.Value <- file
                            File.WriteAllText(file, "another's"))
                    path
                    (treeOf 2L 10)

                Expect.equal (wholeNumber path) 2L "saved"
                Expect.equal (File.ReadAllText taken.Value) "another's" "untouched"

                // And when no name can be had at all, nothing is deleted either.
                let others = ResizeArray()

                refuses<CheckpointException> "taken" [ path ] (fun () ->
                    saveWatched
                        (fun name file ->
                            if name = "create" then
                                others.Add file
                                File.WriteAllText(file, "another's"))
                        path
                        (treeOf 3L 10))

                Expect.equal (wholeNumber path) 2L "the old file"
                Expect.all others File.Exists "untouched"))
    ]

let private hours (count: float) = TimeSpan.FromHours count

let private sweeping =
    [
        testCase "what a killed save left is deleted by a later one when it is old and nobody has it open" (fun () ->
            inFolder (fun within ->
                let path = within "run.pt"
                let old, young = leave path (hours 2.0), leave path (TimeSpan.FromMinutes 50.0)
                let held = leave path (hours 2.0)

                (use _ =
                    new FileStream(held, FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite)

                 Checkpoint.Write(path, treeOf 1L 10)
                 Expect.isFalse (File.Exists old) "old"
                 Expect.isTrue (File.Exists young) "young: a save may be under way"
                 Expect.isTrue (File.Exists held) "someone writes it")

                Checkpoint.Write(path, treeOf 2L 10)
                Expect.isFalse (File.Exists held) "nobody has it any more"))

        testCase "a save that is under way for hours keeps what it has written, whoever saves meanwhile" (fun () ->
            inFolder (fun within ->
                let path = within "run.pt"

                saveWatched
                    (fun name file ->
                        if name = "rename" then
                            File.SetLastWriteTimeUtc(file, DateTime.UtcNow - hours 5.0)
                            Checkpoint.Write(path, treeOf 1L 10))
                    path
                    (treeOf 2L 10)

                Expect.equal (wholeNumber path) 2L "the last one wins"))

        testCase "names are compared letter by letter: no other file's temporaries, and no file of a user's, is deleted" (fun () ->
            inFolder (fun within ->
                let others =
                    [
                        leave (within "model.pt") (hours 2.0)
                        leave (within "run2.pt") (hours 2.0)
                        leave (within (String('a', 100) + "1.pt")) (hours 2.0)

                        for name in
                            [
                                "run.pt.2024.11.tmp"
                                "run.pt.tmp"
                                "run.pt.1234.1.tmp"
                                "run.pt.0123456789abcdef.0123456789abcdef.tmp"
                            ] do
                            File.WriteAllText(within name, "a user's")
                            File.SetLastWriteTimeUtc(within name, DateTime.UtcNow - hours 48.0)
                            within name
                    ]

                let names =
                    [
                        "run.pt"
                        String('a', 100) + "2.pt"

                        if not (OperatingSystem.IsWindows()) then
                            "m????.pt"
                            "a******.pt"
                            "*"
                            "run?pt"
                            "[a-z]*.pt"
                    ]

                for name in names do
                    let own = leave (within name) (hours 2.0)
                    Checkpoint.Write(within name, treeOf 1L 10)
                    Expect.equal (wholeNumber (within name)) 1L name
                    Expect.isFalse (File.Exists own) $"{name}: its own"

                for other in others do
                    Expect.isTrue (File.Exists other) other))

        testCase "a folder that cannot be listed does not keep a save from succeeding" (fun () ->
            inFolder (fun within ->
                saveWatched
                    (fun name _ ->
                        if name = "list" then
                            raise (UnauthorizedAccessException "no right to list"))
                    (within "run.pt")
                    (treeOf 1L 10)

                Expect.equal (wholeNumber (within "run.pt")) 1L "saved"))
    ]

let private names =
    testCase "names of 1 to 255 bytes can be saved, in any script" (fun () ->
        inFolder (fun within ->
            let filled (letter: string) bytes =
                let size = Text.Encoding.UTF8.GetByteCount letter

                String.replicate ((bytes - 3) / size) letter
                + String('x', (bytes - 3) % size)
                + ".pt"

            // Windows and macOS count letters, not bytes: there these are far from the limit.
            let all =
                [
                    "a"

                    for bytes in 240..255 do
                        filled "n" bytes
                        filled "ä" bytes
                        filled "語" bytes
                        filled "🔥" bytes
                ]

            for name in all do
                if not (OperatingSystem.IsWindows()) || name.Length <= 255 then
                    Checkpoint.Write(within name, treeOf 1L 10)
                    Checkpoint.Write(within name, treeOf 2L 10)
                    Expect.equal (wholeNumber (within name)) 2L name
                    Expect.equal (filesOf within) [| name |] "nothing beside it"
                    File.Delete(within name)))

[<Tests>]
let tests =
    testList
        "savers"
        [
            testList "together" savers |> testSequenced
            testList "sweeping" sweeping
            names
        ]
