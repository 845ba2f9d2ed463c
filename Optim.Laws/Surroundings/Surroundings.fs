namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// W6 and W7: what is attached to steps.
[<RequireQualifiedAccess>]
module Surroundings =
    let internal everyRule (rule: Rule) =
        rule.Sparse rule.Defaults <> SparseGradients.Required

    /// What is drawn beside a scenario.
    type Tail =
        {
            Clip: (unit -> GradientClip) option
            Scale: float
            Average: Averaging option
            Zeroes: bool
            Groups: bool
        }

        override this.ToString() =
            sprintf
                "clip %A, scale %g, average %A, zeroes %b, groups %b"
                (this.Clip |> Option.map (fun make -> make ()))
                this.Scale
                this.Average
                this.Zeroes
                this.Groups

    let internal tail =
        gen {
            let norm largest order () =
                ClipGradNorm(largest, order) :> GradientClip

            let! clip =
                Gen.elements
                    [
                        None
                        Some(norm 0.5 2.0)
                        Some(norm 1e3 2.0)
                        Some(norm 0.5 1.0)
                        Some(norm 0.5 infinity)
                        Some(fun () -> ClipGradValue 0.25 :> GradientClip)
                    ]

            let! scale = Gen.elements [ 1.0; 1024.0; 3.0; 0.0 ]

            let! average =
                Gen.elements
                    [
                        None
                        Some Averaging.equal
                        Some(Averaging.exponential 0.9)
                        Some(Averaging.exponential 0.25)
                        Some
                            { Averaging.exponential 0.99 with
                                Warmup = true
                                Every = 2L
                            }
                    ]

            let! zeroes = Gen.elements [ false; true ]
            let! groups = Gen.elements [ false; true ]

            return
                {
                    Clip = clip
                    Scale = scale
                    Average = average
                    Zeroes = zeroes
                    Groups = groups
                }
        }

    let private optimizer (subject: Subject) (tail: Tail) (s: Scenario) (parameters: Param[]) =
        if tail.Groups then
            subject.Shell.Open subject.Rule [] [ for p in parameters -> Host.group subject.Rule s.Options [ p ] ]
        else
            Host.optimizer subject s.Options parameters

    let internal averageOf (averaging: Averaging) (parameters: Param[]) =
        let known =
            if averaging.Decay.HasValue then
                AveragedParameters.GetEmaMultiAvgFn(averaging.Decay.Value, averaging.Warmup)
            else
                AveragedParameters.GetSwaMultiAvgFn()

        AveragedParameters(parameters |> Seq.map (fun p -> p :> IParameter), multiAvgFn = known, every = averaging.Every)

    let internal scalerOf (scale: float) =
        if scale = 0.0 then
            None
        else
            Some(GradScaler(scale, growthInterval = Int64.MaxValue))

    /// The gradients of a row as backward would give them for a scaled loss.
    let private scaled dtype (scale: float) (row: float[] voption[]) =
        row
        |> Array.map (ValueOption.map (Array.map (fun g -> Number.round dtype (g * scale))))

    let internal averages (average: AveragedParameters option) =
        match average with
        | None -> [||]
        | Some average -> [| for name in average.Names -> average[name].ToDoubles() |]

    let internal sameAverages dtype (expected: float[][]) (actual: float[][]) =
        if expected.Length <> actual.Length then
            Verdict.Broken "another number of averages"
        else
            Array.map2 (Comparator.arrays Comparator.bit dtype) expected actual
            |> Verdict.all
            |> Verdict.where "averages"

    let private gradients (parameters: Param[]) =
        parameters
        |> Array.map (fun p ->
            if p.HasGradient then
                ValueSome(p.GradientView.ToDoubles())
            else
                ValueNone)

    /// The passes one by one, as a user of PyTorch writes them.
    let private apart (subject: Subject) (tail: Tail) (s: Scenario) =
        let parameters = Host.parameters s
        let optimizer = optimizer subject tail s parameters
        let scaler = scalerOf tail.Scale

        let average =
            tail.Average |> Option.map (fun averaging -> averageOf averaging parameters)

        let list = parameters |> Seq.map (fun p -> p :> IParameter)

        for row in s.History do
            Host.give s.DType parameters (scaled s.DType (if tail.Scale = 0.0 then 1.0 else tail.Scale) row)
            let any = row |> Array.exists ValueOption.isSome

            match scaler with
            | Some scaler when any -> scaler.Unscale optimizer
            | _ -> ()

            match tail.Clip |> Option.map (fun make -> make ()) with
            | Some(:? ClipGradNorm as clip) -> ClipGrad.Norm(list, clip.MaxNorm, clip.NormType) |> ignore
            | Some(:? ClipGradValue as clip) -> ClipGrad.Value(list, clip.Value)
            | _ -> ()

            subject.Shell.Step optimizer
            average |> Option.iter _.UpdateParameters()

            if tail.Zeroes then
                subject.Shell.ZeroGrad optimizer false

            match scaler with
            | Some scaler when any -> scaler.Update()
            | _ -> ()

        Host.read s.DType optimizer parameters, averages average, (if tail.Zeroes then gradients parameters else [||])

    /// Attached, in the step's own visit of memory.
    let private together (subject: Subject) (tail: Tail) (s: Scenario) =
        let parameters = Host.parameters s
        let optimizer = optimizer subject tail s parameters
        let scaler = scalerOf tail.Scale

        let average =
            tail.Average |> Option.map (fun averaging -> averageOf averaging parameters)

        let clip = tail.Clip |> Option.map (fun make -> make ())

        subject.Shell.Attach
            optimizer
            { Attached.None with
                Clip = clip
                Scaler = scaler
                Average = average
                ZeroGrad = tail.Zeroes
            }

        for row in s.History do
            Host.give s.DType parameters (scaled s.DType (if tail.Scale = 0.0 then 1.0 else tail.Scale) row)
            subject.Shell.Step optimizer

        Host.read s.DType optimizer parameters, averages average, (if tail.Zeroes then gradients parameters else [||])

    /// A scaler refuses a step without any gradient, as PyTorch's does.
    let internal stepsAlways (s: Scenario) =
        { s with
            History = s.History |> Array.filter (Array.exists ValueOption.isSome)
        }

    /// Gradients whose products with a scale are neither infinite nor subnormal.
    let internal moderate rule =
        { Recipe.any rule with
            Gradients = Palette.logUniform -8 6
            Simple = [ 1.0; -1.0 ]
        }

    /// W7: one visit of memory gives what the passes one by one give.
    let together' =
        Statement.withDraw
            "W7"
            "what is attached gives the bits of separate passes: unscale, clip, step, average, zero"
            everyRule
            moderate
            tail
            (fun subject tail s ->
                let s = stepsAlways s

                if Array.isEmpty s.History then
                    Verdict.Trivial
                else
                    let expected, expectedAverages, expectedGradients = apart subject tail s
                    let actual, actualAverages, actualGradients = together subject tail s

                    Verdict.all
                        [
                            Snapshot.compare Comparator.bit expected actual
                            sameAverages s.DType expectedAverages actualAverages
                            expectedGradients = actualGradients
                            |> Verdict.require (fun () -> sprintf "gradients %A instead of %A" actualGradients expectedGradients)
                        ]
                    |> Verdict.tellingIf (Snapshot.moved { actual with Theta = s.Start } actual))

    /// W6: a gradient that is not finite is as if it had not come.
    let skipped =
        Statement.withDraw
            "W6"
            "a step by a gradient that is not finite leaves parameters, state, counts and averages as they were, and is told"
            everyRule
            (fun rule ->
                { moderate rule with
                    Absent = 0
                    Steps = 2, 8
                })
            (Gen.zip (Gen.choose (0, 1_000_000)) (Gen.elements [ nan; infinity; -infinity ]))
            (fun subject (at, bad) s ->
                let tail =
                    {
                        Clip = Some(fun () -> ClipGradNorm(0.5) :> GradientClip)
                        Scale = 1024.0
                        Average = Some(Averaging.exponential 0.9)
                        Zeroes = false
                        Groups = false
                    }

                let step = at % s.History.Length
                let row = at % s.Start.Length

                if s.Start[row].Length = 0 then
                    Verdict.Trivial
                else
                    let parameters = Host.parameters s
                    let optimizer = optimizer subject tail s parameters
                    let average = averageOf tail.Average.Value parameters
                    let scaler = GradScaler(tail.Scale, growthInterval = Int64.MaxValue)

                    subject.Shell.Attach
                        optimizer
                        { Attached.None with
                            Clip = Some(tail.Clip.Value())
                            Scaler = Some scaler
                            Average = Some average
                        }

                    let told = ResizeArray()

                    for t in 0 .. s.History.Length - 1 do
                        let gradients =
                            if t <> step then
                                s.History[t]
                            else
                                s.History[t]
                                |> Array.mapi (fun k values ->
                                    if k = row then
                                        values |> ValueOption.map (Array.updateAt (at % s.Start[row].Length) bad)
                                    else
                                        values)

                        Host.give s.DType parameters (scaled s.DType (scaler.GetScale()) gradients)
                        subject.Shell.Step optimizer
                        told.Add optimizer.LastStepSkipped

                    let expected, expectedAverages, _ =
                        together
                            subject
                            tail
                            { s with
                                History = Array.removeAt step s.History
                            }

                    Verdict.all
                        [
                            Snapshot.compare Comparator.bit expected (Host.read s.DType optimizer parameters)
                            sameAverages s.DType expectedAverages (averages (Some average))
                            List.ofSeq told = [ for t in 0 .. s.History.Length - 1 -> t = step ]
                            |> Verdict.require (fun () -> sprintf "skipped: %A" (List.ofSeq told))
                            optimizer.SkippedSteps = 1L
                            |> Verdict.require (fun () -> "the count of skipped steps")
                            scaler.GetScale() = 512.0
                            |> Verdict.require (fun () -> "the scale did not shrink")
                        ])

    /// The laws of this family.
    let all: Statement list = [ skipped; together' ]
