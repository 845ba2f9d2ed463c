using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Adamax: columns exp_avg, exp_inf.</summary>
public readonly struct AdamaxFormula : IFormula2<AdamaxFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        SlowMean = 2;

    /// <inheritdoc/>
    public static int SwitchCount => 3;

    /// <summary>The bias correction of the mean goes into the rate; the norm needs none.</summary>
    public static Coefficients<N> Coefficients<N>(N lr, N beta1, N beta2, N eps, N weightDecay, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var one = N.Of(1);
        return new(lr / (one - step.Power(beta1)), beta1, one - beta1, beta2, eps, weightDecay);
    }

    /// <summary>One step of one element. A NaN stays in the norm, as it would in a sum.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V expAvg, ref V expInf)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (stepSize, beta1, alpha1, beta2, eps, decay) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        expAvg = Is.On(SlowMean) ? V.Fma(alpha1, grad - expAvg, expAvg) : V.Fma(beta1, expAvg - grad, grad);
        expInf = V.Max(beta2 * expInf, V.Abs(grad) + eps);
        param -= stepSize * (expAvg / expInf);
    }
}
