/// Rules of the catalogue that divide by something else than the root of an average of squared gradients.
module internal Optim.Core.AdaptiveDenominatorsFamily

open System
open Optim.Core.CatalogueEntry
open Optim.Core.Definitions
open Optim.Core.Parts
open Optim.Core.TransformParts
open Optim.Kernels

let private rule = define RuleFamily.AdaptiveMoments

let private adaBelief =
    rule
        "AdaBelief"
        "Zhuang et al. 2020, arXiv:2010.07468"
        "Adam by the squares of what the first moment did not expect: small steps where gradients surprise."
        [ "pytorch_optimizer.AdaBelief" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let rectification = rectification r false true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-16
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m, variance = firstMoment r beta1 g, r.Column "exp_avg_var"
            let s = kept r variance (movedSquare beta2 variance (g - m) + eps)
            let root = sqrt (largestSoFar r isBound "max_exp_avg_var" s)

            let step =
                match rectification with
                | ValueSome rectification -> rectification.Step(r, beta2, m / (root + eps), m)
                | ValueNone -> m / (root / sqrt (correction r beta2) + eps)

            x - lr / correction1 * step)

let private adaShift =
    rule
        "AdaShift"
        "Zhou et al. 2018, arXiv:1810.00143"
        "Adam whose second moment is of gradients that have left the window of the first one, so that the two do not depend on each other."
        [ "pytorch_optimizer.AdaShift" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let length = r.Count("keep_num", 10, 1, 16)
            let reduction = r.Choice("reduce_func", "max", "max", "")
            let eps = epsilon r 1e-10
            r.OptOut("W4", movesLater)
            let x, g, n = r.Parameter, r.Gradient, double length
            let queue = [ for place in 1..length -> r.Column $"grad_queue{place}" ]
            List.iter2 (fun column value -> r.Set(column, value)) queue (g :: List.take (length - 1) queue)
            let oldest = List.last queue
            let weights = (1.0 - beta1 ** n) / (1.0 - beta1)
            let m, v = r.Column "exp_avg", r.Column "exp_avg_sq"
            let last = Expression.Pow(beta1, n - 1.0) / weights
            let m' = kept r m (beta1 * (m - last * oldest) + 1.0 / weights * g)

            let size =
                if reduction = "max" then
                    Expression.Largest oldest
                else
                    oldest

            let v' = kept r v (beta2 * v + (1.0 - beta2) * (size * size))
            let correction2 = 1.0 - Expression.Pow(beta2, larger one (r.Step - n))
            let moves = r.Step |> isAbove (Expression.Of n)
            where moves (x - lr * m' / (sqrt (v' / correction2) + eps)) x)

let private adaSmooth =
    rule
        "AdaSmooth"
        "Lu 2022, arXiv:2204.00825"
        "RMSprop whose second moment is quicker where a parameter moves in one direction."
        [ "pytorch_optimizer.AdaSmooth" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.5 0.99
            let decay = weightDecay r 0.0 false
            let eps = epsilon r 1e-6
            let x, g = decay.Applied(r, lr)
            let struct (before, last) = startingAt r "prev_param" r.Parameter
            r.Set(before, x)
            let sum, length, v = r.Column "s", r.Column "n", r.Column "exp_avg_sq"
            let sum' = kept r sum (sum + (x - last))
            let length' = kept r length (length + abs (x - last))
            let share = (beta2 - beta1) * abs sum' / (length' + eps) + (1.0 - beta2)
            let v' = kept r v (v + share * share * (g * g - v))
            x - lr * g / sqrt (v' + eps))
    |> differs "the ratio of way and movement is of all steps, and not of a period"

let private aida =
    rule
        "Aida"
        "Zhang, Niwa, Kleijn 2022, arXiv:2203.13273"
        "AdaBelief that first projects gradient and momentum onto each other."
        [ "pytorch_optimizer.Aida" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let most = 8
            let projections = r.Whole("k", 2, Interval.within 0.0 (double most))
            let xi = r.Number("xi", 1e-20, nonNegative)
            let decay = weightDecay r 0.0 false
            let rectification = rectification r false true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)
            let m = firstMoment r beta1 g
            // Both stay along where they point: a number of each is all that projections change.
            let squareOfG, squareOfM = Expression.Sum(g * g), Expression.Sum(m * m)
            let product = Expression.Sum(g * m)

            let projected (a: Expression, b: Expression) (done': int) =
                let isAsked = projections |> isAbove (Expression.Of(double done'))
                let q = a * b * product
                where isAsked (a * q / (a * a * squareOfG + xi)) a, where isAsked (b * q / (b * b * squareOfM + xi)) b

            let a, b = List.fold projected (one, one) [ 0 .. most - 1 ]
            let variance = r.Column "exp_avg_var"
            let s = kept r variance (movedSquare beta2 variance (b * m - a * g) + eps)
            let root = denominator r isBound "max_exp_avg_var" eps s

            let step =
                match rectification with
                | ValueSome rectification -> rectification.Step(r, beta2, m / root, m)
                | ValueNone -> m / (root / sqrt (correction r beta2))

            x - lr / correction1 * step)

let private apolloDQN =
    rule
        "ApolloDQN"
        "Ma 2020, arXiv:2009.13586"
        "A quasi-Newton method that keeps a diagonal of the Hessian by the secant of averaged gradients."
        [ "pytorch_optimizer.ApolloDQN" ]
        (fun r ->
            let lr = learningRate r 1e-2

            let struct (isGiven, initial) =
                r.NumberOrNone("init_lr", Nullable 1e-5, nonNegative)

            let beta = r.Number("beta", 0.9, fraction)
            let rebound = r.Choice("rebound", "constant", "constant", "belief")
            let decay = r.Number("weight_decay", 0.0, nonNegative)
            let kind = r.Choice("weight_decay_type", "l2", "l2", "decoupled", "stable")
            let warmup = r.Whole("warmup_steps", 500, nonNegative)
            let eps = epsilon r 1e-4
            r.OptOut("U4", "the warm-up begins at init_lr, whatever the rate is")
            let initial = if isGiven then initial else lr / 1000.0
            let warm = initial + (lr - initial) * r.Step / larger warmup one
            let rate = where (warmup |> isAbove r.Step) warm lr
            let least = 0.01
            let e = if rebound = "constant" then eps / least else eps
            let share = (1.0 - beta) / correction r beta
            let x = r.Parameter
            let g = if kind = "l2" then fma decay x r.Gradient else r.Gradient

            let m, hessian, update =
                r.Column "exp_avg_grad", r.Column "approx_hessian", r.Column "update"

            let y = g - m
            let m' = kept r m (m + share * y)
            let squares = update * update
            let norm = sqrt (sqrt (Expression.Sum(squares * squares))) + e
            let u = update / norm

            let secant =
                -(share * Expression.Sum(y * u)) / norm - Expression.Sum(hessian * (u * u))

            let hessian' = kept r hessian (fma secant (u * u) hessian)

            let divisor =
                if rebound = "constant" then
                    larger (abs hessian') (Expression.Of least)
                else
                    larger (abs hessian') (Expression.Largest y) + e / share

            let direction = m' / divisor

            let step =
                match kind with
                | "decoupled" -> fma decay x direction
                | "stable" -> fma (decay / mean divisor) x direction
                | _ -> direction

            x - rate * kept r update step)
    |> differs "the warm-up follows the rate as it is, and not that of the constructor"

let private diffGrad =
    rule
        "DiffGrad"
        "Dubey et al. 2019, arXiv:1909.11015"
        "Adam with smaller steps where the gradient does not change."
        [ "pytorch_optimizer.DiffGrad" ]
        (fun r ->
            let lr = learningRate r 1e-3
            let struct (beta1, beta2) = betas r 0.9 0.999
            let decay = weightDecay r 0.0 true
            let rectification = rectification r false true
            let isBound = r.Flag("ams_bound", false)
            let eps = epsilon r 1e-8
            let correction1 = firstCorrection r beta1
            let x, g = decay.Applied(r, lr)

            let m, v, before =
                firstMoment r beta1 g, secondMoment r beta2 g, r.Column "previous_grad"

            let friction = 1.0 / (1.0 + Expression.Exp(-(abs (before - g))))
            r.Set(before, g)
            let direction = friction * m / denominator r isBound "max_exp_avg_sq" eps v

            let step =
                match rectification with
                | ValueSome rectification -> rectification.Step(r, beta2, direction, m)
                | ValueNone -> sqrt (correction r beta2) * direction

            x - lr / correction1 * step)

let private ftrl =
    rule
        "FTRL"
        "McMahan et al. 2013, Ad Click Prediction"
        "Follow the regularized leader: parameters from the sum of all gradients, 0 where that is small."
        [ "pytorch_optimizer.FTRL" ]
        (fun r ->
            let lr = r.Number("lr", 1e-3, positive)

            // With the default the power is a root, which costs less than exponential function and logarithm.
            let root = OptionValue.Float -0.5

            let struct (isOther, power) =
                r.NumberOr(root, "lr_power", root, Interval.where "below 0" (fun power -> power < 0.0))

            let sized value =
                if isOther then
                    Expression.Pow(value, -power)
                else
                    sqrt value

            let beta = r.Number("beta", 0.0, nonNegative)
            let lambda1 = r.Number("lambda_1", 0.0, nonNegative)
            let lambda2 = r.Number("lambda_2", 0.0, nonNegative)
            r.OptOut("G4", "parameters are made of the sum of squares, which overflows")
            let x, g, z, n = r.Parameter, r.Gradient, r.Column "z", r.Column "n"
            // The parameter is made of it.
            r.KeepWide n
            let n' = kept r n (fma g g n)
            let size = sized n'
            let sigma = (size - sized n) / lr
            let z' = kept r z (z + g - sigma * x)
            let next = (lambda1 * sign z' - z') / ((size + beta) / lr + lambda2)
            // What never had a gradient stays.
            where (n' |> isAbove zero) (where (abs z' |> isAbove lambda1) next zero) x)
    |> differs "elements that never had a gradient keep their value; the denominator has the power lr_power, too"

let all = [ adaBelief; adaShift; adaSmooth; aida; apolloDQN; diffGrad; ftrl ]
