/// Every law that applies, on each of the rules of the catalogue, with few cases of each.
module CatalogueLawTests

open System
open Expecto
open Optim.Core
open Optim.Laws
open Plain

/// Of each law and rule: there are many rules, and what a law says of one is mostly said of all by the same code.
let private cases = max 1 (Statement.cases / 10)

/// What is wrong with laws that a rule does not opt out of.
let private broken (law: Law) =
    let trial = law.Try(cases, Statement.seed)
    Cases.add "catalogue's laws" trial.Cases

    if trial.Why = "" then
        None
    else
        Some $"{law.Name}\n{trial.Broken}"

/// An id that a rule opts out of, of one law or several, while all of these hold.
let private needless (id: string, laws: Law list) =
    // Whether a sum over all tells two orders apart depends on the numbers.
    if laws.Head.OptOut.StartsWith("a number is made of all parameters", StringComparison.Ordinal) then
        None
    elif laws |> List.forall (fun law -> law.Try(300, 20261123UL).Why = "") then
        Some $"{laws.Head.Name}: what {id} says holds, and there is no reason to opt out of it"
    else
        None

let private check alone (entry: CatalogueEntry) () =
    let out, asked =
        Laws.forRule entry.Rule
        |> List.filter (fun law -> law.Alone = alone)
        |> List.partition (fun law -> law.OptOut <> "")

    let problems =
        List.choose broken asked @ (out |> List.groupBy _.Id |> List.choose needless)

    if not problems.IsEmpty then
        failtestf "%s" (String.Join("\n\n", problems))

[<Tests>]
let tests =
    testList
        "catalogue laws"
        [
            for entry in Catalogue.All do
                testCase entry.Name (check false entry)

            // What these look at is the same code for all rules by definition: the first of each family stands for the others.
            testSequenced
            <| testList
                "alone"
                [
                    for _, family in Catalogue.All |> Seq.groupBy _.Family do
                        let entry = Seq.head family
                        testCase entry.Name (check true entry)
                ]
        ]
