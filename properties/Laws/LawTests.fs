/// Every law that applies, on each of the rules.
module LawTests

open Expecto
open Optim.Core
open Optim.Laws
open Plain

/// A law that holds, or one that a rule opts out of because it does not.
let private toTest (law: Law) =
    let run =
        testCase law.Name (fun () ->
            if law.OptOut = "" then
                Cases.add "laws" (law.Check())
            else
                Expect.isNotEmpty (law.Try(300, 20261123UL).Why) "the law holds: there is no reason to opt out of it")

    if law.Alone then testSequenced run else run

let private shared =
    let ids rule =
        Laws.forRule rule |> List.map _.Id |> List.distinct |> List.sort

    test "every rule has the laws of all element-wise rules, and its own" {
        let common = Kit.denseRules |> List.map (ids >> Set.ofList) |> Set.intersectMany

        for id in
            [
                "E1"
                "E2"
                "E3"
                "E4"
                "E5"
                "E6"
                "E7"
                "E8"
                "E9"
                "F1"
                "F2"
                "F3"
                "F4"
                "F5"
                "F7"
                "F8"
                "G1"
                "G3"
                "G4"
            ] do
            Expect.contains common id id

        let every =
            List.ofSeq Rules.All |> List.map (ids >> Set.ofList) |> Set.intersectMany

        for id in [ "U1"; "U2"; "U3"; "U5" ] do
            Expect.contains every id id

        for rule in Rules.All do
            if rule.Has "maximize" then
                Expect.contains (ids rule) "E5" rule.Name

        // SparseAdam takes no rate of 0.
        Expect.contains common "U4" "U4"

        let own =
            [
                "Adadelta", "D4"
                "Adagrad", "A7"
                "Adam", "R3"
                "Adam", "U6"
                "Adam", "U7"
                "AdamW", "D3"
                "Adamax", "A5"
                "ASGD", "A11"
                "NAdam", "A12"
                "RAdam", "A13"
                "RMSprop", "A6"
                "Rprop", "A9"
                "SGD", "A3"
            ]

        for rule, id in own do
            Expect.contains (ids (Rules.Find rule)) id rule
    }

let private mistaken =
    test "opting out of what is no law, twice of one, or without a reason is refused" {
        let declare declarations =
            Rule.declare declarations OwnRuleFSharp.Lion.rule

        let refused words (wrong: unit -> unit) =
            try
                wrong ()
                failtest "taken"
            with :? System.ArgumentException as e ->
                Expect.stringContains e.Message words "message"

        refused "U99" (fun () -> declare [ Declaration.optOut "U99" "why not" ] |> Laws.forRule |> ignore)
        refused "U5" (fun () -> declare [ Declaration.optOut "U5" "once more" ] |> ignore)
        refused "gives no reason" (fun () -> declare [ Declaration.optOut "U1" " " ] |> ignore)

        refused "two bounds" (fun () ->
            declare
                [
                    Declaration.stepBound (fun _ _ -> 1.0)
                    Declaration.stepBound (fun _ _ -> 2.0)
                ]
            |> ignore)

        let reason = "it may"
        let rule = declare [ Declaration.optOut "U1" reason ]
        let law = Laws.forRule rule |> List.find (fun law -> law.Id = "U1")
        Expect.equal (law.OptOut, law.Check()) (reason, 0) "left out"
        Expect.stringContains law.Name reason "the name gives the reason"
        Expect.isFalse (OwnRuleFSharp.Lion.rule.OptOuts.ContainsKey "U1") "the rule itself is as it was"
    }

/// The samples' rules: whoever writes a rule gets these laws for it.
let private own: (string * Rule) list =
    [
        "a rule of one's own in F#", OwnRuleFSharp.Lion.rule :> Rule
        "a rule of one's own in C#", OwnRuleCSharp.Lion.TheRule :> Rule
        "AdaBelief by definition", DefinedRules.adaBelief :> Rule
        "LAMB by definition", DefinedRules.lamb :> Rule
        "NAdam by definition", DefinedRules.nAdam :> Rule
        "NovoGrad by definition", DefinedRules.novoGrad :> Rule
        "a chain",
        Chain.chain
            [
                Chain.clipByGlobalNorm 1.0
                Chain.scaleByAdam (0.9, 0.999) 1e-8
                Chain.addDecayedWeights 0.01
                |> Chain.where (fun parameter -> parameter.Shape.Length < 3)
                Chain.scaleByLearningRate 1e-2
            ]
        :> Rule
        "a chain of elements", Chain.chain [ Chain.trace 0.9; Chain.scaleByLearningRate 1e-2 ] :> Rule
        "a wrapped rule", Wrap.lookahead 3 0.6 Rules.AdamW
        "a wrapped rule of matrices", Wrap.lookahead 3 0.6 Rules.Muon
        "a rule of whole tensors, wrapped twice", Rules.Adafactor |> Wrap.average 0.9 |> Wrap.cautious
    ]

[<Tests>]
let tests =
    testList
        "laws"
        [
            shared
            mistaken
            for rule in Rules.All do
                testList rule.Name (Laws.forRule rule |> List.map toTest)
            for name, rule in own do
                testList name (Laws.forRule rule |> List.map toTest)
        ]
