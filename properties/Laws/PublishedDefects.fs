/// Defects that optimizers were published with, done to ours: each is found by a law. Where a law has such a defect as its own mutant already,
/// that stands in RuleMutants.fs, RunMutants.fs and ScheduleMutants.fs; docs/decisions/26-laws.md lists them all.
module PublishedDefects

open System
open Expecto
open Optim.Core
open Optim.Laws
open Optim.Laws.Mutant
open MutantFormulas
open Mutants
open ShellMutants
open MutantKit
open MutantTests

let private number = Options.ofNumber

/// Whether a flag is on, or off, in options of a rule.
let private isSet name value (rule: Rule) (options: IOptimizerOptions) =
    rule.Read(options, name).Equals(Options.ofFlag value)

let private flag name (subject: Subject) (options: IOptimizerOptions) = isSet name true subject.Rule options

/// The correction of Adam's first mean, 1 - beta1^t, taken off 1 once more.
let private correctedTwice name =
    adam name (fun (lr, b1, b2, eps, decay, step) ->
        let power = Math.Pow(b1, float step)
        lr * (1.0 - power) / power, b1, b2, eps, decay, step)

let private epsAfterRoot =
    adamBy<EpsAfterRoot> (List.truncate 2 Adam.columns) "Adam" id

let private table: (string * Mutant) list =
    [
        "PyTorch 1.13 NAdam (pull request 92699), TorchSharp NAdam (1155)",
        kills
            Equivalence.traversals
            "the for-loop has a factor too many in the product of momenta that is ahead"
            (nadam 1.0 (fun o product ->
                if o.Execution.Foreach = Nullable false then
                    0.99 * product
                else
                    product))

        "PyTorch RAdam (92551)",
        kills
            Equivalence.traversals
            "eps is ignored in foreach"
            (subject "RMSprop"
             |> withOptions (fun rule options ->
                 if isSet "foreach" true rule options then
                     Options.set [ "eps", number 1e-2 ] rule options
                 else
                     options))

        "PyTorch Adam (78807)",
        kills
            Equivalence.traversals
            "the maximum is not written back in foreach"
            (let adam = subject "Adam"

             adam
             |> columnBecomesUnder
                 (fun options -> isSet "foreach" true adam.Rule options && flag "amsgrad" adam options)
                 "max_exp_avg_sq"
                 0.0)

        "TorchSharp AdamW (1014)", kills Resume.resume "what was moved is kept nowhere" (loadsOptionsOnly (subject "AdamW"))

        "TorchSharp (1300)",
        kills
            Equivariance.missingGradient
            "a missing gradient is negated, and stepped by"
            (let adam = subject "Adam" in noneIsZeroUnder (flag "maximize" adam) adam)

        "Optimisers.jl Lion",
        kills
            Moments.first
            "the two coefficients are swapped"
            (lion
             |> withOptions (fun rule options ->
                 let struct (beta1, beta2) = Options.pair rule "betas" options
                 Options.set [ "betas", Options.ofPair (beta1, 1.0 - beta2) ] rule options))

        "pytorch_optimizer AdamG (308)", kills Analytic.adamFirst "the bias correction takes one off twice" (correctedTwice "Adam")
        "pytorch_optimizer AdamG (308)", kills Analytic.adamConstant "the bias correction takes one off twice" (correctedTwice "AdamW")

        "pytorch_optimizer AdamP (480)", kills Analytic.adamFirst "eps is added after the reciprocal root" epsAfterRoot
        "pytorch_optimizer AdamP (480)", kills Guards.zeroGradient "eps is added after the reciprocal root" epsAfterRoot

        "burn (5130)", kills Resume.byName "state of other names is dropped in silence" (loadsOptionsOnly (subject "RMSprop"))
        "timm (2532)", kills Resume.roundTrip "an option is written, and never read" (loadsStateOnly (subject "SGD"))

        "TorchSharp NAdam (1154)", kills Sequences.nadamProduct "mu_product begins at 0" (nadam 0.0 (fun _ product -> product))

        "Optimisers.jl AdamW (182)", kills Universal.standsStill "weight decay is not multiplied by lr" (shrinksAnyway (subject "AdamW"))

        "Furnace SGD", kills Analytic.momentumConstant "the first momentum is counted twice" firstTwice

        for law in [ Universal.bounded; Universal.evenSteps ] do
            "mlx Adam", kills law "no bias correction" (uncorrected "Adam")
            "pytorch_optimizer AdamG (308)", kills law "the bias correction takes one off twice" (correctedTwice "AdamW")

        "Optimisers.jl (167), optax (1754)", kills Universal.finite "eps is lost" (subject "Adam" |> withOption "eps" (number 0.0))
        "optax inject_hyperparams (1532)",
        kills Onlookers.identity "options that are set are rounded to float32" (roundsOptions (subject "Adam"))
        "PyTorch (162359)", kills Resume.noAliasing "a loaded dict is read when it is needed" (lazyLoad (subject "Adam"))
        "Keras (19990), optax MultiSteps (1567)",
        kills
            Accumulation.accumulated
            "decay and step count advance with each batch"
            (subject "AdamW" |> attaches (fun what -> { what with Accumulate = 1 }))
    ]

let private listed =
    test "each is in the list of known defects, under the law that finds it" {
        for where, mutant in table do
            let known = KnownDefects.all |> List.filter (fun known -> known.Where = where)
            Expect.exists known (fun known -> List.contains mutant.Law.Id known.Laws) $"{where}, {mutant.Law.Id}"

        for known in KnownDefects.all do
            Expect.exists table (fun (where, _) -> where = known.Where) known.Where
    }

/// A law that the defect does not break, but that had nothing to tell either, fails too: so do tests that test nothing.
let private tellingTests =
    [
        test "a law whose subject never moves fails, because it tells nothing" {
            let asleep =
                { subject "Adam" with
                    Step = fun _ _ _ state -> state
                    PureStep = fun _ parameters _ state -> struct (parameters, state)
                }

            for law in
                [
                    Equivariance.permutation
                    Equivalence.widths
                    Equivalence.repeat
                    Partition.separate
                ] do
                let trial = law.Try asleep 30 20261123UL
                Expect.isEmpty trial.Broken "it holds"
                Expect.throwsT<LawBroken> (fun () -> Statement.judge law.Id trial |> ignore) law.Says
        }

        test "one case in ten must tell something" {
            let trial telling =
                {
                    Cases = 30
                    Telling = telling
                    Seed = 0UL
                    Why = ""
                    Case = ""
                }

            Expect.throwsT<LawBroken> (fun () -> Statement.judge "of two" (trial 2) |> ignore) "2 of 30"
            Expect.equal (Statement.judge "of three" (trial 3)) 30 "3 of 30"
        }

        test "convergence does not find exchanged coefficients: it is not enough" {
            let swapped =
                lion
                |> withOptions (fun rule options ->
                    let struct (beta1, beta2) = Options.pair rule "betas" options
                    Options.set [ "betas", Options.ofPair (beta1, 1.0 - beta2) ] rule options)

            Expect.isEmpty (Convergence.tenth.Try swapped 100 20261123UL).Broken "C4 holds of the defective rule"
        }
    ]

[<Tests>]
let tests =
    testList
        "published defects"
        [
            listed
            for where, mutant in table do
                testList where [ toTest mutant ]
            yield! tellingTests
        ]
