using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Adam on the rows that a sparse gradient has: columns exp_avg, exp_avg_sq.</summary>
public readonly struct SparseAdamFormula : IFormula2<SparseAdamFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        SlowMean = 1;

    /// <inheritdoc/>
    public static int SwitchCount => 2;

    /// <summary>Both bias corrections go into the step size, so that eps is added to the root as it is, unlike in Adam.</summary>
    public static Coefficients<N> Coefficients<N>(N lr, N beta1, N beta2, N eps, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var one = N.Of(1);
        var stepSize = lr * N.Sqrt(one - step.Power(beta2)) / (one - step.Power(beta1));
        return new(stepSize, eps, beta1, one - beta1, beta2, one - beta2);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V expAvg, ref V expAvgSq)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (stepSize, eps, beta1, alpha1, beta2, alpha2) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        expAvg = Is.On(SlowMean) ? V.Fma(alpha1, grad - expAvg, expAvg) : V.Fma(beta1, expAvg - grad, grad);
        expAvgSq = V.Fma(alpha2 * grad, grad, beta2 * expAvgSq);
        param -= stepSize * expAvg / (V.Sqrt(expAvgSq) + eps);
    }
}
