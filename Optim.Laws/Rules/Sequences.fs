namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels

/// A11 to A13: what rules work out from the count of steps: ASGD's average, NAdam's product, RAdam's rectification.
[<RequireQualifiedAccess>]
module Sequences =
    open Terms

    /// A11: ASGD's iterates and their average.
    let asgdAverage =
        Statement.withDraw
            "A11"
            "with lambd 0 and alpha 0 the iterates are SGD's, and ax is the mean of those from step t0 + 2 on"
            (named [ "ASGD" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 12 }
                |> Recipe.withOptions [ "lambd", zero; "alpha", zero ])
            (Gen.choose (0, 6))
            (fun subject t0 s ->
                let s = Run.withOptions [ "t0", Options.ofNumber (float t0) ] s
                let sgd = Rules.Find "SGD"

                let options =
                    [ "lr"; "weight_decay"; "maximize" ]
                    |> List.map (fun name -> name, s.Rule.Read(s.Options, name))

                let iterates =
                    Run.trace
                        (Subject.ofRule sgd)
                        { s with
                            Rule = sgd
                            Options = Options.set options sgd sgd.Defaults
                        }

                let trace = Run.trace subject s

                [
                    for t in 1 .. s.History.Length do
                        Snapshot.compareTheta Comparator.bit iterates[t] trace[t]

                        let averaged =
                            iterates[min t (t0 + 2) .. t] |> Array.map (fun moment -> moment.Theta[0])

                        let mean, size =
                            Array.transpose averaged
                            |> Array.map (fun values -> Array.average values, values |> Array.map abs |> Array.max)
                            |> Array.unzip

                        // Each of the steps rounds once, at the size of the iterates.
                        Seq.zip3 mean size (Snapshot.row "ax" 0 trace[t])
                        |> Seq.map (fun (mean, size, ax) ->
                            let comparator =
                                Comparator.within (Tolerances.allowed "A11" + float averaged.Length / 2.0) size

                            Comparator.arrays comparator s.DType [| Number.round s.DType mean |] [| ax |])
                        |> Verdict.all
                        |> Verdict.where (sprintf "ax after step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (s.History.Length > t0 + 2 && Run.moves subject s))

    /// NAdam's momentum in a step.
    let private momentum (s: Scenario) (t: int) =
        let struct (beta1, _) = betas s
        beta1 * (1.0 - 0.5 * Math.Pow(0.96, float t * number s "momentum_decay"))

    /// A12: NAdam's product of momenta, and the step that is made with it.
    let nadamProduct =
        Statement.about
            "A12"
            "mu_product is the product of b1 (1 - 0.96^(t psi) / 2), and the mean goes with the product of one step more"
            (named [ "NAdam" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 30 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions noDecay)
            (fun subject s ->
                let lr, eps = number s "lr", number s "eps"
                let struct (_, beta2) = betas s
                let trace, updates = Run.trace subject s, Updates.exact subject s
                let mutable product = 1.0

                [
                    for t in 1 .. s.History.Length do
                        product <- product * momentum s t
                        let ahead = product * momentum s (t + 1)
                        let exact = Comparator.rel (Tolerances.allowed "A12" * float t)

                        Comparator.arrays exact DType.Float64 [| product |] (Snapshot.scalar "mu_product" trace[t])
                        |> Verdict.where (sprintf "mu_product after step %d" t)

                        let m, v = Snapshot.row "exp_avg" 0 trace[t], Snapshot.row "exp_avg_sq" 0 trace[t]
                        let gradient = Row.only s.History[t - 1]

                        for i in 0 .. m.Length - 1 do
                            let denominator = sqrt (v[i] / (1.0 - Math.Pow(beta2, float t))) + eps
                            let ofGradient = direction s * (1.0 - momentum s t) / (1.0 - product) * gradient[i]
                            let ofMean = momentum s (t + 1) / (1.0 - ahead) * m[i]
                            let size = lr * (abs ofGradient + abs ofMean) / denominator
                            let expected = -lr * (ofGradient + ofMean) / denominator

                            let comparator = Comparator.within (Tolerances.allowed "A12" * 2.0 + float t) size

                            let actual = updates[t - 1][0]

                            Comparator.arrays comparator s.DType [| Number.round s.DType expected |] [| actual[i] |]
                            |> Verdict.where (sprintf "step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (lr > 0.0 && s.History.Length > 1))

    /// A13: RAdam before and after its variance is tractable.
    let radamRectifies =
        Statement.about
            "A13"
            "while the length of the average is at most 5 the step is lr times the corrected mean, and rectified from then on"
            (named [ "RAdam" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 12 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions noDecay)
            (fun subject s ->
                let lr, eps = number s "lr", number s "eps"
                let struct (beta1, beta2) = betas s
                let longest = 2.0 / (1.0 - beta2) - 1.0
                let trace, updates = Run.trace subject s, Updates.exact subject s

                [
                    for t in 1 .. s.History.Length do
                        let power = Math.Pow(beta2, float t)
                        let length = longest - 2.0 * float t * power / (1.0 - power)
                        let m, v = Snapshot.row "exp_avg" 0 trace[t], Snapshot.row "exp_avg_sq" 0 trace[t]

                        let rectified =
                            (length - 4.0) * (length - 2.0) * longest
                            / ((longest - 4.0) * (longest - 2.0) * length)

                        let expected =
                            Array.map2
                                (fun m v ->
                                    let plain = -lr * m / (1.0 - Math.Pow(beta1, float t))

                                    if length > 5.0 then
                                        plain * sqrt (rectified * (1.0 - power)) / (sqrt v + eps)
                                    else
                                        plain)
                                m
                                v

                        // Next to float64 parameters the rounding of beta2^t counts: it is taken off lengths that are nearly equal.
                        let conditioning = if s.DType = DType.Float32 then 0.0 else 4.0 * longest

                        let expected = expected |> Array.map (Number.round s.DType)

                        Comparator.arrays
                            (Comparator.rel (Tolerances.allowed "A13" + conditioning))
                            s.DType
                            expected
                            (Array.head updates[t - 1])
                        |> Verdict.where (sprintf "step %d" t)
                ]
                |> Verdict.all
                |> Verdict.tellingIf (lr > 0.0))

    /// The laws of this family.
    let all = [ asgdAverage; nadamProduct; radamRectifies ]
