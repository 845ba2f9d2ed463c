/// LBFGS over plain arrays, written from Nocedal and Wright's Numerical Optimization with PyTorch's choices: the judge of ours.
module LBFGSReference

open System
open Optim
open Optim.Core
open Objectives

/// A point on the line from x along d: where, the value, the slope along d, the gradient.
type Point =
    {
        T: float
        F: float
        Slope: float
        G: float[]
    }

/// What is left of a run: iterations, evaluations, pairs (s, y) with the newest first, the scale of the inverse, the last direction,
/// its length and the gradient where it began.
type Memory =
    {
        N: int
        Evaluations: int
        Pairs: (float[] * float[]) list
        H: float
        LastD: float[]
        LastT: float
        LastG: float[]
    }

let fresh =
    {
        N = 0
        Evaluations = 0
        Pairs = []
        H = 1.0
        LastD = [||]
        LastT = 0.0
        LastG = [||]
    }

let private along (x: float[]) t (d: float[]) = Array.map2 (fun x d -> x + t * d) x d
let private scaled a (x: float[]) = Array.map (fun x -> a * x) x
let largest (x: float[]) = x |> Array.map abs |> Array.max

/// H q, where each pair makes H' = (1 - rho s y') H (1 - rho y s') + rho s s' of the H of the older ones (formula 7.16).
let rec private inverse h pairs q =
    match pairs with
    | [] -> scaled h q
    | (s, y) :: older ->
        let rho = 1.0 / dot y s
        let a = rho * dot s q
        let r = inverse h older (along q -a y)
        along r (a - rho * dot y r) s

/// The minimum of the cubic with these values and slopes (formula 3.59), within bounds.
let private cubic (a: Point) (b: Point) (least, most) =
    let a, b = if a.T <= b.T then a, b else b, a
    let d1 = a.Slope + b.Slope - 3.0 * (a.F - b.F) / (a.T - b.T)
    let square = d1 * d1 - a.Slope * b.Slope

    if square < 0.0 then
        (least + most) / 2.0
    else
        let d2 = sqrt square

        b.T - (b.T - a.T) * (b.Slope + d2 - d1) / (b.Slope - a.Slope + 2.0 * d2)
        |> max least
        |> min most

/// Algorithms 3.5 and 3.6: a point with f <= f0 + 1e-4 t f0' and |f'| <= 0.9 |f0'|, or the lowest that `most` more looks have found.
let private strongWolfe (look: float -> Point) (start: Point) first size most =
    let high (p: Point) =
        p.F > start.F + 1e-4 * p.T * start.Slope

    let level (p: Point) = abs p.Slope <= -0.9 * start.Slope

    let rec zoom (a: Point) (b: Point) wasNear looks =
        let low, other = if a.F <= b.F then a, b else b, a
        let left, right = min a.T b.T, max a.T b.T

        if looks >= most || (right - left) * size < 1e-9 then
            low
        else
            let t, margin = cubic a b (left, right), 0.1 * (right - left)
            let isNear = min (right - t) (t - left) < margin
            let forced = isNear && (wasNear || t >= right || t <= left)

            let t =
                if not forced then t
                elif right - t < t - left then right - margin
                else left + margin

            let p = look t
            let stillNear = isNear && not forced

            if high p || p.F >= low.F then
                // It takes the place of the higher end, in the order of the two.
                if a.F <= b.F then
                    zoom a p stillNear (looks + 1)
                else
                    zoom p b stillNear (looks + 1)
            elif level p then
                p
            else
                let other = if p.Slope * (other.T - low.T) >= 0.0 then low else other

                if a.F <= b.F then
                    zoom p other stillNear (looks + 1)
                else
                    zoom other p stillNear (looks + 1)

    let rec bracket (before: Point) (p: Point) looks =
        if looks >= most then
            zoom start p false looks
        elif high p || (looks > 1 && p.F >= before.F) then
            zoom before p false looks
        elif level p then
            p
        elif p.Slope >= 0.0 then
            zoom before p false looks
        else
            bracket p (look (cubic before p (p.T + 0.01 * (p.T - before.T), 10.0 * p.T))) (looks + 1)

    bracket start (look first) 0

/// A step: where it ends, what it remembers, and the first value.
let step (o: LBFGSOptions) (f: Objective) x memory =
    let f = if o.Maximize then negated f else f
    let mutable evaluations = 0

    let ask x =
        evaluations <- evaluations + 1
        f x

    let rec iterate iteration x value g memory =
        let n = memory.N + 1

        let pairs, h =
            if n = 1 then
                [], 1.0
            else
                let y, s = along g -1.0 memory.LastG, scaled memory.LastT memory.LastD

                if dot y s > 1e-10 then
                    (s, y) :: memory.Pairs |> List.truncate o.HistorySize, dot y s / dot y y
                else
                    memory.Pairs |> List.truncate o.HistorySize, memory.H

        let d = scaled -1.0 (inverse h pairs g)

        let t =
            if n = 1 then
                o.Lr * min 1.0 (1.0 / Array.sumBy abs g)
            else
                o.Lr

        let slope = dot g d

        let memory =
            { memory with
                N = n
                Pairs = pairs
                H = h
                LastD = d
                LastT = t
                LastG = g
            }

        if slope > -o.ToleranceChange then
            x, memory
        else
            let isLast = iteration = o.MaxIter

            let t, next =
                if o.LineSearchFn = LineSearch.StrongWolfe then
                    let look t =
                        let value, g = ask (along x t d)

                        {
                            T = t
                            F = value
                            Slope = dot g d
                            G = g
                        }

                    let start =
                        {
                            T = 0.0
                            F = value
                            Slope = slope
                            G = g
                        }

                    let best = strongWolfe look start t (largest d) (o.MostEvals - evaluations)
                    best.T, Some(best.F, best.G)
                elif isLast then
                    t, None
                else
                    t, Some(ask (along x t d))

            let x, memory = along x t d, { memory with LastT = t }

            match next with
            | Some(after, g) when
                not isLast
                && evaluations < o.MostEvals
                && largest g > o.ToleranceGrad
                && t * largest d > o.ToleranceChange
                && abs (after - value) >= o.ToleranceChange
                ->
                iterate (iteration + 1) x after g memory
            | _ -> x, memory

    let value, g = ask x

    let x, memory =
        if largest g <= o.ToleranceGrad then
            x, memory
        else
            iterate 1 x value g memory

    let memory =
        { memory with
            Evaluations = memory.Evaluations + evaluations
        }

    x, memory, (if o.Maximize then -value else value)
