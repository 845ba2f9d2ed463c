/// How optimizers are made and printed: the defaults of their constructors, as PyTorch has and prints them, in any culture.
module ConstructionTests

open System
open System.Globalization
open System.Reflection
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Cli.Training
open Reference
open Kit

let private face name =
    match typeof<Optimizer>.Assembly.GetType("Optim." + name) with
    | null -> failtestf "there is no class Optim.%s" name
    | face -> face

/// weightDecay as PyTorch spells it: weight_decay.
let private snake (name: string) =
    String.collect
        (fun c ->
            if Char.IsUpper c then
                $"_{Char.ToLowerInvariant c}"
            else
                string c)
        name

let defaults =
    testList
        "defaults"
        [
            for name, _ in everyRule do
                testCase $"{name}: every default of the constructors is the rule's and PyTorch's" (fun () ->
                    let expected = Constructors.defaults[name]
                    let rule = rule name
                    let face = face name

                    for KeyValue(key, value) in expected do
                        Expect.equal (rule.Read(rule.Defaults, key)) (option value) $"{key} of the rule"

                    let constructor = Array.exactlyOne (face.GetConstructors())
                    let named = Array.tail (constructor.GetParameters())

                    for argument in named do
                        let key = snake argument.Name
                        Expect.isTrue argument.HasDefaultValue $"{key} has a default"

                        match argument.DefaultValue, Map.tryFind key expected with
                        | null, Some(Pair _ | Unset) -> ()
                        | :? float as number, Some(Number value) -> Expect.equal number value key
                        | :? bool as flag, Some(Flag value) -> Expect.equal flag value key
                        | null, None -> Expect.contains [ "fused"; "state_storage" ] key "an argument that PyTorch lacks"
                        | other, setting -> failtestf "%s is %A, the rule has %A" key other setting

                    let given = named |> Array.map (fun argument -> snake argument.Name) |> Set.ofArray

                    let forced =
                        if name = "AdamW" then
                            set [ "decoupled_weight_decay" ]
                        else
                            Set.empty

                    let known = expected |> Map.keys |> Set.ofSeq
                    Expect.isEmpty (known - given - forced) "options without an argument"

                    let arguments: obj[] =
                        Array.append [| box (parameters [ vector "w" [ 1.0 ] ]) |] (Array.create named.Length Type.Missing)

                    let optimizer =
                        constructor.Invoke(BindingFlags.OptionalParamBinding, null, arguments, CultureInfo.InvariantCulture) :?> Optimizer

                    for KeyValue(key, value) in expected do
                        Expect.equal (optimizer.ParamGroups[0][key]) (option value) $"{key} of the group"
                        Expect.equal (optimizer.Defaults[key]) (option value) $"{key} of Defaults")
        ]

let printing =
    testList
        "printing"
        [
            testCase "as PyTorch prints it: sorted options, group by group" (fun () ->
                let optimizer =
                    new SGD(
                        groups
                            [
                                group [ vector null [ 1.0 ] ] []
                                group [ vector null [ 1.0 ] ] [ "lr", Number 1e-5 ]
                            ],
                        lr = 0.1,
                        momentum = 0.9
                    )

                let expected lr index =
                    [
                        $"Parameter Group {index}"
                        "    dampening: 0"
                        "    differentiable: False"
                        "    foreach: None"
                        "    fused: None"
                        $"    lr: {lr}"
                        "    maximize: False"
                        "    momentum: 0.9"
                        "    nesterov: False"
                        "    weight_decay: 0"
                    ]

                let text =
                    String.Join("\n", [ "SGD ("; yield! expected "0.1" 0; ""; yield! expected "1e-05" 1; ")" ])

                Expect.equal (optimizer.ToString()) text "SGD")

            testCase "pairs and small numbers as in Python" (fun () ->
                let text = (new Adam(parameters [ vector null [ 1.0 ] ])).ToString()

                for line in
                    [
                        "    betas: (0.9, 0.999)"
                        "    eps: 1e-08"
                        "    lr: 0.001"
                        "    amsgrad: False"
                    ] do
                    Expect.stringContains text line "Adam"

                let text = (new Rprop(parameters [ vector null [ 1.0 ] ])).ToString()
                Expect.stringContains text "    etas: (0.5, 1.2)" "Rprop"
                Expect.stringContains text "    step_sizes: (1e-06, 50" "Rprop")
        ]

/// Runs `action` where decimals have commas.
let private inGerman (action: unit -> unit) =
    let before = CultureInfo.CurrentCulture

    try
        CultureInfo.CurrentCulture <- CultureInfo.GetCultureInfo "de-DE"
        action ()
    finally
        CultureInfo.CurrentCulture <- before

let culture =
    testList
        "culture"
        [
            testCase "de-DE changes no printed and no parsed number" (fun () ->
                inGerman (fun () ->
                    Expect.equal (string 0.5) (string 0.5) "F# prints in the invariant culture"
                    Expect.equal ((0.5).ToString()) "0,5" "de-DE is in force"
                    let p = vector "w" [ 1.5 ]
                    let optimizer = optimizer "Adam" [ "lr", Number 0.25 ] [ p ]

                    for line in [ "    lr: 0.25"; "    betas: (0.9, 0.999)"; "    eps: 1e-08" ] do
                        Expect.stringContains (optimizer.ToString()) line "printed"

                    refuses<OptionException> "lr -0.5" [ "-0.5" ] (fun () -> optimizer.ParamGroups[0]["lr"] <- option (Number -0.5))

                    for text, expected in
                        [
                            "0.5", Number 0.5
                            "1e-3", Number 1e-3
                            "(0.9, 0.999)", Pair(0.9, 0.999)
                            "True", Flag true
                            "None", Unset
                        ] do
                        match OptionText.TryParse text with
                        | true, value -> Expect.equal value (option expected) text
                        | _ -> failtestf "%s was not read" text

                    // A comma separates values, and is never a decimal one.
                    match OptionText.TryParse "0,5,1" with
                    | true, value ->
                        Expect.equal value (OptionValue.TupleOf [ OptionValue.Int 0L; OptionValue.Int 5L; OptionValue.Int 1L ]) "0,5,1"
                    | _ -> failtest "0,5,1 was not read"))
        ]
