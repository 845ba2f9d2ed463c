using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Adam and AdamW: columns exp_avg, exp_avg_sq, max_exp_avg_sq.</summary>
public readonly struct AdamFormula : IFormula3<AdamFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        Decoupled = 2,
        Amsgrad = 3,
        SlowMean = 4;

    /// <inheritdoc/>
    public static int SwitchCount => 5;

    /// <inheritdoc cref="IFormula.Uses"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Uses<Is>(int column)
        where Is : ISwitches => column < 2 || Is.On(Amsgrad);

    /// <summary>
    /// Both bias corrections go into numbers: lr / (1 - beta1^t) before, 1 / sqrt(1 - beta2^t) inside of the
    /// denominator, so that one square root and one division are left for each element.
    /// </summary>
    public static Coefficients<N> Coefficients<N>(N lr, N beta1, N beta2, N eps, N weightDecay, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var one = N.Of(1);
        var (stepSize, scale) = (lr / (one - step.Power(beta1)), one / N.Sqrt(one - step.Power(beta2)));
        return new(stepSize, scale, eps, beta1, one - beta1, beta2, one - beta2, weightDecay, one - lr * weightDecay);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V expAvg, ref V expAvgSq, ref V maxExpAvgSq)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (stepSize, scale, eps, beta1, alpha1, beta2, alpha2, decay, keep) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        if (Is.On(Decoupled))
            param *= keep;
        // From the nearer end, as PyTorch's lerp: the other way round a mean with beta1 0 would not be the gradient.
        expAvg = Is.On(SlowMean) ? V.Fma(alpha1, grad - expAvg, expAvg) : V.Fma(beta1, expAvg - grad, grad);
        expAvgSq = V.Fma(alpha2 * grad, grad, beta2 * expAvgSq);
        if (Is.On(Amsgrad))
            maxExpAvgSq = V.Max(maxExpAvgSq, expAvgSq);
        var second = Is.On(Amsgrad) ? maxExpAvgSq : expAvgSq;
        param -= stepSize * expAvg / V.Fma(V.Sqrt(second), scale, eps);
    }
}
