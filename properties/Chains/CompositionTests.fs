/// The laws of chains and wrappers, and mutants that they kill.
module CompositionTests

open System
open Expecto
open Optim.Core
open Optim.Laws
open Plain

let private chainOf (transforms: Transform list) = Chain.chain transforms :> Rule

let private chains: (string * (Transform list -> Rule)) list =
    [
        "the last of many is forgotten", (fun transforms -> chainOf (List.truncate 3 transforms))
        "backwards", (fun transforms -> chainOf (List.rev transforms))
        "each is rounded away a little", (fun transforms -> chainOf (transforms |> List.collect (fun t -> [ t; Chain.scale 1.0001 ])))
        "a sequence is its first part",
        (fun transforms ->
            chainOf
                [
                    for transform in transforms ->
                        match transform.Items with
                        | first :: _ -> Transform [ first ]
                        | [] -> transform
                ])
    ]

let private lookahead (k: int) alpha (rule: Rule) = Wrappers.Lookahead(rule, k, alpha)

let private wraps: (string * (int -> float -> Rule -> Rule)) list =
    [
        "never synchronized", (fun _ _ rule -> rule)
        "the slow step is shorter", (fun k alpha -> lookahead k (0.999 * alpha))
        "the slow step is at least a little", (fun k alpha -> lookahead k (max 1e-3 alpha))
        "a step late", (fun k -> lookahead (k + 1))
        "slow weights begin at the first synchronization", (fun k alpha rule -> Wrappers.Lookahead(rule, k, alpha, fromFirstSync = true))
    ]

let private dies (law: Law) =
    Expect.isNotEmpty (law.Try(200, 20261126UL).Why) "the law holds of a mutant"
    Cases.add "mutants" 1

[<Tests>]
let tests =
    testList
        "laws of composition"
        [
            for law in [ Compositions.chains chainOf; Compositions.lookahead lookahead ] do
                testCase law.Name (fun () -> Cases.add "laws" (law.Check()))

            testList
                "mutants"
                [
                    for name, make in chains do
                        testCase $"W2: {name}" (fun () -> dies (Compositions.chains make))

                    for name, wrap in wraps do
                        testCase $"R7: {name}" (fun () -> dies (Compositions.lookahead wrap))
                ]
        ]
