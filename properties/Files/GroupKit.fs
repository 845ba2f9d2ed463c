/// What tests of parameter groups by name share: optimizers of such groups, their rates, steps.
module GroupKit

open Optim
open Optim.Core
open Reference
open Kit

let lrOf (optimizer: Optimizer) group : float =
    OptionValue.op_Explicit (optimizer.ParamGroups[group]["lr"])

/// An optimizer of groups of parameters of one element, by name, each with its rate.
let adam (groupsOf: (string list * float) list) =
    new Adam(
        groups
            [
                for names, lr in groupsOf -> group [ for name in names -> vector name [ 1.0 ] ] [ "lr", Number lr ]
            ]
    )

let stepAll (optimizer: Optimizer) seed =
    for i, parameter in optimizer.ParamGroups |> Seq.collect _.Parameters |> Seq.indexed do
        setGradient (parameter :?> Param) (Some(noise (seed + i) 1))

    optimizer.Step()
