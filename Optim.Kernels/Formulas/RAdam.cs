using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>RAdam: columns exp_avg, exp_avg_sq.</summary>
public readonly struct RAdamFormula : IFormula2<RAdamFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        Decoupled = 2,
        Rectified = 3,
        SlowMean = 4;

    /// <inheritdoc/>
    public static int SwitchCount => 5;

    /// <summary>Whether the variance of a step's rate is tractable.</summary>
    public static bool Rectifies(double beta2, long step) => Tractable(new Real(beta2), new(step)).Value > 0;

    /// <summary>Above 0 where the variance of a step's rate is tractable: by how much the length of the average is beyond 5.</summary>
    public static N Tractable<N>(N beta2, StepNumber<N> step)
        where N : struct, IScalar<N> => Length(beta2, step) - N.Of(5);

    /// <summary>
    /// Rectification and both bias corrections go into the rate: eps is added to the root as it is, unlike in Adam. A step that is not
    /// rectified has no root and no division.
    /// </summary>
    public static Coefficients<N> Coefficients<N>(N lr, N beta1, N beta2, N eps, N weightDecay, bool rectified, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var one = N.Of(1);
        var rate = lr / (one - step.Power(beta1));
        if (rectified)
            rate = rate * Rectification(beta2, step) * N.Sqrt(one - step.Power(beta2));
        return new(rate, eps, beta1, one - beta1, beta2, one - beta2, weightDecay, one - lr * weightDecay);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V expAvg, ref V expAvgSq)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (rate, eps, beta1, alpha1, beta2, alpha2, decay, keep) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        if (Is.On(Decoupled))
            param *= keep;
        expAvg = Is.On(SlowMean) ? V.Fma(alpha1, grad - expAvg, expAvg) : V.Fma(beta1, expAvg - grad, grad);
        expAvgSq = V.Fma(alpha2 * grad, grad, beta2 * expAvgSq);
        param -= rate * (Is.On(Rectified) ? expAvg / (V.Sqrt(expAvgSq) + eps) : expAvg);
    }

    private static N Longest<N>(N beta2)
        where N : struct, IScalar<N> => N.Of(2) / (N.Of(1) - beta2) - N.Of(1);

    /// <summary>The length of the simple average that the second moment amounts to.</summary>
    private static N Length<N>(N beta2, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var power = step.Power(beta2);
        return Longest(beta2) - N.Of(2) * step.Number * power / (N.Of(1) - power);
    }

    private static N Rectification<N>(N beta2, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var (longest, length, two, four) = (Longest(beta2), Length(beta2, step), N.Of(2), N.Of(4));
        return N.Sqrt((length - four) * (length - two) * longest / ((longest - four) * (longest - two) * length));
    }
}
