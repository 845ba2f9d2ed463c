namespace Optim.Laws

open Optim
open Optim.Core
open Optim.Kernels

/// Parameters of host memory, made from scenarios, and optimizers over them.
[<RequireQualifiedAccess>]
module Host =
    /// The parameters of a scenario, with names that begin so.
    let named (prefix: string) (s: Scenario) =
        s.Start
        |> Array.mapi (fun k values -> Param.Of(prefix + string k, Shapes.suit s.Rule (Tensor.ofFloats s.DType values)))

    /// The parameters of a scenario, called p0, p1, ...
    let parameters (s: Scenario) = named "p" s

    /// A group of some parameters with the options of a record.
    let group (rule: Rule) (options: IOptimizerOptions) (parameters: Param seq) =
        let group =
            ParameterGroup(parameters |> Seq.map (fun parameter -> parameter :> IParameter))

        for name in rule.OptionNames do
            let value = rule.Read(options, name)

            if not (value.Equals(rule.Read(rule.Defaults, name))) then
                group[name] <- value

        group

    /// An optimizer over parameters, all in one group.
    let optimizer (subject: Subject) (options: IOptimizerOptions) (parameters: Param seq) =
        subject.Shell.Open subject.Rule [] [ group subject.Rule options parameters ]

    /// Hands each parameter its gradient, or takes it away.
    let give dtype (parameters: Param[]) (row: float[] voption[]) =
        Array.iter2
            (fun (parameter: Param) values ->
                match values with
                | ValueNone -> parameter.DropGradient()
                | ValueSome values ->
                    let shape = Seq.toArray (parameter :> IParameter).Data.Shape
                    parameter.BindGradient(Tensor.shaped shape dtype values))
            parameters
            row

    /// Gradients and a step, for each row of a history.
    let run (subject: Subject) (optimizer: Optimizer) dtype (parameters: Param[]) (history: float[] voption[][]) =
        for row in history do
            give dtype parameters row
            subject.Shell.Step optimizer

    /// The elements of a parameter.
    let theta (parameter: Param) =
        (parameter :> IParameter).Data.ToDoubles()

    /// Parameters and state. State that a parameter does not have is absent; the count is 0 where the rule shows none.
    let read dtype (optimizer: Optimizer) (parameters: Param[]) =
        let states = parameters |> Array.map optimizer.State

        let names =
            states
            |> Seq.collect _.Keys
            |> Seq.distinct
            |> Seq.filter (fun name -> name <> "step" && not ((optimizer.Algorithm :?> Rule).ScalarNames.Contains name))
            |> Seq.sort
            |> Seq.toList

        let row name (state: ParameterState) =
            if state.ContainsKey name then
                ValueSome(state[name].ToDoubles())
            else
                ValueNone

        {
            DType = dtype
            Theta = parameters |> Array.map theta
            State = names |> List.map (fun name -> name, states |> Array.map (row name))
            Scalars =
                [
                    for name in (optimizer.Algorithm :?> Rule).ScalarNames do
                        let number = row name >> ValueOption.map Array.head >> ValueOption.defaultValue nan
                        name, states |> Array.map number
                ]
            Counts =
                states
                |> Array.map (fun state ->
                    if state.ContainsKey "step" then
                        int64 (state["step"].ToDoubles()[0])
                    else
                        0L)
        }

    /// The whole scenario, by one optimizer.
    let final (subject: Subject) (s: Scenario) =
        let parameters = parameters s
        let optimizer = optimizer subject s.Options parameters
        run subject optimizer s.DType parameters s.History
        read s.DType optimizer parameters

/// State dicts, compared.
[<RequireQualifiedAccess>]
module Saved =
    let private same what (a: 'a seq) (b: 'a seq) =
        let a, b = Seq.toList a, Seq.toList b
        a = b |> Verdict.require (fun () -> sprintf "%s: %A instead of %A" what b a)

    let private tensor (a: TensorView) (b: TensorView) =
        Verdict.all
            [
                same "dtype" [ a.DType ] [ b.DType ]
                same "shape" a.Shape b.Shape
                Comparator.arrays Comparator.bit a.DType (a.ToDoubles()) (b.ToDoubles())
            ]

    let private value (a: Tree) (b: Tree) =
        match a, b with
        | Tree.Tensor a, Tree.Tensor b -> tensor a b
        | _ -> same "value" [ string a ] [ string b ]

    /// All that a dict holds, copied out as numbers and texts.
    let numbers (dict: StateDict) =
        [
            for state in dict.State do
                for entry in state.Value do
                    match entry.Value with
                    | Tree.Tensor view ->
                        sprintf "%d %s" state.Key entry.Key,
                        List.ofArray (view.ToDoubles() |> Array.map System.BitConverter.DoubleToInt64Bits)
                    | value -> sprintf "%d %s %O" state.Key entry.Key value, []
            for group in dict.ParamGroups do
                for entry in group do
                    sprintf "%s %O" entry.Key entry.Value, []
        ]

    /// Whether two dicts hold the same, in the same order.
    let compare (expected: StateDict) (actual: StateDict) =
        let states =
            Seq.zip expected.State actual.State
            |> Seq.collect (fun (a, b) ->
                [
                    same "keys" a.Value.Keys b.Value.Keys
                    for key in a.Value.Keys do
                        if b.Value.ContainsKey key then
                            value a.Value[key] b.Value[key] |> Verdict.where (sprintf "%s of %d" key a.Key)
                ])

        let groups =
            Seq.zip expected.ParamGroups actual.ParamGroups
            |> Seq.collect (fun (a, b) ->
                [
                    same "options" a.Keys b.Keys
                    same "values" (a.Values |> Seq.map string) (b.Values |> Seq.map string)
                    same "params" a.Params b.Params
                    same
                        "param_names"
                        (Seq.map string (Option.ofObj a.ParamNames |> Option.toList))
                        (Seq.map string (Option.ofObj b.ParamNames |> Option.toList))
                ])

        Verdict.all
            [
                same "parameters with state" expected.State.Keys actual.State.Keys
                same "groups" [ expected.ParamGroups.Count ] [ actual.ParamGroups.Count ]
                Verdict.all states
                Verdict.all groups
            ]
