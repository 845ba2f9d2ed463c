/// Each law can fail: beside it stands a defect that it finds.
module MutantTests

open Expecto
open Optim.Laws
open Plain
open MutantKit

let private table = RuleMutants.table @ RunMutants.table

/// Enough for each law to find its defect; always the same ones.
let private cases, seed = 300, 20261123UL

let toTest (mutant: Mutant) =
    let name =
        sprintf "\"%s\" (%s) finds: %s" mutant.Law.Says mutant.Law.Id mutant.Defect

    let run =
        testCase name (fun () ->
            let trial = mutant.Law.Try mutant.Subject cases seed
            Cases.add "mutants" 1
            Expect.isNotEmpty trial.Broken "the law held"
            // Found by what came out, and not because the defect stumbled.
            let why = Array.head (trial.Broken.Split '\n')
            Expect.isFalse (why.Contains "Exception: ") trial.Broken)

    if mutant.Law.Alone then testSequenced run else run

let private complete =
    test "every law has a mutant" {
        // Those of schedulers have theirs in ScheduleMutants.fs.
        let others =
            Laws.all
            |> List.filter (fun law -> Schedules.all |> List.forall (fun other -> other.Id <> law.Id))

        for law in
            others
            @ Sparsity.all
            @ SparseSurroundings.all
            @ WholeTensors.all
            @ Matrices.all
            @ Convergence.all
            @ Universal.all do
            let has = table |> List.exists (fun mutant -> obj.ReferenceEquals(mutant.Law, law))
            Expect.isTrue has (sprintf "%s, %s" law.Id law.Says)
    }

[<Tests>]
let tests = testList "mutants" (complete :: List.map toTest table)
