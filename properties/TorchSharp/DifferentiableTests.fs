/// Steps with a graph: PyTorch's derivatives, and central differences of our own kernels' steps for every element-wise rule.
module DifferentiableTests

open System
open System.Collections.Generic
open System.Text.Json
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Golden
open Kit

type private Tensor = torch.Tensor

let private doubles (tensor: Tensor) : float[] =
    use plain = tensor.detach().``to``(torch.float64).contiguous()
    plain.data<float>().ToArray()

let private leaf (values: float[]) : Tensor =
    torch.tensor(values).requires_grad_ true

let private number (value: float) : Tensor = torch.tensor(value).requires_grad_ true

let private grad (tensor: Tensor) : float[] =
    match tensor.grad with
    | null -> Array.zeroCreate (int (tensor.numel ()))
    | gradient -> doubles gradient

let private close what (allowed: float) (actual: float[]) (expected: float[]) =
    for i in 0 .. expected.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= allowed * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, expected %s" what i (text actual[i]) (text expected[i])

let private record (rule: Rule) (settings: seq<string * Setting>) =
    rule.Replace(rule.Defaults, [ for name, setting in settings -> KeyValuePair(name, option setting) ])

// The run that golden/differentiable.json has

/// Gradient a (x - c) + tanh x, loss w'x after some steps.
type private Run =
    {
        X0: float[]
        A: float[]
        C: float[]
        W: float[]
        Steps: int
    }

/// x at the end, and the derivatives with respect to the starting point, to a number added to the gradients of step 3, and to the options.
let private traced (rule: Rule) (options: IOptimizerOptions) (names: string list) values (run: Run) =
    let tensors =
        [| for name, value in List.zip names values -> struct (name, number value) |]

    let step = Differentiable.Step(rule, options, tensors)
    let x0, delta = leaf run.X0, leaf (Array.zeroCreate run.X0.Length)
    let a, c, w = torch.tensor run.A, torch.tensor run.C, torch.tensor run.W
    let mutable x, state = x0, step.Init x0

    for i in 1 .. run.Steps do
        let gradient = a * (x - c) + x.tanh ()
        let gradient = if i = 3 then gradient + delta else gradient
        let struct (moved, next) = step.Run(x, gradient, state)
        x <- moved
        state <- next

    (w * x).sum().backward()

    doubles x, grad x0, grad delta, [ for struct (_, tensor) in tensors -> (grad tensor)[0] ]

/// The same loss by the kernels, with nothing of the graph in it.
let private plainly (rule: Rule) (options: IOptimizerOptions) (delta: float[]) (run: Run) =
    let x = Array.copy run.X0
    let parameters = Parameters.Of [ TensorView.Of x ]
    let mutable state = rule.Init(options, parameters)

    for i in 1 .. run.Steps do
        let x = parameters[0].ToDoubles()

        let gradient =
            Array.init x.Length (fun j -> run.A[j] * (x[j] - run.C[j]) + tanh x[j] + (if i = 3 then delta[j] else 0.0))

        state <- rule.Step(options, parameters, Gradients.OfDense [ TensorView.Of gradient ], state)

    Array.map2 (*) run.W (parameters[0].ToDoubles()) |> Array.sum

let private central (f: float -> float) h = (f h - f -h) / (2.0 * h)

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

let private start =
    {
        X0 = [| 0.9; -1.3; 0.45; 2.1; -0.6 |]
        A = [| 1.1; 0.7; 1.9; 0.6; 1.4 |]
        C = [| -0.4; 0.8; -1.2; 0.3; 1.7 |]
        W = [| 0.8; -1.1; 0.5; 1.3; -0.7 |]
        Steps = 6
    }

let private elementWise = List.ofSeq Rules.All |> List.filter _.IsDifferentiable

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

// What else a step must do

let private adam = Rules.Find "adam"

let private others =
    [
        test "an option of value 0 has its derivative, though an ordinary step leaves its term out" {
            for rule, name in
                [
                    "SGD", "weight_decay"
                    "SGD", "momentum"
                    "Adam", "weight_decay"
                    "RMSprop", "momentum"
                ] do
                let rule = Kit.rule rule
                let options = rule.Replace(rule.Defaults, "lr", OptionValue.Float 0.05)
                let _, _, _, derivative = traced rule options [ name ] [ 0.0 ] start
                let zero = Array.zeroCreate start.X0.Length

                let loss value =
                    plainly rule (rule.Replace(options, name, OptionValue.Float value)) zero start
                // One-sided, as below 0 there is nothing.
                let oneSided = (4.0 * loss 1e-6 - 3.0 * loss 0.0 - loss 2e-6) / 2e-6
                Expect.isGreaterThan (abs oneSided) 1e-3 "it matters"
                close $"{rule.Name} by {name}" 1e-4 (Array.ofList derivative) [| oneSided |]
        }

        test "nothing that goes in changes, and two runs go on from one state" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))
            let x, g = leaf [| 1.0; 2.0 |], torch.tensor [| 0.5; -0.5 |]
            let struct (x1, s1) = step.Run(x, g, step.Init x)
            let before = [ doubles x1; doubles (s1.Rows[0].Columns["exp_avg"]) ]
            let struct (a, _) = step.Run(x1, g, s1)
            let struct (b, _) = step.Run(x1, g, s1)
            Expect.equal (doubles a) (doubles b) "twice the same"
            Expect.equal [ doubles x1; doubles (s1.Rows[0].Columns["exp_avg"]) ] before "unchanged"
            Expect.equal (doubles x, doubles g) ([| 1.0; 2.0 |], [| 0.5; -0.5 |]) "nor the rest"
            Expect.equal s1.Rows[0].Step 1L "steps"
        }

        test "parameters without a gradient stay, with their state and their count" {
            let step = Differentiable.Step(adam, adam.Defaults)
            let x, y = leaf [| 1.0 |], leaf [| 2.0; 3.0 |]

            let struct (moved, state) =
                step.Run([ x; y ], [ torch.ones_like x; null ], step.Init(x, y))

            Expect.equal (doubles moved[1]) [| 2.0; 3.0 |] "stays"
            Expect.equal [ for row in state.Rows -> row.Step ] [ 1L; 0L ] "counts"
            Expect.isEmpty state.Rows[1].Columns "no state"
            moved[1].sum().backward()
            Expect.equal (grad y) [| 1.0; 1.0 |] "its graph goes through"
        }

        test "numbers without dimensions, half types and float32 keep shape and dtype, and half types a state in float32" {
            for rule in elementWise do
                for dtype in [ torch.float16; torch.bfloat16; torch.float32; torch.float64 ] do
                    for shape in [ [||]; [| 1L |]; [| 2L; 3L |]; [| 0L |] ] do
                        let step = Differentiable.Step(rule, rule.Defaults, struct ("lr", number 0.125))
                        let x: Tensor = torch.ones(shape, dtype = Nullable dtype).requires_grad_ true
                        let struct (x1, s1) = step.Run(x, torch.ones_like x, step.Init x)
                        let struct (x2, s2) = step.Run(x1, torch.ones_like x, s1)
                        let what = $"{rule.Name}, {dtype}, {x.Dimensions} dimensions"
                        Expect.equal (x2.dtype, x2.shape) (dtype, shape) what

                        for KeyValue(name, column) in
                            s2.Rows[0].Columns
                            |> Seq.filter (fun c -> not (rule.ScalarNames.Contains c.Key)) do
                            Expect.equal column.shape shape $"{what}, {name}"
                            let wide = if dtype = torch.float64 then dtype else torch.float32
                            Expect.equal column.dtype wide what

                        x2.sum().backward()
                        Expect.all (grad x) Double.IsFinite what
        }

        test "complex numbers are pairs of reals" {
            for rule in elementWise do
                let step = Differentiable.Step(rule, rule.Defaults)
                let values = [| 0.5; -1.0; 2.0; 0.25 |]
                let gradient = [| 1.0; 0.5; -0.25; 2.0 |]
                let pairs = leaf values
                let complex = (torch.tensor values).reshape(2L, 2L).view_as_complex()
                let complexGradient = (torch.tensor gradient).reshape(2L, 2L).view_as_complex()
                let struct (a, s) = step.Run(pairs, torch.tensor gradient, step.Init pairs)
                let struct (b, t) = step.Run(complex, complexGradient, step.Init complex)
                let struct (a, _) = step.Run(a, torch.tensor gradient, s)
                let struct (b, _) = step.Run(b, complexGradient, t)
                Expect.equal (doubles (b.view_as_real().reshape -1L)) (doubles a) rule.Name
        }

        test "no tensor is left behind but what comes out, and memory stays flat" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))

            let steps count =
                use _ = torch.NewDisposeScope()
                let x = leaf (Array.create 1000 1.0)
                let mutable y, state = x, step.Init x

                for _ in 1..count do
                    let struct (moved, next) = step.Run(y, y, state)
                    y <- moved
                    state <- next

                y.sum().backward()

            let outer =
                use _ = torch.NewDisposeScope()
                let before = Tensor.TotalCount
                let x = leaf [| 1.0 |]
                let struct (_, _) = step.Run(x, torch.ones_like x, step.Init x)
                Tensor.TotalCount - before

            // x, the gradient, the moved parameter and two columns.
            Expect.isLessThanOrEqual outer 5L "live tensors of one step"
            // Those of other tests that nobody holds any more would go in between.
            collect ()
            steps 5
            let count = Tensor.TotalCount

            for _ in 1..20 do
                steps 5

            // One vector left behind in each step would be 16 MB.
            expectFlat (8L <<< 20) (fun () ->
                for _ in 1..400 do
                    steps 5)

            Expect.equal Tensor.TotalCount count "live tensors"
        }

        test "under no_grad there is no graph" {
            let step = Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.1))
            use _ = torch.no_grad ()
            let x = leaf [| 1.0 |]
            let struct (moved, _) = step.Run(x, torch.ones_like x, step.Init x)
            Expect.isFalse moved.requires_grad "none"
        }

        test "refused: what is no number of a step, with what would be" {
            let make name value () =
                Differentiable.Step(adam, adam.Defaults, struct (name, value)) |> ignore

            refuses<OptionException> "unknown" [ "Adam"; "'momentum'"; "beta1"; "weight_decay" ] (make "momentum" (number 0.5))
            refuses<OptionException> "a pair" [ "'betas'"; "beta1" ] (make "betas" (number 0.5))
            refuses<OptionException> "range" [ "lr is -1"; "at least 0" ] (make "lr" (number -1.0))
            refuses<OptionException> "part of a pair" [ "betas"; "1.5"; "[0, 1)" ] (make "beta2" (number 1.5))
            refuses<ArgumentException> "two elements" [ "lr"; "2 elements" ] (make "lr" (leaf [| 0.1; 0.2 |]))

            refuses<OptionException> "twice" [ "lr"; "twice" ] (fun () ->
                Differentiable.Step(adam, adam.Defaults, struct ("lr", number 0.5), struct ("lr", number 0.5))
                |> ignore)
        }

        test "refused: an eps that float32 rounds to 0, as a number or as a tensor; 0 itself and float64 are taken" {
            let run (dtype: torch.ScalarType) (options: IOptimizerOptions) tensors =
                let step = Differentiable.Step(adam, options, tensors)
                let x = torch.ones (2L, dtype = Nullable dtype)
                step.Run(x, torch.ones_like x, step.Init x) |> ignore

            let tiny = adam.Replace(adam.Defaults, "eps", OptionValue.Float 1e-50)

            for dtype in [ torch.float32; torch.bfloat16 ] do
                refuses<OptionException> "a number" [ "eps is 1e-50"; "parameter 0"; "float32" ] (fun () -> run dtype tiny [||])

                refuses<OptionException> "a tensor" [ "eps is 1e-50" ] (fun () ->
                    run dtype adam.Defaults [| struct ("eps", number 1e-50) |])

                run dtype adam.Defaults [| struct ("eps", number 0.0) |]

            run torch.float64 tiny [||]
        }

        test "refused: rules that do not work element by element, as in PyTorch" {
            // LBFGS is no rule, so there is nothing to give.
            for name in [ "Muon"; "Adafactor"; "SparseAdam" ] do
                let rule = rule name

                refuses<NotSupportedException> name [ name; "differentiable" ] (fun () ->
                    Differentiable.Step(rule, rule.Defaults) |> ignore)
        }

        test "refused: gradients and states that do not fit" {
            let step = Differentiable.Step(adam, adam.Defaults)
            let x = leaf [| 1.0; 2.0 |]
            let state = step.Init x
            let run (g: Tensor) () = step.Run(x, g, state) |> ignore
            refuses<ArgumentException> "shape" [ "[3]"; "[2]" ] (run (torch.zeros ([| 3L |], dtype = Nullable torch.float64)))
            refuses<NotSupportedException> "dtype" [ "Float32"; "Float64" ] (run (torch.zeros [| 2L |]))
            refuses<NotSupportedException> "sparse" [ "sparse" ] (run ((torch.tensor [| 1.0; 0.0 |]).to_sparse()))
            refuses<ArgumentException> "integers" [ "Int64" ] (fun () -> step.Init(torch.tensor [| 1L |]) |> ignore)

            refuses<ArgumentException> "another rule's state" [ "SGD"; "Adam" ] (fun () ->
                let sgd = Kit.rule "SGD"
                step.Run(x, x, Differentiable.Step(sgd, sgd.Defaults).Init x) |> ignore)
        }

        test "the flag differentiable of an ordinary step points here" {
            let w = leaf [| 1.0 |]
            w.grad <- torch.ones_like w

            for rule in elementWise do
                if rule.Has "differentiable" then
                    let optimizer =
                        RuleOptimizer(
                            rule,
                            Seq.cast<IParameterOrGroup>(Torch.Parameters(struct ("w", w))),
                            struct ("differentiable", OptionValue.Bool true)
                        )

                    refuses<NotSupportedException> rule.Name [ "differentiable is True"; "Differentiable.Step" ] optimizer.Step
        }
    ]

let tests = golden @ differences @ others
