/// Groups, and Muon with AdamW, by the modules of TorchSharp.
module ModuleGroupTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Kit

type private Net = torch.nn.Module<torch.Tensor, torch.Tensor>

/// Tokens to classes: an embedding, a hidden layer with a normalization, and a head.
let private classifier () : Modules.Sequential =
    torch.nn.Sequential(
        struct ("embed", torch.nn.Embedding(7L, 4L) :> Net),
        struct ("hidden", torch.nn.Linear(4L, 5L) :> Net),
        struct ("norm", torch.nn.LayerNorm [| 5L |] :> Net),
        struct ("head", torch.nn.Linear(5L, 3L) :> Net)
    )

let private names (groups: ParameterGroup seq) =
    [
        for group in groups do
            for p in group.Parameters -> p.Name |> Option.ofObj |> Option.defaultValue ""
    ]

let private decay value =
    struct ("weight_decay", OptionValue.Float value)

let private over name (run: unit -> unit) =
    testCase name (fun () ->
        TorchSharpTests.skipWithoutLibtorch ()

        use _ = torch.NewDisposeScope()
        run ())

[<Tests>]
let tests =
    testSequenced
    <| testList
        "module groups"
        [
            over "parameters know the types of the modules that have them" (fun () ->
                use model = classifier ()

                for p in model.NamedParameters() do
                    let expected =
                        match (nonNull p.Name).Split('.')[0] with
                        | "embed" -> "Embedding"
                        | "norm" -> "LayerNorm"
                        | _ -> "Linear"

                    Expect.equal [ for t in p.ModuleTypes -> t.Name ] [ expected ] (string p.Name))

            over "groups by type of module" (fun () ->
                use model = classifier ()

                let groups =
                    ModuleGroups.For(model).WhereModule<Modules.Embedding>([| decay 0.0 |]).WhereModule<Modules.LayerNorm>([| decay 0.5 |])

                Expect.equal (names [ groups[0] ]) [ "embed.weight" ] "embedding"
                Expect.equal (names [ groups[1] ]) [ "norm.weight"; "norm.bias" ] "normalization"
                Expect.equal groups[2].Parameters.Count 4 "the rest"

                refuses<ArgumentException> "none" [ "Conv2d"; "Embedding"; "LayerNorm"; "Linear" ] (fun () ->
                    ModuleGroups.For(model).WhereModule<Modules.Conv2d>([| decay 0.0 |]) |> ignore)

                use optimizer = (new AdamW(Kit.groups groups, lr = 1e-3)).AsTorchSharp()
                Expect.equal (Seq.length optimizer.ParamGroups) 3 "groups")

            over "ForMuon.Optimizer keeps embeddings and the head from Muon" (fun () ->
                use model = classifier ()
                let optimizer = ModuleMuon.Optimizer(model)
                Expect.equal (names (optimizer.GroupsOf "muon")) [ "hidden.weight" ] "Muon"

                Expect.equal
                    (Set(names (optimizer.GroupsOf "adamw")))
                    (Set
                        [
                            "embed.weight"
                            "hidden.bias"
                            "norm.weight"
                            "norm.bias"
                            "head.weight"
                            "head.bias"
                        ])
                    "AdamW"

                let before = [ for p in model.NamedParameters() -> p.Data.ToDoubles() ]

                for p in model.parameters () do
                    p.grad <- torch.ones_like p

                optimizer.Step()

                for p, old in Seq.zip (model.NamedParameters()) before do
                    Expect.notEqual (p.Data.ToDoubles()) old (string p.Name))

            over "tied weights belong to the embedding" (fun () ->
                use model = classifier ()
                let tied = torch.nn.Linear(4L, 7L, hasBias = false)
                let embedding = model[0] :> obj :?> Modules.Embedding
                tied.weight <- (embedding.weight :> obj :?> Modules.Parameter)
                model.append ("tied", tied) |> ignore
                let optimizer = ModuleMuon.Optimizer(model)
                Expect.isTrue (names (optimizer.GroupsOf "adamw") |> List.contains "embed.weight") "with AdamW"
                Expect.equal (names (optimizer.GroupsOf "muon")) [ "hidden.weight"; "head.weight" ] "the last Linear is the tied one")
        ]
