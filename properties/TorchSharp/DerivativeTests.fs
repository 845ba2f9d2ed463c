/// Derivatives of steps: PyTorch's recorded ones, and central differences of our own kernels' steps for every element-wise rule.
module DerivativeTests

open System
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit
open DifferentiableKit

// The run that golden/differentiable.json has

let private golden =
    [
        for file in files "differentiable*.json" do
            for index, case in List.indexed (cases file) do
                let name = field "optimizer" case |> Golden.text
                let settings = field "options" case |> pairs setting

                let label =
                    settings
                    |> List.map (fun (name, value: Setting) -> $"{name} {value}")
                    |> String.concat ", "

                test $"golden: {name} ({label}), case {index}" {
                    let read name = field name case |> numbers

                    let run =
                        {
                            X0 = read "x0"
                            A = read "a"
                            C = read "c"
                            W = read "w"
                            Steps = field "steps" case |> Golden.number |> int
                        }

                    let lr =
                        settings
                        |> List.pick (function
                            | "lr", Number lr -> Some lr
                            | _ -> None)

                    let rule = rule name
                    let x, dX0, _, dLr = traced rule (record rule settings) [ "lr" ] [ lr ] run
                    close "x_end" 1e-11 x (read "x_end")
                    close "outer" 1e-11 [| Array.map2 (*) run.W x |> Array.sum |] [| field "outer" case |> Golden.number |]
                    close "d_x0" 1e-9 dX0 (read "d_x0")
                    close "d_lr" 1e-8 (Array.ofList dLr) [| field "d_lr_central_difference" case |> Golden.number |]
                }
    ]

// Central differences, for every rule that works element by element

/// Values at which a derivative says something, by name.
let private telling =
    Map
        [
            "lr", Number 0.05
            "weight_decay", Number 0.1
            "momentum", Number 0.6
            "dampening", Number 0.2
            "betas", Pair(0.7, 0.8)
            "eps", Number 1e-2
            "alpha", Number 0.8
            "rho", Number 0.7
            "lr_decay", Number 0.1
            "initial_accumulator_value", Number 0.3
            "momentum_decay", Number 0.1
            "lambd", Number 0.02
            "t0", Number 2.5
        ]

/// The flags that are arithmetic: not those of execution.
let private flags (rule: Rule) =
    rule.OptionNames
    |> Seq.filter (fun name ->
        (rule.Read(rule.Defaults, name)).IsBool
        && not (rule.IsFixed name)
        && not (List.contains name [ "capturable"; "differentiable" ]))
    |> List.ofSeq

/// The options of a rule at telling values, with every flag by itself, and all of them.
let private variants (rule: Rule) =
    let numbers =
        [
            for name in rule.OptionNames do
                match telling.TryFind name with
                | Some setting -> name, setting
                | None -> ()
        ]

    [
        for on in [] :: (flags rule :: List.map List.singleton (flags rule)) |> List.distinct do
            let settings =
                [
                    for name, setting in numbers do
                        // Nesterov and dampening exclude each other.
                        yield
                            name,
                            (if name = "dampening" && List.contains "nesterov" on then
                                 Number 0.0
                             else
                                 setting)
                    for flag in on do
                        yield flag, Flag true
                ]

            String.concat ", " on, settings
    ]

/// The value of a number among the options, and the options with another one.
let private valueOf (rule: Rule) (options: IOptimizerOptions) (number: OptionNumber) =
    match rule.Read(options, number.Option), number.Part with
    | OptionValue.Tuple(Items [ OptionValue.Float a; OptionValue.Float b ]), part -> if part = 0 then a else b
    | value, _ -> OptionValue.op_Explicit value

let private withValue (rule: Rule) (options: IOptimizerOptions) (number: OptionNumber) (value: float) =
    match rule.Read(options, number.Option), number.Part with
    | OptionValue.Tuple(Items [ OptionValue.Float a; OptionValue.Float b ]), part ->
        let pair = if part = 0 then struct (value, b) else struct (a, value)
        rule.Replace(options, number.Option, OptionValue.op_Implicit pair)
    | _ -> rule.Replace(options, number.Option, OptionValue.Float value)

let private differences =
    [
        for rule in elementWise @ [ DefinedRules.adaBelief :> Rule; DefinedRules.nAdam :> Rule ] do
            for label, settings in variants rule do
                test $"{rule.Name} ({label}): derivatives by starting point, gradient and every option are central differences" {
                    let options = record rule settings
                    // What cannot move without another option moving, too, such as dampening beside nesterov.
                    let free =
                        rule.Numbers options
                        |> Seq.filter (fun n ->
                            try
                                let value = valueOf rule options n
                                withValue rule options n (value + 1e-5) |> ignore
                                withValue rule options n (value - 1e-5) |> ignore
                                true
                            with :? OptionException ->
                                false)
                        |> List.ofSeq

                    Expect.isTrue (free |> List.exists (fun n -> n.Name = "lr")) "lr is among the numbers"

                    let zero = Array.zeroCreate start.X0.Length

                    let x, dX0, dDelta, dOptions =
                        traced rule options (free |> List.map _.Name) (free |> List.map (valueOf rule options)) start

                    let outer = Array.map2 (*) start.W x |> Array.sum
                    close "the loss by the kernels" 1e-11 [| outer |] [| plainly rule options zero start |]

                    let nudged (values: float[]) j h =
                        values |> Array.mapi (fun i value -> if i = j then value + h else value)

                    for j in 0 .. start.X0.Length - 1 do
                        let byStart =
                            central (fun h -> plainly rule options zero { start with X0 = nudged start.X0 j h }) 1e-6

                        let byGradient =
                            central (fun h -> plainly rule options (nudged zero j h) start) 1e-6

                        close $"by x0[{j}]" 1e-6 [| dX0[j] |] [| byStart |]
                        close $"by the gradient of step 3, [{j}]" 1e-6 [| dDelta[j] |] [| byGradient |]

                    for n, derivative in List.zip free dOptions do
                        let value = valueOf rule options n

                        let byOption =
                            central (fun h -> plainly rule (withValue rule options n (value + h)) zero start) 1e-6

                        close $"by {n.Name}" 1e-6 [| derivative |] [| byOption |]
                }

            test $"{rule.Name}: a derivative at gradient zero is a number, and the true one where there is one" {
                let step =
                    Differentiable.Step(
                        rule,
                        record
                            rule
                            [
                                for KeyValue(n, s) in telling do
                                    if rule.Has n && n <> "weight_decay" then
                                        n, s
                            ]
                    )

                let x, g = leaf [| 0.5; 0.5 |], leaf [| 0.0; 0.0 |]
                let struct (x1, state) = step.Run(x, g, step.Init x)
                let struct (x2, _) = step.Run(x1, g * 0.5, state)
                x2.sum().backward()
                Expect.all (Array.append (grad g) (grad x)) Double.IsFinite "finite"

                // At the jump of the sign there is none.
                if rule.Name <> "Rprop" then
                    let options =
                        record
                            rule
                            [
                                for KeyValue(n, s) in telling do
                                    if rule.Has n && n <> "weight_decay" then
                                        n, s
                            ]

                    let moved (g: float) =
                        let parameters = Parameters.Of [ TensorView.Of [| 0.5 |] ]

                        let gradient (g: float) =
                            Gradients.OfDense [ TensorView.Of [| g |] ]

                        let state =
                            rule.Step(options, parameters, gradient g, rule.Init(options, parameters))

                        rule.Step(options, parameters, gradient (0.5 * g), state) |> ignore
                        parameters[0].ToDoubles()[0]

                    close "by g" 1e-5 [| (grad g)[0] |] [| central moved 1e-9 |]
            }
    ]

let tests = golden @ differences
