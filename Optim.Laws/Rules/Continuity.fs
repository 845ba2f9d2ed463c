namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

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

/// U5: the step is continuous in its options.
[<RequireQualifiedAccess>]
module Continuity =
    open Terms

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
            let change = farthest (ways atA atB)

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

                let k = Seq.maxBy (fun k -> farthest (ways runs[k] runs[k + 1])) [ 0..7 ]
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
                    max (farthest (ways s.Start[0] (run low))) (farthest (ways s.Start[0] (run high)))

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
