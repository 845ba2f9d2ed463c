namespace Optim.Core

open System
open Optim.Kernels

/// A point that a line search has looked at: how far along the direction it is, the loss there, the slope of the loss along the
/// direction, and the gradient.
[<Struct; NoEquality; NoComparison>]
type internal Trial =
    {
        T: float
        Loss: float
        Slope: float
        Gradient: TensorView
    }

    /// Where loss or gradient is not finite: larger than any loss, and no slope, so that a search turns back from it.
    static member At(t, loss: float, slope: float, gradient) =
        let isFinite = Double.IsFinite loss && Double.IsFinite slope

        {
            T = t
            Loss = if isFinite then loss else infinity
            Slope = if isFinite then slope else nan
            Gradient = gradient
        }

/// The line search of PyTorch's LBFGS for the strong Wolfe conditions f(t) <= f(0) + c1 t f'(0) and |f'(t)| <= -c2 f'(0): it looks
/// farther and farther out until an interval must hold such a point, and then narrows it by cubic interpolation
/// (Nocedal and Wright, Numerical Optimization, algorithms 3.5 and 3.6).
module internal StrongWolfe =
    [<Literal>]
    let C1 = 1e-4

    [<Literal>]
    let C2 = 0.9

    /// An interval in which no element moves by more than this is not narrowed further.
    [<Literal>]
    let private Narrow = 1e-9

    /// Where the cubic through both points, with both slopes, is least within bounds; their middle where it has no minimum, or where
    /// one of the points is not finite.
    let private cubic (a: Trial) (b: Trial) least most =
        let d1 = a.Slope + b.Slope - 3.0 * (a.Loss - b.Loss) / (a.T - b.T)
        let square = d1 * d1 - a.Slope * b.Slope

        if square >= 0.0 then
            let left, right = if a.T <= b.T then a, b else b, a
            let d2 = sqrt square

            let at =
                right.T
                - (right.T - left.T)
                  * ((right.Slope + d2 - d1) / (right.Slope - left.Slope + 2.0 * d2))

            if Double.IsFinite at then
                min (max at least) most
            else
                (least + most) / 2.0
        else
            (least + most) / 2.0

    /// Searches from `start` (t = 0) on, first at t. `largest` is the largest element of the direction; `most` is how often the loss
    /// may be looked at beyond the first time. Points that are not needed any more are handed to `discard`, never the start.
    /// Returns the best point.
    let search (look: float -> Trial) (discard: Trial -> unit) (start: Trial) t largest most =
        let drop (trial: Trial) =
            if trial.Gradient.Address <> start.Gradient.Address then
                discard trial

        let fallsShort (trial: Trial) =
            trial.Loss > start.Loss + C1 * trial.T * start.Slope

        let isFlat (trial: Trial) = abs trial.Slope <= -C2 * start.Slope
        let mutable previous = start
        let mutable current = look t
        let mutable iterations = 0
        let mutable isDone = false
        let mutable isBracketed = false

        while not isDone && not isBracketed && iterations < most do
            if fallsShort current || (iterations > 1 && current.Loss >= previous.Loss) then
                isBracketed <- true
            elif isFlat current then
                isDone <- true
            elif current.Slope >= 0.0 then
                isBracketed <- true
            else
                let farther =
                    cubic previous current (current.T + 0.01 * (current.T - previous.T)) (10.0 * current.T)

                drop previous
                previous <- current
                current <- look farther
                iterations <- iterations + 1

        if isDone then
            drop previous
            current
        else
            if not isBracketed then
                // The end of looking farther: what lies between is as good as unknown.
                drop previous
                previous <- start

            // Of equal losses the end that came first counts as lower, as in PyTorch.
            let mutable isLowFirst = previous.Loss <= current.Loss
            let mutable low = if isLowFirst then previous else current
            let mutable high = if isLowFirst then current else previous
            let mutable isStuck = false

            while not isDone && iterations < most && abs (high.T - low.T) * largest >= Narrow do
                let left, right = min low.T high.T, max low.T high.T
                let margin = 0.1 * (right - left)
                let mutable next = cubic low high left right

                // Too near to an end twice in a row, or outside: a tenth of the way in.
                if min (right - next) (next - left) < margin then
                    if isStuck || next >= right || next <= left then
                        next <-
                            if abs (next - right) < abs (next - left) then
                                right - margin
                            else
                                left + margin

                        isStuck <- false
                    else
                        isStuck <- true
                else
                    isStuck <- false

                let trial = look next
                iterations <- iterations + 1

                if fallsShort trial || trial.Loss >= low.Loss then
                    drop high
                    high <- trial
                    let wasLowFirst = isLowFirst

                    isLowFirst <-
                        if isLowFirst then
                            low.Loss <= high.Loss
                        else
                            high.Loss <= low.Loss

                    if wasLowFirst <> isLowFirst then
                        let other = high
                        high <- low
                        low <- other
                else
                    if isFlat trial then
                        isDone <- true
                        drop low
                    elif trial.Slope * (high.T - low.T) >= 0.0 then
                        drop high
                        high <- low
                    else
                        drop low

                    low <- trial

            drop high
            low
