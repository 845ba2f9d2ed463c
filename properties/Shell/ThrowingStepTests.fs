/// Steps that throw: what they leave of what was skipped, and whether schedulers warn.
module ThrowingStepTests

open System
open Expecto
open Optim
open Optim.Core
open Kit

let private flags =
    [
        test "a step that throws changes neither LastStepSkipped nor what schedulers warn of" {
            let p = vector "p" [ 0.0 ]
            let optimizer = optimizer "SGD" [] [ p ]
            let schedule = ExponentialLR(optimizer, gamma = 0.5)
            let warnings = warningsOf schedule

            for attached in [ false; true ] do
                if attached then
                    optimizer.Attach(ClipGradNorm 1.0)

                setSparseGradient p [ 3L ] [ 1.0 ]
                refuses<ArgumentOutOfRangeException> "the step" [ "row 3" ] (fun () -> optimizer.Step())

            schedule.Step()
            Expect.equal warnings.Count 1 "no step was made"
            stepOn optimizer p infinity
            Expect.isTrue optimizer.LastStepSkipped "skipped"
            setSparseGradient p [ 3L ] [ 1.0 ]
            refuses<ArgumentOutOfRangeException> "the step" [ "row 3" ] (fun () -> optimizer.Step())
            Expect.isTrue optimizer.LastStepSkipped "as it was"
            Expect.equal optimizer.SkippedSteps 1L "one"
            stepOn optimizer p 1.0
            Expect.isFalse optimizer.LastStepSkipped "a step"
        }
        test "a closure or a hook that throws is no step; one of LBFGS is" {
            let p = vector "p" [ 3.0 ]
            let optimizer = new LBFGS(parameters [ p ])
            let schedule = ExponentialLR(optimizer, gamma = 0.5)
            let warnings = warningsOf schedule

            let closure () : float =
                setGradient p (Some(values p))
                0.5 * (values p)[0] ** 2.0

            optimizer.Step(Func<float> closure) |> ignore
            schedule.Step()
            Expect.isEmpty warnings "after a step of LBFGS"

            let p = vector "p" [ 3.0 ]
            let optimizer = new LBFGS(parameters [ p ])
            let schedule = ExponentialLR(optimizer, gamma = 0.5)
            let warnings = warningsOf schedule

            refuses<InvalidOperationException> "a closure" [ "no" ] (fun () ->
                optimizer.Step(Func<float>(fun () -> invalidOp "no")) |> ignore)

            use _ = optimizer.RegisterStepPreHook(fun _ -> invalidOp "no")
            refuses<InvalidOperationException> "a hook" [ "no" ] (fun () -> optimizer.Step(Func<float> closure) |> ignore)
            schedule.Step()
            Expect.equal warnings.Count 1 "no step was made"
        }
    ]

[<Tests>]
let tests = testList "around" [ testList "steps that throw" flags ]
