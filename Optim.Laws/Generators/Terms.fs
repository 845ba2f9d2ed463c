/// Words that the laws share.
module internal Optim.Laws.Terms

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// Of these names.
let named (names: string list) (rule: Rule) = List.contains rule.Name names
/// An option that is a number.
let number (s: Scenario) name = Options.number s.Rule name s.Options

/// Adam's two coefficients.
let betas (s: Scenario) = Options.pair s.Rule "betas" s.Options

/// The direction in which gradients are followed: 1 down, -1 up.
let direction (s: Scenario) =
    if Options.flag s.Rule "maximize" s.Options then
        -1.0
    else
        1.0

/// A flag that is not set.
let off = Options.ofFlag false
/// The number 0.
let zero = Options.ofNumber 0.0
/// Without weight decay, and without ASGD's shrinking.
let noDecay = [ "weight_decay", zero; "lambd", zero ]

/// The longest that an update of Adam can be in step t, in units of lr, for beta1^2 below beta2.
let longest (struct (beta1, beta2)) (t: int) =
    let rho = beta1 * beta1 / beta2
    let t = float t

    (1.0 - beta1) / (1.0 - Math.Pow(beta1, t))
    * sqrt (
        (1.0 - Math.Pow(beta2, t)) / (1.0 - beta2) * (1.0 - Math.Pow(rho, t))
        / (1.0 - rho)
    )

/// The same gradient in every step.
let constantly (s: Scenario) =
    { s with
        History = Array.replicate s.History.Length s.History[0]
    }

/// Those that take sparse gradients.
let sparse (rule: Rule) =
    rule.Sparse rule.Defaults <> SparseGradients.Refused

/// One parameter away from 0, and mild options.
let mild (rule: Rule) =
    { Recipe.one rule with
        Options = Options.mild rule
        Length = Gen.choose (1, 5)
        Starts = fun random dtype -> Number.round dtype ((if random.Next 2 = 0 then 1.0 else -1.0) * (0.5 + 1.5 * random.NextDouble()))
    }

/// How far each element has gone.
let ways (before: float[]) (after: float[]) = Array.map2 (-) after before

/// The largest of these numbers, without signs.
let farthest (values: float[]) =
    values |> Array.fold (fun most x -> max most (abs x)) 0.0
