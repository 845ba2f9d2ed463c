/// Where steps of PyTorch's optimizers surprise: when state is made, what late joiners start from, what options that change mean.
module StepQuirks

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open QuirkKit

/// What the reference makes of one parameter, each step with its own settings.
let private reference name (initial: float[]) (steps: ((string * Setting) list * float[]) list) =
    (initial |> Array.map element, steps)
    ||> List.fold (fun elements (given, gradient) -> Array.map2 (Reference.rules[name](Constructors.settings name given)) elements gradient)

let private expectClose (p: Param) (expected: Element[]) what =
    for i, (actual, expected) in Array.indexed (Array.zip (values p) expected) do
        let allowed = 1e-13 * (1.0 + expected.Theta.Size)

        if not (abs (actual - expected.Theta.Value) <= allowed) then
            failtestf "%s, element %d: %s, the reference has %s" what i (text actual) (text expected.Theta.Value)

let private flags name =
    [
        [ "foreach", Flag false ]
        [ "foreach", Flag true ]
        if (rule name).OptionNames |> Seq.contains "fused" then
            [ "fused", Flag true ]
    ]

let tests =
    testList
        "steps"
        [
            testCase "Rprop: lr matters only when the state is made" (fun () ->
                let run later =
                    let p = vector "w" [ 1.0; -2.0; 0.5 ]
                    let optimizer = optimizer "Rprop" [ "lr", Number 0.01 ] [ p ]
                    train optimizer [ p ] (rows 1 1 [ p ])
                    optimizer.ParamGroups[0]["lr"] <- option (Number later)
                    train optimizer [ p ] (rows 2 4 [ p ])
                    values p

                expectSameBits (run 7.0) (run 0.01) "parameters")

            testCase "Rprop: the first step size is lr, clamped in the first update" (fun () ->
                for lr, moved in [ 1.0, 0.5; 1e-4, 0.01; 0.1, 0.1 ] do
                    let p = vector "w" [ 0.0; 0.0 ]

                    let optimizer =
                        optimizer "Rprop" [ "lr", Number lr; "step_sizes", Pair(0.01, 0.5) ] [ p ]

                    train optimizer [ p ] [ [ Some [| 3.0; -0.1 |] ] ]
                    expectSameBits (values p) [| -moved; moved |] $"lr {text lr}"
                    expectSameBits (column optimizer p "step_size") [| moved; moved |] "step_size")

            testCase "SGD with dampening: a parameter's own first gradient is taken whole, also when it joins late" (fun () ->
                for flags in flags "SGD" do
                    let given = [ "lr", Number 0.1; "momentum", Number 0.9; "dampening", Number 0.5 ]
                    let early, late = vector "early" [ 1.0; 2.0 ], vector "late" [ 1.0; 2.0 ]
                    let optimizer = optimizer "SGD" (given @ flags) [ early; late ]
                    let gradients = [ for k in 0..4 -> noise k 2 ]

                    train
                        optimizer
                        [ early; late ]
                        [
                            for k, g in List.indexed gradients -> [ Some g; (if k >= 2 then Some g else None) ]
                        ]

                    expectClose early (reference "SGD" [| 1.0; 2.0 |] [ for g in gradients -> given, g ]) "early"
                    expectClose late (reference "SGD" [| 1.0; 2.0 |] [ for g in gradients[2..] -> given, g ]) "late")

            testCase "a late joiner starts as if fresh, in every traversal" (fun () ->
                for name, given in everyRule do
                    for flags in flags name do
                        let early, late, fresh =
                            vector "early" [ 1.0; 2.0; 3.0 ], vector "late" [ -1.0; 0.5 ], vector "fresh" [ -1.0; 0.5 ]

                        let both = optimizer name (given @ flags) [ early; late ]
                        let alone = optimizer name (given @ flags) [ fresh ]

                        for k in 0..5 do
                            setGradient early (Some(noise k 3))
                            setGradient late (if k >= 3 then Some(noise (50 + k) 2) else None)
                            both.Step()

                            if k >= 3 then
                                setGradient fresh (Some(noise (50 + k) 2))
                                alone.Step()

                            expectSameBits (values late) (values fresh) $"{name} {flags}, step {k}")

            testCase "foreach with nesterov, and every other traversal: gradients are never written" (fun () ->
                for name, given in everyRule do
                    for flags in flags name do
                        for maximize in [ false; true ] do
                            let given =
                                if name = "SGD" then
                                    given @ [ "nesterov", Flag true ]
                                else
                                    given

                            let p = vector "w" [ 1.0; -2.0; 0.5 ]

                            let optimizer = optimizer name (given @ flags @ [ "maximize", Flag maximize ]) [ p ]

                            let before = [| 0.3; -0.7; 0.0 |]

                            for _ in 1..3 do
                                setGradient p (Some before)
                                optimizer.Step()
                                expectSameBits (gradient p |> Option.get) before $"{name} {flags}")

            testCase "amsgrad turned on after a step: its column is made as at a first step" (fun () ->
                let p, quiet = vector "w" [ 1.0; -2.0 ], [ "lr", Number 0.01 ]
                let loud = quiet @ [ "amsgrad", Flag true ]
                let optimizer = optimizer "Adam" quiet [ p ]
                let gradients = [ for k in 0..5 -> noise k 2 ]
                train optimizer [ p ] [ for g in gradients[..2] -> [ Some g ] ]
                optimizer.ParamGroups[0]["amsgrad"] <- option (Flag true)
                train optimizer [ p ] [ for g in gradients[3..] -> [ Some g ] ]

                expectClose
                    p
                    (reference "Adam" [| 1.0; -2.0 |] [ for k, g in List.indexed gradients -> (if k < 3 then quiet else loud), g ])
                    "parameters")

            testCase "momentum and centered (RMSprop) and momentum (SGD) turned on after a step: as at a first step" (fun () ->
                for name, turned in
                    [
                        "RMSprop", [ "momentum", Number 0.9 ]
                        "RMSprop", [ "centered", Flag true ]
                        "RMSprop", [ "momentum", Number 0.9; "centered", Flag true ]
                        "SGD", [ "momentum", Number 0.9; "dampening", Number 0.5 ]
                    ] do
                    for flags in flags name do
                        let p, quiet = vector "w" [ 1.0; -2.0 ], [ "lr", Number 0.01 ]
                        let optimizer = optimizer name (quiet @ flags) [ p ]
                        let gradients = [ for k in 0..5 -> noise k 2 ]
                        train optimizer [ p ] [ for g in gradients[..2] -> [ Some g ] ]

                        for key, value in turned do
                            optimizer.ParamGroups[0][key] <- option value

                        train optimizer [ p ] [ for g in gradients[3..] -> [ Some g ] ]

                        expectClose
                            p
                            (reference
                                name
                                [| 1.0; -2.0 |]
                                [
                                    for k, g in List.indexed gradients -> (if k < 3 then quiet else quiet @ turned), g
                                ])
                            $"{name} {turned}")

            testCase "RMSprop centered: a variance that rounds below zero is zero, not NaN" (fun () ->
                // Under a constant gradient the variance is 0 but for rounding, which goes either way.
                let gradients = noise 5 200
                let p = param "w" DType.Float32 [| 200L |] (Array.zeroCreate 200)

                let optimizer =
                    optimizer "RMSprop" [ "lr", Number 1e-3; "alpha", Number 0.5; "centered", Flag true ] [ p ]

                let mutable below = 0

                for _ in 1..60 do
                    setGradient p (Some gradients)
                    optimizer.Step()
                    let square, mean = column optimizer p "square_avg", column optimizer p "grad_avg"

                    for i in 0..199 do
                        if square[i] < mean[i] * mean[i] then
                            below <- below + 1

                    Expect.all (values p) Double.IsFinite "finite parameters"

                Expect.isGreaterThan below 0 "variances below zero in this run: it must be able to fail")

            testCase "frozen parameters are accepted and skipped" (fun () ->
                for name, given in everyRule do
                    let free, frozen = vector "free" [ 1.0 ], vector "frozen" [ 2.0 ]
                    frozen.RequiresGradient <- false
                    let optimizer = optimizer name given [ free; frozen ]
                    optimizer.Step()
                    setGradient free (Some [| 1.0 |])
                    setGradient frozen (Some [| 1.0 |])
                    optimizer.Step()
                    Expect.notEqual (values free) [| 1.0 |] "the free one moves"
                    expectSameBits (values frozen) [| 2.0 |] "the frozen one"
                    Expect.equal (optimizer.StateDict().State.ContainsKey 1) (hasStateAtOnce name) "state of the frozen one")

            testCase "step counts on beyond 2^24" (fun () ->
                let p = vector "w" [ 1.0 ]
                let optimizer = optimizer "Adam" [] [ p ]
                setGradient p (Some [| 1.0 |])
                optimizer.Step()
                let dict = optimizer.StateDict()
                let state = dict.State[0]
                Expect.equal (state["step"].AsTensor().DType) DType.Float32 "dtype of a small step"
                state["step"] <- Tree.Tensor(tensor DType.Float32 [||] [| 16777215.0 |])
                optimizer.LoadStateDict dict |> ignore

                for expected, dtype in
                    [
                        16777216.0, DType.Float32
                        16777217.0, DType.Float64
                        16777218.0, DType.Float64
                    ] do
                    optimizer.Step()
                    let state = optimizer.StateDict().State[0]
                    let step = state["step"].AsTensor()
                    expectSameBits (step.ToDoubles()) [| expected |] "step"
                    Expect.isEmpty (Seq.toList step.Shape) "a single number"

                    if dtype = DType.Float64 then
                        Expect.equal step.DType dtype $"dtype of step {expected}"

                let again = Kit.optimizer "Adam" [] [ vector "w" [ 1.0 ] ]
                again.LoadStateDict(optimizer.StateDict()) |> ignore
                expectSameBits (slot (again.StateDict()) 0 "step") [| 16777218.0 |] "step, loaded")
        ]
