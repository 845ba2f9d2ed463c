/// Checkpoint files of F#'s core: trees are written and read without the shell, which reads and writes the same bytes.
module CoreFileTests

open System
open System.IO
open Expecto
open Optim.Core
open Optim.Kernels
open Kit
open CheckpointKit

type private Shell = Optim.Checkpoint

let private parameters () =
    Parameters.ofNamed [ "w", TensorView.Of [| 1.0f; 2.0f |]; "b", TensorView.Of [| 0.5f |] ]

let private run () =
    let parameters = parameters ()

    let gradients =
        Gradients.ofDense [ TensorView.Of [| 0.1f; 0.2f |]; TensorView.Of [| 0.3f |] ]

    let state =
        Adam.init Adam.defaults parameters
        |> Adam.step Adam.defaults parameters gradients

    parameters, gradients, state

let private treeOf parameters state =
    Tree.Dict
        [|
            struct ("model", Parameters.toTree parameters)
            struct ("state", State.toTree state)
            struct ("epoch", Tree.Int 3L)
        |]

[<Tests>]
let tests =
    testList
        "checkpoint files of the core"
        [
            test "a run goes on from a file with the same bits" {
                inFolder (fun within ->
                    let path = within "run.pt"
                    let moved, gradients, state = run ()
                    Checkpoint.write path (treeOf moved state)

                    let tree = Checkpoint.read path
                    Expect.equal (int64 (tree["epoch"]: Tree)) 3L "epoch"
                    let resumed = Parameters.ofTree tree["model"]
                    let again = State.ofTree Adam.rule resumed tree["state"]
                    Expect.equal resumed moved "parameters"
                    Expect.isTrue (State.contentEquals again state) "state"
                    let next = Adam.step Adam.defaults moved gradients state
                    let other = Adam.step Adam.defaults resumed gradients again
                    Expect.equal resumed moved "after another step"
                    Expect.isTrue (State.contentEquals next other) "after another step")
            }
            for name in [ "run.pt"; "run.safetensors" ] do
                test $"{name}: core and shell write the same bytes and read the same trees" {
                    inFolder (fun within ->
                        let moved, _, state = run ()

                        let tree =
                            if name.EndsWith ".pt" then
                                treeOf moved state
                            else
                                Parameters.toTree moved

                        Checkpoint.write (within name) tree
                        Shell.Write(within ("shell-" + name), tree)
                        Expect.sequenceEqual (File.ReadAllBytes(within name)) (File.ReadAllBytes(within ("shell-" + name))) "bytes"
                        Expect.equal (Checkpoint.read (within name)) (Shell.Read(within name)) "trees")
                }
            test "texts beside the tensors of .safetensors" {
                inFolder (fun within ->
                    let path = within "model.safetensors"
                    Checkpoint.writeWith [ "made by", "a test" ] path (Parameters.toTree (parameters ()))
                    let texts = Checkpoint.readMetadata path
                    Expect.equal texts["made by"] "a test" "given"
                    Expect.equal texts["format"] "pt" "added"

                    Expect.throwsT<ArgumentException>
                        (fun () -> Checkpoint.writeWith [ "a", "b" ] (within "model.pt") Tree.None)
                        "other files have none")
            }
            test "what no checkpoint needs is refused, or kept where it is asked for" {
                inFolder (fun within ->
                    let path = within "foreign.pt"
                    Expect.throwsT<Optim.CheckpointException> (fun () -> Checkpoint.read path |> ignore) "there is no file"
                    let small = Optim.ReadBudget(Nodes = 1L)
                    Checkpoint.write path (Tree.ListOf [ Tree.Int 1L; Tree.Int 2L ])

                    Expect.throwsT<Optim.CheckpointException>
                        (fun () ->
                            Checkpoint.readWith
                                { Checkpoint.defaults with
                                    Budget = small
                                }
                                path
                            |> ignore)
                        "a file that needs more"

                    for wrong in [ ""; "a\000b" ] do
                        Expect.throwsT<ArgumentException> (fun () -> Checkpoint.read wrong |> ignore) "no path"
                        Expect.throwsT<ArgumentException> (fun () -> Checkpoint.write wrong Tree.None) "no path")

                let foreign = golden "kinds/weights_and_odd.pt"

                if File.Exists foreign then
                    Expect.throwsT<Optim.CheckpointException> (fun () -> Checkpoint.read foreign |> ignore) "refused"

                    let kept =
                        Checkpoint.readWith
                            { Checkpoint.defaults with
                                KeepForeign = true
                            }
                            foreign

                    Expect.equal kept (Shell.Read(foreign, keepForeign = true)) "kept"
            }
        ]
