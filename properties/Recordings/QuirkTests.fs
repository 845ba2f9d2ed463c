/// Where PyTorch surprises: what it does and we do too, and what we do instead. One test for each.
module QuirkTests

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

/// Steps `list` with one row of gradients for each step.
let private train (optimizer: Optimizer) (list: Param list) (gradients: float[] option list list) =
    for row in gradients do
        List.iter2 setGradient list row
        optimizer.Step()

let private rows seed steps (list: Param list) =
    [
        for step in 0 .. steps - 1 ->
            [
                for i, p in List.indexed list -> Some(noise (seed + 31 * step + i) (values p).Length)
            ]
    ]

/// What the reference makes of one parameter, each step with its own settings.
let private reference name (initial: float[]) (steps: ((string * Setting) list * float[]) list) =
    (initial |> Array.map element, steps)
    ||> List.fold (fun elements (given, gradient) -> Array.map2 (Reference.rules[name](Reference.settings name given)) elements gradient)

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

let private steps =
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

let private options' =
    testList
        "options"
        [
            testCase "AdamW(decoupled_weight_decay): true is accepted, anything else is Adam" (fun () ->
                let p () = [ vector "w" [ 1.0 ] ]
                optimizer "AdamW" [ "decoupled_weight_decay", Flag true ] (p ()) |> ignore

                refuses<OptionException> "false" [ "decoupled_weight_decay"; "Adam" ] (fun () ->
                    optimizer "AdamW" [ "decoupled_weight_decay", Flag false ] (p ()) |> ignore)

                let optimizer = new AdamW(parameters (p ()))

                refuses<OptionException> "false, later" [ "decoupled_weight_decay"; "Adam" ] (fun () ->
                    optimizer.ParamGroups[0]["decoupled_weight_decay"] <- option (Flag false))

                Expect.equal (optimizer.StateDict().ParamGroups[0]["decoupled_weight_decay"]) (option (Flag true)) "the key of its groups")

            testCase "NaN is refused for every number, SGD's too" (fun () ->
                for name, _ in everyRule do
                    for KeyValue(key, value) in Reference.defaults[name] do
                        let p () = [ vector "w" [ 1.0 ] ]

                        match value with
                        | Number _ ->
                            refuses<OptionException> $"{name} {key} NaN" [ key; "nan" ] (fun () ->
                                optimizer name [ key, Number nan ] (p ()) |> ignore)
                        | Pair(first, second) ->
                            for pair in [ Pair(nan, second); Pair(first, nan) ] do
                                refuses<OptionException> $"{name} {key} {pair}" [ key; "nan" ] (fun () ->
                                    optimizer name [ key, pair ] (p ()) |> ignore)
                        | Flag _
                        | Several _
                        | Text _
                        | Unset -> ())

            testCase "betas with a zero are accepted" (fun () ->
                let p = vector "w" [ 1.0 ]

                let optimizer =
                    new Adam(parameters [ p ], lr = 0.1, betas = Nullable<struct (float * float)>(struct (0.0, 0.9)))

                setGradient p (Some [| 2.0 |])
                optimizer.Step()
                Expect.floatClose Accuracy.high (Array.head (values p)) 0.9 "first step")

            testCase "an unknown key in a group is refused, with the known names and the nearest" (fun () ->
                let group = group [ vector "w" [ 1.0 ] ] [ "weigth_decay", Number 0.1 ]

                refuses<OptionException> "weigth_decay" [ "weigth_decay"; "weight_decay"; "momentum"; "nesterov" ] (fun () ->
                    new SGD(groups [ group ]) |> ignore)

                let optimizer = new SGD(parameters [ vector "w" [ 1.0 ] ])

                refuses<OptionException> "learning_rate" [ "learning_rate"; "lr" ] (fun () ->
                    optimizer.ParamGroups[0]["learning_rate"] <- option (Number 0.1))

                refuses<OptionException> "reading one" [ "betas" ] (fun () -> optimizer.ParamGroups[0]["betas"] |> ignore)

                refuses<OptionException> "an option of another rule" [ "momentum" ] (fun () ->
                    Kit.optimizer "Adam" [ "momentum", Number 0.9 ] [ vector "w" [ 1.0 ] ] |> ignore))

            testCase "options of a later group and later edits are checked as the constructor's are" (fun () ->
                for name, given in everyRule do
                    let bad = [ "lr", Number -1.0; "lr", Flag true; "maximize", Number 3.0 ]

                    for key, value in bad do
                        let first = group [ vector "a" [ 1.0 ] ] []
                        let second = group [ vector "b" [ 1.0 ] ] [ key, value ]

                        refuses<OptionException> $"{name} {key} {value} in a second group" [ key ] (fun () ->
                            new RuleOptimizer(rule name, groups [ first; second ], options given) |> ignore)

                        let optimizer = optimizer name given [ vector "a" [ 1.0 ] ]
                        let before = describe (optimizer.StateDict())

                        refuses<OptionException> $"{name} {key} {value} in an added group" [ key ] (fun () ->
                            optimizer.AddParamGroup(group [ vector "b" [ 1.0 ] ] [ key, value ]))

                        refuses<OptionException> $"{name} {key} {value}, edited" [ key ] (fun () ->
                            optimizer.ParamGroups[0][key] <- option value)

                        Expect.equal (describe (optimizer.StateDict())) before "a refusal changes nothing")

            testCase "nesterov is checked against its group's own momentum, and in later edits" (fun () ->
                let sgd settings =
                    optimizer "SGD" settings [ vector "w" [ 1.0 ] ]

                refuses<OptionException> "nesterov in a group without momentum" [ "nesterov"; "momentum" ] (fun () ->
                    let first = group [ vector "a" [ 1.0 ] ] [ "momentum", Number 0.9 ]
                    let second = group [ vector "b" [ 1.0 ] ] [ "nesterov", Flag true ]
                    new SGD(groups [ first; second ]) |> ignore)

                let optimizer = sgd [ "momentum", Number 0.9; "nesterov", Flag true ]

                refuses<OptionException> "momentum taken away" [ "nesterov"; "momentum" ] (fun () ->
                    optimizer.ParamGroups[0]["momentum"] <- option (Number 0.0))

                refuses<OptionException> "dampening" [ "nesterov"; "dampening" ] (fun () ->
                    optimizer.ParamGroups[0]["dampening"] <- option (Number 0.1))

                Expect.equal (optimizer.ParamGroups[0]["momentum"]) (option (Number 0.9)) "momentum is as it was")
        ]

let private parameters' =
    testList
        "parameters and groups"
        [
            testCase "a parameter twice is refused, in one group and across groups" (fun () ->
                let p = vector "w" [ 1.0 ]
                let q = vector "v" [ 1.0 ]

                refuses<ArgumentException> "twice in one group" [ "w" ] (fun () -> new SGD(parameters [ p; q; p ]) |> ignore)

                refuses<ArgumentException> "in two groups" [ "w" ] (fun () ->
                    new SGD(groups [ group [ p ] []; group [ q; p ] [] ]) |> ignore)

                let optimizer = new SGD(parameters [ p ])

                refuses<ArgumentException> "added" [ "w" ] (fun () -> optimizer.AddParamGroup(group [ p ] [])))

            testCase "a name twice is refused" (fun () ->
                refuses<ArgumentException> "in one group" [ "w" ] (fun () ->
                    new SGD(parameters [ vector "w" [ 1.0 ]; vector "w" [ 1.0 ] ]) |> ignore)

                let optimizer = new SGD(parameters [ vector "w" [ 1.0 ] ])

                refuses<ArgumentException> "added" [ "w" ] (fun () -> optimizer.AddParamGroup(group [ vector "w" [ 1.0 ] ] [])))

            testCase "integer parameters are refused at once, and complex ones where the rule takes none" (fun () ->
                let make (dtype: DType) () =
                    new SGD(parameters [ Param.Zeros("numbers", dtype, 2L) ]) |> ignore

                for dtype in [ DType.UInt8; DType.Int32; DType.Int64; DType.Bool ] do
                    refuses<ArgumentException> $"{dtype}" [ "numbers"; dtype.Name() ] (make dtype)

                for dtype in [ DType.Complex64; DType.Complex128 ] do
                    refuses<NotSupportedException> $"{dtype}" [ "numbers"; dtype.Name() ] (fun () ->
                        new SparseAdam(parameters [ Param.Zeros("numbers", dtype, 2L) ]) |> ignore))

            testCase "the caller's group objects are never changed" (fun () ->
                let given = group [ vector "w" [ 1.0 ] ] [ "lr", Number 0.5 ]

                let entries () =
                    [ for key in given.OptionNames -> key, given[key] ]

                let before = entries ()
                let first = new SGD(groups [ given ], momentum = 0.9)
                let second = new SGD(groups [ given ], momentum = 0.1)
                first.ParamGroups[0]["lr"] <- option (Number 0.25)
                Expect.equal (entries ()) before "the caller's group"
                Expect.equal (second.ParamGroups[0]["lr"]) (option (Number 0.5)) "another optimizer of the same group"
                Expect.equal (second.ParamGroups[0]["momentum"]) (option (Number 0.1)) "its own default"
                let dict = describe (first.StateDict())
                given["lr"] <- option (Number 9.0)
                given["weight_decay"] <- option (Number 9.0)
                Expect.equal (describe (first.StateDict())) dict "an optimizer after a change of the caller's")
        ]

/// A parameter called "bad" of two numbers, from another library, which says for itself what its gradient is.
type private Bad(gradientOf: unit -> Gradient) =
    let data = tensor DType.Float64 [| 2L |] [| 1.0; 2.0 |]

    interface IParameter with
        member _.Name = "bad"
        member _.Data = data
        member _.RequiresGradient = true
        member this.Identity = box this
        member _.Executor = null
        member _.Refresh(_, gradient) = gradient <- gradientOf ()
        member _.ZeroGradient _ = ()
        member _.AfterStep() = ()

/// Gradients that no rule takes, of kinds that only show in the step.
let private badGradients =
    let dense dtype shape =
        Gradient.OfDense(TensorView.Zeros(Layout.Contiguous(dtype, ReadOnlySpan(Array.ofList shape))))

    [
        "of no kind", (fun () -> raise (NotSupportedException "the gradient of 'bad' is of no kind that I know"))
        "sparse",
        (fun () -> Gradient.OfSparse(TensorView.Of(ReadOnlySpan [| 7L |], ReadOnlySpan [| 1L |]), tensor DType.Float64 [| 1L |] [| 3.0 |]))
        "of another dtype", (fun () -> dense DType.Float32 [ 2L ])
        "of an integer dtype", (fun () -> dense DType.Int32 [ 2L ])
        "of another shape", (fun () -> dense DType.Float64 [ 3L ])
        "of another number of dimensions", (fun () -> dense DType.Float64 [ 2L; 1L ])
    ]

let private atomic =
    testList
        "a step that fails has changed nothing"
        [
            testCase "a bad parameter in the middle of the list" (fun () ->
                for name, given in everyRule do
                    for what, gradient in badGradients do
                        let first, last = vector "first" [ 1.0; 2.0 ], vector "last" [ 3.0 ]
                        let good = tensor DType.Float64 [| 2L |] [| 0.5; -0.5 |]
                        let isBad = ref false

                        let middle =
                            Bad(fun () -> if isBad.Value then gradient () else Gradient.OfDense good)

                        let list: IParameterOrGroup list = [ first; middle; last ]
                        let optimizer = new RuleOptimizer(rule name, list, options given)
                        setGradient first (Some [| 1.0; 1.0 |])
                        setGradient last (Some [| 1.0 |])

                        let all () =
                            values first, values last, describe (optimizer.StateDict())

                        // At a first step, and at a later one, for which everything is prepared.
                        for _ in 1..2 do
                            let before = all ()
                            isBad.Value <- true
                            refuses<Exception> $"{name}: {what}" [ "bad" ] (fun () -> optimizer.Step())
                            Expect.equal (all ()) before what
                            isBad.Value <- false
                            optimizer.Step()
                            Expect.notEqual (all ()) before "a good step")

            testCase "a bad parameter in a later group" (fun () ->
                for name, given in everyRule do
                    let first = vector "first" [ 1.0; 2.0 ]
                    let _, gradient = badGradients.Head
                    let bad: IParameter list = [ Bad gradient ]

                    let optimizer =
                        new RuleOptimizer(rule name, groups [ group [ first ] []; ParameterGroup bad ], options given)

                    setGradient first (Some [| 1.0; 1.0 |])
                    let before = describe (optimizer.StateDict())

                    refuses<NotSupportedException> name [ "bad" ] (fun () -> optimizer.Step())

                    expectSameBits (values first) [| 1.0; 2.0 |] "first"
                    Expect.equal (describe (optimizer.StateDict())) before "state")

            testCase "an exception inside the closure" (fun () ->
                for name, given in everyRule do
                    let p = vector "w" [ 1.0; 2.0 ]
                    let optimizer = optimizer name given [ p ]
                    setGradient p (Some [| 1.0; 1.0 |])
                    optimizer.Step()
                    let before, dict = values p, describe (optimizer.StateDict())

                    refuses<InvalidTimeZoneException> name [ "no loss" ] (fun () ->
                        optimizer.Step(Func<float>(fun () -> raise (InvalidTimeZoneException "no loss")))
                        |> ignore)

                    expectSameBits (values p) before "parameters"
                    Expect.equal (describe (optimizer.StateDict())) dict "state"
                    optimizer.Step()
                    Expect.notEqual (values p) before "the next step goes on")
        ]

let private loading =
    testList
        "load_state_dict"
        [
            testCase "the loaded state is a copy: two optimizers loaded from one dict are independent" (fun () ->
                for name, given in everyRule do
                    let source = vector "w" [ 1.0; 2.0 ]
                    let trained = optimizer name given [ source ]
                    train trained [ source ] (rows 3 2 [ source ])
                    let dict = trained.StateDict()
                    let before = describe dict
                    let a, b = vector "w" [ 1.0; 2.0 ], vector "w" [ 1.0; 2.0 ]
                    let first, second = optimizer name given [ a ], optimizer name given [ b ]
                    first.LoadStateDict dict |> ignore
                    second.LoadStateDict dict |> ignore
                    train first [ a ] (rows 4 3 [ a ])
                    Expect.equal (describe dict) before "the dict after training the first"
                    Expect.equal (describe (second.StateDict())) before "the second after training the first"
                    train second [ b ] (rows 4 3 [ b ])
                    expectSameBits (values b) (values a) "both go the same way")

            testCase "state is wider than the parameter when it was saved so" (fun () ->
                let p = param "w" DType.Float32 [| 2L |] [| 1.0; 2.0 |]
                let optimizer = optimizer "Adam" [] [ p ]
                train optimizer [ p ] (rows 3 2 [ p ])
                let dict = optimizer.StateDict()
                let wide = vector "w" [ 1.0; 2.0 ]
                let other = Kit.optimizer "Adam" [] [ wide ]
                let report = other.LoadStateDict dict
                Expect.isNonEmpty report.Converted "what was converted is reported"
                let state = other.State wide
                Expect.equal (state["exp_avg"].AsTensor().DType) DType.Float64 "dtype of the parameter's state"

                expectSameBits (column other wide "exp_avg") (slot dict 0 "exp_avg") "widening changes no value")
        ]

[<Tests>]
let tests = testList "quirks" [ steps; options'; parameters'; atomic; loading ]
