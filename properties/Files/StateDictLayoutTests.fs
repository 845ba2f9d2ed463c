/// The layout of state dicts: PyTorch's keys and their order, shapes and dtypes.
module StateDictLayoutTests

open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

/// Keys of a group in the order in which PyTorch writes them.
let private groupKeys =
    Map
        [
            "SGD", "lr momentum dampening weight_decay nesterov maximize foreach differentiable fused"
            "Adam", "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused decoupled_weight_decay"
            "AdamW", "lr betas eps weight_decay amsgrad maximize foreach capturable differentiable fused decoupled_weight_decay"
            "Adadelta", "lr rho eps weight_decay maximize capturable foreach differentiable"
            "Adagrad", "lr lr_decay eps weight_decay initial_accumulator_value foreach maximize differentiable fused"
            "Adamax", "lr betas eps weight_decay foreach maximize differentiable capturable"
            "ASGD", "lr lambd alpha t0 weight_decay foreach maximize differentiable capturable"
            "NAdam", "lr betas eps weight_decay momentum_decay decoupled_weight_decay maximize foreach capturable differentiable"
            "RAdam", "lr betas eps weight_decay maximize foreach capturable decoupled_weight_decay differentiable"
            "RMSprop", "lr momentum alpha eps centered weight_decay capturable foreach maximize differentiable"
            "Rprop", "lr etas step_sizes foreach maximize differentiable capturable"
        ]

/// Keys of the state that `everyRule` keeps for a parameter, in PyTorch's order.
let stateKeys =
    Map
        [
            "SGD", [ "momentum_buffer" ]
            "Adam", [ "step"; "exp_avg"; "exp_avg_sq"; "max_exp_avg_sq" ]
            "AdamW", [ "step"; "exp_avg"; "exp_avg_sq" ]
            "Adadelta", [ "step"; "square_avg"; "acc_delta" ]
            "Adagrad", [ "step"; "sum" ]
            "Adamax", [ "step"; "exp_avg"; "exp_inf" ]
            "ASGD", [ "step"; "eta"; "mu"; "ax" ]
            "NAdam", [ "step"; "mu_product"; "exp_avg"; "exp_avg_sq" ]
            "RAdam", [ "step"; "exp_avg"; "exp_avg_sq" ]
            "RMSprop", [ "step"; "square_avg"; "momentum_buffer"; "grad_avg" ]
            "Rprop", [ "step"; "prev"; "step_size" ]
        ]

let tests =
    testList
        "layout"
        [
            testCase "a group's keys come in PyTorch's order" (fun () ->
                for name, _ in everyRule do
                    let dict = (optimizer name [] (abc ())).StateDict()
                    let keys = List.ofSeq (groupKeys[name].Split ' ')
                    Expect.equal (List.ofSeq dict.ParamGroups[0].Keys) keys name)

            testCase "a group's own options come first, in the order in which they were given" (fun () ->
                for name, _ in everyRule do
                    let own = group (abc ()) [ "maximize", Flag true; "lr", Number 0.25 ]
                    let dict = (new RuleOptimizer(rule name, groups [ own ], [||])).StateDict()

                    let rest =
                        groupKeys[name].Split ' '
                        |> List.ofArray
                        |> List.filter (fun key -> key <> "maximize" && key <> "lr")

                    Expect.equal (List.ofSeq dict.ParamGroups[0].Keys) ("maximize" :: "lr" :: rest) name
                    Expect.equal dict.ParamGroups[0].OwnOptions 2 "param_names come after these")

            testCase "values of a group are the options'" (fun () ->
                for name, given in everyRule do
                    let dict = (optimizer name given (abc ())).StateDict()

                    for KeyValue(key, value) in Constructors.settings name given do
                        if dict.ParamGroups[0].ContainsKey key then
                            Expect.equal (dict.ParamGroups[0][key]) (option value) $"{name} {key}")

            testCase "the state's keys, their order, shapes and dtypes are PyTorch's" (fun () ->
                for name, given in everyRule do
                    for dtype in [ DType.Float32; DType.Float64 ] do
                        let p = param "w" dtype [| 2L; 3L |] (noise 1 6)
                        let optimizer = optimizer name given [ p ]
                        stepOnNoise optimizer 1 [ p ]
                        let state = optimizer.StateDict().State[0]
                        Expect.equal (List.ofSeq state.Keys) stateKeys[name] name

                        for KeyValue(key, value) in state do
                            let value = value.AsTensor()

                            if key = "step" then
                                Expect.equal value.DType DType.Float32 "dtype of step"
                                Expect.isEmpty (Seq.toList value.Shape) "shape of step"
                                expectSameBits (value.ToDoubles()) [| 1.0 |] "step"
                            elif (rule name).ScalarNames.Contains key then
                                Expect.equal value.DType DType.Float64 $"{name} {key} is wider than PyTorch's"
                                Expect.isEmpty (Seq.toList value.Shape) $"{name} {key}: shape"
                            else
                                Expect.equal value.DType dtype $"{name} {key}: dtype"
                                Expect.equal (Seq.toList value.Shape) [ 2L; 3L ] $"{name} {key}: shape")

            testCase "SGD without momentum has no entry" (fun () ->
                let list = abc ()
                let optimizer = optimizer "SGD" [ "lr", Number 0.1 ] list
                stepOnNoise optimizer 1 list
                Expect.isEmpty (optimizer.StateDict().State) "state")

            testCase "Adagrad's sums are there before the first step, as PyTorch's" (fun () ->
                let list = abc ()
                let given = [ "initial_accumulator_value", Number 0.5 ]
                let optimizer = optimizer "Adagrad" given list

                for i, p in List.indexed list do
                    let state = optimizer.StateDict().State[i]
                    Expect.equal (List.ofSeq state.Keys) [ "step"; "sum" ] "keys"
                    expectSameBits (state["step"].ToDoubles()) [| 0.0 |] "step"
                    expectSameBits (state["sum"].ToDoubles()) (values p |> Array.map (fun _ -> 0.5)) "sum"

                stepOnNoise optimizer 1 list
                Expect.isTrue (column optimizer list[0] "sum" |> Array.forall (fun x -> x > 0.5)) "and grow")

            testCase "parameters that never stepped have no entry" (fun () ->
                for name, given in everyRule |> List.filter (fst >> hasStateAtOnce >> not) do
                    let list = abc ()
                    let optimizer = optimizer name given list
                    Expect.isEmpty (optimizer.StateDict().State) $"{name}: before the first step"
                    setGradient list[1] (Some [| 1.0 |])
                    optimizer.Step()
                    Expect.equal (List.ofSeq (optimizer.StateDict().State.Keys)) [ 1 ] name)

            testCase "ids count on over the groups, names go with them" (fun () ->
                let own = [ group (abc ()) []; group [ vector "d" [ 1.0 ]; vector "e" [ 1.0 ] ] [] ]
                let optimizer = new Adam(groups own)
                optimizer.AddParamGroup(group [ vector "f" [ 1.0 ] ] [])
                let dict = optimizer.StateDict()
                Expect.equal [ for g in dict.ParamGroups -> List.ofSeq g.Params ] [ [ 0; 1; 2 ]; [ 3; 4 ]; [ 5 ] ] "ids"

                Expect.equal [ for g in dict.ParamGroups -> List.ofSeq g.ParamNames ] [ [ "a"; "b"; "c" ]; [ "d"; "e" ]; [ "f" ] ] "names")

            testCase "without names there are none" (fun () ->
                let dict =
                    (new Adam(parameters [ vector null [ 1.0 ]; vector null [ 2.0 ] ])).StateDict()

                Expect.isNull dict.ParamGroups[0].ParamNames "names")

            testCase "steps count each parameter's own" (fun () ->
                let list = abc ()
                let optimizer = optimizer "Adam" [] list

                for k in 0..5 do
                    for i, p in List.indexed list do
                        setGradient
                            p
                            (if k % (i + 1) = 0 then
                                 Some(noise k (values p).Length)
                             else
                                 None)

                    optimizer.Step()

                let dict = optimizer.StateDict()
                Expect.equal [ for id in 0..2 -> slot dict id "step" ] [ [| 6.0 |]; [| 3.0 |]; [| 2.0 |] ] "step")
        ]
