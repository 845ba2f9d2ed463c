/// What rules over whole tensors are made of.
module internal Optim.Core.WholeParts

open System
open System.Collections.Immutable
open Optim.Core.TransformParts
open Optim.Core.Wholes
open Optim.Kernels

/// The rate.
let learningRate (r: WholeDefinition) (value: double) = r.Number("lr", value, nonNegative)

/// Two betas.
let betas (r: WholeDefinition) (first: double) (second: double) =
    r.Pair("betas", first, fraction, second, fraction)

/// kept old + (1 - kept) fresh.
let moved (kept: double) (old: WholeTensor) (fresh: WholeTensor) = kept * old + (1.0 - kept) * fresh

/// An average in a column of the parameter's shape.
let average (r: WholeDefinition) (column: string) (kept: double) (fresh: WholeTensor) =
    let next = moved kept (r.Column column) fresh
    r.Set(column, next)
    next

/// The first moment of what it is given.
let firstMoment (r: WholeDefinition) beta fresh = average r "exp_avg" beta fresh

/// The second moment of what it is given.
let secondMoment (r: WholeDefinition) beta (fresh: WholeTensor) =
    average r "exp_avg_sq" beta (fresh * fresh)

/// A number that is kept, from a start on.
let number (r: WholeDefinition) (column: string) (start: double) =
    r.Column(column, [], (fun () -> r.Parameter.Constant start))

/// An average of means along a dimension, in a column that lacks it, counted from the last one, which is -1.
let averageAlong (r: WholeDefinition) (column: string) (dimension: int) (kept: double) (fresh: WholeTensor) =
    let shape =
        r.Shape.RemoveAt(if dimension < 0 then r.Rank + dimension else dimension)

    let means = fresh.Mean(dimension, dimension)
    let old = r.Column(column, shape)
    let next = moved kept (old.Reshaped(means.Shape.AsSpan())) means
    r.Set(column, next.Reshaped(shape.AsSpan()))
    next

/// The largest so far, in a column, where that is asked for.
let largestSoFar (r: WholeDefinition) isOn (column: string) (value: WholeTensor) =
    if isOn then
        let next = larger (r.Column column) value
        r.Set(column, next)
        next
    else
        value

/// What is divided by so that its root mean square is at most a limit.
let clipped (limit: double) (value: WholeTensor) =
    value / (rms value / limit |> atLeast 1.0)

/// Weight decay: of the gradient (L2), or of the parameter, in proportion to the rate or as it is.
[<NoEquality; NoComparison>]
type WholeDecay =
    {
        Amount: double
        IsDecoupled: bool
        IsFixed: bool
    }

    /// The gradient with what is added to it.
    member decay.Gradient(parameter: WholeTensor, gradient: WholeTensor) =
        if decay.IsDecoupled || decay.Amount = 0.0 then
            gradient
        else
            gradient + decay.Amount * parameter

    /// The parameter with what is taken off it.
    member decay.Parameter(parameter: WholeTensor, lr: double) =
        if decay.IsDecoupled && decay.Amount <> 0.0 then
            parameter * (1.0 - (if decay.IsFixed then decay.Amount else lr * decay.Amount))
        else
            parameter

    /// The same by a rate that is made of the parameter.
    member decay.Parameter(parameter: WholeTensor, lr: WholeTensor) =
        if decay.IsDecoupled && decay.Amount <> 0.0 then
            parameter
            * (if decay.IsFixed then
                   parameter.Constant(1.0 - decay.Amount)
               else
                   1.0 - lr * decay.Amount)
        else
            parameter

    /// Parameter and gradient with decay, which comes first.
    member decay.Applied(r: WholeDefinition, lr: double) =
        decay.Parameter(r.Parameter, lr), decay.Gradient(r.Parameter, r.Gradient)

/// Options weight_decay and weight_decouple.
let decoupling (r: WholeDefinition) amount isDecoupled =
    {
        Amount = r.Number("weight_decay", amount, nonNegative)
        IsDecoupled = r.Flag("weight_decouple", isDecoupled)
        IsFixed = false
    }

/// Options weight_decay, weight_decouple and fixed_decay.
let weightDecay (r: WholeDefinition) amount isDecoupled =
    let decay = decoupling r amount isDecoupled

    { decay with
        IsFixed = r.Flag("fixed_decay", false)
    }

/// AdamW.
let adamW (r: WholeDefinition) (lr: double) (struct (beta1, beta2)) (eps: double) (decay: WholeDecay) =
    let x, g = decay.Applied(r, lr)
    let m, v = firstMoment r beta1 g, secondMoment r beta2 g

    x - lr / r.Correction beta1 * m / (sqrt v / sqrt (r.Correction beta2) + eps)

/// 1 where an update goes along with the gradient, and 0 elsewhere.
let private agreement (update: WholeTensor) (gradient: WholeTensor) =
    WholeTensor.WhereGreater(update * gradient, 0.0, update.Constant 1.0, update.Constant 0.0)

/// Only where the update goes along with the gradient, the more there: Liang et al. 2024, arXiv:2411.16085.
let cautious (update: WholeTensor) (gradient: WholeTensor) =
    let along = agreement update gradient
    update * along * (double update.Count / (along.Sum() + 1.0))

/// timm's form of it.
let timmCautious (update: WholeTensor) (gradient: WholeTensor) =
    let along = agreement update gradient
    update * along / (along.Mean() |> atLeast 1e-3)

/// Coefficients of Newton and Schulz's iteration, by the names that packages have for them.
let coefficients name (steps: int) =
    let all =
        match name with
        | "quintic" ->
            [
                struct (4.0848, -6.8946, 2.9270)
                struct (3.9505, -6.3029, 2.6377)
                struct (3.7418, -5.5913, 2.3037)
                struct (2.8769, -3.1427, 1.2046)
                struct (2.8366, -3.0525, 1.2012)
            ]
        | _ -> [ struct (3.4445, -4.7750, 2.0315) ]

    [| for step in 0 .. steps - 1 -> all[min step (all.Length - 1)] |]

/// A matrix made orthogonal in bfloat16, in which it stays.
let orthogonalized (all: struct (double * double * double) array) (eps: double) (matrix: WholeTensor) =
    matrix.Orthogonalized(ReadOnlySpan all, DType.BFloat16, Func<_, _>(atLeast eps))

/// Rows and columns of a parameter that is taken as a matrix: the first dimension by all others.
let sides (matrix: WholeTensor) =
    struct (double (matrix.Length 0), double (matrix.Length 1))

/// In the shape of another tensor.
let shapedAs (other: WholeTensor) (value: WholeTensor) = value.Reshaped(other.Shape.AsSpan())

/// Rules whose step is of a matrix as a whole.
let turnsElements (r: WholeDefinition) =
    r.OptOut("U3", "the step is of the matrix as a whole, which turns single elements against their sign")

/// An entry of a rule by a definition over whole tensors.
let defineWhole family (name: string) paper summary (published: string list) (definition: WholeDefinition -> WholeTensor) =
    CatalogueEntry(
        name,
        family,
        summary,
        paper,
        "",
        [ for name in published -> { Name = name; Options = [||] } ],
        fun () -> Rule.defineWhole name _.EitherWay(definition) :> Rule
    )
