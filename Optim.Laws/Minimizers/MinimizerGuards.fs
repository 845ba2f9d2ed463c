namespace Optim.Laws

open System
open Optim.Core
open Optim.Kernels
open Descents

/// What LBFGS does when an objective throws, and when a loss is not finite.
[<RequireQualifiedAccess>]
module MinimizerGuards =
    exception private Stumbled

    /// G: an objective that throws, whenever it does.
    let throws =
        law
            "E6"
            "when the objective throws, whichever call of a step it is, parameters and state are as before the step, and it can be taken again"
            false
            (descents true both (1, 8) usual)
            (fun m d ->
                let straight = parameters d
                let looks = ResizeArray<Look>()

                let before =
                    run m d 1.0 d.Options straight (m.Init d.Options straight) (d.Steps - 1) ignore

                let at, saved = straight.Copy(), (m.Save before).Copy()
                let struct (_, after) = m.Step d.Options straight (asked d 1.0 looks.Add) before

                seq { 1 .. looks.Count }
                |> Seq.map (fun call ->
                    let parameters = at.Copy()
                    let state = m.Load parameters saved
                    let mutable calls = 0

                    let stumbles parameters =
                        calls <- calls + 1

                        if calls = call then
                            raise Stumbled

                        asked d 1.0 ignore parameters

                    let stumbled =
                        try
                            m.Step d.Options parameters stumbles state |> ignore
                            false
                        with Stumbled ->
                            true

                    let untouched =
                        if state.IsSpent then
                            Verdict.Broken "the state is spent"
                        else
                            Verdict.all
                                [
                                    Verdict.require (fun () -> "the exception was swallowed") stumbled
                                    bits (where at) (where parameters)
                                    sameTree saved (m.Save state)
                                ]

                    match untouched with
                    | Verdict.Broken _ -> untouched
                    | held ->
                        let struct (_, again) = m.Step d.Options parameters (asked d 1.0 ignore) state

                        Verdict.all
                            [
                                held
                                bits (where straight) (where parameters)
                                sameTree (m.Save after) (m.Save again)
                            ]
                    |> Verdict.where (sprintf "call %d throws" call))
                |> Verdict.all)

    /// G4: a point that is not finite.
    let finite =
        law
            "G4"
            "where the loss is not finite beyond a wall, the parameters stay inside, and a line search goes on"
            false
            (descents true [ DType.Float64 ] (1, 6) [ yield! usual; { searching with Lr = 1e6 }; { LBFGS.defaults with Lr = 1e6 } ])
            (fun m d ->
                let wall = 1.0 + 2.0 * norm d.Start
                let inside x = norm x <= wall
                let looks = ResizeArray<float[]>()
                let mutable beyond = false

                let ask (parameters: Parameters) =
                    let x = where parameters
                    looks.Add x

                    if inside x then
                        asked d 1.0 ignore parameters
                    else
                        beyond <- true
                        let struct (_, gradients) = asked d 1.0 ignore parameters
                        struct (nan, gradients)

                let parameters = parameters d
                let mutable state = m.Init d.Options parameters
                let mutable stays = Verdict.Trivial

                for _ in 1 .. d.Steps do
                    looks.Clear()
                    let struct (_, next) = m.Step d.Options parameters ask state
                    state <- next
                    let x = where parameters

                    // Without a line search nobody looks at the last move of a step; the next step begins there, and moves nothing.
                    let unseen =
                        d.Options.LineSearchFn = LineSearch.None
                        && not (looks |> Seq.skip 1 |> Seq.contains x)

                    stays <-
                        (inside x || unseen)
                        |> Verdict.require (fun () -> sprintf "the parameters are %A, beyond the wall at %g" x wall)
                        |> Verdict.both stays

                let x = where parameters
                let struct (before, _) = d.At d.Start
                let struct (after, _) = d.At x

                Verdict.both
                    stays
                    ((d.Options.LineSearchFn = LineSearch.None || after <= before)
                     |> Verdict.require (fun () -> sprintf "the loss went up from %g to %g" before after))
                |> Verdict.tellingIf (beyond || d.Options.Lr <= 1.0))
