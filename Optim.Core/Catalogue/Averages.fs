/// Rules of the catalogue that average parameters: Schedule-Free (Defazio et al. 2024). Their parameters are y, where gradients are taken, in training;
/// ScheduleFree.evaluation gives the average x.
module internal Optim.Core.AveragesFamily

open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule name =
    define RuleFamily.Averages name "Defazio et al. 2024, arXiv:2405.15682"

/// Options weight_decay, r and weight_lr_power.
[<NoEquality; NoComparison>]
type private Weights =
    {
        Decay: Expression
        StepPower: Expression
        RatePower: Expression
    }

let private weightsOf (r: RuleDefinition) =
    {
        Decay = r.Number("weight_decay", 0.0, nonNegative)
        StepPower = r.Number("r", 0.0, Interval.any)
        RatePower = r.Number("weight_lr_power", 2.0, Interval.any)
    }

/// lr, which rises from 0 in the first so many steps: option warmup_steps.
let private warmed (r: RuleDefinition) (lr: Expression) =
    lr * smaller one (r.Step / r.Whole("warmup_steps", 0, nonNegative))

/// The step of y and z by a direction: x takes in z by its weight among those of all steps, as it is after a function.
let private step
    (r: RuleDefinition)
    weights
    (beta: Expression)
    (rate: Expression)
    (direction: Expression)
    (shared: Expression -> Expression)
    =
    let y = r.Parameter
    let g = fma weights.Decay y direction
    let struct (column, z) = startingAt r "z" y
    let largest, sum = r.Kept("lr_max", 0.0), r.Kept("weight_sum", 0.0)
    let most = kept r largest (larger largest rate)

    let weight =
        Expression.Pow(r.Step, weights.StepPower)
        * Expression.Pow(most, weights.RatePower)

    let total = kept r sum (sum + weight)
    let share = shared (where (total |> isAbove zero) (weight / total) zero)
    r.Set(column, z - rate * g)
    fma share (z - y) y - rate * (1.0 - beta * (1.0 - share)) * g

let private sgd =
    rule
        "ScheduleFreeSGD"
        "SGD with momentum at the average of all its steps, in place of a schedule."
        [ "pytorch_optimizer.ScheduleFreeSGD"; "schedulefree.SGDScheduleFree" ]
        (fun r ->
            let lr = learningRate r 1.0
            let beta = r.Number("momentum", 0.9, Interval.between 0.0 1.0)
            let weights, rate = weightsOf r, warmed r lr
            step r weights beta rate r.Gradient id)

let private adamW =
    rule
        "ScheduleFreeAdamW"
        "AdamW at the average of all its steps, in place of a schedule."
        [ "pytorch_optimizer.ScheduleFreeAdamW" ]
        (fun r ->
            let lr = learningRate r 2.5e-3

            let struct (beta, beta2) =
                r.Pair("betas", 0.9, Interval.between 0.0 1.0, 0.999, fraction)

            let weights, rate = weightsOf r, warmed r lr
            // Song et al. 2025, arXiv:2507.09846.
            let coupling = r.Number("decoupling_c", 0.0, nonNegative)
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let v = secondMoment r beta2 r.Gradient / correction r beta2
            let direction = r.Gradient / denominator r isBound "max_exp_avg_sq" eps v

            step r weights beta rate direction (fun share ->
                where (coupling |> isAbove zero) (smaller one (share * (1.0 - beta) * coupling)) share))

let private authorsAdamW =
    rule "schedulefree.AdamWScheduleFree" "ScheduleFreeAdamW as in its authors' package." [ "schedulefree.AdamWScheduleFree" ] (fun r ->
        let lr = learningRate r 2.5e-3

        let struct (beta, beta2) =
            r.Pair("betas", 0.9, Interval.between 0.0 1.0, 0.999, fraction)

        let eps = epsilon r 1e-8
        let weights, rate = weightsOf r, warmed r lr
        let v = secondMoment r beta2 r.Gradient / correction r beta2
        step r weights beta rate (r.Gradient / (sqrt v + eps)) id)

let private rAdam =
    rule
        "ScheduleFreeRAdam"
        "RAdam at the average of all its steps, in place of a schedule and of a warm-up."
        [ "pytorch_optimizer.ScheduleFreeRAdam"; "schedulefree.RAdamScheduleFree" ]
        (fun r ->
            let lr = learningRate r 2.5e-3

            let struct (beta, beta2) =
                r.Pair("betas", 0.9, Interval.between 0.0 1.0, 0.999, fraction)

            let weights = weightsOf r
            let isSilent = r.Switch("silent_sgd_phase", true)
            r.OptOut("W4", movesLater)
            let eps = epsilon r 1e-8

            let rectification =
                {
                    Threshold = Expression.Of 4.0
                    DegeneratesToSgd = never
                }

            let g, v = r.Gradient, secondMoment r beta2 r.Gradient
            let root = sqrt (correction r beta2)
            let isEarly = rectification.IsEarly(r, beta2)

            let rate =
                where isEarly (where isSilent zero lr) (lr * rectification.Factor(r, beta2) / root)

            step r weights beta rate (where isEarly g (g / (sqrt v / root + eps))) id)
    |> differs "steps before the rectification, which silent_sgd_phase False lets be taken, have the rate lr, where pytorch_optimizer has 1"

let all = [ sgd; adamW; authorsAdamW; rAdam ]
