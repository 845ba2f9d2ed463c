/// LBFGS as an optimizer class: closures, hooks, groups, state dicts, exceptions.
module LBFGSTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Kit

/// Rosenbrock's function over two parameters of one element, with the gradients where the closure must leave them.
let private closure (a: Param) (b: Param) =
    Func<float>(fun () ->
        let x = [| (values a)[0]; (values b)[0] |]
        let value, gradient = Objectives.rosenbrock x
        setGradient a (Some [| gradient[0] |])
        setGradient b (Some [| gradient[1] |])
        value)

let private start () = vector "a" [ -1.0 ], vector "b" [ 2.0 ]

let private make (a: Param) (b: Param) =
    new LBFGS(parameters [ a; b ], maxIter = 4, historySize = 3, lineSearchFn = "strong_wolfe")

let private place (a: Param) (b: Param) = Array.append (values a) (values b)

exception private Stumbled

[<Tests>]
let tests =
    testList
        "LBFGS shell"
        [
            testCase "a step without a closure is refused, and a pre hook may give one" (fun () ->
                let a, b = start ()
                let optimizer = make a b
                refuses<InvalidOperationException> "no closure" [ "closure" ] optimizer.Step
                expectSameBits (place a b) [| -1.0; 2.0 |] "parameters"
                use _ = optimizer.RegisterStepPreHook(fun call -> call.SetClosure(closure a b))
                optimizer.Step()
                Expect.notEqual (place a b) [| -1.0; 2.0 |] "moved")

            testCase "it returns the first loss and goes down" (fun () ->
                let a, b = start ()
                let optimizer = make a b
                let losses = [ for _ in 1..30 -> optimizer.Step(closure a b) ]
                Expect.equal losses[0] (fst (Objectives.rosenbrock [| -1.0; 2.0 |])) "first loss"
                Expect.isLessThan (List.last losses) 1e-10 "last loss")

            testCase "more than one group is refused, at once and later" (fun () ->
                let a, b = start ()

                refuses<ArgumentException> "two groups" [ "parameter groups" ] (fun () ->
                    new LBFGS(groups [ group [ a ] []; group [ b ] [] ]) |> ignore)

                let optimizer = new LBFGS(parameters [ a ])
                refuses<ArgumentException> "a later group" [ "parameter groups" ] (fun () -> optimizer.AddParamGroup(group [ b ] [])))

            testCase "options that are wrong are refused by name" (fun () ->
                let a, _ = start ()

                for option, value in
                    [
                        "lr", OptionValue.Float -1.0
                        "max_iter", OptionValue.Int 0L
                        "max_eval", OptionValue.Int 0L
                        "history_size", OptionValue.Float 2.5
                        "line_search_fn", OptionValue.Text "armijo"
                        "differentiable", OptionValue.Bool true
                    ] do
                    let optimizer = new LBFGS(parameters [ a ])
                    refuses<OptionException> option [ option ] (fun () -> optimizer.ParamGroups[0][option] <- value))

            testCase "max_eval follows max_iter at construction, as PyTorch's" (fun () ->
                let a, _ = start ()
                let optimizer = new LBFGS(parameters [ a ], maxIter = 4)
                Expect.equal (optimizer.ParamGroups[0]["max_eval"]) (OptionValue.Int 5L) "5 / 4 of max_iter"
                Expect.stringContains (string optimizer) "line_search_fn: None" "printed")

            testCase "its state dict has PyTorch's keys, only counters after an immediate exit, and goes on bit for bit" (fun () ->
                let a, b = start ()
                let optimizer = make a b
                Expect.isEmpty (optimizer.StateDict().State) "before the first step"
                optimizer.Step(closure a b) |> ignore
                optimizer.Step(closure a b) |> ignore
                let saved = optimizer.StateDict().Clone()
                Expect.equal (List.ofSeq saved.State.Keys) [ 0 ] "the first parameter's entry"
                let state = saved.State[0]

                Expect.equal
                    (List.ofSeq state.Keys)
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
                    "keys"

                // The other one has its parameters in another order: they are matched by name.
                let c, d = vector "a" [ (values a)[0] ], vector "b" [ (values b)[0] ]
                let other = new LBFGS(parameters [ d; c ])
                other.LoadStateDict saved |> ignore
                optimizer.Step(closure a b) |> ignore
                other.Step(closure c d) |> ignore
                Expect.isLessThan (Array.map2 (fun x y -> abs (x - y)) (place a b) (place c d) |> Array.max) 1e-12 "permuted"
                let e, f = vector "a" [ -1.0 ], vector "b" [ 2.0 ]
                let flat = new LBFGS(parameters [ e; f ], toleranceGrad = 1e9)
                flat.Step(closure e f) |> ignore
                Expect.equal (List.ofSeq (flat.StateDict().State[0].Keys)) [ "func_evals"; "n_iter" ] "after an immediate exit")

            testCase "a closure that throws leaves parameters and state as before" (fun () ->
                let a, b = start ()
                let optimizer = make a b
                optimizer.Step(closure a b) |> ignore
                let at, saved = place a b, optimizer.StateDict().ToTree().Copy()

                for call in 1..3 do
                    let real = closure a b
                    let mutable calls = 0

                    let stumbles () =
                        calls <- calls + 1

                        if calls = call then
                            raise Stumbled

                        real.Invoke()

                    match thrown "a closure that throws" (fun () -> optimizer.Step(Func<float> stumbles) |> ignore) with
                    | Stumbled -> ()
                    | e -> failtestf "%O" e

                    expectSameBits (place a b) at "parameters"
                    Expect.isTrue (optimizer.StateDict().ToTree().Equals saved) "state")
            testCase "a line search reads the parameters once: what a closure does to them does not shift where it is asked next" (fun () ->
                for dtype in [ DType.Float64; DType.Float32; DType.BFloat16 ] do
                    let asked scribbles =
                        let p = param "p" dtype [| 2L |] [| -1.0; 2.0 |]

                        // No iteration after the first: it would begin at what was scribbled.
                        let optimizer =
                            new LBFGS(
                                parameters [ p; param "q" DType.Float64 [| 1L |] [| 0.0 |] ],
                                maxIter = 1,
                                maxEval = Nullable 20,
                                lineSearchFn = "strong_wolfe",
                                lr = 50.0
                            )

                        let points = ResizeArray<float[]>()

                        optimizer.Step(
                            Func<float>(fun () ->
                                let x = values p
                                points.Add x
                                let value, gradient = Objectives.rosenbrock x
                                setGradient p (Some gradient)

                                if scribbles && points.Count > 1 then
                                    p.View.CopyFrom(tensor dtype [| 2L |] [| nan; nan |])

                                value)
                        )
                        |> ignore

                        points.ToArray()

                    let expected = asked false
                    Expect.isGreaterThan expected.Length 3 "a line search of several evaluations"
                    expectSameBits (Array.concat (asked true)) (Array.concat expected) (string dtype))

            testSequenced
            <| testCase "its memory is bounded by history_size: steps after that make no further block, nor do those that throw" (fun () ->
                let count, history = 20_000, 4
                let p = param "p" DType.Float64 [| int64 count |] (noise 5 count)

                let optimizer =
                    new LBFGS(
                        parameters [ p ],
                        maxIter = 6,
                        historySize = history,
                        lineSearchFn = "strong_wolfe",
                        toleranceGrad = 0.0,
                        toleranceChange = 0.0
                    )

                let g = p.Gradient<float>().ToArray()
                p.BindGradient g
                let mutable calls = 0
                let mutable stumblesAt = 0

                // log cosh, with curvatures that differ: it takes all steps of the test to get near.
                let closure =
                    Func<float>(fun () ->
                        calls <- calls + 1

                        if calls = stumblesAt then
                            raise Stumbled

                        let w = p.View.AsSpan<float>()
                        let mutable loss = 0.0

                        for i in 0 .. count - 1 do
                            let c = 1.0 + float (i % 50)
                            loss <- loss + c * (sqrt (1.0 + w[i] * w[i]) - 1.0)
                            g[i] <- c * w[i] / sqrt (1.0 + w[i] * w[i])

                        loss)

                let step () = optimizer.Step closure |> ignore

                let pairs () =
                    let state = optimizer.StateDict().State[0]
                    state["old_dirs"].AsItems().Length

                let start = NativeBlock.Made
                step ()
                step ()
                Expect.equal (pairs ()) history "pairs: as many as there may be"
                let made = NativeBlock.Made - start
                // Two for each pair and for the one that comes before the oldest goes; direction, gradients, points of the search.
                Expect.isLessThanOrEqual made (2 * history + 16) "blocks of the first steps"

                for _ in 1..4 do
                    step ()

                let settled = NativeBlock.Made
                let before = calls

                for _ in 1..6 do
                    step ()

                Expect.isGreaterThan (calls - before) 30 "evaluations"
                Expect.equal NativeBlock.Made settled "blocks of later steps"

                for further in 1..5 do
                    stumblesAt <- calls + further

                    match thrown "a closure that throws" step with
                    | Stumbled -> ()
                    | e -> failtestf "%O" e

                Expect.equal NativeBlock.Made settled "blocks of steps that throw"
                Expect.equal (pairs ()) history "pairs")
        ]
