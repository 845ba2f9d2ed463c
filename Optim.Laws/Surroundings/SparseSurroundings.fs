namespace Optim.Laws

open System
open FsCheck.FSharp
open Optim
open Optim.Core
open Optim.Kernels
open Optim.Laws.Terms

/// SP: sparse gradients in what surrounds steps. A sparse gradient is the sum of its rows, whatever asks.
[<RequireQualifiedAccess>]
module SparseSurroundings =
    let private optimizer (subject: Subject) (s: SparseRun) =
        let values = Tensor.shaped [| int64 s.Rows; int64 s.Columns |] s.DType s.Start
        let parameter = Param.Of("p", values)
        parameter, subject.Shell.Open subject.Rule [] [ Host.group subject.Rule s.Options [ parameter ] ]

    let private giveSparse (s: SparseRun) (parameter: Param) (rows, values) =
        let gradient = Sparsity.asSparse s (rows, values)
        parameter.SetSparseGradient(gradient.Rows, gradient.Values)

    let private giveDense (s: SparseRun) (parameter: Param) gradient =
        parameter.BindGradient(Tensor.shaped [| int64 s.Rows; int64 s.Columns |] s.DType (Sparsity.written s gradient))

    /// The gradients as backward would give them for a scaled loss.
    let private scaled (tail: Surroundings.Tail) (rows: int[], values: float[]) =
        let scale = if tail.Scale = 0.0 then 1.0 else tail.Scale
        rows, values |> Array.map (fun g -> g * scale)

    let private averageOf (tail: Surroundings.Tail) parameter =
        tail.Average
        |> Option.map (fun averaging -> Surroundings.averageOf averaging [| parameter |])

    let private attached (subject: Subject) give (tail: Surroundings.Tail) (s: SparseRun) =
        let parameter, optimizer = optimizer subject s
        let average = averageOf tail parameter

        subject.Shell.Attach
            optimizer
            { Attached.None with
                Clip = tail.Clip |> Option.map (fun make -> make ())
                Scaler = Surroundings.scalerOf tail.Scale
                Average = average
                ZeroGrad = tail.Zeroes
            }

        for gradient in s.History do
            give s parameter (scaled tail gradient)
            subject.Shell.Step optimizer

        Host.read s.DType optimizer [| parameter |], Surroundings.averages average, parameter.GradientView.ToDoubles()

    let private apart (subject: Subject) (tail: Surroundings.Tail) (s: SparseRun) =
        let parameter, optimizer = optimizer subject s
        let average = averageOf tail parameter
        let scaler = Surroundings.scalerOf tail.Scale

        for gradient in s.History do
            giveSparse s parameter (scaled tail gradient)
            scaler |> Option.iter (fun scaler -> scaler.Unscale optimizer)

            match tail.Clip |> Option.map (fun make -> make ()) with
            | Some(:? ClipGradNorm as clip) -> ClipGrad.Norm([ parameter ], clip.MaxNorm, clip.NormType) |> ignore
            | Some(:? ClipGradValue as clip) -> ClipGrad.Value([ parameter ], clip.Value)
            | _ -> ()

            subject.Shell.Step optimizer
            average |> Option.iter _.UpdateParameters()

            if tail.Zeroes then
                subject.Shell.ZeroGrad optimizer false

            scaler |> Option.iter _.Update()

        Host.read s.DType optimizer [| parameter |], Surroundings.averages average, parameter.GradientView.ToDoubles()

    let private about id says rules settings holds =
        Statement.forAll
            id
            says
            rules
            (fun rule -> Gen.zip (Sparsity.generate settings true rule) Surroundings.tail)
            (fun _ (s, tail) -> Sparsity.shorter s |> Seq.map (fun s -> s, tail))
            (fun subject (s, tail) -> holds subject tail s |> Verdict.tellingIf (Sparsity.touches s))

    /// SP5: W7 for sparse gradients.
    let together =
        about "SP5" "what is attached to sparse steps gives the bits of separate passes" sparse noDecay (fun subject tail s ->
            let expected, expectedAverages, expectedGradient = apart subject tail s
            let actual, actualAverages, actualGradient = attached subject giveSparse tail s

            Verdict.all
                [
                    Snapshot.compare Comparator.bit expected actual
                    Surroundings.sameAverages s.DType expectedAverages actualAverages
                    (not tail.Zeroes || expectedGradient = actualGradient)
                    |> Verdict.require (fun () -> sprintf "a gradient %A instead of %A" actualGradient expectedGradient)
                ])

    /// SP6: SP2 with what surrounds steps. By a factor that is no power of two sums of squares are rounded, in another order.
    let asDense =
        about
            "SP6"
            "what surrounds steps takes a sparse gradient as the dense one that is zero elsewhere"
            (named [ "SGD"; "Adagrad" ])
            [ "weight_decay", zero; "eps", Options.ofNumber 1e-8 ]
            (fun subject tail s ->
                let tail =
                    if tail.Scale = 3.0 then
                        { tail with Scale = 0.25 }
                    else
                        tail

                let expected, expectedAverages, _ = attached subject giveDense tail s
                let actual, actualAverages, _ = attached subject giveSparse tail s

                Verdict.both
                    (Snapshot.compare Comparator.bitButZeros expected actual)
                    (Array.map2 (Comparator.arrays Comparator.bitButZeros s.DType) expectedAverages actualAverages
                     |> Verdict.all))

    /// SP7: W3 for sparse gradients, some of them dense where the rule takes both.
    let accumulated =
        Statement.forAll
            "SP7"
            "sparse gradients of k batches make one step, on their mean"
            sparse
            (fun rule -> Gen.zip (Sparsity.generate noDecay true rule) (Gen.choose (2, 3)))
            (fun _ (s, k) -> Sparsity.shorter s |> Seq.map (fun s -> s, k))
            (fun subject (s, k) ->
                let windows =
                    s.History |> Array.chunkBySize k |> Array.filter (fun w -> w.Length = k)

                let round = Number.round s.DType

                // The dense ones among them, which make the mean dense.
                let isDense window call =
                    subject.Rule.Sparse s.Options <> SparseGradients.Required
                    && (window + call) % 3 = 2

                let actual, accumulating = optimizer subject s
                subject.Shell.Attach accumulating { Attached.None with Accumulate = k }

                for i, window in Array.indexed windows do
                    for call, gradient in Array.indexed window do
                        (if isDense i call then giveDense else giveSparse) s actual gradient
                        subject.Shell.Step accumulating

                let expected, plain = optimizer subject s

                for i, window in Array.indexed windows do
                    let mean =
                        window
                        |> Array.map (Sparsity.written s >> Array.map round)
                        |> Array.reduce (Array.map2 (fun a b -> round (a + b)))
                        |> Array.map (fun sum -> round (sum / float k))

                    if Seq.exists (isDense i) [ 0 .. k - 1 ] then
                        expected.BindGradient(Tensor.shaped [| int64 s.Rows; int64 s.Columns |] s.DType mean)
                    else
                        let rows = window |> Array.collect fst |> Array.distinct

                        let values =
                            rows
                            |> Array.collect (fun row -> mean[row * s.Columns .. (row + 1) * s.Columns - 1])

                        giveSparse s expected (rows, values)

                    subject.Shell.Step plain

                Snapshot.compare
                    Comparator.bitButZeros
                    (Host.read s.DType plain [| expected |])
                    (Host.read s.DType accumulating [| actual |])
                |> Verdict.tellingIf (windows |> Array.exists (Array.exists (fun (rows, _) -> rows.Length > 0))))

    /// The laws of this family.
    let all = [ together; asDense; accumulated ]
