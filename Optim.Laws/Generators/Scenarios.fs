namespace Optim.Laws

open System
open System.Globalization
open FsCheck
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// The gradients of one step.
[<RequireQualifiedAccess>]
module Row =
    /// The gradient of the only parameter, where it is known to be there.
    let only (row: float[] voption[]) = ValueOption.get (Array.head row)

/// A run of an optimizer, as data: options, where the parameters start, and what gradients come.
[<NoComparison; CustomEquality>]
type Scenario =
    {
        /// The rule that the options belong to.
        Rule: Rule
        /// An options record of the rule.
        Options: IOptimizerOptions
        /// float32 or float64.
        DType: DType
        /// The parameters, each of one dimension.
        Start: float[][]
        /// For each step and parameter a gradient, or none.
        History: float[] voption[][]
    }

    /// The first gradient of the first parameter, where it is known to be there.
    member this.First = Row.only (Array.head this.History)

    override this.Equals other = Object.ReferenceEquals(this, other)
    override _.GetHashCode() = 0

    override this.ToString() =
        let number (x: float) =
            x.ToString("R", CultureInfo.InvariantCulture)

        let array (values: float[]) =
            if values.Length <= 24 then
                "[" + String.Join("; ", Array.map number values) + "]"
            else
                "["
                + String.Join("; ", values |> Array.truncate 24 |> Array.map number)
                + sprintf "; ... %d in all]" values.Length

        let row =
            function
            | ValueNone -> "none"
            | ValueSome values -> array values

        let step (rows: float[] voption[]) =
            rows |> Array.map row |> String.concat " | "

        sprintf
            "%s(%s), %s\n  parameters: %s\n  gradients:\n    %s"
            this.Rule.Name
            (Options.describe this.Rule this.Options)
            (this.DType.Name())
            (this.Start |> Array.map array |> String.concat " | ")
            (this.History |> Array.map step |> String.concat "\n    ")

/// How scenarios are drawn; laws change what they need otherwise.
[<NoComparison; NoEquality>]
type Recipe =
    {
        /// Where options come from.
        Options: Gen<IOptimizerOptions>
        /// Options that the law gives values to; those that the rule does not have are passed over.
        Fixed: (string * OptionValue) list
        /// At most so many parameters, at least one.
        Parameters: int
        /// How many elements each has.
        Length: Gen<int>
        /// The least and the largest number of steps.
        Steps: int * int
        /// Where parameters start.
        Starts: Palette
        /// What gradients are made of.
        Gradients: Palette
        /// How many percent of the gradients are absent.
        Absent: int
        /// Numbers to which a counterexample may be simplified: what the law allows as a gradient.
        Simple: float list
    }

/// Scenarios drawn by a recipe, and made smaller.
[<RequireQualifiedAccess>]
module Recipe =
    /// Any options, up to three parameters of any length, up to eight steps, one gradient in eight absent.
    let any (rule: Rule) =
        {
            Options = Options.generate rule
            Fixed = []
            Parameters = 3
            Length = Generators.length
            Steps = 1, 8
            Starts = Palette.ordinary
            Gradients = Palette.ordinary
            Absent = 12
            Simple = [ 0.0; 1.0; -1.0 ]
        }

    /// One parameter of at least one element, every gradient there: for laws about the path of an element.
    let one (rule: Rule) =
        { any rule with
            Parameters = 1
            Length = Gen.choose (1, 9)
            Absent = 0
        }

    /// The same, but with these values of the options.
    let withOptions (values: (string * OptionValue) list) (recipe: Recipe) =
        { recipe with
            Fixed = values @ recipe.Fixed
        }

    /// Gradients without a zero among them, in magnitudes that no arithmetic leaves.
    let withoutZeros (recipe: Recipe) =
        { recipe with
            Gradients = Palette.logUniform -8 6
            Simple = [ 1.0; -1.0 ]
        }

    /// A scenario.
    let generate (rule: Rule) (recipe: Recipe) : Gen<Scenario> =
        gen {
            let! options = recipe.Options |> Gen.map (Options.set (List.rev recipe.Fixed) rule)
            let! dtype = Generators.dtype
            let! count = Gen.choose (1, recipe.Parameters)
            let! lengths = Gen.listOfLength count recipe.Length

            let! start =
                lengths
                |> List.map (Generators.array recipe.Starts dtype)
                |> Gen.sequenceToArray

            let! steps = Gen.choose recipe.Steps

            let gradient length =
                gen {
                    let! dice = Gen.choose (0, 99)
                    let! values = Generators.array recipe.Gradients dtype length
                    return if dice < recipe.Absent then ValueNone else ValueSome values
                }

            let! history =
                [ for _ in 1..steps -> lengths |> List.map gradient |> Gen.sequenceToArray ]
                |> Gen.sequenceToArray

            return
                {
                    Rule = rule
                    Options = options
                    DType = dtype
                    Start = start
                    History = history
                }
        }

    let private cut (parameter: int) (from: int) (length: int) (s: Scenario) =
        let cut (values: float[]) = Array.sub values from length

        { s with
            Start =
                s.Start
                |> Array.mapi (fun k values -> if k = parameter then cut values else values)
            History =
                s.History
                |> Array.map (Array.mapi (fun k row -> if k = parameter then ValueOption.map cut row else row))
        }

    /// Fewer steps, fewer and shorter parameters, options at their defaults, simpler numbers.
    let shrink (recipe: Recipe) (s: Scenario) : Scenario seq =
        seq {
            for history in Shrinkers.shorter s.History do
                if history.Length >= fst recipe.Steps then
                    { s with History = history }

            if s.History.Length > max 1 (fst recipe.Steps) then
                for t in 1 .. min 16 s.History.Length - 2 do
                    { s with
                        History = Array.removeAt t s.History
                    }

            for drop in 0 .. s.Start.Length - 1 do
                if s.Start.Length > 1 then
                    { s with
                        Start = Array.removeAt drop s.Start
                        History = s.History |> Array.map (Array.removeAt drop)
                    }

            for k in 0 .. s.Start.Length - 1 do
                let length = s.Start[k].Length

                if length > 1 then
                    cut k 0 (length / 2) s
                    cut k 0 (length - 1) s
                    cut k 1 (length - 1) s

            for options in Options.shrink s.Rule (List.map fst recipe.Fixed) s.Options do
                { s with Options = options }

            for t in 0 .. s.History.Length - 1 do
                for k in 0 .. s.Start.Length - 1 do
                    match s.History[t][k] with
                    | ValueNone -> ()
                    | ValueSome values ->
                        for simpler in Shrinkers.simpler recipe.Simple values do
                            { s with
                                History = Array.updateAt t (Array.updateAt k (ValueSome simpler) s.History[t]) s.History
                            }

            for k in 0 .. s.Start.Length - 1 do
                for simpler in Shrinkers.simpler [ 0.0; 1.0; -1.0 ] s.Start[k] do
                    { s with
                        Start = Array.updateAt k simpler s.Start
                    }
        }
