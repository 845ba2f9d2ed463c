/// Rules of the catalogue that step by the linear minimization oracles of norms.
module internal Optim.Core.OracleFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.TransformParts
open Optim.Core.WholeParts
open Optim.Core.Wholes
open Optim.Kernels

let private rule = defineWhole RuleFamily.Matrix

/// Options of SCION's norm, and its oracle.
let private oracle (r: WholeDefinition) (scale: double) =
    let kind = r.Whole("norm_type", 1, Interval.within 0.0 7.0)
    let isOfInputs = r.Flag("normalize", true)
    let isNormalized = r.Choice("normalized", "", "", "true", "false")
    let hasLeastScale = r.Flag("max_scale", false)
    let isTransposed = r.Flag("transpose", false)
    let isSpectral = kind = 1 || kind = 2
    let isOfLines = kind = 6 || kind = 7
    r.Require("normalize", isOfInputs || isSpectral || kind = 4, "it is for norm_type 1 and 2, the spectral norm, and 4, that of signs")
    r.Require("max_scale", not hasLeastScale || isSpectral, "it is for norm_type 1 and 2, the spectral norm")
    r.Require("normalized", isNormalized = "" || isOfLines, "it is for norm_type 6 and 7, norms of columns and rows")
    r.Require("transpose", not isTransposed || isOfLines, "it is for norm_type 6 and 7, norms of columns and rows")

    let normalized usually =
        isNormalized = "true" || isNormalized = "" && usually

    let kind =
        match kind, r.Rank with
        | 1, (0 | 1) -> 5
        | 1, 2 -> 2
        | 1, _ -> 3
        | kind, _ -> kind

    fun (d: WholeTensor) ->
        let own (u: WholeTensor) = scale * u

        // All numbers are rounded to bfloat16, and each product.
        let narrow (factor: double) =
            let o = d.Flattened |> orthogonalized (coefficients "original" 5) 1e-7
            let rounded (x: double) = o.Constant(WholeTensor.ToBFloat16 x)
            (o * rounded factor * rounded scale).To d.DType |> shapedAs d

        match kind with
        | 0 -> own d
        | 5 -> own (d / (sqrt ((d * d).Mean(0, 0)) + 1e-8))
        | 2 ->
            let struct (rows, columns) = sides d.Flattened
            let factor = sqrt (if isOfInputs then rows / columns else rows)
            narrow (if hasLeastScale then max 1.0 factor else factor)
        | 3 when r.Rank > 1 ->
            let places = r.Shape |> Seq.skip 2 |> Seq.fold (*) 1L
            narrow (sqrt (double r.Shape[0] / double r.Shape[1]) / double places)
        | 3 -> narrow 1.0
        | 4 ->
            let inputs = if r.Rank > 1 && isOfInputs then double r.Shape[1] else 1.0

            own (signs d / inputs)
        | kind ->
            let matrix = if isTransposed then d.Flattened.Transposed else d.Flattened
            let struct (rows, columns) = sides matrix

            let length =
                if kind = 6 then
                    matrix.Norm(0, 0) / sqrt rows * (if normalized false then columns else 1.0)
                else
                    matrix.Norm(1, 1) * (if normalized true then sqrt columns else 1.0)

            let u = matrix / (length + 1e-8)
            own ((if isTransposed then u.Transposed else u) |> shapedAs d)

let private scionStep
    (direction: WholeDecay -> WholeTensor * WholeTensor)
    (lr: double)
    isConstrained
    (decay: WholeDecay)
    (oracle: WholeTensor -> WholeTensor)
    =
    let decay = if isConstrained then { decay with Amount = 0.0 } else decay
    let x, d = direction decay
    (if isConstrained then x * (1.0 - lr) else x) - lr * oracle d

let private scion =
    rule
        "SCION"
        "Pethick et al. 2025, arXiv:2502.07529"
        "Momentum by the linear minimization oracle of a norm: orthogonal for matrices, of root mean square 1 for vectors."
        [ "pytorch_optimizer.SCION" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let momentum = r.Number("momentum", 0.1, Interval.aboveUpTo 0.0 1.0)
            let isConstrained = r.Flag("constraint", false)
            let scale = r.Number("scale", 1.0, nonNegative)
            let oracle = oracle r scale
            let decay = decoupling r 0.0 true
            turnsElements r
            r.OptOut("U5", "oracles of norms go by signs, which jump")
            r.Require("constraint", not isConstrained || decay.Amount = 0.0, "it takes the place of weight_decay, which must be 0 then")

            let direction (decay: WholeDecay) =
                let x, g = decay.Applied(r, lr)
                x, average r "d" (1.0 - momentum) g

            scionStep direction lr isConstrained decay oracle)

let private scionLight =
    rule
        "SCIONLight"
        "Pethick et al. 2025, arXiv:2502.07529"
        "SCION without any state: the linear minimization oracle of the gradient itself."
        [ "pytorch_optimizer.SCIONLight" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let isConstrained = r.Flag("constraint", false)
            let scale = r.Number("scale", 1.0, nonNegative)
            let oracle = oracle r scale
            let decay = decoupling r 0.0 true
            turnsElements r
            r.Require("constraint", not isConstrained || decay.Amount = 0.0, "it takes the place of weight_decay, which must be 0 then")
            scionStep (fun decay -> decay.Applied(r, lr)) lr isConstrained decay oracle)
    |> differs "The package keeps momentum in gradients that nobody may clear; gradients are not written to here."


let all = [ scion; scionLight ]
