using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Averaged stochastic gradient descent: column ax, and for each parameter eta and mu.</summary>
public readonly struct ASGDFormula : IFormula1<ASGDFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1;

    /// <inheritdoc/>
    public static int SwitchCount => 2;

    /// <summary>eta and mu of the first step.</summary>
    public static Scalars<N> Start<N>(N lr)
        where N : struct, IScalar<N> => new(lr, N.Of(1));

    /// <summary>Above 0 where averages are taken in the next step.</summary>
    public static N Averages<N>(N t0, StepNumber<N> step)
        where N : struct, IScalar<N> => step.Number - t0 - N.Of(1);

    /// <summary>
    /// eta and mu of the step after this one: PyTorch works them out at the end of a step, so a change of lr is felt a step later.
    /// Averages are taken from the second step after t0 on; before that mu is 1.
    /// </summary>
    public static Scalars<N> Next<N>(N lr, N lambd, N alpha, N t0, bool averages, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var (one, t) = (N.Of(1), step.Number);
        return new(lr / N.Pow(one + lambd * lr * t, alpha), averages ? one / (t - t0) : one);
    }

    /// <summary>Rate and weight of the average, as the steps before left them.</summary>
    public static Coefficients<N> Coefficients<N>(N eta, N mu, N lambd, N weightDecay)
        where N : struct, IScalar<N> => new(eta, N.Of(1) - lambd * eta, mu, weightDecay);

    /// <summary>One step of one element. The average is the parameter itself until it begins.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V ax)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (eta, keep, mu, decay) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        param = keep * param - eta * grad;
        ax = V.Select(V.Greater(V.Of(1), mu), V.Fma(mu, param - ax, ax), param);
    }
}
