/// Tensors that no kernel of ours steps: the formula on libtorch's operators, in place. On the CPU by asking for it, and on CUDA where there is one.
module DeviceTests

open System
open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Kit
open TorchKit
open DeviceKit

let private dense =
    [
        for rule in stepped do
            for label, settings in settingsOf rule do
                test $"{rule.Name} ({label}): libtorch's operators and our kernels agree, for every dtype" {
                    for dtype in [ torch.float32; torch.float64; torch.complex64; torch.complex128 ] @ halves do
                        if takes rule dtype then
                            for shape in [ [| 3L; 4L |]; [||]; [| 0L |] ] do
                                agree rule settings 0.0 dtype shape
                }
    ]

let private thereOf (shape: int64[]) (values: float[]) = moved (TensorView.Of(values, shape))

let private there (values: float[]) =
    thereOf [| int64 values.Length |] values

/// Rules whose parameters step together: chains, definitions and wrapped rules that look at all of them, and noise.
let private together: (string * Rule) list =
    let chain transforms = Chain.chain transforms :> Rule

    [
        "clipped by the norm over all",
        chain
            [
                Chain.clipByGlobalNorm 1.0
                Transforms.ScaleByAdam()
                Transforms.AddDecayedWeights 0.1
                Chain.scale -0.05
            ]
        "with noise", chain [ Transforms.AddNoise(0.1, 0.5, 3.0); Chain.scale -0.05 ]
        "by kind",
        chain
            [
                Chain.clipByGlobalNorm 1.0
                Chain.freeze (fun p -> p.Name = "b")
                Chain.scale -0.05
            ]
        "skipping", Wrap.skipLargeUpdates 30.0 (Rules.Find "Adam")
        "if finite", Wrap.applyIfFinite 1 (Rules.Find "SGD")
        "TRAC", Wrap.trac (Rules.Find "Adam")
        "NovoGrad", DefinedRules.novoGrad :> Rule
        "Muon, skipping", Wrap.skipLargeUpdates 30.0 Rules.Muon
        "CAME, if finite", Wrap.applyIfFinite 1 (Rules.Find "CAME")
        "TRAC of Adafactor", Wrap.trac Rules.Adafactor
        "Schedule-Free of Muon", Wrap.scheduleFree 0.9 Rules.Muon
        "Adafactor, cautious and accumulated", Rules.Adafactor |> Wrap.cautious |> Wrap.accumulate 2
        "Muon, slow, with its momentum", Wrappers.Lookahead(Rules.Muon, 2, 0.5, LookaheadMomentum.Pullback)
        "Muon, with noise before", Wrap.gradientNoise 0.1 0.5 3.0 Rules.Muon
    ]

let private elsewhere =
    [
        for name, rule in together do
            test $"{name}: elsewhere, here and there, and here come to the same" {
                let start = [ for i in 1..3 -> noise i 6 ]
                let gradients = [ for step in 1..4 -> [ for i in 1..3 -> noise (10 * step + i) 6 ] ]
                let here (values: float[]) = TensorView.Of(values, [| 3L; 2L |])
                let there (values: float[]) = moved (here values)

                let run (places: (float[] -> TensorView) list) =
                    let parameters =
                        Parameters.OfNamed(List.map3 (fun name place values -> struct (name, place values)) [ "a"; "b"; "c" ] places start)

                    let mutable state = rule.Init(rule.Defaults, parameters)

                    for gradient in gradients do
                        let gradient =
                            Gradients.OfDense(List.map2 (fun place values -> place values) places gradient)

                        state <- rule.Step(rule.Defaults, parameters, gradient, state)

                    [ for i in 0..2 -> parameters[i].ToDoubles() ], state

                let expected, state = run [ here; here; here ]

                for places in [ [ there; there; there ]; [ here; there; here ] ] do
                    let found, other = run places

                    for actual, expected in List.zip found expected do
                        close name torch.float64 actual expected

                    for scalar in state.ScalarNames do
                        Expect.floatClose Accuracy.high (other.Scalar(scalar, 1)) (state.Scalar(scalar, 1)) scalar
            }

        test "a tensor on another device: state is made there, state dicts come to the processor, and back" {
            for rule in stepped @ [ for name, _, _ in DeviceWholeTests.wholeRules -> Kit.rule name ] do
                let _, settings = settingsOf rule |> List.last
                // Muon takes matrices only.
                let shape =
                    if rule.Scope = RuleScope.Elements then
                        [| 6L |]
                    else
                        [| 3L; 2L |]

                let record =
                    rule.Replace(rule.Defaults, [ for name, s in settings -> KeyValuePair(name, option s) ])

                let start, gradients = noise 1 6, [ for i in 2..6 -> noise i 6 ]

                let run (make: float[] -> TensorView) through =
                    let parameters = Parameters.Of [ make start ]
                    let mutable state = rule.Init(record, parameters)

                    for index, gradient in List.indexed gradients do
                        if through && index = 2 then
                            let columns =
                                [
                                    for column in state.Columns ->
                                        KeyValuePair(
                                            column.Name,
                                            [|
                                                if column[0].IsAbsent then
                                                    TensorView()
                                                else
                                                    column[0].ToHost()
                                            |]
                                        )
                                ]

                            let scalars =
                                [
                                    for name in state.ScalarNames -> KeyValuePair(name, [| state.Scalar(name, 0) |])
                                ]

                            state <- rule.Restore(parameters, [| state.Count 0 |], scalars, columns)

                        if index = 3 then
                            state <- State.copy state

                        state <- rule.Step(record, parameters, Gradients.OfDense [ make gradient ], state)

                    parameters[0].ToDoubles(), state

                let there = thereOf shape
                let expected, _ = run (fun v -> TensorView.Of(v, shape)) false
                let actual, state = run there true
                close rule.Name torch.float64 actual expected

                for column in state.Columns do
                    if not column[0].IsAbsent then
                        Expect.equal column[0].Device.Kind "pretend" "where the state lies"

                let struct (moved, _) =
                    rule.PureStep(
                        record,
                        Parameters.Of [ there start ],
                        Gradients.OfDense [ there start ],
                        rule.Init(record, Parameters.Of [ there start ])
                    )

                Expect.equal moved[0].Device.Kind "pretend" "a pure step"
        }

        test "parameters of two devices in one group: each is stepped where it lies" {
            for name in [ "Adam"; "Adafactor"; "Muon" ] do
                let rule = Kit.rule name
                let here (values: float[]) = TensorView.Of(values, [| 1L; 1L |])

                let some () =
                    [ here [| 1.0 |]; thereOf [| 1L; 1L |] [| 1.0 |]; here [| 1.0 |] ]

                let parameters = Parameters.Of(some ())
                let mutable state = rule.Init(rule.Defaults, parameters)

                for _ in 1..3 do
                    state <- rule.Step(rule.Defaults, parameters, Gradients.OfDense(some ()), state)

                let values = [ for i in 0..2 -> parameters[i].ToDoubles()[0] ]
                Expect.equal values[2] values[0] "kernels"
                Expect.isLessThan (abs (values[1] - values[0])) 1e-12 "and operators"
                Expect.isLessThan values[0] 1.0 "moved"
        }

        test "refused: a device that nobody is registered for, with those that there are" {
            let layout =
                Layout.Strided(DType.Float64, ReadOnlySpan [| 1L |], ReadOnlySpan [| 1L |], Nullable(Device("nowhere", 0)))

            let rule = Kit.rule "SGD"

            refuses<NotSupportedException> "nowhere" [ "nowhere:0"; "cpu" ] (fun () ->
                rule.Init(rule.Defaults, Parameters.Of [ TensorView(0n, layout, obj ()) ])
                |> ignore)
        }

        test "the executor that is asked for is the one that steps, wherever in the group it is asked for" {
            let tensors =
                [
                    for i in 1..2 -> (tensorOf torch.float32 torch.CPU [| 3L |] (noise i 3)).requires_grad_ true
                ]

            let first: IParameter = TorchParameter("a", tensors[0])
            let second: IParameter = TorchParameter("b", tensors[1], Executor = Torch.Operators)
            let optimizer = SGD(all [ first; second ], lr = 1.0)

            for w in tensors do
                w.grad <- torch.ones_like w

            optimizer.Step()
            Expect.equal optimizer.LastExecutor "libtorch's operators" "its name"
            let model = torch.nn.Linear(2L, 2L)
            let named = model.NamedParameters(executor = Torch.Operators)
            Expect.all named (fun p -> obj.ReferenceEquals(p.Executor, Torch.Operators)) "of a module"
        }

        test "any strides, and what lies between the elements" {
            let whole = tensorOf torch.float64 torch.CPU [| 4L; 6L |] (Array.create 24 7.0)
            let w = whole.slice(1L, 0L, 6L, 2L).t().requires_grad_ true
            w.grad <- torch.ones ([| 3L; 4L |], dtype = Nullable torch.float64)
            (SGD(all (Torch.Parameters(Torch.Operators, struct ("w", w))), lr = 1.0)).Step()
            Expect.equal (doubles whole) (Array.init 24 (fun i -> if i % 2 = 0 then 6.0 else 7.0)) "elements and gaps"
        }

        test "a graph that needs the values from before is refused, and steps have none" {
            let w =
                (tensorOf torch.float64 torch.CPU [| 2L |] [| 1.0; 2.0 |]).requires_grad_ true

            let loss = (w * w).sum()
            loss.backward (retain_graph = true)
            (Adam(all (Torch.Parameters(Torch.Operators, struct ("w", w))))).Step()
            Expect.isTrue w.is_leaf "still a leaf"

            refuses<Runtime.InteropServices.ExternalException> "a stale graph" [ "modified by an inplace operation" ] (fun () ->
                loss.backward ())
        }

        test "numbers that a float cannot hold are infinite there, as in our kernels" {
            let rule =
                DefinedRule.Define(
                    "Far",
                    fun r ->
                        let far = r.Number("far", 1e39, Interval.any)
                        let x, g = r.Parameter, r.Gradient
                        r.Set(r.Column "added", g + far)
                        r.Set(r.Column "taken", far - g)
                        r.Set(r.Column "fused", Expression.Fma(far, g, x))
                        r.Set(r.Column "larger", Expression.Max(x, -far))
                        x - far * g / (1.0 + abs x)
                )

            let stepOn (executor: Executor) =
                let w =
                    (tensorOf torch.float32 torch.CPU [| 3L |] [| 1.0; -2.0; 0.5 |]).requires_grad_ true

                w.grad <- tensorOf torch.float32 torch.CPU [| 3L |] [| 1.0; -1.0; 0.0 |]
                let parameters = Torch.Parameters(executor, struct ("w", w))
                let optimizer = RuleOptimizer(rule, all parameters)
                optimizer.Step()

                [
                    yield doubles w
                    for column in rule.ColumnNames do
                        yield (optimizer.State(parameters[0])[column]).AsTensor().ToDoubles()
                ]

            for there, here in List.zip (stepOn Torch.Operators) (stepOn Executor.Caller) do
                Expect.isTrue (sameBits there here) $"%A{there} and %A{here}"
        }

        test "steps leave no tensor behind, and memory flat" {
            let w =
                (tensorOf torch.float32 torch.CPU [| 1000L |] (noise 1 1000)).requires_grad_ true

            w.grad <- tensorOf torch.float32 torch.CPU [| 1000L |] (noise 2 1000)

            let optimizer =
                Adam(all (Torch.Parameters(Torch.Operators, struct ("w", w))), amsgrad = true)

            keepsNothing (6L <<< 20) optimizer.Step
        }
    ]

let tests =
    [
        testList "operators" dense
        testList "whole tensors" DeviceWholeTests.tests
        testList "devices" elsewhere
    ]
