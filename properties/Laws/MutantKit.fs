/// A law beside a defect that it finds, and defects of several laws.
module MutantKit

open Optim.Core
open Optim.Kernels
open Optim.Laws
open Optim.Laws.Mutant
open Mutants
open ShellMutants

type Mutant =
    {
        Law: Statement
        Defect: string
        Subject: Subject
    }

let kills (law: Statement) (defect: string) (subject: Subject) =
    {
        Law = law
        Defect = defect
        Subject = subject
    }

/// A rule of one's own that goes by signs.
let lion = Subject.ofRule OwnRuleFSharp.Lion.rule

let private number = Options.ofNumber
let private forever = 1_000_000_000L

/// No bias correction, as an optimizer of another framework has it by default.
let uncorrected name =
    adam name (fun (lr, b1, b2, eps, decay, _) -> lr, b1, b2, eps, decay, forever)

/// Decay of a step that has no part in lr.
let shrinksAnyway (subject: Subject) =
    subject
    |> after (fun options parameters gradients _ ->
        for view in stepped parameters gradients do
            let keep = 1.0 - Options.number subject.Rule "weight_decay" options
            Tensor.fill view (view.ToDoubles() |> Array.map (fun x -> keep * x)))
