/// Groups of parameters by rules over names, shapes and layers.
module GroupTests

open System
open System.IO
open System.Text.Json
open Expecto
open Optim
open Optim.Core
open Reference
open Golden
open Kit

let private param name (shape: int64 list) =
    Param.Zeros(name, Kernels.DType.Float32, Array.ofList shape)

let private small () =
    asParameters
        [
            param "embed.weight" [ 5L; 3L ]
            param "blocks.0.norm.weight" [ 3L ]
            param "blocks.0.fc.weight" [ 3L; 3L ]
            param "blocks.0.fc.bias" [ 3L ]
            param "blocks.1.fc.weight" [ 3L; 3L ]
            param "norm.weight" [ 3L ]
            param "head.weight" [ 2L; 3L ]
            param "head.bias" [ 2L ]
        ]

let private decay value =
    struct ("weight_decay", OptionValue.Float value)

let private lr value = struct ("lr", OptionValue.Float value)

let private names (group: ParameterGroup) =
    [
        for p in group.Parameters -> p.Name |> Option.ofObj |> Option.defaultValue ""
    ]

let private adamw (groups: ParameterGroups) =
    new AdamW(Kit.groups groups, lr = 1e-3, weightDecay = 0.05)

let private number (group: ParameterGroup) (key: string) : float =
    match group.Custom.TryGetValue key with
    | true, value -> OptionValue.op_Explicit value
    | _ -> OptionValue.op_Explicit group[key]

/// timm's groups from its names and shapes: golden/beyond/groups*.json.
let private model (case: JsonElement) () =
    let parameters =
        asParameters
            [
                for name, shape in pairs (list Golden.number) (field "parameters" case) -> param name (List.map int64 shape)
            ]

    let listed = field "no_weight_decay" case |> list Golden.text |> Set

    let base' =
        ParameterGroups.For(parameters).NoDecayForVectors().Where((fun p -> listed.Contains(string p.Name)), "listed", [| decay 0.0 |])

    let compare what (expected: JsonElement) (groups: ParameterGroups) =
        let actual =
            [
                for group in (adamw groups).ParamGroups do
                    let scale =
                        if group.Custom.ContainsKey "lr_scale" then
                            number group "lr_scale"
                        else
                            1.0

                    names group, number group "weight_decay", scale
            ]

        let expected =
            [
                for group in expected.EnumerateArray() do
                    let scale =
                        tryField "lr_scale" group |> Option.map Golden.number |> Option.defaultValue 1.0

                    field "params" group |> list Golden.text, field "weight_decay" group |> Golden.number, scale
            ]

        Expect.equal actual.Length expected.Length $"{what}: number of groups"

        for i, ((names, decay, scale), (theirNames, theirDecay, theirScale)) in List.indexed (List.zip actual expected) do
            Expect.equal names theirNames $"{what}, group {i}: names"
            Expect.equal decay theirDecay $"{what}, group {i}: weight_decay"
            Expect.floatClose Accuracy.veryHigh scale theirScale $"{what}, group {i}: lr_scale"

    for name, expected in pairs id case do
        match name.Split(' ') with
        | [| "weight_decay"; _ |] -> compare name expected base'
        | [| "layer_decay"; rate |] ->
            compare name expected (base'.LayerDecay(Double.Parse(rate, Globalization.CultureInfo.InvariantCulture)))
        | _ -> ()

[<Tests>]
let beyond =
    testList
        "beyond groups"
        (recorded "beyond/groups*.json" (fun _ root ->
            [
                for case in field "models" root |> list id -> testCase (field "model" case |> Golden.text) (model case)
            ]))

[<Tests>]
let tests =
    testList
        "groups by rules"
        [
            test "words are found anywhere in a name, and globs match the whole name" {
                let matched (pattern: string) =
                    let groups = ParameterGroups.For(small ()).NoDecay pattern
                    names groups[0]

                Expect.equal (matched "norm") [ "blocks.0.norm.weight"; "norm.weight" ] "a word"
                Expect.equal (matched "*.bias") [ "blocks.0.fc.bias"; "head.bias" ] "*"
                Expect.equal (matched "norm*") [ "norm.weight" ] "from the start"
                Expect.equal (matched "blocks.[1-9].*") [ "blocks.1.fc.weight" ] "a range"
                Expect.equal (matched "blocks.[!1].fc.weight") [ "blocks.0.fc.weight" ] "none of these"
                Expect.equal (matched "head.b?as") [ "head.bias" ] "?"
            }

            test "groups stand in the order of the rules, and the rest comes last" {
                let optimizer =
                    adamw (ParameterGroups.For(small ()).Where("head.*", [| lr 1e-2 |]).Where("embed*", [| lr 1e-4; decay 0.0 |]))

                Expect.equal
                    [
                        for group in optimizer.ParamGroups -> number group "lr", number group "weight_decay"
                    ]
                    [ 1e-2, 0.05; 1e-4, 0.0; 1e-3, 0.05 ]
                    "options"

                Expect.equal (names optimizer.ParamGroups[0]) [ "head.weight"; "head.bias" ] "the first rule"
                Expect.equal (optimizer.ParamGroups |> Seq.sumBy _.Parameters.Count) 8 "all parameters"
            }

            test "a pattern, a dimension or a module that matches nothing is refused with what there is" {
                let groups = ParameterGroups.For(small ())

                for what, words, act in
                    [
                        "pattern", [ "'blocks.7.*'"; "embed.weight"; "head.bias" ], (fun () -> groups.NoDecay "blocks.7.*" |> ignore)
                        "one of several", [ "'gamma'" ], (fun () -> groups.NoDecay("bias", "gamma") |> ignore)
                        "no pattern", [ "no pattern" ], (fun () -> groups.NoDecay() |> ignore)
                        "dimension", [ "4 dimensions"; "1, 2" ], (fun () -> groups.WhereDimensions(4, [| decay 0.0 |]) |> ignore)
                        "module", [ "String"; "no modules" ], (fun () -> groups.WhereModule<string>([| decay 0.0 |]) |> ignore)
                        "no options", [ "sets no option" ], (fun () -> groups.Where("bias", [||]) |> ignore)
                        "an option twice", [ "lr"; "twice" ], (fun () -> groups.Where("bias", [| lr 1.0; lr 2.0 |]) |> ignore)
                    ] do
                    refuses<ArgumentException> what words act

                let unnamed =
                    ParameterGroups.For [ Param.Zeros(null, Kernels.DType.Float32, 3L) :> IParameter ]

                refuses<ArgumentException> "no name" [ "names" ] (fun () -> unnamed.NoDecay "bias" |> ignore)
            }

            test "a parameter that several rules match is refused, unless they agree or an order is given" {
                let groups =
                    ParameterGroups.For(small ()).Where("*.bias", [| decay 0.0; lr 0.5 |]).Where("head.*", [| lr 0.25 |])

                refuses<ArgumentException> "no order" [ "head.bias"; "'*.bias'"; "'head.*'"; "FirstWins" ] (fun () ->
                    groups.Count |> ignore)

                let rates (groups: ParameterGroups) =
                    [
                        for group in (adamw groups).ParamGroups do
                            for name in names group do
                                if name.StartsWith "head." then
                                    name, number group "lr", number group "weight_decay"
                    ]
                    |> List.sort

                Expect.equal (rates (groups.FirstWins())) [ "head.bias", 0.5, 0.0; "head.weight", 0.25, 0.05 ] "first"
                Expect.equal (rates (groups.LastWins())) [ "head.bias", 0.25, 0.0; "head.weight", 0.25, 0.05 ] "last, option by option"

                let agree = ParameterGroups.For(small ()).NoDecay("bias").NoDecay("head.*")
                Expect.equal agree.Count 2 "two rules that do the same"
            }

            test "the table says what went where, and by which pattern" {
                let text =
                    ParameterGroups
                        .For(small ())
                        .NoDecay("bias", "norm")
                        .Where("head.*", [| lr 0.25; decay 0.1 |])
                        .LastWins()
                        .LayerDecay(0.5)
                        .ToString()

                let row (name: string) =
                    text.Split('\n') |> Array.find (fun line -> line.StartsWith name)

                for name, words in
                    [
                        "parameter", [ "shape"; "group"; "sets"; "by" ]
                        "blocks.0.norm.weight", [ "[3]"; "weight_decay=0"; "'norm'"; "layer 1"; "lr_scale=0.25" ]
                        "head.bias", [ "lr=0.25"; "weight_decay=0.1"; "'head.*'"; "('bias' lost)"; "lr_scale=1" ]
                        "embed.weight", [ "lr_scale=0.125"; "layer 0" ]
                    ] do
                    for word in words do
                        Expect.stringContains (row name) word name
            }

            test "layer decay goes by any function, has a least factor, and leaves out what is below another" {
                let layerOf (name: string) =
                    if name.StartsWith "head" then 3
                    elif name.StartsWith "blocks.1" then 2
                    elif name.StartsWith "blocks.0" then 1
                    else 0

                let scales (groups: ParameterGroups) =
                    [
                        for group in groups do
                            for name in names group -> name, number group "lr_scale"
                    ]
                    |> Map

                let of' minScale below =
                    scales (ParameterGroups.For(small ()).LayerDecay(0.5, Func<string, int>(layerOf), minScale, below))

                let plain = of' 0.0 (Nullable())
                Expect.equal plain["head.bias"] 1.0 "the last layer"
                Expect.equal plain["blocks.0.fc.weight"] 0.25 "two before it"
                Expect.equal (of' 0.2 (Nullable())).["embed.weight"] 0.2 "the least"

                Expect.equal ((of' 0.0 (Nullable 0.2)).Keys |> Set) (Set plain.Keys - Set [ "embed.weight"; "norm.weight" ]) "left out"

                for what, words, act in
                    [
                        "decay", [ "decay"; "1.5" ], (fun () -> ParameterGroups.For(small ()).LayerDecay(1.5) |> ignore)
                        "below 0",
                        [ "embed.weight"; "-1" ],
                        (fun () ->
                            ParameterGroups.For(small ()).LayerDecay(0.5, Func<string, int>(fun _ -> -1))
                            |> ignore)
                        "no blocks",
                        [ "block"; "weight" ],
                        (fun () ->
                            ParameterGroups.For(asParameters [ param "weight" [ 2L ] ]).LayerDecay(0.5)
                            |> ignore)
                    ] do
                    refuses<ArgumentException> what words act
            }

            test "layers of names of other families" {
                let layers (names: string list) =
                    let layerOf = LayerOrder.Of names
                    [ for name in names -> layerOf.Invoke name ]

                for what, names, expected in
                    [
                        "GPT-2",
                        [
                            "transformer.wte.weight"
                            "transformer.h.0.ln_1.weight"
                            "transformer.h.1.mlp.c_fc.weight"
                            "transformer.ln_f.weight"
                            "lm_head.weight"
                        ],
                        [ 0; 1; 2; 2; 3 ]
                        "BERT",
                        [
                            "bert.embeddings.word_embeddings.weight"
                            "bert.encoder.layer.0.attention.self.query.weight"
                            "bert.encoder.layer.11.output.dense.weight"
                            "bert.pooler.dense.weight"
                            "classifier.weight"
                        ],
                        [ 0; 1; 2; 3; 3 ]
                        "Llama",
                        [
                            "model.embed_tokens.weight"
                            "model.layers.0.self_attn.q_proj.weight"
                            "model.layers.1.mlp.up_proj.weight"
                            "model.norm.weight"
                            "lm_head.weight"
                        ],
                        [ 0; 1; 2; 2; 3 ]
                        "ResNet",
                        [
                            "conv1.weight"
                            "layer1.0.conv1.weight"
                            "layer2.0.downsample.0.weight"
                            "fc.weight"
                        ],
                        [ 0; 1; 2; 3 ]
                        "a perceptron", [ "layer1.weight"; "layer1.bias"; "layer2.weight" ], [ 1; 1; 2 ]
                    ] do
                    Expect.equal (layers names) expected what
            }

            test "tagged groups train at scaled rates under every kind of schedule, and restore" {
                let make () =
                    let optimizer =
                        new SGD(Kit.groups (ParameterGroups.For(small ()).LayerDecay(0.5)), lr = 0.1)

                    optimizer, HuggingFaceLR.Constant optimizer

                let optimizer, scheduler = make ()

                let scales = [ for group in optimizer.ParamGroups -> number group "lr_scale" ]

                Expect.equal [ for group in optimizer.ParamGroups -> number group "lr" ] (scales |> List.map ((*) 0.1)) "from the start"
                Expect.equal (Set scales) (Set [ 0.125; 0.25; 0.5; 1.0 ]) "four layers"
                optimizer.Step()
                scheduler.Step()
                let fresh, restored = make ()
                fresh.LoadStateDict(optimizer.StateDict()) |> ignore
                restored.LoadStateDict(scheduler.StateDict()) |> ignore
                Expect.equal [ for group in fresh.ParamGroups -> number group "lr" ] (scales |> List.map ((*) 0.1)) "restored"
            }
        ]
