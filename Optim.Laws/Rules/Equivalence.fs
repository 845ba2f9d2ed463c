namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels

/// F: ways to run a step that must come to the same.
[<RequireQualifiedAccess>]
module Equivalence =
    let private everyRule (_: Rule) = true

    let private emptyLast (s: Scenario) =
        { s with
            Start = Array.append s.Start [| [||] |]
            History = s.History |> Array.map (fun row -> Array.append row [| ValueSome [||] |])
        }

    /// F1: loop, foreach and fused.
    let traversals =
        Statement.about
            "F1"
            "for-loop, foreach and fused give the same bits, state included"
            (Options.has "foreach")
            (fun rule -> { Recipe.any rule with Absent = 25 })
            (fun subject s ->
                let s = emptyLast s

                let run flags =
                    Run.final subject (Run.withOptions (List.map (fun (name, on) -> name, Options.ofFlag on) flags) s)

                let expected = Run.final subject s

                [
                    [ "foreach", false ]
                    [ "foreach", true ]
                    [ "fused", true ]
                    [ "foreach", false; "fused", false ]
                ]
                |> List.filter (List.forall (fun (name, _) -> Options.has name subject.Rule))
                |> List.map (fun flags ->
                    Snapshot.compare Comparator.bit expected (run flags)
                    |> Verdict.where (sprintf "%A" flags))
                |> Verdict.all
                |> Verdict.tellingIf (Run.moves subject s))

    /// F2: the step in place and the one that touches nothing.
    let pure' =
        Statement.about
            "F2"
            "the pure step is the step in place, and leaves all that it was given as it was"
            everyRule
            Recipe.any
            (fun subject s ->
                let inPlace = Run.trace subject s
                let mutable parameters = Run.parameters s
                let mutable state = subject.Init s.Options parameters

                s.History
                |> Array.mapi (fun t row ->
                    let gradients = Run.gradients s.DType row
                    let before = Snapshot.read s.DType parameters state
                    let struct (moved, next) = subject.PureStep s.Options parameters gradients state
                    let after = Snapshot.read s.DType parameters state
                    let result = Snapshot.read s.DType moved next

                    let struct (again, nextAgain) =
                        subject.PureStep s.Options parameters gradients state

                    let unwritten =
                        row
                        |> Array.mapi (fun k values ->
                            match values with
                            | ValueNone -> Verdict.Trivial
                            | ValueSome values -> Comparator.arrays Comparator.bit s.DType values (gradients[k].Values.ToDoubles()))

                    parameters <- moved
                    state <- next

                    Verdict.all
                        [
                            Snapshot.compare Comparator.bit before after
                            |> Verdict.where "what was given has changed"
                            Snapshot.compare Comparator.bit result (Snapshot.read s.DType again nextAgain)
                            |> Verdict.where "the same again"
                            Verdict.all unwritten |> Verdict.where "a gradient has changed"
                            Snapshot.compare Comparator.bit inPlace[t + 1] result
                        ])
                |> Verdict.all
                |> Verdict.tellingIf (Run.moves subject s))

    /// F3: vector widths.
    let widths =
        Statement.about "F3" "vectors of 512, 256 and 128 bits and single numbers give the same bits" everyRule Recipe.any (fun subject s ->
            let run width =
                Setting.withWidth width (fun () -> Run.final subject s)

            let expected = run Width.Single

            [ Width.Bits128; Width.Bits256; Width.Bits512 ]
            |> List.map (fun width ->
                Snapshot.compare Comparator.bit expected (run width)
                |> Verdict.where (string width))
            |> Verdict.all
            |> Verdict.tellingIf (Run.moves subject s))
        |> Statement.alone

    /// F4: addresses.
    let alignment =
        Statement.withDraw
            "F4"
            "neither the address of a parameter nor that of a gradient changes a bit"
            everyRule
            Recipe.any
            (Gen.zip (Gen.choose (0, 16)) (Gen.choose (0, 16)))
            (fun subject (parameterAt, gradientAt) s ->
                let parameters =
                    Parameters.Of(s.Start |> Seq.map (Memory.offset parameterAt s.DType))

                let step state (row: float[] voption[]) =
                    let gradients =
                        row
                        |> Seq.map (function
                            | ValueNone -> Gradient.Absent
                            | ValueSome values -> Gradient.OfDense(Memory.offset gradientAt s.DType values))

                    subject.Step s.Options parameters (Gradients.Of gradients) state

                let state = Array.fold step (subject.Init s.Options parameters) s.History

                Snapshot.compare Comparator.bit (Run.final subject s) (Snapshot.read s.DType parameters state)
                |> Verdict.tellingIf (parameterAt + gradientAt > 0 && Run.moves subject s))

    /// F5: threads.
    let threads =
        Statement.withDraw
            "F5"
            "the number of threads changes no bit"
            everyRule
            (fun rule ->
                { Recipe.any rule with
                    Length =
                        if rule.StepsByValues then
                            Gen.elements [ 16384; 24576 ]
                        else
                            Gen.oneof [ Gen.choose (3000, 9000); Gen.choose (20_000, 60_000) ]
                    Steps = 2, 3
                })
            (Gen.choose (2, 8))
            (fun subject count s ->
                let run count =
                    Setting.withThreads count (fun () -> Run.final subject s)

                Snapshot.compare Comparator.bit (run 1) (run count)
                |> Verdict.where (sprintf "%d threads" count)
                |> Verdict.tellingIf (Run.moves subject s))
        |> Statement.fewer 6
        |> Statement.alone

    /// F7: the same again.
    let repeat =
        Statement.about "F7" "the same run gives the same bits" everyRule Recipe.any (fun subject s ->
            Snapshot.compare Comparator.bit (Run.final subject s) (Run.final subject s)
            |> Verdict.tellingIf (Run.moves subject s))

    /// The most bytes that a step may allocate.
    let private allowance = 512L

    /// F8: memory that a step allocates.
    let allocation =
        Statement.forAll
            "F8"
            "a step allocates at most 512 bytes, however many parameters there are"
            (fun rule -> not rule.StepsByValues)
            (fun _ -> Gen.elements [ 1; 10; 1000 ])
            (fun _ _ -> Seq.empty)
            (fun subject count ->
                let parameters =
                    [
                        for _ in 1..count -> Param.Of(null, Shapes.suit subject.Rule (Tensor.ofFloats DType.Float32 (Array.create 16 1.0)))
                    ]


                for parameter in parameters do
                    parameter.SetGradient<float32>(ReadOnlySpan(Array.create 16 0.5f))

                let groups =
                    [
                        new ParameterGroup(parameters |> Seq.map (fun parameter -> parameter :> IParameter))
                    ]

                let optimizer = subject.Shell.Open subject.Rule [] groups
                let steps = 1000

                let bytes () =
                    let before = GC.GetTotalAllocatedBytes true

                    for _ in 1..steps do
                        subject.Shell.Step optimizer

                    (GC.GetTotalAllocatedBytes true - before) / int64 steps

                // Compilation in the background allocates, too: the quietest of a few runs counts.
                subject.Shell.Step optimizer
                let least = Seq.init 5 (fun _ -> bytes ()) |> Seq.reduce min

                parameters |> List.iter _.Dispose()

                least <= allowance
                |> Verdict.require (fun () -> sprintf "%d bytes a step for %d parameters" least count))
        |> Statement.fewer 3
        |> Statement.alone

    /// The laws of this family.
    let all = [ traversals; pure'; widths; alignment; threads; repeat; allocation ]
