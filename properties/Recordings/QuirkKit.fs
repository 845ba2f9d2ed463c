/// What the tests of quirks share.
module QuirkKit

open Optim
open Kit

/// Steps `list` with one row of gradients for each step.
let train (optimizer: Optimizer) (list: Param list) (gradients: float[] option list list) =
    for row in gradients do
        List.iter2 setGradient list row
        optimizer.Step()

let rows seed steps (list: Param list) =
    [
        for step in 0 .. steps - 1 ->
            [
                for i, p in List.indexed list -> Some(noise (seed + 31 * step + i) (values p).Length)
            ]
    ]
