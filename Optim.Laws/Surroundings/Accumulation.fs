namespace Optim.Laws

open FsCheck.FSharp
open Optim

/// W3 and W8: one step of several batches.
[<RequireQualifiedAccess>]
module Accumulation =
    /// W3: k batches are one step on their mean.
    let accumulated =
        Statement.withDraw
            "W3"
            "gradients of k batches make one step, on their mean"
            Surroundings.everyRule
            Surroundings.moderate
            (Gen.choose (2, 4))
            (fun subject k s ->
                // Each step's gradients, and what batches they are the mean of.
                let batches =
                    s.History
                    |> Array.map (fun row ->
                        Array.init k (fun i ->
                            row
                            |> Array.mapi (fun p values ->
                                if (i + p) % 3 = 2 then
                                    ValueNone
                                else
                                    values
                                    |> ValueOption.map (Array.map (fun g -> Number.round s.DType (g * (1.0 + 0.25 * float i)))))))

                let mean (rows: float[] voption[][]) =
                    Array.init s.Start.Length (fun p ->
                        let there = rows |> Array.collect (fun row -> ValueOption.toArray row[p])

                        if there.Length = 0 then
                            ValueNone
                        else
                            there
                            |> Array.reduce (Array.map2 (fun a b -> Number.round s.DType (a + b)))
                            |> Array.map (fun sum -> Number.round s.DType (sum / float k))
                            |> ValueSome)

                let expected =
                    Host.final
                        subject
                        { s with
                            History = batches |> Array.map mean
                        }

                let parameters = Host.parameters s
                let optimizer = Host.optimizer subject s.Options parameters
                subject.Shell.Attach optimizer { Attached.None with Accumulate = k }
                let accumulating = ResizeArray()

                for rows in batches do
                    for row in rows do
                        Host.give s.DType parameters row
                        subject.Shell.Step optimizer
                        accumulating.Add optimizer.IsAccumulating

                let wanted = [ for i in 1 .. accumulating.Count -> i % k <> 0 ]

                Verdict.both
                    (Snapshot.compare Comparator.bit expected (Host.read s.DType optimizer parameters))
                    (List.ofSeq accumulating = wanted
                     |> Verdict.require (fun () -> sprintf "accumulating: %A" (List.ofSeq accumulating)))
                |> Verdict.tellingIf (Snapshot.moved { expected with Theta = s.Start } expected))

    /// W8: what was added up is a part of the state.
    let savedWindow =
        Statement.withDraw
            "W8"
            "saving before any call and going on in a fresh optimizer changes no bit, inside of a step of several calls, too"
            Surroundings.everyRule
            (fun rule ->
                { Surroundings.moderate rule with
                    Steps = 3, 12
                })
            (Gen.choose (2, 4))
            (fun subject k s ->
                let run restarts =
                    let parameters = Host.parameters s

                    let fresh () =
                        let optimizer = Host.optimizer subject s.Options parameters
                        subject.Shell.Attach optimizer { Attached.None with Accumulate = k }
                        optimizer

                    let mutable optimizer = fresh ()

                    for row in s.History do
                        if restarts then
                            let saved = subject.Shell.Clone(subject.Shell.Save optimizer)
                            optimizer <- fresh ()
                            subject.Shell.Load optimizer saved

                        Host.give s.DType parameters row
                        subject.Shell.Step optimizer

                    Host.read s.DType optimizer parameters

                let expected = run false

                Snapshot.compare Comparator.bit expected (run true)
                |> Verdict.tellingIf (Snapshot.moved { expected with Theta = s.Start } expected))

    /// The laws of this family.
    let all: Statement list = [ accumulated; savedWindow ]
