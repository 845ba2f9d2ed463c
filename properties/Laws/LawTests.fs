/// Every law that applies, on each of the rules.
module LawTests

open Expecto
open Optim.Core
open Optim.Laws
open Plain

let private toTest (law: Law) =
    let run = testCase law.Name (fun () -> Cases.add "laws" (law.Check()))
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

        let own =
            [
                "Adadelta", "D4"
                "Adagrad", "A7"
                "Adam", "R3"
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
            Expect.contains (ids (Rules.find rule)) id rule
    }

/// The samples' rules: whoever writes a rule gets these laws for it.
let private own: (string * Rule) list =
    [
        "a rule of one's own in F#", OwnRuleFSharp.Lion.rule :> Rule
        "a rule of one's own in C#", OwnRuleCSharp.Lion.TheRule
    ]

[<Tests>]
let tests =
    testList
        "laws"
        [
            shared
            for rule in Rules.all do
                testList rule.Name (Laws.forRule rule |> List.map toTest)
            for name, rule in own do
                testList name (Laws.forRule rule |> List.map toTest)
        ]
