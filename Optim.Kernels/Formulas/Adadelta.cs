using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Adadelta: columns square_avg, acc_delta.</summary>
public readonly struct AdadeltaFormula : IFormula2<AdadeltaFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1;

    /// <inheritdoc/>
    public static int SwitchCount => 2;

    // A power of two, and so is its root.
    private const double Scale = 1L << 40,
        Root = 1L << 20;

    /// <summary>
    /// One root is left of two, and one division: that of the quotient. It is worked out 2^40 times as large, or huge gradients
    /// would drive it among the subnormal numbers, where digits are lost; what is multiplied by the delta is that much smaller.
    /// </summary>
    public static Coefficients<N> Coefficients<N>(N lr, N rho, N eps, N weightDecay)
        where N : struct, IScalar<N>
    {
        var (scale, root, rest) = (N.Of(Scale), N.Of(Root), N.Of(1) - rho);
        return new(lr / root, rho, rest, rest / scale, eps, scale, scale * eps, weightDecay);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V squareAvg, ref V accDelta)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (rate, rho, rest, smallRest, eps, scale, largeEps, decay) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        squareAvg = V.Fma(rest * grad, grad, rho * squareAvg);
        var delta = V.Sqrt(V.Fma(scale, accDelta, largeEps) / (squareAvg + eps)) * grad;
        accDelta = V.Fma(smallRest * delta, delta, rho * accDelta);
        param -= rate * delta;
    }
}
