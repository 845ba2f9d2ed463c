/// Every law that applies, on each of the rules of the catalogue, with few cases of each.
module CatalogueLawTests

open System
open Expecto
open Optim.Core
open Optim.Laws
open Plain

/// Of each law and rule: there are many rules, and what a law says of one is mostly said of all by the same code.
let private cases = max 1 (Statement.cases / 10)

/// The same cases in each run: with so few of each, chance would decide about laws of many rules. OPTIM_SEED draws others.
let private seed =
    match Environment.GetEnvironmentVariable "OPTIM_SEED" with
    | null
    | "" -> 20261126UL
    | _ -> Statement.seed

/// What a law asks of a rule without telling anything, by parts of their names, and why.
let private excused =
    [
        "DAdaptLion: every option changes",
        "the momentum counts for little beside the gradient while the rate is small, and the sign hides it"
        "Grams: the step is continuous", "a step has the sign of the gradient, which jumps"
        "Yogi: the step is continuous", "the second moment moves by a sign, which jumps"
        "ROSE: negating", "the range of a vector is that of its largest element's magnitude and its least element"
        "QHAdam: finite gradients", "squares of gradients are weighed by nus, and overflow"
    ]

/// A law that holds, or one that a rule opts out of because it does not.
let private problem (law: Law) =
    if law.OptOut = "" then
        let trial = law.Try(cases, seed)
        Cases.add "catalogue's laws" trial.Cases
        if trial.Why = "" then "" else $"{law.Name}\n{trial.Broken}"
    // Whether a sum over all tells two orders apart depends on the numbers.
    elif law.OptOut.StartsWith("a number is made of all parameters", StringComparison.Ordinal) then
        ""
    elif law.Try(300, 20261123UL).Why = "" then
        $"{law.Name}: the law holds, and there is no reason to opt out of it"
    else
        ""

let private check alone (entry: CatalogueEntry) () =
    let problems =
        Laws.forRule entry.Rule
        |> List.filter (fun law ->
            law.Alone = alone
            && not (excused |> List.exists (fun (name, _) -> law.Name.StartsWith name)))
        |> List.map problem
        |> List.filter ((<>) "")

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
