/// The laws of LBFGS, and beside each a defect that it finds.
module LBFGSLawTests

open System
open Expecto
open Optim.Core
open Optim.Kernels
open Optim.Laws
open Plain

let private withOptions change =
    { Minimizer.lbfgs with
        Step = fun options parameters ask state -> Minimizer.lbfgs.Step (change options) parameters ask state
    }

let private steps change =
    { Minimizer.lbfgs with
        Step = change Minimizer.lbfgs.Step
    }

let private nudge (parameters: Parameters) =
    for k in 0 .. parameters.Count - 1 do
        let values = parameters[k].ToDoubles()

        if values.Length > 0 then
            Tensor.set parameters[k] 0 (values[0] * 1.001 + 1e-3)

let private mutants =
    [
        Curvature.tenth, "it goes uphill", withOptions (fun o -> { o with Maximize = true })
        Curvature.exact,
        "the first element moves a little farther",
        steps (fun real options parameters ask state ->
            let next = real options parameters ask state
            nudge parameters
            next)
        Curvature.wolfe,
        "the line search is left out",
        withOptions (fun o ->
            { o with
                LineSearchFn = LineSearch.None
            })
        Curvature.dense, "only the last pair is remembered", withOptions (fun o -> { o with HistorySize = 1 })
        Curvature.first, "lr is applied twice", withOptions (fun o -> { o with Lr = o.Lr * o.Lr })
        Minimizing.calls,
        "the last loss is returned",
        steps (fun real options parameters ask state ->
            let mutable last = nan

            let ask parameters =
                let struct (loss, gradients) = ask parameters
                last <- loss
                struct (loss, gradients)

            let struct (_, next) = real options parameters ask state
            struct (last, next))
        Minimizing.calls, "max_eval is not looked at", withOptions (fun o -> { o with MaxEval = Nullable 1_000 })
        Minimizing.maximize,
        "maximize turns the gradient round, and not the loss",
        steps (fun real options parameters ask state ->
            if options.Maximize then
                let ask parameters =
                    let struct (loss, gradients) = ask parameters
                    struct (-loss, gradients)

                real options parameters ask state
            else
                real options parameters ask state)
        Minimizing.resume,
        "the pairs are lost on load",
        { Minimizer.lbfgs with
            Load =
                fun parameters tree ->
                    let kept =
                        tree.AsMap()
                        |> Seq.map (fun entry ->
                            match entry.Key with
                            | TreeKey.Text("old_dirs" | "old_stps" | "ro") -> Collections.Generic.KeyValuePair(entry.Key, Tree.ListOf [])
                            | _ -> entry)

                    Minimizer.lbfgs.Load parameters (Tree.MapOf(MapKind.Dict, kept))
        }
        Minimizing.pure',
        "the pure step moves the parameters that it was given",
        { Minimizer.lbfgs with
            PureStep =
                fun options parameters ask state ->
                    let struct (loss, next) = LBFGS.step options parameters ask (LBFGS.copy state)

                    struct (parameters, next, loss)
        }
        Minimizing.pure',
        "the pure step spends the state that it was given",
        { Minimizer.lbfgs with
            PureStep =
                fun options parameters ask state ->
                    let parameters = parameters.Copy()
                    let struct (loss, next) = LBFGS.step options parameters ask state
                    struct (parameters, next, loss)
        }
        Minimizing.copies,
        "a copy shares the vectors of the state",
        { Minimizer.lbfgs with
            Copy = fun state -> LBFGSState(state.Memory, LBFGSLineage(state.Lineage.Flat.Fork()))
        }
        Minimizing.copies,
        "a copy forgets the pairs",
        { Minimizer.lbfgs with
            Copy =
                fun state ->
                    let copy = LBFGS.copy state

                    LBFGSState(
                        { copy.Memory with
                            Pairs = Collections.Immutable.ImmutableArray.Empty
                        },
                        copy.Lineage
                    )
        }
        MinimizerGuards.throws,
        "parameters stay where the throwing call found them",
        steps (fun real options parameters ask state ->
            let mutable at = [||]

            let ask (parameters: Parameters) =
                at <- Array.init parameters.Count (fun k -> parameters[k].ToDoubles())
                ask parameters

            try
                real options parameters ask state
            with _ ->
                at |> Array.iteri (fun k values -> Tensor.fill parameters[k] values)
                reraise ())
        Minimizing.traversals,
        "256 bits are rounded in another way",
        steps (fun real options parameters ask state ->
            let next = real options parameters ask state

            if Lanes.Width = Width.Bits256 then
                nudge parameters

            next)
        Minimizing.splitting,
        "nothing is stepped after the first parameter",
        steps (fun real options parameters ask state ->
            let before = [| for k in 1 .. parameters.Count - 1 -> parameters[k].ToDoubles() |]
            let next = real options parameters ask state
            before |> Array.iteri (fun k values -> Tensor.fill parameters[k + 1] values)
            next)
        Minimizing.bounded, "history_size is not looked at", withOptions (fun o -> { o with HistorySize = 100 })
        MinimizerGuards.finite,
        "a loss that is not finite is taken for zero",
        steps (fun real options parameters ask state ->
            let ask parameters =
                let struct (loss, gradients) = ask parameters
                struct ((if Double.IsFinite loss then loss else -1e9), gradients)

            real options parameters ask state)
    ]

let private held (law: Law) =
    let run = testCase law.Name (fun () -> Cases.add "laws" (law.Check()))
    if law.Alone then testSequenced run else run

let private killed (law: CurvatureLaw, defect, mutant) =
    let run =
        testCase $"\"{law.Says}\" ({law.Id}) finds: {defect}" (fun () ->
            let trial = law.Try mutant (if law.Alone then 3 else 100) 20261123UL
            Cases.add "mutants" 1
            Expect.isNotEmpty trial.Broken "the law held"
            let why = Array.head (trial.Broken.Split '\n')
            Expect.isFalse (why.Contains "Exception: ") trial.Broken)

    if law.Alone then testSequenced run else run

let private complete =
    test "every law of LBFGS has a mutant" {
        for law in Minimizing.all do
            let has =
                mutants |> List.exists (fun (known, _, _) -> obj.ReferenceEquals(known, law))

            Expect.isTrue has law.Says
    }

[<Tests>]
let tests =
    testList
        "LBFGS laws"
        [
            testList "hold" (List.map held (Laws.forLBFGS ()))
            testList "mutants" (complete :: List.map killed mutants)
        ]
