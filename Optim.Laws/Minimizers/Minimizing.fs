namespace Optim.Laws

open System
open Optim.Core
open Optim.Kernels
open Descents

/// The laws of other families, for LBFGS: calls, maximize, saving, traversals, memory.
[<RequireQualifiedAccess>]
module Minimizing =
    /// W5: how often the objective is asked, and what is returned.
    let calls =
        law
            "W5"
            "the objective is asked as often as func_evals says, max_eval times at most and once more in a line search, and its first loss is returned"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable verdict = Verdict.Trivial

                for _ in 1 .. d.Steps do
                    let looks = ResizeArray<Look>()
                    let x = where parameters
                    let before = state.FuncEvals
                    let iterations = state.NIter
                    let struct (loss, next) = m.Step d.Options parameters (asked d 1.0 looks.Add) state
                    state <- next

                    let most =
                        d.Options.MostEvals
                        + (if d.Options.LineSearchFn = LineSearch.None then 0 else 1)

                    verdict <-
                        Verdict.all
                            [
                                verdict
                                int64 looks.Count = state.FuncEvals - before
                                |> Verdict.require (fun () ->
                                    sprintf "%d calls, func_evals grew by %d" looks.Count (state.FuncEvals - before))
                                looks.Count <= most
                                |> Verdict.require (fun () -> sprintf "%d calls, max_eval is %d" looks.Count d.Options.MostEvals)
                                state.NIter - iterations <= int64 d.Options.MaxIter
                                |> Verdict.require (fun () -> "more iterations than max_iter")
                                bits x looks[0].X |> Verdict.where "where it was asked first"
                                bits [| looks[0].Loss |] [| loss |] |> Verdict.where "loss"
                            ]

                verdict)

    /// E5: maximizing is minimizing the negative.
    let maximize =
        law "E5" "maximizing -f is minimizing f, bit for bit" false (descents true both (1, 8) usual) (fun m d ->
            let down, up = parameters d, parameters d
            let upwards = { d.Options with Maximize = true }
            let a = begun m d down d.Steps
            let b = run m d -1.0 upwards up (m.Init upwards up) d.Steps ignore
            Verdict.both (bits (where down) (where up)) (sameTree (m.Save a) (m.Save b)))

    /// S2: going on from what was saved, at every step.
    let resume =
        law
            "S2"
            "going on from the saved state at any step is the run without a break, bit for bit"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let straight = parameters d
                let ends = begun m d straight d.Steps

                seq { 0 .. d.Steps - 1 }
                |> Seq.map (fun broken ->
                    let parameters = parameters d

                    let saved = begun m d parameters broken

                    let saved = (m.Save saved).Copy()
                    let fresh = parameters.Copy()

                    let state = goOn m d fresh (m.Load fresh saved) (d.Steps - broken)

                    Verdict.both (bits (where straight) (where fresh)) (sameTree (m.Save ends) (m.Save state))
                    |> Verdict.where (sprintf "broken after step %d" broken))
                |> Verdict.all)

    /// F2: the step in place and the one that touches nothing.
    let pure' =
        law
            "F2"
            "the pure step is the step in place, and leaves parameters and state as they were"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable verdict = Verdict.Trivial

                for _ in 1 .. d.Steps do
                    let at, saved = where parameters, (m.Save state).Copy()

                    let struct (moved, next, loss) =
                        m.PureStep d.Options parameters (asked d 1.0 ignore) state

                    let untouched =
                        if state.IsSpent then
                            Verdict.Broken "the state is spent"
                        else
                            Verdict.both (bits at (where parameters)) (sameTree saved (m.Save state))
                            |> Verdict.where "what was given has changed"

                    if not (verdict.IsBroken || untouched.IsBroken) then
                        let struct (lossInPlace, after) =
                            m.Step d.Options parameters (asked d 1.0 ignore) state

                        state <- after

                        verdict <-
                            Verdict.all
                                [
                                    bits [| lossInPlace |] [| loss |]
                                    bits (where parameters) (where moved)
                                    sameTree (m.Save after) (m.Save next)
                                ]

                    verdict <- Verdict.both untouched verdict

                verdict)

    /// E7: a copy shares no memory with what it was copied from.
    let copies =
        law
            "E7"
            "a copy of a state stays as it is while the state is stepped, and goes on as the state did"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let parameters = parameters d

                let before = begun m d parameters d.Steps

                let others, copy = parameters.Copy(), m.Copy before
                let saved = (m.Save copy).Copy()
                // More than one step: vectors that one lets go are written by the next.
                let after = goOn m d parameters before 3
                let still = sameTree saved (m.Save copy) |> Verdict.where "the copy"
                let again = goOn m d others copy 3

                Verdict.all
                    [
                        still
                        bits (where parameters) (where others)
                        sameTree (m.Save after) (m.Save again)
                    ])

    /// F6: width and threads.
    let traversals =
        law "F6" "neither width nor threads change a bit" true (descents true both (2, 8) usual) (fun m d ->
            let long = 20_000

            let ask (parameters: Parameters) =
                let x = parameters[0].ToDoubles()

                struct (x |> Array.sumBy (fun x -> log (cosh x)),
                        Gradients.OfDense
                            [
                                Tensor.ofFloats d.DType (x |> Array.mapi (fun i x -> tanh x * (1.0 + float (i % 7))))
                            ])

            let once width threads =
                Setting.withWidth width (fun () ->
                    Setting.withThreads threads (fun () ->
                        let parameters =
                            Parameters.Of
                                [
                                    Tensor.ofFloats d.DType (Array.init long (fun i -> d.Start[i % d.Start.Length] + 1e-4 * float i))
                                ]

                        let mutable state = m.Init d.Options parameters

                        for _ in 1..3 do
                            let struct (_, next) = m.Step d.Options parameters ask state
                            state <- next

                        where parameters, (m.Save state).Copy()))

            let expected, state = once Width.Single 1

            [ Width.Bits128, 2; Width.Bits256, 3; Width.Bits512, 1; Width.Bits256, 8 ]
            |> Seq.map (fun (width, threads) ->
                let actual, other = once width threads

                Verdict.both (bits expected actual) (sameTree state other)
                |> Verdict.where (sprintf "%O, %d threads" width threads))
            |> Verdict.all)

    /// E2: how the vector is cut into parameters.
    let splitting =
        law "E2" "cutting the parameters in another way changes no bit" false (descents true both (2, 9) usual) (fun m d ->
            let cut = parameters d
            let whole = Parameters.Of [ Tensor.ofFloats d.DType d.Start ]

            let ask (parameters: Parameters) =
                let struct (loss, gradient) = d.At(where parameters)
                struct (loss, Gradients.OfDense [ Tensor.ofFloats d.DType gradient ])

            begun m d cut d.Steps |> ignore
            let mutable state = m.Init d.Options whole

            for _ in 1 .. d.Steps do
                let struct (_, next) = m.Step d.Options whole ask state
                state <- next

            bits (where cut) (where whole))

    /// P: what is remembered is bounded.
    let bounded =
        law
            "P8"
            "no more than history_size pairs are remembered, also when that becomes less"
            false
            (descents true both (3, 8) usual)
            (fun m d ->
                let parameters = parameters d

                let state = begun m d parameters d.Steps

                let fewer = { d.Options with HistorySize = 2 }
                let most, iterations = state.OldDirs.Count, state.NIter
                let later = run m d 1.0 fewer parameters state 3 ignore

                Verdict.both
                    (most <= d.Options.HistorySize
                     |> Verdict.require (fun () -> sprintf "%d pairs, history_size is %d" most d.Options.HistorySize))
                    (later.OldDirs.Count <= max 2 (if later.NIter = iterations then most else 2)
                     |> Verdict.require (fun () -> sprintf "%d pairs, history_size is now 2" later.OldDirs.Count))
                |> Verdict.tellingIf (most > 2))

    /// All of them, and those of the curvature.
    let all =
        Curvature.all
        @ [
            calls
            maximize
            resume
            pure'
            copies
            MinimizerGuards.throws
            traversals
            splitting
            bounded
            MinimizerGuards.finite
        ]
