namespace Optim.Laws

open System
open Optim.Core
open Optim.Kernels
open Descents

/// C4 to C8: what LBFGS knows of the curvature, and how it moves.
[<RequireQualifiedAccess>]
module Curvature =
    /// C4: it minimizes.
    let tenth =
        let steps = 12

        law
            "C4"
            (sprintf "a convex quadratic is at a tenth of where it began within %d iterations, with a line search and without" steps)
            false
            (descents false both (2, 12) [ stepwise LBFGS.defaults; stepwise searching ])
            (fun m d ->
                // The lowest point is 0, and so is its value.
                let d =
                    { d with
                        B = Array.map (fun _ -> 0.0) d.B
                    }

                let parameters = parameters d

                let value () =
                    let struct (value, _) = d.At(where parameters)
                    value

                let first = value ()
                let mutable state = m.Init d.Options parameters
                let mutable lowest = first

                for _ in 1..steps do
                    if lowest > 0.1 * first then
                        let struct (_, next) = m.Step d.Options parameters (asked d 1.0 ignore) state
                        state <- next
                        lowest <- min lowest (value ())

                lowest <= 0.1 * first
                |> Verdict.require (fun () -> sprintf "from %g to %g only" first lowest))

    /// C5: with exact line searches a quadratic of n variables is at its minimum after n iterations.
    let exact =
        law
            "C5"
            "with exact line searches the gradient of a quadratic vanishes after as many iterations as there are variables"
            false
            (descents false [ DType.Float64 ] (2, 12) [ stepwise LBFGS.defaults ])
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let struct (_, first) = d.At d.Start
                let mutable gradient = first

                for _ in 1 .. d.Start.Length do
                    if norm gradient > 1e-13 * norm first then
                        // The direction does not depend on the length of the move, and the first length is not lr.
                        let copy = parameters.Copy()

                        let struct (_, probe) =
                            m.Step d.Options copy (asked d 1.0 ignore) (m.Load copy (m.Save state))

                        let direction = probe.D.ToDoubles()

                        let struct (_, along) =
                            { d with
                                B = Array.map (fun _ -> 0.0) d.B
                            }
                                .At
                                direction

                        let length = -(dot gradient direction) / dot direction along

                        let struct (_, next) =
                            m.Step { d.Options with Lr = length / probe.T } parameters (asked d 1.0 ignore) state

                        state <- next
                        let struct (_, now) = d.At(where parameters)
                        gradient <- now

                (norm gradient <= 1e-11 * norm first)
                |> Verdict.require (fun () -> sprintf "the gradient fell to %g of its length only" (norm gradient / norm first)))

    /// C6: each move of a line search satisfies both conditions, and a few are enough.
    let wolfe =
        law
            "C6"
            "each move of the line search satisfies the strong Wolfe conditions, and 4 n + 10 of them take the gradient down by 1e5"
            false
            (descents true [ DType.Float64 ] (2, 10) [ stepwise searching ])
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let struct (_, first) = d.At d.Start
                let mutable verdict = Verdict.Trivial
                let mutable falls = norm first

                for iteration in 1 .. 4 * d.Start.Length + 10 do
                    let x = where parameters
                    let struct (before, gradient) = d.At x

                    if not verdict.IsBroken && norm gradient > 1e-5 * norm first then
                        let struct (_, next) = m.Step d.Options parameters (asked d 1.0 ignore) state
                        state <- next
                        let struct (after, now) = d.At(where parameters)
                        let direction = state.D.ToDoubles()
                        let slope, slopeNow = dot gradient direction, dot now direction
                        let slack = 1e-12 * (1.0 + abs before)

                        verdict <-
                            Verdict.both
                                (after <= before + 1e-4 * state.T * slope + slack
                                 |> Verdict.require (fun () ->
                                     sprintf "iteration %d: %g is not far enough below %g" iteration after before))
                                (abs slopeNow <= -0.9 * slope + slack
                                 |> Verdict.require (fun () ->
                                     sprintf "iteration %d: the slope goes from %g to %g only" iteration slope slopeNow))

                        falls <- norm now

                Verdict.both
                    verdict
                    (falls <= 1e-5 * norm first
                     |> Verdict.require (fun () -> sprintf "the gradient fell to %g of its length only" (falls / norm first))))

    /// C7: the direction is that of the dense inverse of BFGS.
    let dense =
        law
            "C7"
            "pairs have curvature, and the direction is the dense BFGS inverse of the last pairs times the gradient"
            false
            (descents
                true
                [ DType.Float64 ]
                (2, 8)
                [
                    stepwise searching
                    stepwise
                        { searching with
                            HistorySize = 2
                            Lr = 0.5
                        }
                    stepwise { LBFGS.defaults with Lr = 0.01 }
                ])
            (fun m d ->
                let n = d.Start.Length
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable verdict = Verdict.Trivial
                let mutable pairs = []
                let mutable last = None

                for _ in 1..6 do
                    let struct (_, gradient) = d.At(where parameters)
                    let struct (_, next) = m.Step d.Options parameters (asked d 1.0 ignore) state
                    state <- next

                    match last with
                    | Some(move: float[], before: float[]) ->
                        let y = Array.map2 (-) gradient before

                        if dot y move > 1e-10 then
                            pairs <- List.truncate d.Options.HistorySize ((move, y) :: pairs)
                    | None -> ()

                    // H = (1 - rho s y') H (1 - rho y s') + rho s s', from the oldest pair on.
                    let identity scale =
                        Array.init n (fun i -> Array.init n (fun j -> if i = j then scale else 0.0))

                    let times (a: float[][]) (b: float[][]) =
                        let columns = Array.transpose b
                        a |> Array.map (fun row -> columns |> Array.map (dot row))

                    let scale =
                        match pairs with
                        | (s, y) :: _ -> dot s y / dot y y
                        | [] -> 1.0

                    let inverse =
                        (identity scale, List.rev pairs)
                        ||> List.fold (fun h (s, y) ->
                            let rho = 1.0 / dot s y

                            let left =
                                Array.init n (fun i -> Array.init n (fun j -> (if i = j then 1.0 else 0.0) - rho * s[i] * y[j]))

                            let turned = times (times left h) (Array.transpose left)
                            Array.init n (fun i -> Array.init n (fun j -> turned[i][j] + rho * s[i] * s[j])))

                    let expected = inverse |> Array.map (fun row -> -(dot row gradient))
                    let actual = state.D.ToDoubles()
                    let off = norm (Array.map2 (-) expected actual)

                    let curved =
                        Seq.zip state.OldStps state.OldDirs
                        |> Seq.forall (fun (s, y) -> dot (s.ToDoubles()) (y.ToDoubles()) > 0.0)

                    if norm gradient > 1e-6 then
                        verdict <-
                            Verdict.all
                                [
                                    verdict
                                    Verdict.require (fun () -> "a pair without curvature is kept") curved
                                    off <= 1e-8 * norm expected
                                    |> Verdict.require (fun () -> sprintf "the direction is %A instead of %A" actual expected)
                                ]

                    last <- Some(actual |> Array.map (fun x -> state.T * x), gradient)

                verdict)

    /// C8: the first move.
    let first =
        law
            "C8"
            "without pairs the direction is the negative gradient, bit for bit, and the first move is min(1, 1 / sum |g|) lr of it"
            false
            (descents
                true
                both
                (2, 40)
                [
                    for lr in [ 0.001; 0.5; 1.0; 3.0 ] -> stepwise { LBFGS.defaults with Lr = lr }
                ])
            (fun m d ->
                let parameters = parameters d
                let start = where parameters
                let struct (_, gradient) = d.At start
                let gradient = gradient |> Array.map (Number.round d.DType)

                let struct (_, state) =
                    m.Step d.Options parameters (asked d 1.0 ignore) (m.Init d.Options parameters)

                let t = min 1.0 (1.0 / (gradient |> Array.sumBy abs)) * d.Options.Lr

                Verdict.all
                    [
                        bits (gradient |> Array.map (~-)) (state.D.ToDoubles())
                        |> Verdict.where "direction"
                        abs (state.T - t) <= 1e-12 * t
                        |> Verdict.require (fun () -> sprintf "t is %g instead of %g" state.T t)
                        bits
                            (Array.map2 (fun x g -> Number.fma d.DType (Number.round d.DType state.T) -g x) start gradient)
                            (where parameters)
                        |> Verdict.where "move"
                    ])

    /// All of them.
    let all = [ tenth; exact; wolfe; dense; first ]
