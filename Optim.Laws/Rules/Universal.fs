namespace Optim.Laws

// Options of any rule are an IOptimizerOptions.
#nowarn "3559"

open System
open System.Collections.Generic
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

/// A number among the options of a rule: of an option, or of a part of one.
[<NoComparison>]
type internal Spot =
    {
        Option: string
        /// -1 for an option that is one number.
        Part: int
        /// The number by default.
        Usual: float
    }

    /// Its name.
    member this.Name =
        if this.Part < 0 then
            this.Option
        else
            sprintf "%s[%d]" this.Option this.Part

/// A run, and the number among its options that is moved.
[<NoComparison; NoEquality>]
type internal Moved =
    {
        Run: Scenario
        Spot: Spot
    }

    override this.ToString() = string this.Run

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

    /// One parameter away from 0, and mild options.
    let private mild (rule: Rule) =
        { Recipe.one rule with
            Options = Options.mild rule
            Length = Gen.choose (1, 5)
            Starts = fun random dtype -> Number.round dtype ((if random.Next 2 = 0 then 1.0 else -1.0) * (0.5 + 1.5 * random.NextDouble()))
        }

    let private ways (before: float[]) (after: float[]) = Array.map2 (-) after before

    let private longest (values: float[]) =
        values |> Array.fold (fun most x -> max most (abs x)) 0.0

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
                    ])
            (fun subject s ->
                let still = Run.withOptions [ "lr", zero ] s
                let final = Run.final subject still

                Snapshot.compareTheta Comparator.bitButZeros { final with Theta = s.Start } final
                |> Verdict.tellingIf (Run.moves subject (Run.withOptions [ "lr", s.Rule.Read(s.Rule.Defaults, "lr") ] s)))

    let private spots (rule: Rule) =
        [
            for name in rule.OptionNames do
                match rule.Read(rule.Defaults, name) with
                | OptionValue.Float usual ->
                    {
                        Option = name
                        Part = -1
                        Usual = usual
                    }
                | OptionValue.Tuple parts ->
                    for i, part in Seq.indexed parts do
                        match part with
                        | OptionValue.Float usual ->
                            {
                                Option = name
                                Part = i
                                Usual = usual
                            }
                        | _ -> ()
                | _ -> ()
        ]

    /// The options with another number there; nothing where the rule refuses it.
    let private at (rule: Rule) (spot: Spot) (value: float) (options: IOptimizerOptions) =
        let value =
            match rule.Read(options, spot.Option) with
            | OptionValue.Tuple parts when spot.Part >= 0 -> OptionValue.Tuple(parts.SetItem(spot.Part, OptionValue.Float value))
            | _ -> OptionValue.Float value

        try
            Some(rule.Replace(options, spot.Option, value))
        with :? OptionException ->
            None

    /// From where to where a number is moved.
    let private range (rule: Rule) (spot: Spot) (options: IOptimizerOptions) =
        let x = spot.Usual

        let low, high =
            if x = 0.0 then 0.0, 0.1
            elif x > 0.5 && x < 1.0 then x / 2.0, (1.0 + x) / 2.0
            elif x > 0.0 then x / 2.0, 2.0 * x
            else 2.0 * x, x / 2.0

        let ok value = (at rule spot value options).IsSome
        (if ok low then low else x), (if ok high then high else x)

    /// How narrow the search for a jump becomes, in parts of the whole range; and what counts as one, in parts of the longest way.
    let private narrowest, jump = 1e-12, 1e-4

    /// The place in a range where a run changes most: an eighth of it after the other, as long as more than a jump changes there. The
    /// two ends, and by how much the run jumps between them: a slope, however steep, becomes less with the width, and a jump does not.
    let private steepest (run: float -> float[]) (low: float) (high: float) (least: float) =
        let rec narrow (a: float) (b: float) atA atB (wider: float) =
            let change = longest (ways atA atB)

            if change <= least then
                struct (a, b, 0.0)
            elif b - a <= narrowest * (high - low) then
                struct (a, b, (if change > 0.5 * wider then change else 0.0))
            else
                let places = [| for k in 0..8 -> if k = 8 then b else a + (b - a) * float k / 8.0 |]

                let runs =
                    places
                    |> Array.mapi (fun k x ->
                        if k = 0 then atA
                        elif k = 8 then atB
                        else run x)

                let k = Seq.maxBy (fun k -> longest (ways runs[k] runs[k + 1])) [ 0..7 ]
                narrow places[k] places[k + 1] runs[k] runs[k + 1] change

        narrow low high (run low) (run high) infinity

    /// U5: small changes of options have small effects.
    let continuous =
        let recipe rule =
            { mild rule with
                Length = Gen.choose (1, 4)
                Steps = 1, 12
            }
            |> Recipe.withoutZeros

        Statement.forAll
            "U5"
            "the step is continuous in its options: a change by 1e-12 of the range makes no jump"
            (fun rule -> not (List.isEmpty (spots rule)))
            (fun rule ->
                Gen.map2
                    // The narrow dtype would round changes of this size away.
                    (fun run spot ->
                        {
                            Run = { run with DType = DType.Float64 }
                            Spot = spot
                        })
                    (Recipe.generate rule (recipe rule))
                    (Gen.elements (spots rule)))
            (fun rule case ->
                Recipe.shrink (recipe rule) case.Run
                |> Seq.map (fun run -> { case with Run = run }))
            (fun subject case ->
                let subject, rule = Subject.overDense subject, subject.Rule
                let s, spot = case.Run, case.Spot
                let low, high = range rule spot s.Options
                let mutable refused = false

                let run value =
                    match at rule spot value s.Options with
                    | Some options -> (Run.final subject { s with Options = options }).Theta[0]
                    | None ->
                        refused <- true
                        s.Start[0]

                let way =
                    max (longest (ways s.Start[0] (run low))) (longest (ways s.Start[0] (run high)))

                let struct (a, b, change) = steepest run low high (jump * way)

                if refused || not (Double.IsFinite way) || not (Double.IsFinite change) then
                    Verdict.Trivial
                else
                    change <= jump * way
                    |> Verdict.require (fun () ->
                        sprintf
                            "from %s = %s to %s the parameters jump by %g, and all steps together are %g long"
                            spot.Name
                            (b.ToString "R")
                            (a.ToString "R")
                            change
                            way)
                    |> Verdict.tellingIf (way > 0.0 && high > low))
        |> Statement.fewer 12

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
                        longest update[0] <= bound * (1.0 + 1e-4)
                        |> Verdict.require (fun () -> sprintf "step %d is %g long, and its bound is %g" (t + 1) (longest update[0]) bound)
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
        [ descends; finite; againstSign; standsStill; continuous; bounded; evenSteps ]
