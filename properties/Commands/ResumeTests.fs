/// Going on from files: `optim train --resume`, modules of TorchSharp, and states without an optimizer.
module ResumeTests

open System
open System.Collections.Immutable
open System.IO
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Cli.Commands
open Reference
open Kit
open CheckpointKit
open Command

let private train =
    [
        for optimizer in [ "adamw"; "sgd"; "rprop"; "radam"; "nadam"; "lbfgs" ] do
            testCase
                $"{optimizer}: a run that was stopped and resumed has the losses and parameters of an unbroken one, bit for bit"
                (fun () ->
                    inFolder (fun within ->
                        let more =
                            match optimizer with
                            | "adamw" -> "--ema 0.9 --clip 0.5"
                            | "sgd" -> "--scheduler cosine --set-scheduler T_max=17"
                            | "radam" -> "--scheduler plateau --set-scheduler patience=0"
                            | "lbfgs" ->
                                "--set line_search_fn=strong_wolfe --set max_iter=3 --clip 5 --ema 0.9"
                                + " --scheduler exponential --set-scheduler gamma=0.9"
                            | _ -> ""

                        let run name epochs further =
                            succeeds
                                $"train --optimizer {optimizer} --hidden 8 --batch-size 200 --epochs {epochs} {more} --checkpoint"
                                (within name :: further)
                            |> ignore

                        run "whole.pt" 3 []
                        run "parts.pt" 1 [ "--resume" ]
                        run "parts.pt" 3 [ "--resume" ]

                        let whole, parts =
                            Checkpoint.Read(within "whole.pt"), Checkpoint.Read(within "parts.pt")

                        for part in [ "model"; "optimizer"; "settings" ] do
                            Expect.equal (parts[part]) (whole[part]) part

                        Expect.equal (parts["history"].["losses"]) (whole["history"].["losses"]) "losses"
                        Expect.isGreaterThan (whole["history"].["losses"].AsItems().Length) 10 "steps"))

        testCase "--resume with other settings, without --checkpoint, or from another file is refused in one sentence" (fun () ->
            inFolder (fun within ->
                let line = "train --hidden 8 --batch-size 200 --epochs 1"
                let small, file = words line, [ "--checkpoint"; within "run.pt" ]
                succeeds line file |> ignore
                let before = File.ReadAllBytes(within "run.pt")

                for why, arguments in
                    [
                        "--checkpoint", small @ [ "--resume" ]
                        "seed", small @ file @ words "--resume --seed 2"
                        "optimizer", small @ file @ words "--resume --optimizer sgd"
                        "options", small @ file @ words "--resume --set lr=0.5"
                        ".pt", small @ [ "--checkpoint"; within "x.safetensors" ]
                    ] do
                    refused arguments [ why ]

                Expect.sequenceEqual (File.ReadAllBytes(within "run.pt")) before "the file"))
    ]

let private states =
    [
        testCase "states and parameters go into trees and files and come back without an optimizer" (fun () ->
            for rule in Rules.All do
                if rule.Name <> "Muon" && rule.Name <> "Adafactor" && rule.Name <> "SparseAdam" then
                    let parameters =
                        Parameters.OfNamed
                            [
                                struct ("a", tensor DType.Float64 [| 2L |] [| 1.0; 2.0 |])
                                struct ("b", tensor DType.Float64 [||] [| 3.0 |])
                            ]

                    let gradients seed =
                        Gradients.OfDense
                            [
                                tensor DType.Float64 [| 2L |] (noise seed 2)
                                tensor DType.Float64 [||] (noise seed 1)
                            ]

                    let mutable state = rule.Init(rule.Defaults, parameters)

                    for seed in 1..3 do
                        state <- rule.Step(rule.Defaults, parameters, gradients seed, state)

                    inFolder (fun within ->
                        Checkpoint.Write(
                            within "run.pt",
                            Tree.Dict(struct ("parameters", Parameters.toTree parameters), struct ("state", State.toTree state))
                        )

                        let tree = Checkpoint.Read(within "run.pt")
                        let second = Parameters.ofTree tree["parameters"]
                        let mutable again = State.ofTree rule second tree["state"]
                        Expect.isTrue (State.contentEquals again state) $"{rule.Name}: state"

                        // One bit of one row makes another state.
                        if not rule.ColumnNames.IsEmpty && not state[rule.ColumnNames[0]].Rows[0].IsAbsent then
                            let other = State.copy state
                            let row = other[rule.ColumnNames[0]].Rows[0]
                            row.AsSpan<float>()[0] <- Math.BitIncrement(row.AsSpan<float>()[0])
                            Expect.isFalse (State.contentEquals other state) $"{rule.Name}: another state"

                        for seed in 4..6 do
                            state <- rule.Step(rule.Defaults, parameters, gradients seed, state)
                            again <- rule.Step(rule.Defaults, second, gradients seed, again)

                        for i in 0..1 do
                            expectSameBits (second[i].ToDoubles()) (parameters[i].ToDoubles()) $"{rule.Name}: parameter {i}"))

        testCase "a tree that is no state of the rule is refused, and says where" (fun () ->
            let parameters =
                Parameters.OfNamed [ struct ("a", tensor DType.Float64 [| 2L |] [| 1.0; 2.0 |]) ]

            let of' row =
                Tree.MapOf(MapKind.Dict, [ Collections.Generic.KeyValuePair(TreeKey.Int 0L, row) ])

            for what, words, tree in
                [
                    "a list", [ "dict" ], Tree.ListOf []
                    "another column", [ "square_avg"; "Adam"; "exp_avg" ], of' (Tree.Dict(struct ("square_avg", Tree.None)))
                    "a number for a tensor", [ "'exp_avg' of parameter 'a'" ], of' (Tree.Dict(struct ("exp_avg", Tree.Int 1L)))
                    "half a step", [ "step of parameter 'a'"; "0.5" ], of' (Tree.Dict(struct ("step", Tree.Float 0.5)))
                ] do
                refuses<ArgumentException> what words (fun () -> State.ofTree (rule "Adam") parameters tree |> ignore))

        testCase "parameters of host arrays are a part of a checkpoint" (fun () ->
            inFolder (fun within ->
                let list = [ vector "a" [ 1.0; 2.0 ]; vector "b" [ 3.0 ] ]
                Checkpoint.Save(within "run.pt", struct ("model", box (list |> List.map (fun p -> p :> IParameter))))
                let other = [ param "b" DType.Float32 [| 1L |] [| 0.0 |]; vector "a" [ 0.0; 0.0 ] ]

                let report =
                    Checkpoint.Load(within "run.pt", struct ("model", box (other |> List.map (fun p -> p :> IParameter))))

                expectSameBits (values other[1]) [| 1.0; 2.0 |] "a"
                expectSameBits (values other[0]) [| 3.0 |] "b"
                Expect.equal (List.ofSeq report.Reports["model"].Converted) [ "'b'" ] "converted"))
    ]

let private torchNet () =
    let layer name (layer: torch.nn.Module<torch.Tensor, torch.Tensor>) = struct (name, layer)

    torch.nn.Sequential(layer "0" (torch.nn.Linear(4L, 3L)), layer "1" (torch.nn.BatchNorm1d 3L), layer "2" (torch.nn.Linear(3L, 2L)))

/// PyTorch's own training.pt: an AdamW of two groups and a cosine over ten epochs, three of which are over.
let private scheduled =
    testCase "an optimizer and a scheduler saved by PyTorch go on where they were" (fun () ->
        let path = golden (Path.Combine("checkpoints", "training.pt"))
        let saved = (Checkpoint.Read path)["optimizer"]
        let state = saved["state"]

        let list =
            [
                for KeyValue(id, row) in state.AsMap() ->
                    let shape = Seq.toArray ((row["exp_avg"]).AsTensor().Shape)
                    Param.Zeros($"p{id}", DType.Float32, shape)
            ]

        let optimizer =
            new AdamW(groups [ group list[..2] []; group list[3..] [ "weight_decay", Number 0.0 ] ], lr = 3e-4, weightDecay = 0.1)

        let scheduler = CosineAnnealingLR(optimizer, tMax = 10)

        Checkpoint.Load(path, struct ("optimizer", box optimizer), struct ("scheduler", box scheduler))
        |> ignore

        let closed epoch =
            3e-4 * (1.0 + cos (Math.PI * float epoch / 10.0)) / 2.0

        for epoch in 3..10 do
            for g in optimizer.ParamGroups do
                let rate: float = OptionValue.op_Explicit g["lr"]
                Expect.floatClose Accuracy.high rate (closed epoch) $"epoch {epoch}"

            optimizer.Step()
            scheduler.Step())

let private modules =
    [
        testCase
            "a model saved by PyTorch loads into the same architecture built in TorchSharp, by name, and what differs is reported"
            (fun () ->
                TorchSharpTests.skipWithoutLibtorch ()
                use net = torchNet ()
                let path = golden (Path.Combine("checkpoints", "training.pt"))
                let state = (Checkpoint.Read path)["model"]
                Checkpoint.Load(path, struct ("model", box net)) |> ignore

                for KeyValue(key, value) in state.AsMap() do
                    let own = net.state_dict()[key.ToString().Trim '\'']

                    Expect.sequenceEqual
                        (own.``to``(torch.ScalarType.Float64).reshape(-1L).data<float>().ToArray())
                        (value.ToDoubles())
                        $"{key}")

        testCase "a module's state goes into files and comes back in place, all or nothing" (fun () ->
            TorchSharpTests.skipWithoutLibtorch ()

            inFolder (fun within ->
                use net = torchNet ()
                use other = torchNet ()

                let same () =
                    ModuleState(other).SaveState() = ModuleState(net).SaveState()

                Expect.isFalse (same ()) "drawn apart"
                let weight = (Seq.head (other.parameters ())).Handle

                for extension in [ "pt"; "safetensors" ] do
                    net.SaveWeights(within $"net.{extension}")
                    let report = other.LoadWeights(within $"net.{extension}")
                    Expect.isTrue (same ()) extension
                    Expect.equal (Seq.length report.Matched) 9 "matched"
                    let first = Seq.head (net.parameters ())

                    (use _ = torch.no_grad ()
                     first.add_ (torch.tensor 1.0f) |> ignore)

                    Expect.isFalse (same ()) "moved on"

                Expect.equal (Seq.head (other.parameters ())).Handle weight "in place"

                use larger =
                    torch.nn.Sequential(struct ("0", torch.nn.Linear(4L, 5L) :> torch.nn.Module<torch.Tensor, torch.Tensor>))

                let before = ModuleState(larger).SaveState().Copy()

                refuses<CheckpointException> "other names" [ "1.weight"; "net.pt" ] (fun () ->
                    larger.LoadWeights(within "net.pt") |> ignore)

                refuses<CheckpointException> "another shape" [ "0.weight"; "[3, 4]" ] (fun () ->
                    larger.LoadWeights(within "net.pt", false) |> ignore)

                Expect.equal (ModuleState(larger).SaveState()) before "nothing has changed"))
    ]

[<Tests>]
let tests =
    testList
        "resuming from files"
        [
            testList "optim train" train
            testList "states" states
            scheduled
            testList "modules" modules |> testSequenced
        ]
