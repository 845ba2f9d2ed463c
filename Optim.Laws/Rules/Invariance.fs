namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim.Core

/// I: changes of a run that its path does not show, or shows in a known way.
[<RequireQualifiedAccess>]
module Invariance =
    open Terms

    let private scale (c: float) = Array.map (fun x -> c * x)

    let private normalised =
        named [ "Adagrad"; "Adam"; "AdamW"; "Adamax"; "NAdam"; "RMSprop" ]

    let private scaleFree rule =
        Recipe.any rule
        |> Recipe.withoutZeros
        |> Recipe.withOptions ([ "eps", zero; "initial_accumulator_value", zero ] @ noDecay)

    /// I1: normalised rules do not see the scale of gradients.
    let gradientScale =
        Statement.withDraw
            "I1"
            "scaling all gradients by a power of two changes no bit, with eps 0"
            normalised
            scaleFree
            (Gen.choose (-20, 20))
            (fun subject power s ->
                let scaled = Run.mapGradients (scale (Math.ScaleB(1.0, power))) s

                Snapshot.compareTheta Comparator.bit (Run.final subject s) (Run.final subject scaled)
                |> Verdict.tellingIf (power <> 0 && Run.moves subject s))

    /// I1 for other factors.
    let anyGradientScale =
        Statement.withDraw
            "I1"
            "scaling all gradients by any factor changes the path by rounding only, with eps 0"
            normalised
            (fun rule ->
                let usual =
                    [
                        "betas", Options.ofPair (0.9, 0.999)
                        "alpha", Options.ofNumber 0.9
                        "momentum", zero
                        // The variance about the mean is a difference of two numbers that can be nearly equal.
                        "centered", off
                    ]

                scaleFree rule |> Recipe.withOptions usual)
            (Gen.choose (2, 999))
            (fun subject hundredths s ->
                let c = float hundredths / 100.0
                let scaled = Run.mapGradients (Array.map (fun g -> Number.round s.DType (c * g))) s
                let longest = if Options.has "betas" s.Rule then 7.3 else 1.0 / sqrt 0.1

                let comparator t =
                    Comparator.step (Tolerances.allowed "I1") t (number s "lr") longest

                Updates.compare comparator s.DType (Updates.exact subject s) (Updates.exact subject scaled)
                |> Verdict.tellingIf (number s "lr" > 0.0))

    /// I2: Rprop does not see it, whatever the factor.
    let rpropScale =
        Statement.withDraw
            "I2"
            "scaling all gradients by any positive factor changes no bit"
            (named [ "Rprop" ])
            Recipe.any
            (Gen.choose (1, 9999))
            (fun subject thousandths s ->
                let c = float thousandths / 1000.0
                let scaled = Run.mapGradients (Array.map (fun g -> Number.round s.DType (c * g))) s

                Snapshot.compareTheta Comparator.bit (Run.final subject s) (Run.final subject scaled)
                |> Verdict.tellingIf (Run.moves subject s))

    /// I3: without decay the path does not depend on where it starts.
    let translation =
        Statement.withDraw
            "I3"
            "without decay, moving the start moves the path and leaves the state as it is"
            (named
                [
                    "Adadelta"
                    "Adagrad"
                    "Adam"
                    "AdamW"
                    "Adamax"
                    "NAdam"
                    "RAdam"
                    "RMSprop"
                    "Rprop"
                    "SGD"
                ])
            (fun rule ->
                { Recipe.any rule with
                    Starts = Palette.dyadic
                }
                |> Recipe.withOptions (("eps", Options.ofNumber 1e-8) :: noDecay))
            (Gen.choose (-64, 64))
            (fun subject eighths s ->
                let shift = Array.map (fun x -> x + float eighths / 8.0)

                let shifted =
                    { s with
                        Start = Array.map shift s.Start
                    }

                let here, there = Run.trace subject s, Run.trace subject shifted

                let largest =
                    Seq.append here there
                    |> Seq.collect _.Theta
                    |> Seq.concat
                    |> Seq.fold (fun m x -> max m (abs x)) 1.0

                let comparator =
                    Comparator.within (Tolerances.allowed "I3" * float s.History.Length) largest

                let last = Array.last here

                let moved =
                    { last with
                        Theta = Array.map shift last.Theta
                    }

                Verdict.both
                    (Snapshot.compareTheta comparator moved (Array.last there))
                    (Snapshot.compareState Comparator.bit last (Array.last there))
                |> Verdict.tellingIf (eighths <> 0 && Run.moves subject s))

    /// I4: SGD is homogeneous.
    let homogeneous =
        Statement.withDraw
            "I4"
            "scaling parameters and gradients by a power of two scales the path, bit for bit"
            (named [ "SGD" ])
            Recipe.any
            (Gen.choose (-8, 8))
            (fun subject power s ->
                let scale = scale (Math.ScaleB(1.0, power))

                let scaled =
                    { s with
                        Start = Array.map scale s.Start
                    }
                    |> Run.mapGradients scale

                let plain = Run.final subject s

                let expected =
                    { plain with
                        Theta = Array.map scale plain.Theta
                        State =
                            plain.State
                            |> List.map (fun (name, rows) -> name, Array.map (ValueOption.map scale) rows)
                    }

                Snapshot.compare Comparator.bit expected (Run.final subject scaled)
                |> Verdict.tellingIf (power <> 0 && Run.moves subject s))

    /// I5: the state does not depend on lr, and the step is proportional to it.
    let rate =
        Statement.withDraw
            "I5"
            "without decay the state does not depend on lr, and updates are proportional to it"
            (fun rule -> normalised rule || named [ "Adadelta"; "RAdam" ] rule)
            (fun rule -> Recipe.any rule |> Recipe.withOptions noDecay)
            (Gen.choose (-3, 3))
            (fun subject power s ->
                let factor = Math.ScaleB(1.0, power)
                let scaled = Run.withOptions [ "lr", Options.ofNumber (factor * number s "lr") ] s
                let updates = Updates.exact subject s

                Verdict.both
                    (Snapshot.compareState Comparator.bit (Run.final subject s) (Run.final subject scaled))
                    (Updates.compare
                        (fun _ -> Comparator.bit)
                        s.DType
                        (Updates.map (fun x -> factor * x) updates)
                        (Updates.exact subject scaled))
                |> Verdict.tellingIf (power <> 0 && Updates.any updates))

    /// I6: for SGD a factor of the loss is a factor of lr.
    let lossScale =
        Statement.withDraw
            "I6"
            "a power of two before the loss is the same as before lr, bit for bit"
            (named [ "SGD" ])
            (fun rule -> Recipe.any rule |> Recipe.withOptions noDecay)
            (Gen.choose (-3, 3))
            (fun subject power s ->
                let factor = Math.ScaleB(1.0, power)
                let steeper = Run.mapGradients (scale factor) s
                let faster = Run.withOptions [ "lr", Options.ofNumber (factor * number s "lr") ] s

                Snapshot.compareTheta Comparator.bit (Run.final subject faster) (Run.final subject steeper)
                |> Verdict.tellingIf (power <> 0 && Run.moves subject s))

    /// The laws of this family.
    let all =
        [
            gradientScale
            anyGradientScale
            rpropScale
            translation
            homogeneous
            rate
            lossScale
        ]
