/// What the tests of an optimizer of several rules share.
module CompositeKit

open System
open Optim
open Optim.Core
open Kit

let random seed count =
    noise seed count |> Array.map (fun x -> x / 4.0)

/// Two matrices and two vectors, always the same.
let fresh () =
    [
        for i, (name, shape) in
            List.indexed
                [
                    "a.weight", [| 4L; 3L |]
                    "a.bias", [| 4L |]
                    "b.weight", [| 2L; 4L |]
                    "b.bias", [| 2L |]
                ] -> param name Kernels.DType.Float64 shape (random i (int (Array.reduce (*) shape)))
    ]

let setGradients (step: int) (list: Param list) =
    for i, p in List.indexed list do
        setGradient p (Some(random (100 * step + i) (int p.View.Count)))

let copy (source: Param) (target: Param) =
    (values source).AsSpan().CopyTo(target.Data<float>())

let isMatrix (p: Param) = p.View.Shape.Length = 2

let lr value = struct ("lr", OptionValue.Float value)

let composite (list: Param list) =
    new CompositeOptimizer(
        CompositeMember("matrices", Rules.Find "Muon", list |> List.filter isMatrix |> Kit.parameters, [| lr 0.02 |]),
        CompositeMember("rest", Rules.Find "AdamW", list |> List.filter (isMatrix >> not) |> Kit.parameters, [| lr 0.01 |])
    )

/// The same as two optimizers.
let apart (list: Param list) : Optimizer list =
    [
        new RuleOptimizer(Rules.Find "Muon", list |> List.filter isMatrix |> Kit.parameters, [| lr 0.02 |])
        new RuleOptimizer(Rules.Find "AdamW", list |> List.filter (isMatrix >> not) |> Kit.parameters, [| lr 0.01 |])
    ]

let all (list: Param list) =
    [|
        for p in list do
            yield! values p
    |]

let steps (optimizer: Optimizer) (list: Param list) from count =
    for step in from .. from + count - 1 do
        setGradients step list
        optimizer.Step()

let rate (group: ParameterGroup) : float = OptionValue.op_Explicit group["lr"]

/// The same steps of several optimizers.
let stepsApart (optimizers: Optimizer list) (list: Param list) from count =
    for step in from .. from + count - 1 do
        setGradients step list

        for optimizer in optimizers do
            optimizer.Step()
