namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Kernels

/// A4 to A7: how far a step can go, in closed form.
[<RequireQualifiedAccess>]
module Bounds =
    open Terms

    let private adams = named [ "Adam"; "AdamW" ]

    let private boundedBetas =
        Gen.elements [ 0.9, 0.999; 0.5, 0.9; 0.8, 0.99; 0.3, 0.6 ]

    /// Updates are not longer than their bounds, and where it is said reach them.
    let private within (bound: int -> float) (slack: int -> float) reach subject (s: Scenario) =
        Updates.exact subject s
        |> Seq.mapi (fun t update ->
            let bound, slack = bound (t + 1), slack (t + 1)

            update[0]
            |> Seq.map (fun x ->
                (abs x <= bound * (1.0 + slack) && (not reach || abs x >= bound * (1.0 - slack)))
                |> Verdict.require (fun () -> sprintf "step %d is %s, its bound %s" (t + 1) (Number.describe s.DType x) (string bound)))
            |> Verdict.all)
        |> Verdict.all

    /// A4: the bound of Adam's step, and that it is reached.
    let adamBound =
        Statement.withDraw
            "A4"
            "no step is longer than its bound, which gradients that grow by beta2 / beta1 reach"
            adams
            (fun rule ->
                { Recipe.one rule with Steps = 1, 40 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "amsgrad", off; "lr", Options.ofNumber 0.125 ] @ noDecay))
            boundedBetas
            (fun subject (beta1, beta2) s ->
                let s = Run.withOptions [ "betas", Options.ofPair (beta1, beta2) ] s

                let bound t =
                    0.125 * longest (struct (beta1, beta2)) t

                let slack t =
                    (Tolerances.allowed "A4" + float t) * Number.u s.DType

                let growing =
                    { s with
                        History =
                            s.History
                            |> Array.mapi (fun t row ->
                                let factor = Math.Pow(beta2 / beta1, float t)

                                row
                                |> Array.map (ValueOption.map (Array.map (fun g -> Number.round s.DType (float (sign g) * factor)))))
                    }

                // The sequence begins anew in each run: its signs must be those of the first step throughout.
                let aligned =
                    { growing with
                        History =
                            growing.History
                            |> Array.map (fun row ->
                                [|
                                    row[0]
                                    |> ValueOption.map (Array.map2 (fun first g -> Math.CopySign(g, first)) s.First)
                                |])
                    }

                Verdict.both (within bound slack false subject s) (within bound slack true subject aligned))

    /// A5: the bound of Adamax's step.
    let adamaxBound =
        Statement.withDraw
            "A5"
            "no step is longer than lr (1 - b1) / (1 - b1^t) (1 - (b1 / b2)^t) / (1 - b1 / b2), which gradients that fall by b2 reach"
            (named [ "Adamax" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 40 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "lr", Options.ofNumber 0.125 ] @ noDecay))
            boundedBetas
            (fun subject (beta1, beta2) s ->
                let s = Run.withOptions [ "betas", Options.ofPair (beta1, beta2) ] s

                let bound t =
                    let ratio = beta1 / beta2

                    0.125 * (1.0 - beta1) / (1.0 - Math.Pow(beta1, float t))
                    * (1.0 - Math.Pow(ratio, float t))
                    / (1.0 - ratio)

                let slack t =
                    (Tolerances.allowed "A5" + float t) * Number.u s.DType

                let falling =
                    { s with
                        History =
                            s.History
                            |> Array.mapi (fun t _ ->
                                [|
                                    s.First
                                    |> Array.map (fun g -> Number.round s.DType (g * Math.Pow(beta2, float t)))
                                    |> ValueSome
                                |])
                    }

                Verdict.both (within bound slack false subject s) (within bound slack true subject falling))

    /// A7: Adagrad's sums, its bound, and its path under a constant gradient.
    let adagradSums =
        Statement.about
            "A7"
            "the sums never fall, no step is longer than lr, and a constant gradient makes steps of lr / sqrt(t)"
            (named [ "Adagrad" ])
            (fun rule ->
                { Recipe.one rule with Steps = 1, 50 }
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "lr_decay", zero; "initial_accumulator_value", zero ] @ noDecay))
            (fun subject s ->
                let lr = number s "lr"

                let grows =
                    Run.trace subject s
                    |> Seq.pairwise
                    |> Seq.collect (fun (before, after) ->
                        Seq.zip (Snapshot.row "sum" 0 before) (Snapshot.row "sum" 0 after)
                        |> Seq.map (fun (before, after) ->
                            before <= after
                            |> Verdict.require (fun () -> sprintf "a sum fell from %s to %s" (string before) (string after))))
                    |> Verdict.all

                let bounded =
                    let bound = lr * (1.0 + Tolerances.allowed "A7" * Number.u s.DType)

                    Updates.exact subject s
                    |> Seq.collect Seq.concat
                    |> Seq.map (fun x ->
                        abs x <= bound
                        |> Verdict.require (fun () -> sprintf "a step of %s, and lr is %s" (Number.describe s.DType x) (string lr)))
                    |> Verdict.all

                let steady = constantly s

                let roots =
                    Array.init steady.History.Length (fun t ->
                        [|
                            s.First
                            |> Array.map (fun g -> -(direction s) * lr * float (sign g) / sqrt (float (t + 1)))
                        |])

                let comparator t =
                    Comparator.rel (Tolerances.allowed "A7" + float t / 8.0)

                Verdict.all
                    [
                        grows
                        bounded
                        Updates.compare comparator s.DType roots (Updates.exact subject steady)
                    ]
                |> Verdict.tellingIf (lr > 0.0))

    /// A6: the bound of RMSprop's step, and that it is reached.
    let rmspropBound =
        Statement.about
            "A6"
            "no step is longer than lr / sqrt(1 - alpha), which the first one reaches"
            (named [ "RMSprop" ])
            (fun rule ->
                Recipe.one rule
                |> Recipe.withoutZeros
                |> Recipe.withOptions ([ "eps", zero; "momentum", zero; "centered", off ] @ noDecay))
            (fun subject s ->
                let lr, alpha = number s "lr", number s "alpha"
                let bound = lr / sqrt (1.0 - alpha)
                let slack = Tolerances.allowed "A6" * Number.u s.DType
                let updates = Updates.exact subject s

                let within =
                    updates
                    |> Seq.collect (fun update -> update[0])
                    |> Seq.map (fun x ->
                        abs x <= bound * (1.0 + slack)
                        |> Verdict.require (fun () -> sprintf "%s, and the bound is %s" (Number.describe s.DType x) (string bound)))

                let reached =
                    updates[0][0]
                    |> Seq.map (fun x ->
                        abs x >= bound * (1.0 - slack)
                        |> Verdict.require (fun () ->
                            sprintf "the first step is %s, less than %s" (Number.describe s.DType x) (string bound)))

                if alpha >= 1.0 || lr = 0.0 then
                    Verdict.Trivial
                else
                    Verdict.all (Seq.append within reached))

    /// The laws of this family.
    let all = [ adamBound; adamaxBound; adagradSums; rmspropBound ]
