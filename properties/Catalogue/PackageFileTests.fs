/// State dicts as pytorch_optimizer and timm save them, with the step, numbers of the run and switches in the parameter group, load into the same
/// rules here: such files are written with these keys.
module PackageFileTests

open System
open System.Collections.Generic
open System.IO
open Expecto
open Optim
open Optim.Core
open Optim.Kernels
open Plain
open Kit

let private shapes = [ [| 3L; 2L |]; [| 4L |] ]

let private parametersOf () =
    shapes
    |> List.mapi (fun i shape ->
        let parameter = Param.Zeros(string i, DType.Float64, shape)
        let values = parameter.Data<float>()

        for k in 0 .. values.Length - 1 do
            values[k] <- sin (float (3 * i + k)) + 1.5

        parameter)

let private steps (optimizer: Optimizer) (parameters: Param list) (numbers: int seq) =
    for number in numbers do
        for i, parameter in List.indexed parameters do
            let gradient = parameter.Gradient<float>()

            for k in 0 .. gradient.Length - 1 do
                gradient[k] <- cos (float (7 * number + 3 * i + k)) + 0.3

        optimizer.Step()

let private optimizerOf rule (parameters: Param list) =
    RuleOptimizer(rule, parameters |> Seq.map (fun p -> p :> IParameterOrGroup))

/// The dict as a package has it.
let private asPackage (rule: Rule) (dict: StateDict) =
    let group = dict.ParamGroups[0]
    group.ParamNames <- null
    group["foreach"] <- OptionValue.None

    for name in List.ofSeq rule.ScalarNames do
        for KeyValue(_, state) in dict.State do
            if state.ContainsKey name then
                group[name] <- Tree.op_Explicit state[name]
                state.Remove name |> ignore

    for KeyValue(_, state) in dict.State do
        if state.ContainsKey "step" then
            let step: float = Tree.op_Explicit state["step"]
            group["step"] <- OptionValue.Int(int64 step + (if rule.Name = "Prodigy" then 1L else 0L))
            state.Remove "step" |> ignore

    if not (group.ContainsKey "step") then
        group["step"] <- OptionValue.Int 3L

    dict

let private values (parameters: Param list) =
    [ for parameter in parameters -> parameter.View.ToDoubles() ]

let private entries: (string * Rule) list =
    [
        for entry in Catalogue.All do
            if
                entry.Published
                |> Seq.exists (fun name -> name.Name.StartsWith "pytorch_optimizer" || name.Name.StartsWith "timm")
            then
                entry.Name, entry.Rule
    ]

[<Tests>]
let tests =
    testList
        "state dicts of packages"
        [
            test "every rule that a package has goes on from the package's file" {
                inFolder (fun within ->
                    for name, rule in entries do
                        let parameters = parametersOf ()
                        let optimizer = optimizerOf rule parameters
                        steps optimizer parameters [ 1..3 ]
                        let path = within $"{name}.pt"
                        Checkpoint.write path ((asPackage rule (optimizer.StateDict().Clone())).ToTree())

                        let others = parametersOf ()

                        for parameter, other in List.zip parameters others do
                            parameter.Data<float>().CopyTo(other.Data<float>())

                        let loaded = optimizerOf rule others
                        let report = loaded.LoadStateDict(StateDict.FromTree(Checkpoint.read path))
                        Expect.isEmpty report.Unexpected name
                        steps optimizer parameters [ 4..6 ]
                        steps loaded others [ 4..6 ]

                        for a, b in List.zip (values parameters) (values others) do
                            Expect.sequenceEqual b a name

                        Cases.add "package files" 1)
            }

            test "what cannot be matched is told by name" {
                let rule = Rules.Find "Lion"
                let parameters = parametersOf ()
                let optimizer = optimizerOf rule parameters
                steps optimizer parameters [ 1..2 ]
                let before = values parameters

                let wrong change =
                    let dict = asPackage rule (optimizer.StateDict().Clone())
                    change dict
                    dict

                let refused words dict =
                    Expect.throwsC (fun () -> optimizer.LoadStateDict dict |> ignore) (fun error ->
                        Expect.isTrue (error :? ArgumentException) words
                        Expect.stringContains error.Message words "message")

                let unknown =
                    wrong (fun (dict: StateDict) -> dict.ParamGroups[0].["stochastic"] <- OptionValue.Bool true)

                refused "no option 'stochastic'" unknown
                refused "no option 'capturable'" (wrong (fun dict -> dict.ParamGroups[0].["capturable"] <- OptionValue.Bool true))

                let foreign =
                    wrong (fun dict -> (dict.State[0]).["grad_gap"] <- Tree.Tensor(TensorView.Of [| 1.0 |]))

                refused "'grad_gap'" foreign
                Expect.sequenceEqual (values parameters) before "nothing has changed"
                let report = optimizer.LoadStateDict(unknown, strict = false)
                Expect.sequenceEqual report.Unexpected [ "stochastic" ] "reported"
            }
        ]
