/// Saving when the file system fails, one operation at a time, and when the power does.
module FaultTests

open System
open System.Diagnostics
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open SavingKit

/// Every operation of a save fails once, before or after it has done what it does.
let private everyOperation extension =
    testCase $"every operation of a save fails once: the old file is whole, or the new one is ({extension})" (fun () ->
        inFolder (fun within ->
            let path = within $"run.{extension}"

            // Weights alone: both formats hold them.
            let tree number =
                (treeOf number 300).["w"] |> fun w -> Tree.Dict(struct ("w", w))

            let old, young = tree 1L, tree 2L

            let save faulty =
                if File.Exists path then
                    File.Delete path

                Checkpoint.Write(path, old)
                leave path (TimeSpan.FromHours 2.0) |> ignore
                let count, failed = ref 0, ref ""

                let fault after name (_: string) =
                    if not after then
                        count.Value <- count.Value + 1

                    match faulty with
                    | Some(index, afterwards, error: exn) when index = count.Value && after = afterwards && failed.Value = "" ->
                        failed.Value <- name
                        raise error
                    | _ -> ()

                try
                    Checkpoints.TreeFile.Write(path, young, null, Watched(fault false, fault true))
                    Expect.equal (Checkpoint.Read path) young $"saved although {failed.Value} failed"
                with :? CheckpointException as error ->
                    Expect.isNonEmpty failed.Value $"nothing has failed: {error}"
                    Expect.stringContains error.Message path failed.Value
                    let found = Checkpoint.Read path
                    Expect.isTrue (found = old || found = young) $"{failed.Value}: whole"

                    if failed.Value <> "rename" && failed.Value <> "flush folder" then
                        Expect.equal found old $"{failed.Value}: the old file"

                // The next save has a clean folder, and leaves one.
                Checkpoint.Write(path, young)

                Expect.equal (Directory.GetFiles(within "")) [| path |] $"{failed.Value}: nothing is left"
                count.Value, failed.Value

            let operations, _ = save None

            let failed =
                [
                    for index in 1..operations do
                        for afterwards in [ false; true ] do
                            for error in [ IOException "a fault" :> exn; UnauthorizedAccessException "a fault" ] do
                                snd (save (Some(index, afterwards, error)))
                ]
                |> Set.ofList

            let all =
                set
                    [
                        "create"
                        "list"
                        "last write"
                        "delete unused"
                        "write"
                        "flush"
                        "rename"
                        "flush folder"
                    ]

            Expect.isEmpty (all - failed) "each kind of operation has failed"))

let private cleaning =
    testCase "when a save fails and what it had begun cannot be deleted, the first error is told, and a later save cleans up" (fun () ->
        inFolder (fun within ->
            let path = within "run.pt"
            Checkpoint.Write(path, treeOf 1L 10)

            refuses<CheckpointException> "two faults" [ path; "no space" ] (fun () ->
                saveWatched
                    (fun name _ ->
                        match name with
                        | "write" -> raise (IOException "no space")
                        | "delete" -> raise (UnauthorizedAccessException "no right")
                        | _ -> ())
                    path
                    (treeOf 2L 10))

            Expect.equal (wholeNumber path) 1L "the old file"
            let left = Directory.GetFiles(within "") |> Array.except [ path ]
            Expect.hasLength left 1 "it is still there"
            File.SetLastWriteTimeUtc(left[0], DateTime.UtcNow.AddHours -2.0)
            Checkpoint.Write(path, treeOf 3L 10)
            Expect.equal (Directory.GetFiles(within "")) [| path |] "gone"))

/// What a power failure leaves at the path after these operations. What was not flushed is lost: bytes, and names.
type private Survivor =
    | Old
    | New
    | Torn

let private survivors (operations: string list) =
    let last name =
        operations |> List.tryFindIndexBack ((=) name)

    let content =
        match last "flush", last "write" with
        | Some flush, Some write when flush > write -> New
        | _ -> Torn

    match last "rename", last "flush folder" with
    | None, _ -> Set [ Old ]
    | Some rename, Some folder when folder > rename -> Set [ content ]
    | Some _, _ -> Set [ Old; content ]

/// At no moment may anything else than the old or the new file survive, and after the save nothing else than the new one.
let private survives operations =
    let moments =
        [
            for count in 0 .. operations |> List.length -> survivors (List.truncate count operations)
        ]

    not (moments |> List.exists (Set.contains Torn))
    && List.last moments = Set [ New ]

let private power =
    testCase "a power failure at any moment of a save leaves the old file or the new one, and the new one once it is saved" (fun () ->
        inFolder (fun within ->
            for path in [ within "run.pt"; within "weights.safetensors" ] do
                let tree = Tree.Dict(struct ("w", (treeOf 1L 300).["w"]))
                Checkpoint.Write(path, tree)
                let operations = recorded path tree |> List.map fst
                Expect.isTrue (survives operations) $"%A{operations}"

                for without in [ "flush"; "flush folder" ] do
                    Expect.isFalse (survives (operations |> List.except [ without ])) $"the law sees that {without} is missing"

                let late = (operations |> List.except [ "flush" ]) @ [ "flush" ]

                Expect.isFalse (survives late) "the law sees a flush after the rename"

                let folder =
                    recorded path tree |> List.find (fun (name, _) -> name = "flush folder")

                Expect.equal (snd folder) (Path.GetDirectoryName path |> nonNull) "the folder of the file"))

/// A library that stands before the system's: it writes down which files and folders are flushed and which files are renamed.
let private spy =
    """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
static void note(const char *what, const char *path) {
    FILE *log = fopen(getenv("SAVE_SPY"), "a");
    if (log) { fprintf(log, "%s %s\n", what, path); fclose(log); }
}
int fsync(int fd) {
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, path, sizeof path - 1) < 0) path[0] = 0;
    note("fsync", path);
    return ((int (*)(int))dlsym(RTLD_NEXT, "fsync"))(fd);
}
int rename(const char *from, const char *to) {
    note("rename", to);
    return ((int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename"))(from, to);
}
"""

let private calls =
    testCase "the system is asked to flush the bytes before the rename, and the folder after it" (fun () ->
        inFolder (fun within ->
            File.WriteAllText(within "spy.c", spy)

            if
                not (OperatingSystem.IsLinux())
                || not (succeeds "gcc" [ "-shared"; "-fPIC"; "-o"; within "spy.so"; within "spy.c"; "-ldl" ])
            then
                skiptest "calls are watched on Linux, with gcc"

            let folder = Directory.CreateDirectory(within "there").FullName
            let path = Path.Combine(folder, "run.pt")

            let child = ProcessStartInfo("dotnet", childOf [ "save"; path; "1"; "1" ])
            child.Environment["LD_PRELOAD"] <- within "spy.so"
            child.Environment["SAVE_SPY"] <- within "log"
            use child = nonNull (Process.Start child)
            child.WaitForExit()
            Expect.equal child.ExitCode 0 "saved"

            let log =
                File.ReadAllLines(within "log")
                |> Array.filter (fun line -> line.Contains folder)
                |> List.ofArray

            match log with
            | [ bytes; rename; names ] ->
                Expect.stringStarts bytes $"fsync {path}." "bytes"
                Expect.equal rename $"rename {path}" "rename"
                Expect.equal names $"fsync {folder}" "names"
            | other -> failtestf "%A" other))

[<Tests>]
let tests =
    testList "saving under faults" [ everyOperation "pt"; everyOperation "safetensors"; cleaning; power; calls ]
