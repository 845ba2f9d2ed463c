namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core

/// O3: the state of a rule by itself, whatever is made of it.
[<RequireQualifiedAccess>]
module Moments =
    open Terms

    /// What a state column is, as a mean of the past with weights (1 - b) b^(t - i).
    let private meanOf (column: string) (coefficient: Scenario -> float) (change: Scenario -> float -> float) subject (s: Scenario) =
        let beta, steps = coefficient s, s.History.Length

        let weights =
            Array.init steps (fun i -> (1.0 - beta) * Math.Pow(beta, float (steps - 1 - i)))

        let sum change =
            s.History
            |> Array.mapi (fun i row -> Row.only row |> Array.map (fun g -> weights[i] * change g))
            |> Array.transpose
            |> Array.map Array.sum

        let mean, size = sum (change s), sum (change s >> abs)

        // A move from one end, as Lion's is usually written, rounds at the size of what it moves away from.
        let size =
            if s.Rule.Name = "Lion" then
                size
                |> Array.mapi (fun i _ -> s.History |> Seq.map (fun row -> abs (Array.item i (Row.only row))) |> Seq.max)
            else
                size

        Seq.zip3 mean size (Snapshot.row column 0 (Run.final subject s))
        |> Seq.map (fun (mean, size, m) ->
            let comparator =
                Comparator.within (Tolerances.allowed "O3" * float steps) (size + Number.tiny s.DType)

            Comparator.arrays comparator s.DType [| Number.round s.DType mean |] [| m |])
        |> Verdict.all
        |> Verdict.tellingIf (beta > 0.0 && beta < 1.0 && steps > 1)

    let private past rule =
        { Recipe.one rule with Steps = 1, 40 } |> Recipe.withOptions noDecay

    /// O3 for gradients.
    let first =
        Statement.about
            "O3"
            "the mean of the gradients is the sum of (1 - b) b^(t - i) g_i, b being b1, and b2 for Lion"
            (named [ "Adam"; "AdamW"; "Adamax"; "Lion"; "NAdam"; "RAdam" ])
            past
            (meanOf
                "exp_avg"
                (fun s ->
                    let struct (beta1, beta2) = betas s
                    if s.Rule.Name = "Lion" then beta2 else beta1)
                (fun s g -> direction s * g))

    /// O3 for squares.
    let second =
        Statement.about
            "O3"
            "the mean of the squares is the sum of (1 - b) b^(t - i) g_i^2"
            (named [ "Adadelta"; "Adam"; "AdamW"; "NAdam"; "RAdam"; "RMSprop" ])
            past
            (fun subject s ->
                let column, coefficient =
                    match s.Rule.Name with
                    | "Adadelta" -> "square_avg", (fun s -> number s "rho")
                    | "RMSprop" -> "square_avg", (fun s -> number s "alpha")
                    | _ ->
                        "exp_avg_sq",
                        fun s ->
                            let struct (_, beta2) = betas s
                            beta2

                meanOf column coefficient (fun _ g -> g * g) subject s)

    /// The laws of this family.
    let all = [ first; second ]
