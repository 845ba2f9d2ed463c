namespace Optim.Core

open System
open System.Collections.Immutable
open Optim.Kernels

/// One step of LBFGS: as PyTorch's. No vector of the memory that it begins with is written.
[<Sealed>]
type internal LBFGSStep(o: LBFGSOptions, flat: FlatParameters, evaluate: TensorView -> float, before: LBFGSMemory) =
    /// Pairs with less curvature than this are not kept.
    let least = 1e-10
    let sign = if o.Maximize then -1.0 else 1.0
    let mutable memory = before
    let mutable evaluations = 0
    let mutable moved = false
    /// The parameters before the step, and before the iteration.
    let mutable start = TensorView()
    let mutable x = TensorView()
    let mutable gradient = TensorView()
    let mutable loss = nan

    /// The loss as the user says it; the gradient, turned round when the loss is to be made large, goes to a new vector.
    let look () =
        let target = flat.Take()
        let loss = evaluate target
        evaluations <- evaluations + 1
        struct (loss, target)

    let move t =
        moved <- true

        if t = 0.0 then
            flat.Restore x
        else
            flat.Move(t, memory.D, x)

    /// Drops the oldest pairs.
    let forget count =
        for pair in Seq.take count memory.Pairs do
            flat.Release pair.S
            flat.Release pair.Y

        memory <-
            { memory with
                Pairs = memory.Pairs.RemoveRange(0, count)
            }

    /// The curvature along the last move, if there is enough of it.
    let remember () =
        let y, s = flat.Take(), flat.Take()
        flat.Subtract(y, gradient, memory.PrevFlatGrad)
        flat.Scale(s, memory.T, memory.D)
        let curvature = flat.Rounded(flat.Dot(y, s))

        let isKept = curvature > least
        let tooMany = memory.Pairs.Length + (if isKept then 1 else 0) - o.HistorySize
        forget (max 0 tooMany)

        if isKept then
            let pair =
                {
                    S = s
                    Y = y
                    Rho = flat.Rounded(1.0 / curvature)
                }

            memory <-
                { memory with
                    Pairs = memory.Pairs.Add pair
                    HDiag = flat.Rounded(curvature / flat.Dot(y, y))
                }
        else
            flat.Release y
            flat.Release s

    /// d = -H g by the two loops over the pairs (Nocedal and Wright, algorithm 7.4).
    let direction (d: TensorView) =
        let pairs = memory.Pairs

        let al =
            Array.create
                (max
                    pairs.Length
                    (if memory.Al.IsDefault then
                         o.HistorySize
                     else
                         memory.Al.Length))
                nan

        if not memory.Al.IsDefault then
            memory.Al.CopyTo al

        flat.Scale(d, -1.0, gradient)

        for i in pairs.Length - 1 .. -1 .. 0 do
            al[i] <- flat.Dot(pairs[i].S, d) * pairs[i].Rho
            flat.Add(d, -al[i], pairs[i].Y)

        flat.Scale(d, memory.HDiag, d)

        for i in 0 .. pairs.Length - 1 do
            let be = flat.Dot(pairs[i].Y, d) * pairs[i].Rho
            flat.Add(d, al[i] - be, pairs[i].S)

        memory <-
            { memory with
                Al = al |> Seq.map flat.Rounded |> ImmutableArray.CreateRange
            }

    /// An iteration up to its move: direction, its slope, and the length to begin with.
    let prepare () =
        memory <-
            { memory with
                NIter = Counting.add memory.NIter 1L
            }

        let d = flat.Take()

        if memory.NIter = 1L || not memory.HasIterated then
            flat.Scale(d, -1.0, gradient)

            memory <-
                { memory with
                    Pairs = ImmutableArray.Empty
                    HDiag = 1.0
                }
        else
            remember ()
            direction d
            flat.Release memory.D

            if memory.PrevFlatGrad.Address <> gradient.Address then
                flat.Release memory.PrevFlatGrad

        let t =
            if memory.NIter = 1L then
                min 1.0 (1.0 / flat.SumOfMagnitudes gradient) * o.Lr
            else
                o.Lr

        memory <-
            { memory with
                D = d
                T = t
                PrevFlatGrad = gradient
                PrevLoss = loss
            }

        flat.Dot(gradient, d)

    let searchLine slope largest =
        let first =
            {
                T = 0.0
                Loss = loss
                Slope = slope
                Gradient = gradient
            }

        let mutable last = nan

        let lookAt t =
            move t
            last <- t
            let struct (loss, gradient) = look ()
            Trial.At(t, sign * loss, flat.Dot(gradient, memory.D), gradient)

        let best =
            StrongWolfe.search lookAt (fun trial -> flat.Release trial.Gradient) first memory.T largest (o.MostEvals - evaluations)

        if best.T <> last then
            move best.T

        memory <- { memory with T = best.T }
        loss <- best.Loss
        gradient <- best.Gradient

    /// Moves by lr. Where the next loss or gradient is not finite the move is taken back, and there is no further iteration.
    let moveOnly isLast =
        move memory.T

        if not isLast then
            let struct (next, nextGradient) = look ()

            if Double.IsFinite next && Double.IsFinite(flat.Largest nextGradient) then
                loss <- sign * next
                gradient <- nextGradient
            else
                flat.Release nextGradient
                move 0.0
                memory <- { memory with T = 0.0 }

    let iterate () =
        let mutable iteration = 0
        let mutable goesOn = true

        while goesOn do
            iteration <- iteration + 1
            let slope = prepare ()
            // Not finite: a direction that overflowed.
            goesOn <- slope <= -o.ToleranceChange && Double.IsFinite slope

            if goesOn then
                x <-
                    if start.IsAbsent then flat.Take()
                    elif x.Address = start.Address then flat.Take()
                    else x

                flat.Read x

                if start.IsAbsent then
                    start <- x

                let isLast = iteration = o.MaxIter
                let largest = flat.Largest memory.D

                match o.LineSearchFn with
                | LineSearch.StrongWolfe when memory.T <> 0.0 -> searchLine slope largest
                | _ -> moveOnly isLast

                goesOn <-
                    not isLast
                    && evaluations < o.MostEvals
                    && not (flat.Largest gradient <= o.ToleranceGrad)
                    && not (largest * abs memory.T <= o.ToleranceChange)
                    && not (abs (loss - memory.PrevLoss) < o.ToleranceChange)

    /// Whether a parameter was written.
    member _.Moved = moved

    /// The first loss and the memory afterwards. When the objective throws, the parameters are as before.
    member _.Run() =
        try
            let struct (first, at) = look ()
            gradient <- at
            loss <- sign * first
            let largest = flat.Largest gradient

            if
                Double.IsFinite loss
                && Double.IsFinite largest
                && not (largest <= o.ToleranceGrad)
            then
                iterate ()

            let after =
                { memory with
                    FuncEvals = Counting.add before.FuncEvals (int64 evaluations)
                }

            flat.Settle(before.Vectors, after.Vectors)
            struct (first, after)
        with _ ->
            if not start.IsAbsent then
                flat.Restore start

            flat.Settle(Seq.empty, Seq.empty)
            reraise ()
