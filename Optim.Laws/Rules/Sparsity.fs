namespace Optim.Laws

open System
open FsCheck
open FsCheck.FSharp
open Optim.Core
open Optim.Kernels
open Optim.Laws.Terms

/// Sparse gradients of a table, as data: for each step the rows and their values.
[<NoComparison; CustomEquality>]
type SparseRun =
    {
        Options: IOptimizerOptions
        DType: DType
        Rows: int
        Columns: int
        Start: float[]
        History: (int[] * float[])[]
    }

    override this.Equals other = Object.ReferenceEquals(this, other)
    override _.GetHashCode() = 0

    override this.ToString() =
        sprintf "%s, %d x %d from %A by %A" (this.DType.Name()) this.Rows this.Columns this.Start this.History

/// SP: what a sparse gradient does.
[<RequireQualifiedAccess>]
module Sparsity =
    let private table (s: SparseRun) =
        Parameters.Of [ Tensor.shaped [| int64 s.Rows; int64 s.Columns |] s.DType s.Start ]

    /// The gradient as it comes.
    let internal asSparse (s: SparseRun) (rows: int[], values: float[]) =
        let indices = rows |> Array.map int64

        Gradient.OfSparse(
            TensorView.Of(ReadOnlySpan indices, ReadOnlySpan [| indices.LongLength |]),
            Tensor.shaped [| indices.LongLength; int64 s.Columns |] s.DType values
        )

    /// The sums of each row, zero where there is none.
    let internal written (s: SparseRun) (rows: int[], values: float[]) =
        let all = Array.zeroCreate (s.Rows * s.Columns)

        for k in 0 .. rows.Length - 1 do
            for column in 0 .. s.Columns - 1 do
                let at = rows[k] * s.Columns + column
                all[at] <- all[at] + values[k * s.Columns + column]

        all

    let private asDense (s: SparseRun) gradient =
        Gradient.OfDense(Tensor.shaped [| int64 s.Rows; int64 s.Columns |] s.DType (written s gradient))

    let private run (subject: Subject) (s: SparseRun) gradient =
        let parameters = table s

        s.History
        |> Array.fold
            (fun state row -> subject.Step s.Options parameters (Gradients.Of [ gradient s row ]) state)
            (subject.Init s.Options parameters)
        |> Snapshot.read s.DType parameters

    /// Values of few bits, so that their sums are exact in any order.
    let internal generate (settings: (string * OptionValue) list) repeats (rule: Rule) =
        gen {
            let! options = Options.generate rule |> Gen.map (Options.set settings rule)
            let! dtype = Generators.dtype
            let! rows = Gen.choose (1, 9)
            let! columns = Gen.elements [ 1; 2; 3; 8; 17; 33 ]
            let! steps = Gen.choose (1, 6)
            let! seed = Gen.choose (0, Int32.MaxValue)
            let random = Random seed
            let number () = float (random.Next(-64, 65)) / 16.0

            let gradient () =
                let chosen = Array.init (random.Next(0, rows + 3)) (fun _ -> random.Next rows)
                let chosen = if repeats then chosen else Array.distinct chosen
                chosen, Array.init (chosen.Length * columns) (fun _ -> number ())

            return
                {
                    Options = options
                    DType = dtype
                    Rows = rows
                    Columns = columns
                    Start = Array.init (rows * columns) (fun _ -> number ())
                    History = Array.init steps (fun _ -> gradient ())
                }
        }

    let internal shorter (s: SparseRun) =
        seq {
            if s.History.Length > 1 then
                { s with
                    History = Array.take (s.History.Length - 1) s.History
                }
        }

    let private about id says rules settings repeats holds =
        Statement.forAll id says rules (generate settings repeats) (fun _ -> shorter) holds

    let internal touches (s: SparseRun) =
        s.History |> Array.exists (fun (rows, _) -> rows.Length > 0)

    /// SP1: rows that no gradient has, and their state, stay as they are.
    let untouched =
        about "SP1" "rows that no gradient has keep every bit" sparse noDecay true (fun subject s ->
            let touched = s.History |> Seq.collect fst |> Set.ofSeq
            let final = run subject s asSparse

            let kept what (before: int -> float) (after: float[]) =
                seq {
                    for row in 0 .. s.Rows - 1 do
                        if not (touched.Contains row) then
                            for column in 0 .. s.Columns - 1 do
                                let at = row * s.Columns + column

                                Comparator.arrays Comparator.bit s.DType [| before at |] [| after[at] |]
                                |> Verdict.where (sprintf "%s, row %d" what row)
                }
                |> Verdict.all

            let first =
                let parameters = table s
                Snapshot.read s.DType parameters (subject.Init s.Options parameters)

            [
                kept "the parameter" (fun at -> s.Start[at]) final.Theta[0]
                for name, rows in final.State do
                    match rows[0] with
                    | ValueSome after ->
                        let before = Snapshot.row name 0 first
                        kept name (fun at -> if before.Length = 0 then 0.0 else before[at]) after
                    | ValueNone -> ()
            ]
            |> Verdict.all
            |> Verdict.tellingIf (touches s))

    /// SP2: where a gradient of zero does nothing but what momentum does, a sparse gradient is a dense one with zeros written out.
    let zerosWrittenOut =
        let settings = [ "weight_decay", zero; "eps", Options.ofNumber 1e-8 ]

        about
            "SP2"
            "a sparse gradient equals a dense one that is zero elsewhere"
            (named [ "SGD"; "Adagrad" ])
            settings
            true
            (fun subject s ->
                Snapshot.compare Comparator.bitButZeros (run subject s asDense) (run subject s asSparse)
                |> Verdict.tellingIf (touches s))

    /// SP3: a row that comes more than once has the sum of its values.
    let coalesced =
        about "SP3" "repeated rows are summed up, in any order of the rows" sparse noDecay true (fun subject s ->
            let sums _ (rows: int[], values: float[]) =
                let all = written s (rows, values)
                let chosen = rows |> Array.distinct |> Array.sortDescending

                asSparse
                    s
                    (chosen,
                     chosen
                     |> Array.collect (fun row -> all[row * s.Columns .. (row + 1) * s.Columns - 1]))

            Snapshot.compare Comparator.bit (run subject s sums) (run subject s asSparse)
            |> Verdict.tellingIf (
                s.History
                |> Array.exists (fun (rows, _) -> (Array.distinct rows).Length < rows.Length)
            ))

    /// SP4: the pure step does the same, and touches nothing that it was given.
    let pureSteps =
        about "SP4" "a pure step equals a step in place, and leaves its inputs alone" sparse noDecay true (fun subject s ->
            let parameters = table s
            let mutable state = subject.Init s.Options parameters
            let mutable verdict = Verdict.Trivial

            for row in s.History do
                let gradients = Gradients.Of [ asSparse s row ]
                let before = Snapshot.read s.DType parameters state
                let struct (moved, next) = subject.PureStep s.Options parameters gradients state
                let result = Snapshot.read s.DType moved next

                let untouched =
                    Snapshot.compare Comparator.bit before (Snapshot.read s.DType parameters state)

                state <- subject.Step s.Options parameters gradients state

                let same =
                    Snapshot.compare Comparator.bit result (Snapshot.read s.DType parameters state)

                verdict <- Verdict.both verdict (Verdict.both untouched same)

            verdict |> Verdict.tellingIf (touches s))

    /// A14: SparseAdam with every row there is Adam whose eps at step t is eps / sqrt(1 - beta2^t).
    let likeAdam =
        Statement.forAll
            "A14"
            "with every row there it is Adam whose eps at step t is eps / sqrt(1 - b2^t)"
            (named [ "SparseAdam" ])
            (generate [ "lr", Options.ofNumber 0.01 ] false)
            (fun _ -> shorter)
            (fun subject s ->
                let all = Array.init s.Rows id

                let s =
                    { s with
                        History = s.History |> Array.map (fun gradient -> all, written s gradient)
                    }

                let rule = subject.Rule
                let adam = Adam.rule :> Rule
                let struct (beta1, beta2) = Options.pair rule "betas" s.Options

                let eps, lr =
                    Options.number rule "eps" s.Options, Options.number rule "lr" s.Options

                let parameters = table s
                let mutable state = adam.Init(adam.Defaults, parameters)

                for t in 1 .. s.History.Length do
                    let options =
                        Options.set
                            [
                                "lr", Options.ofNumber lr
                                "betas", Options.ofPair (beta1, beta2)
                                "eps", Options.ofNumber (eps / sqrt (1.0 - Math.Pow(beta2, float t)))
                                "maximize", Options.ofFlag (Options.flag rule "maximize" s.Options)
                            ]
                            adam
                            adam.Defaults

                    state <- adam.Step(options, parameters, Gradients.Of [ asDense s s.History[t - 1] ], state)

                let expected = Snapshot.read s.DType parameters state
                let actual = run subject s asSparse
                let steps = float s.History.Length

                Seq.zip expected.Theta[0] actual.Theta[0]
                |> Seq.map (fun (a, b) ->
                    let slack =
                        Tolerances.allowed "A14"
                        * Number.u s.DType
                        * steps
                        * (lr * longest (struct (beta1, beta2)) s.History.Length + abs a)

                    let close =
                        Double.IsNaN a && Double.IsNaN b
                        || a = b
                        || not (Double.IsFinite slack)
                        || abs (a - b) <= slack

                    close |> Verdict.require (fun () -> sprintf "%g instead of %g" b a))
                |> Verdict.all
                |> Verdict.both (
                    Snapshot.compareState
                        Comparator.bit
                        expected
                        { actual with
                            State = actual.State @ (expected.State |> List.skip actual.State.Length)
                        }
                )
                |> Verdict.tellingIf (touches s))

    /// The laws of this family.
    let all = [ untouched; zerosWrittenOut; coalesced; pureSteps; likeAdam ]
