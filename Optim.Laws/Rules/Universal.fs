namespace Optim.Laws

// Options of any rule are an IOptimizerOptions.
#nowarn "3559"

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// A convex quadratic, and options to go down it with.
[<NoComparison; NoEquality>]
type UnderOptions =
    {
        Rule: Rule
        Options: IOptimizerOptions
        Bowl: Bowl
    }

    override this.ToString() =
        sprintf "%s(%s) on %O" this.Rule.Name (Options.describe this.Rule this.Options) this.Bowl

/// U: what every optimizer does, whatever its paper says. A rule may opt out of a law and say why (Declaration.OptOut).
/// That maximize is the mirror image of minimize is E5.
[<RequireQualifiedAccess>]
module Universal =
    open Terms

    let private everyRule (_: Rule) = true

    let private statement id says rules recipe holds =
        Statement.about id says rules recipe (fun subject s -> holds (Subject.overDense subject) s)

    /// A statement about runs under a constant gradient; so are the smaller ones.
    let private underConstant id says rules recipe holds =
        let smaller rule (s: Scenario) =
            Recipe.shrink (recipe rule) s
            // A change of a later gradient alone is none.
            |> Seq.filter (fun other ->
                not (
                    obj.ReferenceEquals(other.Start, s.Start)
                    && obj.ReferenceEquals(other.Options, s.Options)
                    && other.History.Length = s.History.Length
                    && obj.ReferenceEquals(other.History[0], s.History[0])
                ))
            |> Seq.map constantly

        Statement.forAll id says rules (fun rule -> Recipe.generate rule (recipe rule) |> Gen.map constantly) smaller (fun subject s ->
            holds (Subject.overDense subject) s)

    /// How often the rate may be divided by 10 until the loss must fall.
    let private smallerRates = 4

    /// U1: the loss falls.
    let descends =
        let steps = 30

        Statement.forAll
            "U1"
            "on a convex quadratic the loss falls, at the usual rate or at a smaller one"
            everyRule
            (fun rule ->
                Gen.map2
                    (fun options bowl ->
                        {
                            Rule = rule
                            Options = options
                            Bowl = bowl
                        })
                    (Options.mild rule)
                    Convergence.smooth)
            (fun rule case ->
                seq {
                    for options in Options.shrink rule [] case.Options do
                        { case with Options = options }

                    for bowl in Convergence.shrink case.Bowl do
                        { case with Bowl = bowl }
                })
            (fun subject case ->
                let rule = subject.Rule

                let rates =
                    if not (Options.has "lr" rule) then
                        [ case.Options ]
                    else
                        let lr = Options.number rule "lr" case.Options

                        [
                            for k in 0..smallerRates ->
                                Options.set [ "lr", Options.ofNumber (lr / Math.Pow(10.0, float k)) ] rule case.Options
                        ]

                let value place =
                    let struct (value, _) = case.Bowl.At place
                    value

                let first = value case.Bowl.Start

                let losses =
                    rates
                    |> Seq.map (fun options -> Convergence.pathUnder options subject case.Bowl |> Seq.item steps |> value)
                    |> Seq.cache

                losses
                |> Seq.exists (fun last -> last < first)
                |> Verdict.require (fun () ->
                    sprintf "after %d steps the loss is %g, and it began at %g; no smaller rate is better" steps (Seq.head losses) first))

    /// U2: nothing overflows.
    let finite =
        statement
            "U2"
            "parameters and state stay finite under gradients that are bounded"
            everyRule
            (fun rule -> { mild rule with Steps = 100, 200 })
            (fun subject s ->
                Snapshot.finite (Run.final subject s)
                |> Verdict.require (fun () -> sprintf "not finite after %d steps" s.History.Length)
                |> Verdict.tellingIf (Run.moves subject s))

    /// U3: the way down.
    let againstSign =
        underConstant
            "U3"
            "a constant gradient moves each element against the gradient's sign"
            everyRule
            (fun rule ->
                { mild rule with
                    Steps = 1, 20
                    Gradients = Palette.logUniform -6 6
                    Simple = [ 1.0; -1.0 ]
                }
                |> Recipe.withOptions noDecay)
            (fun subject s ->
                let ways = ways s.Start[0] (Run.final subject s).Theta[0]

                Seq.zip s.First ways
                |> Seq.mapi (fun i (g, way) ->
                    if way = 0.0 then
                        Verdict.Trivial
                    else
                        (float (sign way) = -(float (sign g)))
                        |> Verdict.require (fun () ->
                            sprintf "element %d has gone by %g after step %d of gradient %g" i way s.History.Length g))
                |> Verdict.all)

    /// Whether an option may have a value, beside the default ones.
    let private takes name value (rule: Rule) =
        Options.has name rule
        && try
            rule.Replace(rule.Defaults, name, value) |> ignore
            true
           with :? OptionException ->
               false

    /// U4: no rate, no step.
    let standsStill =
        statement
            "U4"
            "with a rate of 0 nothing moves"
            (takes "lr" zero)
            (fun rule ->
                { Recipe.one rule with
                    Length = Gen.choose (1, 9)
                }
                |> Recipe.withoutZeros
                |> Recipe.withOptions
                    [
                        if Options.has "eps" rule then
                            "eps", rule.Read(rule.Defaults, "eps")
                        // Decay that does not go by the rate.
                        if Options.has "fixed_decay" rule then
                            "fixed_decay", Options.ofFlag false
                    ])
            (fun subject s ->
                let still = Run.withOptions [ "lr", zero ] s
                let final = Run.final subject still

                Snapshot.compareTheta Comparator.bitButZeros { final with Theta = s.Start } final
                |> Verdict.tellingIf (Run.moves subject (Run.withOptions [ "lr", s.Rule.Read(s.Rule.Defaults, "lr") ] s)))

    /// Gradients that grow or fall by a factor in each step, or turn their sign, as adversaries of bounds do.
    let private adversary (kind: int) (s: Scenario) =
        let factor, turns =
            match kind with
            | 0 -> 1.0, false
            | 1 -> 1.11, false
            | 2 -> 1.3, false
            | 3 -> 0.8, false
            | _ -> 1.0, true

        { s with
            History =
                s.History
                |> Array.mapi (fun t row ->
                    let g = Array.map (fun g -> if turns && t % 2 = 1 then -g else g) s.First

                    let scaled =
                        g |> Array.map (fun g -> Number.round s.DType (g * Math.Pow(factor, float t)))

                    [| if kind = 0 then row[0] else ValueSome scaled |])
        }

    /// U6: bounds that are declared.
    let bounded =
        let recipe rule =
            { Recipe.one rule with Steps = 1, 40 } |> Recipe.withoutZeros

        Statement.forAll
            "U6"
            "no element goes farther in a step than the rule declares"
            (fun rule -> rule.HasStepBound)
            (fun rule -> Gen.map2 adversary (Gen.choose (0, 4)) (Recipe.generate rule (recipe rule)))
            (recipe >> Recipe.shrink)
            (fun subject s ->
                let subject = Subject.overDense subject

                Updates.exact subject s
                |> Seq.mapi (fun t update ->
                    let bound = subject.Rule.StepBound(s.Options, int64 (t + 1))

                    // No bound, or a rate of 0 times no bound.
                    if not (Double.IsFinite bound) then
                        Verdict.Trivial
                    else
                        farthest update[0] <= bound * (1.0 + 1e-4)
                        |> Verdict.require (fun () ->
                            sprintf "step %d is %g long, and its bound is %g" (t + 1) (farthest update[0]) bound)
                        |> Verdict.tellingIf (bound > 0.0))
                |> Verdict.all)

    /// U7: what bias correction is for.
    let evenSteps =
        /// Coefficients of two moments, where the rule takes such a pair.
        let betas rule options (betas: float * float) =
            match
                (if Options.has "betas" rule then
                     rule.Read(options, "betas")
                 else
                     OptionValue.None)
            with
            | OptionValue.Tuple(Items [ _; _ ]) -> Options.set [ "betas", Options.ofPair betas ] rule options
            | _ -> options

        underConstant
            "U7"
            "where the rule declares bias correction, all steps under a constant gradient are of one length, the first as well"
            (fun rule -> rule.IsBiasCorrected rule.Defaults)
            (fun rule ->
                { mild rule with
                    Options =
                        Gen.map2
                            (betas rule)
                            (Options.mild rule)
                            (Gen.elements [ 0.9, 0.999; 0.5, 0.9; 0.0, 0.99; 0.99, 0.9999; 0.8, 0.8 ])
                    Steps = 2, 30
                    Gradients = Palette.logUniform -2 6
                    Simple = [ 1.0; -1.0 ]
                })
            (fun subject s ->
                if not (s.Rule.IsBiasCorrected s.Options) then
                    Verdict.Trivial
                else
                    let updates = Updates.exact subject s |> Array.map Array.head
                    let last = Array.last updates

                    seq {
                        for t in 0 .. updates.Length - 2 do
                            for i in 0 .. last.Length - 1 do
                                abs (updates[t][i] - last[i]) <= 1e-3 * abs last[i]
                                |> Verdict.require (fun () ->
                                    sprintf
                                        "element %d goes by %g in step %d and by %g in step %d, %g times as far"
                                        i
                                        (updates[t][i])
                                        (t + 1)
                                        last[i]
                                        updates.Length
                                        (last[i] / updates[t][i]))
                    }
                    |> Verdict.all
                    |> Verdict.tellingIf (Updates.any [| updates |]))

    /// The laws of this family.
    let all =
        [
            descends
            finite
            againstSign
            standsStill
            Continuity.continuous
            bounded
            evenSteps
        ]
