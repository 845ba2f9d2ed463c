/// Where PyTorch surprises: what it does and we do too, and what we do instead. One test for each.
module QuirkTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit
open QuirkKit

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
                    for KeyValue(key, value) in Constructors.defaults[name] do
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

let tests =
    testList "quirks" [ StepQuirks.tests; options'; parameters'; atomic; loading ]
