using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>NAdam: columns exp_avg, exp_avg_sq, and for each parameter mu_product.</summary>
public readonly struct NAdamFormula : IFormula2<NAdamFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        Decoupled = 2,
        SlowMean = 3;

    /// <inheritdoc/>
    public static int SwitchCount => 4;

    /// <summary>The momentum of a step, which grows from about half of beta1 to beta1.</summary>
    private static N Momentum<N>(N beta1, N momentumDecay, StepNumber<N> step)
        where N : struct, IScalar<N> => beta1 * (N.Of(1) - N.Of(0.5) * N.Pow(N.Of(0.96), step.Number * momentumDecay));

    /// <summary>mu_product before the first step.</summary>
    public static Scalars<N> Start<N>()
        where N : struct, IScalar<N> => new(N.Of(1));

    /// <summary>mu_product after a step, from that before it.</summary>
    public static Scalars<N> Next<N>(N muProduct, N beta1, N momentumDecay, StepNumber<N> step)
        where N : struct, IScalar<N> => new(muProduct * Momentum(beta1, momentumDecay, step));

    /// <summary>
    /// The gradient and the mean that is a step ahead go over the same denominator, so they are added before the one division.
    /// </summary>
    /// <param name="lr">Learning rate.</param>
    /// <param name="beta1">Decay of the mean.</param>
    /// <param name="beta2">Decay of the second moment.</param>
    /// <param name="eps">Added to the denominator.</param>
    /// <param name="weightDecay">Of either kind.</param>
    /// <param name="momentumDecay">How fast the momentum grows.</param>
    /// <param name="muProduct">The product of the momenta before this step.</param>
    /// <param name="step">From 1.</param>
    public static Coefficients<N> Coefficients<N>(
        N lr,
        N beta1,
        N beta2,
        N eps,
        N weightDecay,
        N momentumDecay,
        N muProduct,
        StepNumber<N> step
    )
        where N : struct, IScalar<N>
    {
        var one = N.Of(1);
        var (mu, next) = (Momentum(beta1, momentumDecay, step), Momentum(beta1, momentumDecay, step.Next));
        var product = muProduct * mu;
        var ofGrad = lr * (one - mu) / (one - product);
        var ofMean = lr * next / (one - product * next);
        var scale = one / N.Sqrt(one - step.Power(beta2));
        return new(ofGrad, ofMean, scale, eps, beta1, one - beta1, beta2, one - beta2, weightDecay, one - lr * weightDecay);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V expAvg, ref V expAvgSq)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (ofGrad, ofMean, scale, eps, beta1, alpha1, beta2, alpha2, decay, keep) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        if (Is.On(Decoupled))
            param *= keep;
        expAvg = Is.On(SlowMean) ? V.Fma(alpha1, grad - expAvg, expAvg) : V.Fma(beta1, expAvg - grad, grad);
        expAvgSq = V.Fma(alpha2 * grad, grad, beta2 * expAvgSq);
        param -= V.Fma(ofGrad, grad, ofMean * expAvg) / V.Fma(V.Sqrt(expAvgSq), scale, eps);
    }
}
