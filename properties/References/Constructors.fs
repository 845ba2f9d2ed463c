/// PyTorch's constructors: the options that each optimizer has, and their defaults.
module Constructors

open Reference

let defaults: Map<string, Settings> =
    let common =
        [ "maximize", Flag false; "foreach", Unset; "differentiable", Flag false ]

    let adam decay decoupled =
        [
            "lr", Number 1e-3
            "betas", Pair(0.9, 0.999)
            "eps", Number 1e-8
            "weight_decay", Number decay
            "amsgrad", Flag false
            "capturable", Flag false
            "fused", Unset
            "decoupled_weight_decay", Flag decoupled
        ]
        @ common

    Map
        [
            "SGD",
            Map(
                [
                    "lr", Number 1e-3
                    "momentum", Number 0.0
                    "dampening", Number 0.0
                    "weight_decay", Number 0.0
                    "nesterov", Flag false
                    "fused", Unset
                ]
                @ common
            )
            "Adadelta",
            Map(
                [
                    "lr", Number 1.0
                    "rho", Number 0.9
                    "eps", Number 1e-6
                    "weight_decay", Number 0.0
                    "capturable", Flag false
                ]
                @ common
            )
            "Adagrad",
            Map(
                [
                    "lr", Number 1e-2
                    "lr_decay", Number 0.0
                    "weight_decay", Number 0.0
                    "initial_accumulator_value", Number 0.0
                    "eps", Number 1e-10
                    "fused", Unset
                ]
                @ common
            )
            "Adam", Map(adam 0.0 false)
            "AdamW", Map(adam 1e-2 true)
            "Adamax",
            Map(
                [
                    "lr", Number 2e-3
                    "betas", Pair(0.9, 0.999)
                    "eps", Number 1e-8
                    "weight_decay", Number 0.0
                    "capturable", Flag false
                ]
                @ common
            )
            "ASGD",
            Map(
                [
                    "lr", Number 1e-2
                    "lambd", Number 1e-4
                    "alpha", Number 0.75
                    "t0", Number 1e6
                    "weight_decay", Number 0.0
                    "capturable", Flag false
                ]
                @ common
            )
            "NAdam",
            Map(
                [
                    "lr", Number 2e-3
                    "betas", Pair(0.9, 0.999)
                    "eps", Number 1e-8
                    "weight_decay", Number 0.0
                    "momentum_decay", Number 4e-3
                    "decoupled_weight_decay", Flag false
                    "capturable", Flag false
                ]
                @ common
            )
            "RAdam",
            Map(
                [
                    "lr", Number 1e-3
                    "betas", Pair(0.9, 0.999)
                    "eps", Number 1e-8
                    "weight_decay", Number 0.0
                    "decoupled_weight_decay", Flag false
                    "capturable", Flag false
                ]
                @ common
            )
            "SparseAdam",
            Map
                [
                    "lr", Number 1e-3
                    "betas", Pair(0.9, 0.999)
                    "eps", Number 1e-8
                    "maximize", Flag false
                ]
            "RMSprop",
            Map(
                [
                    "lr", Number 1e-2
                    "alpha", Number 0.99
                    "eps", Number 1e-8
                    "weight_decay", Number 0.0
                    "momentum", Number 0.0
                    "centered", Flag false
                    "capturable", Flag false
                ]
                @ common
            )
            "Rprop",
            Map(
                [
                    "lr", Number 1e-2
                    "etas", Pair(0.5, 1.2)
                    "step_sizes", Pair(1e-6, 50.0)
                    "capturable", Flag false
                ]
                @ common
            )
        ]

/// The rule's defaults with `given` over them.
let settings rule (given: seq<string * Setting>) : Settings =
    (defaults[rule], given)
    ||> Seq.fold (fun all (name, value) -> all |> Map.add name value)
