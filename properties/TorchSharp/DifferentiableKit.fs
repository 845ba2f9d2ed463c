/// What tests of steps with a graph share: a run whose derivatives are known, by the graph and by our own kernels.
module DifferentiableKit

open System.Collections.Generic
open Expecto
open TorchSharp
open Optim
open Optim.Core
open Optim.Kernels
open Reference
open Kit

type private Tensor = torch.Tensor

let doubles (tensor: Tensor) : float[] =
    use plain = tensor.detach().``to``(torch.float64).contiguous()
    plain.data<float>().ToArray()

let leaf (values: float[]) : Tensor =
    torch.tensor(values).requires_grad_ true

let number (value: float) : Tensor = torch.tensor(value).requires_grad_ true

let grad (tensor: Tensor) : float[] =
    match tensor.grad with
    | null -> Array.zeroCreate (int (tensor.numel ()))
    | gradient -> doubles gradient

let close what (allowed: float) (actual: float[]) (expected: float[]) =
    for i in 0 .. expected.Length - 1 do
        if not (abs (actual[i] - expected[i]) <= allowed * (1.0 + abs expected[i])) then
            failtestf "%s, element %d: %s, expected %s" what i (text actual[i]) (text expected[i])

let record (rule: Rule) (settings: seq<string * Setting>) =
    rule.Replace(rule.Defaults, [ for name, setting in settings -> KeyValuePair(name, option setting) ])

// The run that golden/differentiable.json has

/// Gradient a (x - c) + tanh x, loss w'x after some steps.
type Run =
    {
        X0: float[]
        A: float[]
        C: float[]
        W: float[]
        Steps: int
    }

/// x at the end, and the derivatives with respect to the starting point, to a number added to the gradients of step 3, and to the options.
let traced (rule: Rule) (options: IOptimizerOptions) (names: string list) values (run: Run) =
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
let plainly (rule: Rule) (options: IOptimizerOptions) (delta: float[]) (run: Run) =
    let x = Array.copy run.X0
    let parameters = Parameters.Of [ TensorView.Of x ]
    let mutable state = rule.Init(options, parameters)

    for i in 1 .. run.Steps do
        let x = parameters[0].ToDoubles()

        let gradient =
            Array.init x.Length (fun j -> run.A[j] * (x[j] - run.C[j]) + tanh x[j] + (if i = 3 then delta[j] else 0.0))

        state <- rule.Step(options, parameters, Gradients.OfDense [ TensorView.Of gradient ], state)

    Array.map2 (*) run.W (parameters[0].ToDoubles()) |> Array.sum

let central (f: float -> float) h = (f h - f -h) / (2.0 * h)

let start =
    {
        X0 = [| 0.9; -1.3; 0.45; 2.1; -0.6 |]
        A = [| 1.1; 0.7; 1.9; 0.6; 1.4 |]
        C = [| -0.4; 0.8; -1.2; 0.3; 1.7 |]
        W = [| 0.8; -1.1; 0.5; 1.3; -0.7 |]
        Steps = 6
    }

let elementWise = List.ofSeq Rules.All |> List.filter _.IsDifferentiable
