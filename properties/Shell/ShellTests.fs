/// The PyTorch-style face: groups, flags, closures, zero_grad, parameters over host arrays.
module ShellTests

open System
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

let private closure (f: unit -> float) = Func<float> f

let private groups =
    testList
        "groups"
        [
            testCase "options of a group lie over the defaults, for this group only" (fun () ->
                let a, b = vector "a" [ 1.0 ], vector "b" [ 1.0 ]

                let optimizer =
                    new SGD(groups [ group [ a ] []; group [ b ] [ "lr", Number 0.5 ] ], lr = 0.25)

                setGradient a (Some [| 1.0 |])
                setGradient b (Some [| 1.0 |])
                optimizer.Step()
                expectSameBits (values a) [| 0.75 |] "a"
                expectSameBits (values b) [| 0.5 |] "b"
                optimizer.ParamGroups[0]["lr"] <- option (Number 0.125)
                optimizer.Step()
                expectSameBits (values a) [| 0.625 |] "a, after an edit"
                expectSameBits (values b) [| 0.0 |] "b, after an edit"
                Expect.equal (optimizer.Defaults["lr"]) (option (Number 0.25)) "the default stays")

            testCase "a group that is added starts as a fresh optimizer would" (fun () ->
                for name, given in everyRule do
                    let a, b, alone = vector "a" [ 1.0; 2.0 ], vector "b" [ 3.0 ], vector "b" [ 3.0 ]
                    let both, other = optimizer name given [ a ], optimizer name given [ alone ]

                    for k in 0..5 do
                        if k = 3 then
                            both.AddParamGroup(group [ b ] [])

                        setGradient a (Some(noise k 2))
                        setGradient b (Some(noise (9 + k) 1))
                        both.Step()

                        if k >= 3 then
                            setGradient alone (Some(noise (9 + k) 1))
                            other.Step()

                    expectSameBits (values b) (values alone) name)

            testCase "a group lists its parameters, its options and their names" (fun () ->
                let a, b = vector "a" [ 1.0 ], vector "b" [ 1.0 ]
                let optimizer = new Adam(groups [ group [ a; b ] [ "lr", Number 0.5 ] ])
                let group = optimizer.ParamGroups[0]
                Expect.equal [ for p in group.Parameters -> p.Name ] [ "a"; "b" ] "parameters"

                Expect.equal (Set.ofSeq group.OptionNames) (Constructors.defaults["Adam"] |> Map.keys |> Set.ofSeq) "names of options"

                Expect.equal (group["lr"]) (option (Number 0.5)) "lr"
                Expect.equal (group["betas"]) (option (Pair(0.9, 0.999))) "betas")

            testCase "adding a group that is refused leaves the optimizer as it was" (fun () ->
                let optimizer = new Adam(parameters [ vector "a" [ 1.0 ] ])
                let before = describe (optimizer.StateDict())

                for what, bad in
                    [
                        "a bad option", group [ vector "b" [ 1.0 ] ] [ "eps", Number -1.0 ]
                        "a name twice", group [ vector "a" [ 1.0 ] ] []
                        "no name", group [ vector null [ 1.0 ] ] []
                    ] do
                    refuses<ArgumentException> what [] (fun () -> optimizer.AddParamGroup bad)
                    Expect.equal (describe (optimizer.StateDict())) before what)

            testCase "an empty group is allowed" (fun () ->
                let optimizer = new SGD(groups [ group [ vector "a" [ 1.0 ] ] []; group [] [] ])
                optimizer.Step()
                Expect.equal optimizer.ParamGroups.Count 2 "groups")

            testCase "parameters of different dtypes in one group" (fun () ->
                for name, given in everyRule do
                    let start = [ 1.0; -2.0; 0.5 ]

                    let make dtype =
                        param null dtype [| 3L |] (Array.ofList start)

                    let mixed = [ make DType.Float64; make DType.Float32; make DType.Float64 ]
                    let alone = [ make DType.Float64; make DType.Float32; make DType.Float64 ]
                    let optimizers = [ for p in alone -> optimizer name given [ p ] ]
                    let both = optimizer name given mixed

                    for k in 0..3 do
                        for p in mixed @ alone do
                            setGradient p (Some(noise k 3))

                        both.Step()

                        for optimizer in optimizers do
                            optimizer.Step()

                    for p, q in List.zip mixed alone do
                        expectSameBits (values p) (values q) name)
        ]

let private flags =
    testList
        "flags"
        [
            testCase "fused together with foreach, or with differentiable, is refused" (fun () ->
                for name, _ in everyRule do
                    for other in [ "foreach"; "differentiable" ] do
                        refuses<ArgumentException> name [ "fused"; other ] (fun () ->
                            optimizer name [ "fused", Flag true; other, Flag true ] [ vector "w" [ 1.0 ] ]
                            |> ignore))

            testCase "capturable is refused on the CPU, at the latest by the first step, which changes nothing" (fun () ->
                for name, _ in
                    everyRule
                    |> List.filter (fun (name, _) -> (rule name).OptionNames.Contains "capturable") do
                    let p = vector "w" [ 1.0 ]
                    setGradient p (Some [| 1.0 |])

                    refuses<exn> name [ "capturable" ] (fun () -> (optimizer name [ "capturable", Flag true ] [ p ]).Step())

                    expectSameBits (values p) [| 1.0 |] name)

            testCase "differentiable says that it needs TorchSharp's parameters" (fun () ->
                for name, given in everyRule do
                    let p = vector "w" [ 1.0 ]
                    setGradient p (Some [| 1.0 |])

                    refuses<exn> name [ "differentiable"; "TorchSharp" ] (fun () ->
                        (optimizer name (given @ [ "differentiable", Flag true ]) [ p ]).Step())

                    expectSameBits (values p) [| 1.0 |] name)

            testCase "foreach False runs on the caller; the flags change no bit" (fun () ->
                for name, given in everyRule do
                    let run flags =
                        let list = [ for k in 0..6 -> vector null (List.ofArray (noise k (17 * k + 1))) ]
                        let optimizer = optimizer name (given @ flags) list

                        for k in 0..3 do
                            for i, p in List.indexed list do
                                setGradient p (Some(noise (k + i) (values p).Length))

                            optimizer.Step()

                        optimizer.LastExecutor, list |> List.map values |> Array.concat

                    let executor, expected = run [ "foreach", Flag false ]
                    Expect.stringContains executor "caller" "executor"
                    expectSameBits (snd (run [])) expected name
                    expectSameBits (snd (run [ "foreach", Flag true ])) expected name)
        ]

let private stepping =
    testList
        "step"
        [
            testCase "a closure is called exactly once, before the update, and its loss returned (W5)" (fun () ->
                for name, given in everyRule do
                    let p = vector "w" [ 1.0 ]
                    let optimizer = optimizer name given [ p ]
                    let mutable calls, seen = 0, nan

                    let loss =
                        optimizer.Step(
                            closure (fun () ->
                                calls <- calls + 1
                                seen <- (values p)[0]
                                setGradient p (Some [| 2.0 |])
                                42.5)
                        )

                    Expect.equal calls 1 "calls"
                    Expect.equal seen 1.0 "the parameter in the closure"
                    Expect.equal loss 42.5 "loss"
                    Expect.notEqual (values p) [| 1.0 |] "the gradient of the closure is used"
                    let word = optimizer.Step(Func<string>(fun () -> "any type"))
                    Expect.equal word "any type" "a loss of another type")

            testCase "zero_grad drops gradients, or keeps them as zeros" (fun () ->
                for name, given in everyRule do
                    let p = vector "w" [ 1.0; 2.0 ]
                    let optimizer = optimizer name given [ p ]
                    setGradient p (Some [| 1.0; 1.0 |])
                    optimizer.ZeroGrad(setToNone = false)
                    Expect.equal (gradient p) (Some [| 0.0; 0.0 |]) "zeros"
                    setGradient p (Some [| 1.0; 1.0 |])
                    optimizer.ZeroGrad()
                    Expect.equal (gradient p) None "none"
                    optimizer.ZeroGrad(setToNone = false)
                    Expect.equal (gradient p) None "none stays none")

            testCase "no gradient leaves everything, a zero gradient is a step (E6, G2)" (fun () ->
                for name, given in everyRule do
                    let p = vector "w" [ 1.0; 2.0 ]
                    let optimizer = optimizer name given [ p ]
                    setGradient p (Some [| 1.0; -1.0 |])
                    optimizer.Step()
                    optimizer.ZeroGrad()
                    let before, state = values p, describe (optimizer.StateDict())
                    optimizer.Step()
                    expectSameBits (values p) before $"{name}: parameters"
                    Expect.equal (describe (optimizer.StateDict())) state $"{name}: state"
                    setGradient p (Some [| 0.0; 0.0 |])
                    optimizer.Step()

                    Expect.notEqual (describe (optimizer.StateDict())) state $"{name}: state after a zero gradient")

            testCase "state of a parameter is read by its columns' names" (fun () ->
                let p, other = vector "w" [ 1.0; 2.0 ], vector "v" [ 1.0 ]
                let optimizer = new Adam(parameters [ p; other ], lr = 0.1)
                setGradient p (Some [| 1.0; -1.0 |])
                optimizer.Step()
                let state = optimizer.State p
                Expect.isTrue (state.ContainsKey "exp_avg") "exp_avg"
                Expect.isFalse (state.ContainsKey "max_exp_avg_sq") "max_exp_avg_sq"
                expectSameBits (state["step"].ToDoubles()) [| 1.0 |] "step"
                Expect.isEmpty (optimizer.State other).Keys "a parameter without a step"

                refuses<Exception> "a parameter of nobody" [ "stranger" ] (fun () -> optimizer.State(vector "stranger" [ 1.0 ]) |> ignore))
        ]

let private arrays =
    testList
        "parameters over arrays"
        [
            testCase "the array itself is stepped, not a copy" (fun () ->
                let data, gradient = [| 1f; 2f; 3f; 4f |], [| 1f; 1f; 1f; 1f |]
                use p = new Param("w", data, 2L, 2L)
                p.BindGradient gradient
                let optimizer = new SGD(parameters [ p ], lr = 0.5)
                optimizer.Step()
                Expect.equal data [| 0.5f; 1.5f; 2.5f; 3.5f |] "the array"
                data[0] <- 8f
                gradient[1] <- 3f
                optimizer.Step()
                Expect.equal data [| 7.5f; 0f; 2f; 3f |] "the array, after it was changed"
                Expect.equal gradient [| 1f; 3f; 1f; 1f |] "the gradient is only read"
                optimizer.ZeroGrad(setToNone = false)
                Expect.equal gradient (Array.zeroCreate 4) "zero_grad writes zeros into the bound gradient"
                Expect.equal (Seq.toList p.View.Shape) [ 2L; 2L ] "shape")

            testCase "both dtypes, with and without a name or a shape" (fun () ->
                use a = new Param([| 1.0; 2.0 |])
                use b = new Param("b", [| 1.0; 2.0 |])
                use c = new Param([| 1f |])
                Expect.isNull a.Name "no name"
                Expect.equal b.Name "b" "name"
                Expect.equal a.View.DType DType.Float64 "float64"
                Expect.equal c.View.DType DType.Float32 "float32"
                Expect.equal (Seq.toList b.View.Shape) [ 2L ] "shape")

            testCase "SetGradient copies; Gradient makes one of zeros" (fun () ->
                use p = new Param("w", [| 1.0; 2.0 |])
                Expect.isFalse p.HasGradient "no gradient at first"
                let given = [| 1.0; 2.0 |]
                p.SetGradient(ReadOnlySpan given)
                given[0] <- 9.0
                Expect.equal (gradient p) (Some [| 1.0; 2.0 |]) "a copy"
                p.DropGradient()
                Expect.equal (p.Gradient<float>().ToArray()) [| 0.0; 0.0 |] "zeros"
                Expect.isTrue p.HasGradient "now there is one")

            testCase "wrong lengths, shapes and types are refused by name" (fun () ->
                refuses<ArgumentException> "a shape of another size" [] (fun () -> new Param("weight", [| 1.0; 2.0 |], 3L) |> ignore)

                use p = new Param("weight", [| 1.0; 2.0 |])

                refuses<ArgumentException> "a gradient of another length" [ "weight" ] (fun () -> p.SetGradient(ReadOnlySpan [| 1.0 |]))

                refuses<ArgumentException> "a bound gradient of another length" [ "weight" ] (fun () -> p.BindGradient [| 1.0; 2.0; 3.0 |])

                refuses<Exception> "a gradient of another dtype" [ "weight" ] (fun () -> p.BindGradient [| 1f; 2f |])
                Expect.isFalse p.HasGradient "still no gradient")

            testCase "a disposed parameter is refused by the next step, which changes nothing" (fun () ->
                let p, q = new Param("gone", [| 1.0; 2.0 |]), vector "here" [ 1.0 ]
                setGradient p (Some [| 1.0; 1.0 |])
                setGradient q (Some [| 1.0 |])
                let optimizer = new SGD(parameters [ q; p ], lr = 0.5)
                optimizer.Step()
                p.Dispose()
                refuses<ObjectDisposedException> "a step" [ "gone" ] (fun () -> optimizer.Step())
                expectSameBits (values q) [| 0.5 |] "the other parameter"
                p.Dispose())
        ]

[<Tests>]
let tests =
    testList
        "shell"
        [
            ConstructionTests.defaults
            ConstructionTests.printing
            groups
            flags
            stepping
            arrays
            ConstructionTests.culture
        ]
