namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// A move that was made, s, and how the gradient changed with it, y; Rho is 1 / (y s).
[<Struct; NoEquality; NoComparison>]
type internal CurvaturePair =
    {
        S: TensorView
        Y: TensorView
        Rho: float
    }

/// What LBFGS remembers. Numbers that PyTorch keeps in tensors are rounded to the dtype of the vectors.
[<NoEquality; NoComparison>]
type internal LBFGSMemory =
    {
        FuncEvals: int64
        NIter: int64
        /// The last direction; absent before the first iteration, and everything below is then meaningless.
        D: TensorView
        T: float
        Pairs: ImmutableArray<CurvaturePair>
        HDiag: float
        /// The weights of the pairs in the last direction, NaN for pairs that there were not yet; default before the second iteration.
        Al: ImmutableArray<float>
        PrevFlatGrad: TensorView
        PrevLoss: float
    }

    static member Empty =
        {
            FuncEvals = 0L
            NIter = 0L
            D = TensorView()
            T = 0.0
            Pairs = ImmutableArray.Empty
            HDiag = 1.0
            Al = ImmutableArray()
            PrevFlatGrad = TensorView()
            PrevLoss = 0.0
        }

    member memory.HasIterated = not memory.D.IsAbsent

    /// All vectors.
    member memory.Vectors =
        seq {
            if memory.HasIterated then
                memory.D
                memory.PrevFlatGrad

            for pair in memory.Pairs do
                pair.S
                pair.Y
        }

    /// The same with every vector replaced.
    member memory.MapVectors(change: TensorView -> TensorView) =
        let change vector =
            if (vector: TensorView).IsAbsent then
                vector
            else
                change vector

        { memory with
            D = change memory.D
            PrevFlatGrad = change memory.PrevFlatGrad
            Pairs =
                memory.Pairs
                |> Seq.map (fun pair ->
                    { pair with
                        S = change pair.S
                        Y = change pair.Y
                    })
                |> ImmutableArray.CreateRange
        }

/// What successive LBFGS states share: the stamp that tells the live one, and its vectors.
[<Sealed>]
type internal LBFGSLineage(flat: FlatParameters) =
    member val Stamp = 0L with get, set
    member val Flat = flat with get, set
    /// Whether what a step writes is memory of its own.
    member val Watch = MemoryWatch()
    /// Whether a step is under way, so that its objective cannot begin another one.
    member val IsStepping = false with get, set

/// The state of LBFGS: counters, the last direction, and at most history_size pairs of moves and changes of the gradient, all over the
/// flat vector of the parameters. The record is immutable; a step spends it, and uses the memory of vectors that are no longer kept again:
/// reading a spent one is a SpentStateException, as using it is. Names are PyTorch's. Compared by content.
[<Sealed>]
type LBFGSState internal (memory: LBFGSMemory, lineage: LBFGSLineage) =
    let stamp = lineage.Stamp

    let live () =
        if stamp <> lineage.Stamp then
            raise (Spent.error "LBFGS" "LBFGS.copy")

        memory

    /// Evaluations of the objective so far.
    member _.FuncEvals = (live ()).FuncEvals
    /// Iterations so far.
    member _.NIter = (live ()).NIter
    /// The direction of the last iteration; absent before the first.
    member _.D = (live ()).D
    /// How far the last iteration went along it.
    member _.T = (live ()).T

    /// Changes of the gradient, oldest first.
    member _.OldDirs: IReadOnlyList<TensorView> =
        (live ()).Pairs |> Seq.map _.Y |> Seq.toArray :> _

    /// Moves, oldest first.
    member _.OldStps: IReadOnlyList<TensorView> =
        (live ()).Pairs |> Seq.map _.S |> Seq.toArray :> _

    /// 1 / (y s) of each pair.
    member _.Ro: IReadOnlyList<float> =
        (live ()).Pairs |> Seq.map _.Rho |> Seq.toArray :> _

    /// The scale of the inverse Hessian before the pairs: (y s) / (y y) of the last one.
    member _.HDiag = (live ()).HDiag
    /// The gradient where the last iteration began, with the other sign under maximize; absent before the first.
    member _.PrevFlatGrad = (live ()).PrevFlatGrad
    /// The loss there, likewise.
    member _.PrevLoss = (live ()).PrevLoss
    /// Who ran the step that it came from.
    member _.Executor = lineage.Flat.Executor
    /// How many threads took part in it.
    member _.Threads = lineage.Flat.Threads
    /// Whether a step has consumed it.
    member _.IsSpent = stamp <> lineage.Stamp
    member internal _.Memory = memory
    member internal _.Lineage = lineage
    member internal _.Live() = live () |> ignore

    /// The counts, and dtypes, shapes and first numbers of the vectors.
    override state.ToString() =
        if state.IsSpent then
            "state of LBFGS, which a later step has consumed"
        else
            String.Join(
                "\n  ",
                [
                    $"state of LBFGS after {memory.FuncEvals} evaluations in {memory.NIter} iterations, {memory.Pairs.Length} pairs"

                    if memory.HasIterated then
                        $"d: {memory.D}"
                        $"t: {OptionValue.Float memory.T}"
                        $"H_diag: {OptionValue.Float memory.HDiag}"
                        $"prev_flat_grad: {memory.PrevFlatGrad}"
                        $"prev_loss: {OptionValue.Float memory.PrevLoss}"
                ]
            )

    /// Whether both hold the same, bit for bit. A SpentStateException when one of them is spent.
    override _.Equals other =
        match other with
        | :? LBFGSState as other ->
            let a, b =
                live (),
                (other.Live()
                 other.Memory)

            let same (x: float) (y: float) = x.Equals y

            a.FuncEvals = b.FuncEvals
            && a.NIter = b.NIter
            && a.Pairs.Length = b.Pairs.Length
            && a.HasIterated = b.HasIterated
            && a.Al.IsDefault = b.Al.IsDefault
            && (a.Al.IsDefault || a.Al.Length = b.Al.Length && Seq.forall2 same a.Al b.Al)
            && same a.T b.T
            && same a.HDiag b.HDiag
            && same a.PrevLoss b.PrevLoss
            && Seq.forall2 (fun (x: CurvaturePair) (y: CurvaturePair) -> same x.Rho y.Rho) a.Pairs b.Pairs
            && Seq.forall2 (fun (x: TensorView) (y: TensorView) -> x.ContentEquals y) a.Vectors b.Vectors
        | _ -> false

    override _.GetHashCode() =
        HashCode.Combine(memory.FuncEvals, memory.NIter)
