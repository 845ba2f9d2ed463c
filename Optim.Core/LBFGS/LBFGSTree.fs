namespace Optim.Core

open System
open System.Collections.Generic
open System.Collections.Immutable
open Optim.Kernels

/// The state of LBFGS as PyTorch's state dicts have it, on the entry of the first parameter.
module internal LBFGSTree =
    /// The keys, in PyTorch's order.
    let keys =
        [
            "func_evals"
            "n_iter"
            "al"
            "d"
            "t"
            "old_dirs"
            "old_stps"
            "ro"
            "H_diag"
            "prev_flat_grad"
            "prev_loss"
        ]

    /// The entries; none before the first step, and only the counters before the first iteration.
    let write (memory: LBFGSMemory) (dtype: DType) : KeyValuePair<string, Tree> list =
        let number (value: float) =
            if dtype = DType.Float32 then
                Tree.Tensor(TensorView.Of([| float32 value |], [||]))
            else
                Tree.Tensor(TensorView.Of([| value |], [||]))

        let vector (vector: TensorView) = Tree.Tensor(vector.ToHost())

        let vectors select =
            Tree.ListOf(memory.Pairs |> Seq.map (select >> vector))

        [
            if memory.FuncEvals > 0L then
                "func_evals", Tree.Int memory.FuncEvals
                "n_iter", Tree.Int memory.NIter

            if memory.HasIterated then
                if not memory.Al.IsDefault then
                    "al",
                    Tree.ListOf(
                        memory.Al
                        |> Seq.map (fun al -> if Double.IsNaN al then Tree.None else number al)
                    )

                "d", vector memory.D
                "t", Tree.Float memory.T
                "old_dirs", vectors _.Y
                "old_stps", vectors _.S
                "ro", Tree.ListOf(memory.Pairs |> Seq.map (_.Rho >> number))
                // PyTorch begins with the whole number.
                "H_diag",
                (if memory.Pairs.IsEmpty then
                     Tree.Int 1L
                 else
                     number memory.HDiag)

                "prev_flat_grad", vector memory.PrevFlatGrad
                "prev_loss", Tree.Float memory.PrevLoss
        ]
        |> List.map (fun (key, value) -> KeyValuePair(key, value))

    let private wrong key what (value: Tree) : exn =
        ArgumentException $"LBFGS: '{key}' of the loaded state is {value.Described}; it must be {what}"

    let private read key what (convert: Tree -> 'a) (value: Tree) : 'a =
        try
            convert value
        with :? InvalidCastException ->
            raise (wrong key what value)

    let private count key value =
        Counting.ofTree $"LBFGS: '{key}' of the loaded state" value

    let private number key value =
        read key "a number" (fun tree -> (Tree.op_Explicit tree: float)) value

    let private list key value =
        read key "a list" (fun (tree: Tree) -> tree.AsItems()) value

    /// The memory that the entries tell of, copied into vectors of a layout; `place` puts the elements of a saved vector, which may be
    /// in another order, into one of these.
    let restore (flat: FlatParameters) (place: TensorView -> TensorView -> unit) (entries: IReadOnlyDictionary<string, Tree>) =
        let vector key (value: Tree) =
            let saved = read key "a tensor" (fun tree -> tree.AsTensor()) value

            if
                saved.DType.IsComplex()
                || not (saved.DType.IsFloatingPoint())
                || saved.Count <> flat.Layout.Count
            then
                raise (wrong key $"{flat.Layout}, as the parameters are in all" value)

            let vector = flat.Take()
            place saved vector
            vector

        let entry key =
            match entries.TryGetValue key with
            | true, value -> value
            | _ -> raise (ArgumentException $"LBFGS: the loaded state has no '{key}'")

        let has key =
            match entries.TryGetValue key with
            | true, value -> not value.IsNone
            | _ -> false

        let counters =
            { LBFGSMemory.Empty with
                FuncEvals = count "func_evals" (entry "func_evals")
                NIter = count "n_iter" (entry "n_iter")
            }

        if not (has "d") then
            counters
        else
            let ys, ss, rhos =
                list "old_dirs" (entry "old_dirs"), list "old_stps" (entry "old_stps"), list "ro" (entry "ro")

            if ys.Length <> ss.Length || ys.Length <> rhos.Length then
                raise (
                    ArgumentException
                        $"LBFGS: the loaded state has {ys.Length} old_dirs, {ss.Length} old_stps and {rhos.Length} ro; the numbers must agree"
                )

            { counters with
                D = vector "d" (entry "d")
                T = number "t" (entry "t")
                Pairs =
                    Seq.zip3 ys ss rhos
                    |> Seq.map (fun (y, s, rho) ->
                        {
                            Y = vector "old_dirs" y
                            S = vector "old_stps" s
                            Rho = flat.Rounded(number "ro" rho)
                        })
                    |> ImmutableArray.CreateRange
                HDiag = flat.Rounded(number "H_diag" (entry "H_diag"))
                Al =
                    if has "al" then
                        list "al" entries["al"]
                        |> Seq.map (fun al -> if al.IsNone then nan else flat.Rounded(number "al" al))
                        |> ImmutableArray.CreateRange
                    else
                        ImmutableArray()
                PrevFlatGrad = vector "prev_flat_grad" (entry "prev_flat_grad")
                PrevLoss = number "prev_loss" (entry "prev_loss")
            }
