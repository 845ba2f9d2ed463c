/// What the tests of saving share: trees that show whether they are whole, other processes, and file operations that are watched.
module SavingKit

open System
open System.Diagnostics
open System.IO
open Expecto
open Optim
open Optim.Checkpoints
open Optim.Core
open Optim.Kernels
open Kit

let treeOf (number: int64) elements =
    Tree.Dict(
        struct ("number", Tree.Int number),
        struct ("w", Tree.Tensor(tensor DType.Float64 [| int64 elements |] (Array.create elements (float number))))
    )

/// The number of the save that the file holds as a whole.
let wholeNumber (path: string) =
    let tree = Checkpoint.Read path
    let number: int64 = Tree.op_Explicit tree["number"]
    Expect.isTrue (tree["w"].ToDoubles() |> Array.forall (fun x -> x = float number)) "all elements are of one save"
    number

/// Saves in a process of its own: `properties save-on PATH` until it is killed, `properties save PATH FIRST COUNT` some times.
let runChild (arguments: string array) =
    let save (path: string) number elements =
        Checkpoint.Write(path, treeOf number elements)

    match arguments with
    | [| "save-on"; path |] ->
        for number in Seq.initInfinite int64 do
            save path (number + 1L) 200000

        ValueSome 0
    | [| "save"; path; first; count |] ->
        for number in int64 first .. int64 first + int64 count - 1L do
            save path number 2000

        ValueSome 0
    | _ -> ValueNone

/// Starts a program; None where there is no such program.
let start (program: string) (arguments: string list) =
    try
        Some(nonNull (Process.Start(ProcessStartInfo(program, arguments, RedirectStandardError = true))))
    with :? ComponentModel.Win32Exception ->
        None

/// Whether a program is there and ends well.
let succeeds program arguments =
    match start program arguments with
    | None -> false
    | Some child ->
        use child = child
        child.StandardError.ReadToEnd() |> ignore
        child.WaitForExit()
        child.ExitCode = 0

/// The arguments of `dotnet` that run this program as a child.
let childOf (arguments: string list) =
    typeof<Golden.Tensor>.Assembly.Location :: arguments

/// The file system, with a look before and after each operation: its name, and the file or folder.
type Watched(before: string -> string -> unit, after: string -> string -> unit) =
    inherit FileOperations()

    override _.Create(path, mode) =
        before "create" path
        base.Create(path, mode)

    override _.OpenSpecial path =
        before "open" path
        base.OpenSpecial path

    override _.Write(file, bytes, place) =
        before "write" file.Name
        base.Write(file, bytes, place)
        after "write" file.Name

    override _.SetMode(file, mode) =
        before "set mode" file.Name
        base.SetMode(file, mode)
        after "set mode" file.Name

    override _.Flush file =
        before "flush" file.Name
        base.Flush file
        after "flush" file.Name

    override _.Rename(source, target) =
        before "rename" source
        base.Rename(source, target)
        after "rename" source

    override _.FlushFolder folder =
        before "flush folder" folder
        base.FlushFolder folder
        after "flush folder" folder

    override _.Delete path =
        before "delete" path
        base.Delete path
        after "delete" path

    override _.Temporaries folder =
        before "list" folder
        base.Temporaries folder

    override _.LastWrite path =
        before "last write" path
        base.LastWrite path

    override _.DeleteUnused path =
        before "delete unused" path
        base.DeleteUnused path
        after "delete unused" path

/// Saves with a look before each operation.
let saveWatched (before: string -> string -> unit) (path: string) tree =
    Checkpoints.TreeFile.Write(path, tree, null, Watched(before, (fun _ _ -> ())))

/// The operations of a save, in their order.
let recorded path tree =
    let operations = ResizeArray()
    saveWatched (fun name file -> operations.Add(name, file)) path tree
    List.ofSeq operations

/// A file beside the path, as a save that was killed leaves it, last written some time ago.
let leave (path: string) (ago: TimeSpan) =
    let temporary = ref ""

    try
        saveWatched
            (fun name file ->
                if name = "write" then
                    temporary.Value <- file
                    raise (IOException "killed"))
            path
            (Tree.Dict(struct ("w", (treeOf 0L 1).["w"])))
    with :? CheckpointException ->
        ()

    File.WriteAllText(temporary.Value, "left")
    File.SetLastWriteTimeUtc(temporary.Value, DateTime.UtcNow - ago)
    temporary.Value
