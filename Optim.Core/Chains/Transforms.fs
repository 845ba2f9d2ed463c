// Long, because the transforms are the members of one class, as users see them; each is a few lines.
namespace Optim.Core

open System.Runtime.InteropServices
open Optim.Kernels
open TransformParts

/// The transforms of this library, by optax's names; the module Chain has them for F#. An option outside of its range is an OptionException
/// that names transform and option.
[<AbstractClass; Sealed>]
type Transforms private () =
    /// The update as it is: the unit of chains.
    static member Identity = Transform []

    /// step_size u, for a step_size of either sign.
    static member Scale(stepSize: double) =
        make "scale" [ "step_size", stepSize, Interval.any ] (fun _ u o -> o[0] * u)

    /// -lr u: what turns a direction into a step.
    static member ScaleByLearningRate(lr: double) =
        make "scale_by_learning_rate" [ "lr", lr, nonNegative ] (fun _ u o -> -o[0] * u)

    /// step_size f(t - 1) u, for a schedule f relative to a base of 1; the first step uses f(0).
    static member ScaleBySchedule(schedule: Schedule, [<Optional; DefaultParameterValue(1.0)>] stepSize: double) =
        Argument.notNull "schedule" schedule

        make "scale_by_schedule" [ "step_size", stepSize, Interval.any ] (fun r u o -> o[0] * r.Scheduled("schedule", schedule) * u)

    /// Adam (Kingma and Ba 2014): m^ / (sqrt(v^ + eps_root) + eps), with moments corrected for their start at 0; with nesterov as in NAdam (Dozat 2016).
    static member ScaleByAdam
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] epsRoot: double,
            [<Optional; DefaultParameterValue(false)>] nesterov: bool
        ) =
        make
            "scale_by_adam"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "eps", eps, nonNegative
                "eps_root", epsRoot, nonNegative
            ]
            (fun r u o ->
                let m, v = firstMoment r o[0] u, secondMoment r o[1] u

                let direction =
                    if nesterov then
                        Expression.Fma((1.0 - o[0]) / correction r o[0], u, o[0] / (1.0 - Expression.Pow(o[0], r.Step + 1.0)) * m)
                    else
                        1.0 / correction r o[0] * m

                direction
                / (Expression.Sqrt(Expression.Fma(1.0 / correction r o[1], v, o[3])) + o[2]))

    /// AMSGrad (Reddi et al. 2018), with the largest corrected second moment so far.
    static member ScaleByAmsgrad
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] epsRoot: double
        ) =
        make
            "scale_by_amsgrad"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "eps", eps, nonNegative
                "eps_root", epsRoot, nonNegative
            ]
            (fun r u o ->
                let m, v = firstMoment r o[0] u, secondMoment r o[1] u
                let largest = r.Column "max_exp_avg_sq"
                let next = Expression.Max(largest, 1.0 / correction r o[1] * v)
                r.Set(largest, next)
                1.0 / correction r o[0] * m / (Expression.Sqrt(next + o[3]) + o[2]))

    /// RMSProp (Hinton 2012): u / sqrt(v + eps), without correction; centered, the mean's square is taken off v.
    static member ScaleByRms
        (
            [<Optional; DefaultParameterValue(0.9)>] decay: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] initialScale: double,
            [<Optional; DefaultParameterValue(false)>] centered: bool
        ) =
        make
            (if centered then "scale_by_stddev" else "scale_by_rms")
            [
                "decay", decay, fraction
                "eps", eps, nonNegative
                "initial_scale", initialScale, nonNegative
            ]
            (fun r u o ->
                let v = r.Column("square_avg", o[2])
                let next = movedSquare o[0] v u
                r.Set(v, next)

                if centered then
                    let mean = r.Column "grad_avg"
                    let mean' = moved o[0] mean u
                    r.Set(mean, mean')
                    u / Expression.Sqrt(Expression.Fma(-mean', mean', next) + o[1])
                else
                    u / Expression.Sqrt(next + o[1]))

    /// Lion (Chen et al. 2023): sign(beta1 m + (1 - beta1) u); m moves by beta2.
    static member ScaleByLion
        ([<Optional; DefaultParameterValue(0.9)>] beta1: double, [<Optional; DefaultParameterValue(0.99)>] beta2: double)
        =
        make "scale_by_lion" [ "beta1", beta1, fraction; "beta2", beta2, fraction ] (fun r u o ->
            let m = r.Column "exp_avg"
            r.Set(m, moved o[1] m u)
            Expression.Sign(moved o[0] m u))

    /// Adamax (Kingma and Ba 2014): m^ / v, where v is the larger of |u| + eps and beta2 v.
    static member ScaleByAdamax
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double
        ) =
        make "scale_by_adamax" [ "beta1", beta1, fraction; "beta2", beta2, fraction; "eps", eps, nonNegative ] (fun r u o ->
            let m, largest = firstMoment r o[0] u, r.Column "exp_inf"
            let next = Expression.Max(Expression.Abs u + o[2], o[1] * largest)
            r.Set(largest, next)
            1.0 / correction r o[0] * m / next)

    /// AdaBelief (Zhuang et al. 2020): as Adam by the squares of u - m, with eps_root added to them in each step.
    static member ScaleByBelief
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-16)>] eps: double,
            [<Optional; DefaultParameterValue(1e-16)>] epsRoot: double
        ) =
        make
            "scale_by_belief"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "eps", eps, nonNegative
                "eps_root", epsRoot, nonNegative
            ]
            (fun r u o ->
                let m, variance = firstMoment r o[0] u, r.Column "exp_avg_var"
                let next = movedSquare o[1] variance (u - m) + o[3]
                r.Set(variance, next)

                1.0 / correction r o[0] * m
                / (Expression.Sqrt(1.0 / correction r o[1] * next) + o[2]))

    /// Yogi (Zaheer et al. 2018): v - (1 - beta2) sign(v - u^2) u^2; v starts at initial_accumulator_value.
    static member ScaleByYogi
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-3)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] epsRoot: double,
            [<Optional; DefaultParameterValue(1e-6)>] initialAccumulatorValue: double
        ) =
        make
            "scale_by_yogi"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "eps", eps, nonNegative
                "eps_root", epsRoot, nonNegative
                "initial_accumulator_value", initialAccumulatorValue, nonNegative
            ]
            (fun r u o ->
                let m, v = firstMoment r o[0] u, r.Column("exp_avg_sq", o[4])
                let square = u * u
                let next = v - (1.0 - o[1]) * (Expression.Sign(v - square) * square)
                r.Set(v, next)

                1.0 / correction r o[0] * m
                / (Expression.Sqrt(Expression.Fma(1.0 / correction r o[1], next, o[3])) + o[2]))

    /// NovoGrad (Ginsburg et al. 2019): the second moment is one number for a parameter, of the gradient's norm, and starts at the first one's square;
    /// m = beta1 m + u / (sqrt v + eps) + weight_decay p, without correction.
    static member ScaleByNovograd
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.25)>] beta2: double,
            [<Optional; DefaultParameterValue(1e-6)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] weightDecay: double
        ) =
        make
            "scale_by_novograd"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "eps", eps, nonNegative
                "weight_decay", weightDecay, nonNegative
            ]
            (fun r u o ->
                let m, v = r.Column "exp_avg", r.TensorNumber("norm_sq", 0.0)
                let norm = Expression.Norm u
                let square = norm * norm
                let next = Expression.Select(isFirst r, square, moved o[1] v square)
                r.Set(v, next)
                let scaled = Expression.Fma(o[3], r.Parameter, u / (Expression.Sqrt next + o[2]))
                let m' = Expression.Fma(o[0], m, scaled)
                r.Set(m, m')
                m')

    /// The ratio of LAMB and LARS (You et al. 2017, 2019): trust_coefficient norm(p) / (norm(u) + eps), of norms of at least min_norm; 1 where one is 0.
    static member ScaleByTrustRatio
        (
            [<Optional; DefaultParameterValue(0.0)>] minNorm: double,
            [<Optional; DefaultParameterValue(1.0)>] trustCoefficient: double,
            [<Optional; DefaultParameterValue(0.0)>] eps: double
        ) =
        make
            "scale_by_trust_ratio"
            [
                "min_norm", minNorm, nonNegative
                "trust_coefficient", trustCoefficient, nonNegative
                "eps", eps, nonNegative
            ]
            (fun r u o -> trustRatio r u o[0] o[1] o[2] * u)

    /// Adagrad (Duchi et al. 2011): u / sqrt(sum of squares + eps).
    static member ScaleByRss
        ([<Optional; DefaultParameterValue(0.1)>] initialAccumulatorValue: double, [<Optional; DefaultParameterValue(1e-7)>] eps: double)
        =
        make
            "scale_by_rss"
            [
                "initial_accumulator_value", initialAccumulatorValue, nonNegative
                "eps", eps, nonNegative
            ]
            (fun r u o ->
                let sum = r.Column("sum", o[0])
                let next = Expression.Fma(u, u, sum)
                r.Set(sum, next)
                Expression.Select(Condition.Greater(next, zero), u / Expression.Sqrt(next + o[1]), zero))

    /// Adadelta (Zeiler 2012): sqrt(d + eps) / sqrt(v + eps) u, where d is of the squares of what comes out.
    static member ScaleByAdadelta
        ([<Optional; DefaultParameterValue(0.9)>] rho: double, [<Optional; DefaultParameterValue(1e-6)>] eps: double)
        =
        make "scale_by_adadelta" [ "rho", rho, fraction; "eps", eps, nonNegative ] (fun r u o ->
            let v, delta = r.Column "square_avg", r.Column "acc_delta"
            let v' = movedSquare o[0] v u
            let next = Expression.Sqrt(delta + o[1]) / Expression.Sqrt(v' + o[1]) * u
            r.Set(v, v')
            r.Set(delta, movedSquare o[0] delta next)
            next)

    /// AdEMAMix (Pagliardini et al. 2024): a second, slower first moment, alpha times, without correction.
    static member ScaleByAdemamix
        (
            [<Optional; DefaultParameterValue(0.9)>] beta1: double,
            [<Optional; DefaultParameterValue(0.999)>] beta2: double,
            [<Optional; DefaultParameterValue(0.9999)>] beta3: double,
            [<Optional; DefaultParameterValue(6.0)>] alpha: double,
            [<Optional; DefaultParameterValue(1e-8)>] eps: double,
            [<Optional; DefaultParameterValue(0.0)>] epsRoot: double
        ) =
        make
            "scale_by_ademamix"
            [
                "beta1", beta1, fraction
                "beta2", beta2, fraction
                "beta3", beta3, fraction
                "alpha", alpha, nonNegative
                "eps", eps, nonNegative
                "eps_root", epsRoot, nonNegative
            ]
            (fun r u o ->
                let m, v, slow =
                    firstMoment r o[0] u, secondMoment r o[1] u, r.Column "exp_avg_slow"

                let slow' = moved o[2] slow u
                r.Set(slow, slow')
                let direction = Expression.Fma(o[3], slow', 1.0 / correction r o[0] * m)

                direction
                / (Expression.Sqrt(Expression.Fma(1.0 / correction r o[1], v, o[5])) + o[4]))

    /// Momentum: b = decay b + u; with nesterov decay b + u of the new b. No dampening.
    static member Trace(decay: double, [<Optional; DefaultParameterValue(false)>] nesterov: bool) =
        make "trace" [ "decay", decay, fraction ] (fun r u o ->
            let buffer = r.Column "momentum_buffer"
            let next = Expression.Fma(o[0], buffer, u)
            r.Set(buffer, next)
            if nesterov then Expression.Fma(o[0], next, u) else next)

    /// The exponential average of updates; with debias corrected for its start at 0, while what is kept is not.
    static member Ema(decay: double, [<Optional; DefaultParameterValue(true)>] debias: bool) =
        make "ema" [ "decay", decay, fraction ] (fun r u o ->
            let average = firstMoment r o[0] u

            if debias then
                1.0 / correction r o[0] * average
            else
                average)

    /// u + weight_decay p.
    static member AddDecayedWeights(weightDecay: double) =
        make "add_decayed_weights" [ "weight_decay", weightDecay, Interval.any ] (fun r u o -> Expression.Fma(o[0], r.Parameter, u))

    /// Normal noise of variance eta / t^gamma (Neelakantan et al. 2015), which depends on seed, step, parameter and the place of the element alone.
    static member AddNoise(eta: double, gamma: double, [<Optional; DefaultParameterValue(0.0)>] seed: double) =
        make
            "add_noise"
            [
                "eta", eta, nonNegative
                "gamma", gamma, nonNegative
                "seed", seed, Interval.any
            ]
            (fun r u o ->
                let deviation = Expression.Sqrt(o[0] / Expression.Pow(r.Step, o[1]))
                Expression.Fma(deviation, r.Noise o[2], u))

    /// Each element limited to [-max_delta, max_delta].
    static member Clip(maxDelta: double) =
        make "clip" [ "max_delta", maxDelta, nonNegative ] (fun _ u o -> Expression.Min(Expression.Max(u, -o[0]), o[0]))

    /// u / norm max_norm where the norm over all parameters is not below max_norm, and u elsewhere (Pascanu et al. 2012).
    static member ClipByGlobalNorm(maxNorm: double) =
        make "clip_by_global_norm" [ "max_norm", maxNorm, positive ] (fun r u o ->
            let norm = r.NormOverAll u
            Expression.Select(Condition.Greater(o[0], norm), one, o[0] / norm) * u)

    /// u / max(1, rms(u) / threshold), tensor by tensor.
    static member ClipByBlockRms(threshold: double) =
        make "clip_by_block_rms" [ "threshold", threshold, positive ] (fun _ u o -> u / Expression.Max(one, rootMeanSquare u / o[0]))

    /// Adaptive clipping (Brock et al. 2021): the norm of a unit's update is at most clipping times that of its parameters, which counts as eps at least. Units:
    /// numbers and vectors as a whole; of other tensors what belongs to one output, which is the last dimension in optax's order (of matrices:
    /// columns), and the first one in PyTorch's (rows).
    static member AdaptiveGradClip
        (
            clipping: double,
            [<Optional; DefaultParameterValue(1e-3)>] eps: double,
            [<Optional; DefaultParameterValue(false)>] outputFirst: bool
        ) =
        make "adaptive_grad_clip" [ "clipping", clipping, nonNegative; "eps", eps, nonNegative ] (fun r u o ->
            let norm =
                if not (r.Asks("has rows", (fun parameter -> parameter.Shape.Length > 1))) then
                    Expression.Norm
                elif outputFirst then
                    r.RowNorm
                elif r.Asks("is a kernel", (fun parameter -> parameter.Shape.Length > 3)) then
                    fun elements -> r.ColumnNorm(elements, 3)
                else
                    fun elements -> r.ColumnNorm(elements, 1)

            let limit, found = o[0] * Expression.Max(norm r.Parameter, o[1]), norm u
            let clipped = u * (limit / Expression.Max(found, Expression.Of 1e-6))
            Expression.Select(Condition.Greater(limit, found), u, clipped))

    /// Gradient centralization (Yong et al. 2020): the mean of each row is taken off, the mean over all dimensions but the first; numbers and vectors stay.
    static member Centralize =
        make "centralize" [] (fun r u _ ->
            if r.Asks("has rows", (fun parameter -> parameter.Shape.Length > 1)) then
                u - r.RowMean u
            else
                u)

    /// u / (norm of all + eps) scale_factor.
    static member NormalizeByUpdateNorm
        ([<Optional; DefaultParameterValue(1.0)>] scaleFactor: double, [<Optional; DefaultParameterValue(1e-6)>] eps: double)
        =
        make "normalize_by_update_norm" [ "scale_factor", scaleFactor, Interval.any; "eps", eps, nonNegative ] (fun r u o ->
            o[0] / (r.NormOverAll u + o[1]) * u)

    /// The sign of each element; 0 for NaN.
    static member Sign = make "sign" [] (fun _ u _ -> Expression.Sign u)

    /// NaN becomes 0.
    static member ZeroNans =
        make "zero_nans" [] (fun _ u _ -> Expression.Select(Condition.IsNaN u, zero, u))

    /// No update: the parameters stay as they are.
    static member SetToZero = make "set_to_zero" [] (fun _ _ _ -> zero)

    /// Optimistic gradients (Daskalakis et al. 2017): (alpha + beta) u - beta u of the step before; alpha u at the first step.
    static member ScaleByOptimisticGradient
        ([<Optional; DefaultParameterValue(1.0)>] alpha: double, [<Optional; DefaultParameterValue(1.0)>] beta: double)
        =
        make "scale_by_optimistic_gradient" [ "alpha", alpha, Interval.any; "beta", beta, Interval.any ] (fun r u o ->
            let before = r.Column "previous"
            r.Set(before, u)
            Expression.Fma(o[0] + o[1], u, -o[1] * Expression.Select(isFirst r, u, before)))

    /// Fromage (Bernstein et al. 2020): -lr k u norm(p) / norm(u) + (k - 1) p with k = 1 / sqrt(1 + lr^2), of norms of at least min_norm.
    static member Fromage(lr: double, [<Optional; DefaultParameterValue(1e-6)>] minNorm: double) =
        make "fromage" [ "lr", lr, nonNegative; "min_norm", minNorm, nonNegative ] (fun r u o ->
            let k = 1.0 / Expression.Sqrt(1.0 + o[0] * o[0])
            Expression.Fma(k - 1.0, r.Parameter, -(o[0] * k) * trustRatio r u o[1] one zero * u))

    /// u times the norm of its parameter, which counts as min_scale at least.
    static member ScaleByParamBlockNorm([<Optional; DefaultParameterValue(1e-3)>] minScale: double) =
        make "scale_by_param_block_norm" [ "min_scale", minScale, nonNegative ] (fun r u o ->
            Expression.Max(Expression.Norm r.Parameter, o[0]) * u)

    /// u times the root mean square of its parameter, which counts as min_scale at least.
    static member ScaleByParamBlockRms([<Optional; DefaultParameterValue(1e-3)>] minScale: double) =
        make "scale_by_param_block_rms" [ "min_scale", minScale, nonNegative ] (fun r u o ->
            Expression.Max(rootMeanSquare r.Parameter, o[0]) * u)

    /// Cautious updates (Liang et al. 2024): elements of which the sign is not that of the gradient become 0. With rescale the others are divided by their
    /// share of the tensor, which counts as 0.001 at least; that takes a visit of memory more. It stands before the update changes its sign.
    static member Cautious([<Optional; DefaultParameterValue(true)>] rescale: bool) =
        make "cautious" [] (fun r u _ ->
            let agrees = Condition.Greater(u * r.Gradient, zero)

            if rescale then
                let share = Expression.Mean(Expression.Select(agrees, one + zero * u, zero))
                Expression.Select(agrees, u / Expression.Max(share, Expression.Of 1e-3), zero)
            else
                Expression.Select(agrees, u, zero))
