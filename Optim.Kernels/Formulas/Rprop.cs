using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Resilient backpropagation: columns prev, step_size.</summary>
public readonly struct RpropFormula : IFormula2<RpropFormula>
{
    /// <summary>The switch, by its number.</summary>
    public const int Maximize = 0;

    /// <inheritdoc/>
    public static int SwitchCount => 1;

    /// <summary>Nothing depends on the step, nor on lr, which is where step_size starts.</summary>
    public static Coefficients<N> Coefficients<N>(N etaMinus, N etaPlus, N smallest, N largest)
        where N : struct, IScalar<N> => new(etaMinus, etaPlus, smallest, largest);

    /// <summary>One step of one element. Comparisons with NaN fail, so a NaN moves nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V previous, ref V stepSize)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (etaMinus, etaPlus, smallest, largest) = coefficients;
        var (zero, one) = (V.Of(0), V.Of(1));
        if (Is.On(Maximize))
            grad = -grad;
        var product = grad * previous;
        var (agrees, turned) = (V.Greater(product, zero), V.Greater(zero, product));
        stepSize *= V.Select(agrees, etaPlus, V.Select(turned, etaMinus, one));
        stepSize = V.Min(V.Max(stepSize, smallest), largest);
        previous = V.Select(turned, zero, grad);
        var sign = V.Select(V.Greater(previous, zero), one, V.Select(V.Greater(zero, previous), V.Of(-1), zero));
        param -= sign * stepSize;
    }
}
