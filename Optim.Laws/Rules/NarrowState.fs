namespace Optim.Laws

open System
open System.Collections.Generic
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// Gradients at which state in few bits goes wrong: a factor for each step and element of what is drawn.
[<RequireQualifiedAccess>]
type Hardship =
    /// One of 1e6 after some steps, then 1e-3 to 1.
    | Outlier
    /// One of 1e6 in the first step, then steady ones.
    | FirstOutlier
    /// Blocks of zeros, of denormal numbers, and of these beside one that is not.
    | Tiny
    /// One element far above the rest of its block, in every step.
    | FarAbove

/// Runs with narrow state, by each of these gradients.
[<NoComparison; NoEquality>]
type NarrowCase =
    {
        Rule: Rule
        Options: IOptimizerOptions
        Steps: int
        Seed: int
    }

    override this.ToString() =
        sprintf "%s(%s), %d steps, drawn from %d" this.Rule.Name (Options.describe this.Rule this.Options) this.Steps this.Seed

/// N1: state in two bytes an element is never wild.
[<RequireQualifiedAccess>]
module NarrowState =
    let private block = 256
    let private elements = 3 * block

    /// The same options with state in another form, wherever it is as large as this; None where the rule refuses that beside them.
    let private stored (rule: Rule) (storage: string) (options: IOptimizerOptions) =
        rule.Replace(
            options,
            [
                KeyValuePair("state_storage", OptionValue.Text storage)
                KeyValuePair("state_storage_minimum", OptionValue.Int 0L)
            ]
        )

    /// The gradients of a case, step by step.
    let gradients (hardship: Hardship) (steps: int) (seed: int) =
        let random = Random seed
        let draw () = 2.0 * random.NextDouble() - 1.0
        let sizes = Array.init elements (fun _ -> Math.Pow(10.0, -1.5 + 1.5 * draw ()))

        let at step i =
            let g = draw ()

            match hardship, i % block with
            | Hardship.Outlier, 5 when step = 5 -> 1e6
            | Hardship.Outlier, _ -> sizes[i] * g
            | Hardship.FirstOutlier, 5 when step = 0 -> 1e6
            | Hardship.FirstOutlier, _ -> sizes[i] * (1.0 + 0.1 * g)
            | Hardship.Tiny, _ when i < block -> 0.0
            | Hardship.Tiny, _ when i < 2 * block -> g * 1e-40
            | Hardship.Tiny, 9 -> g
            | Hardship.Tiny, _ -> g * 1e-38
            | Hardship.FarAbove, 77 -> 1e6 * g
            | Hardship.FarAbove, _ -> sizes[i] * g

        Array.init steps (fun step -> Array.init elements (fun i -> float32 (at step i)))

    /// The longest way that an element goes in a step; infinite where it ends in what is no number.
    let longestStep (subject: Subject) (options: IOptimizerOptions) (gradients: float32 array array) =
        let parameter = TensorView.Zeros(DType.Float32, [| int64 elements |])
        parameter.AsSpan<float32>().Fill 0.5f
        let gradient = TensorView.Zeros(DType.Float32, [| int64 elements |])
        let before = Array.zeroCreate<float32> elements

        let theta, dense =
            Parameters.OfNamed [ struct ("w", parameter) ], Gradients.OfDense [ gradient ]

        let mutable state = subject.Init options theta
        let mutable longest = 0.0

        for values in gradients do
            parameter.AsSpan<float32>().CopyTo(before.AsSpan())
            values.AsSpan().CopyTo(gradient.AsSpan<float32>())
            state <- subject.Step options theta dense state
            let now = parameter.AsSpan<float32>()

            for i in 0 .. elements - 1 do
                let way = abs (double now[i] - double before[i])
                longest <- if Double.IsFinite way then max longest way else infinity

        longest

    let private hardships =
        [ Hardship.Outlier; Hardship.FirstOutlier; Hardship.Tiny; Hardship.FarAbove ]

    /// N1: no element goes wild.
    let neverWild =
        let cases (rule: Rule) =
            Gen.map2
                (fun options seed ->
                    {
                        Rule = rule
                        Options = options
                        Steps = 1000
                        Seed = seed
                    })
                (Options.usual rule)
                (Gen.choose (0, Int32.MaxValue - 1))

        let smaller rule case =
            seq {
                for options in Options.shrink rule [] case.Options do
                    { case with Options = options }

                for steps in [ case.Steps / 10; case.Steps / 2 ] do
                    if steps > 6 then
                        { case with Steps = steps }
            }

        let holds (subject: Subject) case hardship =
            let gradients = gradients hardship case.Steps case.Seed

            let longest storage =
                longestStep subject (stored case.Rule storage case.Options) gradients

            let wide = longest "float32"

            if wide = 0.0 || Double.IsInfinity wide then
                Verdict.Trivial
            else
                Verdict.all
                    [
                        for storage in [ StateStorage.BFloat16; StateStorage.Blockwise8 ] do
                            let narrow = longest storage.Name

                            narrow <= 3.0 * wide
                            |> Verdict.require (fun () ->
                                $"%A{hardship}, {storage.Name}: an element goes %g{narrow} in a step, with float32 state at most %g{wide}")
                    ]

        Statement.forAll
            "N1"
            "over 1,000 steps with narrow state no element goes farther in one than 3 times the farthest that any goes with float32"
            (fun rule -> rule.Has "state_storage")
            cases
            smaller
            (fun subject case ->
                try
                    hardships |> List.map (holds subject case) |> Verdict.all
                with
                // Not beside these options.
                | :? NotSupportedException
                | :? OptionException -> Verdict.Trivial)
        |> Statement.fewer 2

    /// The laws of this family.
    let all = [ neverWild ]
