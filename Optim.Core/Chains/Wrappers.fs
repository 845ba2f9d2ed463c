namespace Optim.Core

open System
open System.Runtime.InteropServices
open Optim.Kernels
open TransformParts
open Wrapping

/// What becomes of the momentum of a rule that Lookahead synchronizes.
type LookaheadMomentum =
    /// It stays as it is.
    | Keep = 0
    /// It is averaged as parameters are.
    | Pullback = 1
    /// It becomes zero.
    | Reset = 2

/// Rules around rules: each takes any rule with its options, or the rule's defaults, and is a rule itself, with options and state under its own name
/// beside those of the rule. Around a definition, a chain or a formula it is one program; of a formula's options those are there that it reads
/// under the given ones. A rule that looks at whole tensors, such as Muon or Adafactor, takes its step between two programs, on a copy of parameter and
/// gradient that lasts from step to step.
[<AbstractClass; Sealed>]
type Wrappers private () =
    static let inner (rule: Rule) (options: IOptimizerOptions | null) =
        Argument.notNull "rule" rule

        match options with
        | null -> InnerRule.ofRule rule rule.Defaults
        | options -> InnerRule.ofRule rule options

    /// A transform of the gradient before a rule's step.
    static member Before
        (
            transform: Transform,
            rule: Rule,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        Argument.notNull "transform" transform
        let inner = inner rule options
        let update = Transforming.update transform.Items
        define (string transform) inner (fun r -> inner.Write(r.Of(r.Parameter, update r, r.Step)))

    /// Lookahead (Zhang et al. 2019): slow = slow + alpha (fast - slow) each k steps, and fast = slow; slow starts at the parameters, or with
    /// fromFirstSync at what they are after k steps, as timm has it. Momentum ("momentum_buffer") stays, is averaged, too, or becomes zero.
    static member Lookahead
        (
            rule: Rule,
            [<Optional; DefaultParameterValue(5)>] k: int,
            [<Optional; DefaultParameterValue(0.5)>] alpha: double,
            [<Optional; DefaultParameterValue(LookaheadMomentum.Keep)>] momentum: LookaheadMomentum,
            [<Optional; DefaultParameterValue(false)>] fromFirstSync: bool,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        require "lookahead" "k" (whole 1) (double k)
        require "lookahead" "alpha" (Interval.within 0.0 1.0) alpha

        if not (Enum.IsDefined momentum) then
            raise (ArgumentOutOfRangeException("momentum", momentum, "lookahead: momentum must be Keep, Pullback or Reset"))

        let inner = inner rule options

        define "lookahead" inner (fun r ->
            let fast = inner.Write r
            let own = r.Within "lookahead"
            let k = own.Number("k", double k, whole 1)
            let alpha = own.Number("alpha", alpha, Interval.within 0.0 1.0)

            let isDue =
                Condition.Greater(Expression.Of 0.5, r.Step - k * Expression.Floor(r.Step / k))

            let synchronized column start (value: Expression) =
                let slow = own.Column column

                let before =
                    if fromFirstSync then
                        Expression.Select(Condition.Greater(k + 0.5, r.Step), value, slow)
                    else
                        Expression.Select(isFirst r, start, slow)

                let next = Expression.Select(isDue, between alpha before value, before)
                own.Set(slow, next)
                Expression.Select(isDue, next, value)

            if momentum <> LookaheadMomentum.Keep then
                let sets = r.Recording.Sets
                let buffers = inner.Momentum r

                if buffers.IsEmpty then
                    r.Recording.Refuse $"momentum is {momentum}, and {inner.Name} has no momentum_buffer"

                for index, buffer in List.indexed buffers do
                    sets[buffer] <-
                        if momentum = LookaheadMomentum.Reset then
                            Expression.Select(isDue, zero, sets[buffer])
                        else
                            synchronized
                                (if index = 0 then
                                     "slow_momentum"
                                 else
                                     $"slow_momentum_{index + 1}")
                                zero
                                sets[buffer]

            synchronized "slow" r.Parameter fast)

    /// So many calls make a step, by the mean of their gradients (optax's MultiSteps): between them nothing but the mean changes.
    static member Accumulate
        (rule: Rule, calls: int, [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null)
        : Rule =
        require "accumulate" "calls" (whole 1) (double calls)
        let inner = inner rule options

        define "accumulate" inner (fun r ->
            let own = r.Within "accumulate"
            let calls = own.Number("calls", double calls, whole 1)
            let taken, steps = own.Kept("taken", 0.0), own.Kept("steps", 0.0)
            let mean = own.Column "mean"
            let next = mean + (r.Gradient - mean) / (taken + 1.0)
            let isDue = Condition.Greater(taken + 1.5, calls)
            own.Set(taken, Expression.Select(isDue, zero, taken + 1.0))
            own.Set(steps, Expression.Select(isDue, steps + 1.0, steps))
            own.Set(mean, Expression.Select(isDue, zero, next))
            guarded r isDue (fun () -> inner.Write(r.Of(r.Parameter, next, steps + 1.0))))

    /// A step by gradients that are not all finite is left out (optax's apply_if_finite), unless the mostErrors before it were left out, too.
    static member ApplyIfFinite
        (rule: Rule, mostErrors: int, [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null)
        : Rule =
        require "apply_if_finite" "most_errors" (whole 0) (double mostErrors)
        let inner = inner rule options

        define "apply_if_finite" inner (fun r ->
            let own = r.Within "apply_if_finite"
            let most = own.Number("most_errors", double mostErrors, whole 0)
            let errors, steps = own.Kept("errors", 0.0), own.Kept("steps", 0.0)

            let isFinite =
                Condition.Greater(Expression.Of infinity, own.LargestOverAll r.Gradient)

            let next = Expression.Select(isFinite, zero, errors + 1.0)
            let applies = isFinite ||| Condition.Greater(next, most + 0.5)
            own.Set(errors, next)
            own.Set(steps, Expression.Select(applies, steps + 1.0, steps))
            guarded r applies (fun () -> inner.Write(r.Of(r.Parameter, r.Gradient, steps + 1.0))))

    /// A step by gradients whose squared norm over all parameters is not below a limit is left out (optax's skip_large_updates).
    static member SkipLargeUpdates
        (
            rule: Rule,
            maxSquaredNorm: double,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        require "skip_large_updates" "max_squared_norm" positive maxSquaredNorm
        let inner = inner rule options

        define "skip_large_updates" inner (fun r ->
            let own = r.Within "skip_large_updates"
            let limit = own.Number("max_squared_norm", maxSquaredNorm, positive)
            let steps = own.Kept("steps", 0.0)
            let norm = own.NormOverAll r.Gradient
            let applies = Condition.Greater(limit, norm * norm)
            own.Set(steps, Expression.Select(applies, steps + 1.0, steps))
            guarded r applies (fun () -> inner.Write(r.Of(r.Parameter, r.Gradient, steps + 1.0))))

    /// An exponential average of the parameters in the state, as the column average.ema: it starts at the parameters after the first step.
    static member Average
        (rule: Rule, decay: double, [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null)
        : Rule =
        require "average" "decay" (Interval.within 0.0 1.0) decay
        let inner = inner rule options

        define "average" inner (fun r ->
            let next = inner.Write r
            let own = r.Within "average"
            let decay = own.Number("decay", decay, Interval.within 0.0 1.0)
            let average = own.Column "ema"
            own.Set(average, Expression.Select(isFirst r, next, between (1.0 - decay) average next))
            next)

    /// Schedule-Free (Defazio et al. 2024): the rule steps z by the gradient at y, which is what parameters are in training; x is the average of z by weights
    /// step^r max(lr)^weightLrPower, y = momentum x + (1 - momentum) z. ScheduleFree.evaluation gives x.
    static member ScheduleFree
        (
            rule: Rule,
            [<Optional; DefaultParameterValue(0.9)>] momentum: double,
            [<Optional; DefaultParameterValue(0.0)>] weightDecay: double,
            [<Optional; DefaultParameterValue(0.0)>] r: double,
            [<Optional; DefaultParameterValue(2.0)>] weightLrPower: double,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        let power = r
        let open' = Interval.between 0.0 1.0
        require "schedule_free" "momentum" open' momentum
        require "schedule_free" "weight_decay" nonNegative weightDecay
        let inner = inner rule options
        let lr = rateOf inner

        define "schedule_free" inner (fun r ->
            let own = r.Within "schedule_free"
            let beta = own.Number("momentum", momentum, open')
            let decay = own.Number("weight_decay", weightDecay, nonNegative)

            let power, lrPower =
                own.Number("r", power, Interval.any), own.Number("weight_lr_power", weightLrPower, Interval.any)

            let column, largest, sum =
                own.Column "z", own.Kept("lr_max", 0.0), own.Kept("weight_sum", 0.0)

            let z = Expression.Select(isFirst r, r.Parameter, column)
            let z = Expression.Fma(-(lr * decay), z, z)
            let y = Expression.Fma(-(lr * decay * (1.0 - beta)), r.Parameter, r.Parameter)
            let x = Expression.Fma(1.0 - 1.0 / beta, z - y, y)
            let z' = inner.Write(r.Of(z, r.Gradient, r.Step))
            let most = Expression.Max(largest, lr)
            let weight = Expression.Pow(r.Step, power) * Expression.Pow(most, lrPower)
            let total = sum + weight
            let share = Expression.Select(Condition.Greater(total, zero), weight / total, zero)
            own.Set(largest, most)
            own.Set(sum, total)
            own.Set(column, z')
            let x' = Expression.Fma(share, z' - x, x)
            Expression.Fma(beta, x' - z', z'))

    /// Cautious (Liang et al. 2024): elements that a step would move along their gradient stay; with rescale the others move by as much more as their
    /// share of the tensor, which counts as 0.001 at least, is smaller. What the rule's weight decay adds to a step counts as a part of it.
    static member Cautious
        (
            rule: Rule,
            [<Optional; DefaultParameterValue(true)>] rescale: bool,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        let inner = inner rule options

        define "cautious" inner (fun r ->
            let next = inner.Write r
            r.OptOut("U5", "elements stay or move by the sign of a product")
            let gradient = InnerRule.descended inner r
            let agrees = Condition.Greater((r.Parameter - next) * gradient, zero)

            if rescale then
                let share =
                    Expression.Mean(Expression.Select(agrees, one + zero * r.Gradient, zero))

                let factor = 1.0 / Expression.Max(share, Expression.Of 1e-3)
                Expression.Select(agrees, Expression.Fma(factor, next - r.Parameter, r.Parameter), r.Parameter)
            else
                Expression.Select(agrees, next, r.Parameter))

    /// OrthoGrad (Prieto et al. 2025): the gradient without its part along the parameter, made as long as before; a parallel one becomes zero, so
    /// that parameters of one element stay.
    static member OrthoGrad
        (rule: Rule, [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null)
        : Rule =
        let inner = inner rule options
        define "ortho_grad" inner (fun r -> inner.Write(r.Of(r.Parameter, orthogonal (r.Within "ortho_grad") r.Gradient, r.Step)))

    /// Gradient noise (Neelakantan et al. 2015): normal noise of variance eta / t^gamma is added to the gradient before the rule's step.
    static member GradientNoise
        (
            rule: Rule,
            eta: double,
            [<Optional; DefaultParameterValue(0.55)>] gamma: double,
            [<Optional; DefaultParameterValue(0.0)>] seed: double,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        Wrappers.Before(Transforms.AddNoise(eta, gamma, seed), rule, options)

    /// TRAC (Muppidi et al. 2024): the distance from the start is scaled by what a parameter-free learner, a sum over betas, makes of its agreement
    /// with the gradients, over all parameters. sPrev is the scale that each of them starts with.
    static member Trac
        (
            rule: Rule,
            [<Optional; DefaultParameterValue(null: double array | null)>] betas: double array | null,
            [<Optional; DefaultParameterValue(1e-8)>] sPrev: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double,
            [<Optional; DefaultParameterValue(null: IOptimizerOptions | null)>] options: IOptimizerOptions | null
        ) : Rule =
        let betas =
            match betas with
            | null -> [| 0.9; 0.99; 0.999; 0.9999; 0.99999; 0.999999 |]
            | betas -> Array.copy betas

        require "trac" "s_prev" nonNegative sPrev
        require "trac" "eps" nonNegative eps

        for beta in betas do
            require "trac" "betas" (Interval.within 0.0 1.0) beta

        let inner = inner rule options

        define "trac" inner (fun r ->
            let moved = inner.Write r
            let own = r.Within "trac"

            let sPrev, eps =
                own.Number("s_prev", sPrev, nonNegative), own.Number("eps", eps, nonNegative)

            let betas =
                betas
                |> Array.mapi (fun i beta -> own.Number($"beta{i + 1}", beta, Interval.within 0.0 1.0))

            let column, scale = own.Column "start", own.Kept("s", 0.0)
            let start = Expression.Select(isFirst r, r.Parameter, column)
            own.Set(column, start)
            let distance = (r.Parameter - start) / (scale + eps)
            let agreement = own.SumOverAll(distance * InnerRule.descended inner r)

            let terms =
                betas
                |> Array.mapi (fun i beta ->
                    let variance, sigma =
                        own.Kept($"variance{i + 1}", 0.0), own.Kept($"sigma{i + 1}", 1e-8)

                    let variance' = beta * beta * variance + agreement * agreement
                    let sigma' = beta * sigma - agreement
                    own.Set(variance, variance')
                    own.Set(sigma, sigma')
                    Expression.Erfi(sigma' / (Expression.Sqrt(2.0 * variance') + eps)))

            let factor = sPrev / Expression.Erfi(Expression.Of(sqrt 0.5))
            let scale' = factor * Array.reduce (fun (a: Expression) b -> a + b) terms
            own.Set(scale, scale')
            Expression.Fma(Expression.Max(scale', zero), distance + (moved - r.Parameter), start))
