/// What tests of chains and wrappers run: a few tensors, their steps, and how results are compared.
module ChainKit

open System
open System.Collections.Generic
open Expecto
open Optim
open Optim.Core
open Optim.Core.Chain
open Optim.Kernels
open Optim.Laws
open ProgramKit

let betas = 0.9, 0.999

/// Some tensors of a dtype, with names, and gradients for each step, all from a seed.
type Sample =
    {
        DType: DType
        Shapes: (string * int64 list) list
        Steps: int
        Seed: int
    }

let sample =
    {
        DType = DType.Float32
        Shapes =
            [
                "weight", [ 5L; 7L ]
                "bias", [ 5L ]
                "scale", []
                "kernel", [ 3L; 2L; 3L; 2L ]
                "long", [ 9_001L ]
            ]
        Steps = 4
        Seed = 7
    }

let private count shape = List.fold (*) 1L shape |> int

let private tensor dtype (shape: int64 list) (random: Random) =
    let values = Array.init (count shape) (fun _ -> (random.NextDouble() - 0.5) * 2.0)

    let flat = Tensor.ofFloats dtype values
    Tensor.shaped (List.toArray shape) dtype (flat.ToDoubles())

/// Parameters at the start, and gradients of each step.
let made (s: Sample) =
    let random = Random s.Seed

    let parameters =
        Parameters.OfNamed [ for name, shape in s.Shapes -> struct (name, tensor s.DType shape random) ]

    let gradients =
        [
            for _ in 1 .. s.Steps -> Gradients.OfDense [ for _, shape in s.Shapes -> tensor s.DType shape random ]
        ]

    parameters, gradients

/// Parameters after all steps.
let runWith (rule: Rule) (options: IOptimizerOptions) (s: Sample) =
    let parameters, gradients = made s
    let mutable state = rule.Init(options, parameters)

    for gradient in gradients do
        state <- rule.Step(options, parameters, gradient, state)

    [| for parameter in parameters -> parameter.ToDoubles() |], state

let run (rule: Rule) (s: Sample) = runWith rule rule.Defaults s |> fst

/// Bit for bit; zeros of either sign are equal.
let same what (expected: float array array) (found: float array array) =
    for tensor in 0 .. expected.Length - 1 do
        for i in 0 .. expected[tensor].Length - 1 do
            if
                not (
                    expected[tensor].[i].Equals found[tensor].[i]
                    || expected[tensor].[i] = found[tensor].[i]
                )
            then
                failtestf "%s: tensor %d, element %d is %.17g, expected %.17g" what tensor i found[tensor].[i] expected[tensor].[i]

let near bound what (expected: float array array) (found: float array array) =
    for tensor in 0 .. expected.Length - 1 do
        for i in 0 .. expected[tensor].Length - 1 do
            if
                not (
                    abs (expected[tensor].[i] - found[tensor].[i])
                    <= bound * (1.0 + abs expected[tensor].[i])
                )
            then
                failtestf "%s: tensor %d, element %d is %.17g, expected %.17g" what tensor i found[tensor].[i] expected[tensor].[i]
