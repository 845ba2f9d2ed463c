using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Stochastic gradient descent: column momentum_buffer.</summary>
public readonly struct SGDFormula : IFormula1<SGDFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        Momentum = 2,
        Nesterov = 3;

    /// <inheritdoc/>
    public static int SwitchCount => 4;

    /// <inheritdoc cref="IFormula.Uses"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Uses<Is>(int column)
        where Is : ISwitches => Is.On(Momentum);

    /// <summary>The first gradient of a parameter is its first momentum: kept by 0, taken whole, not dampened.</summary>
    public static Coefficients<N> Coefficients<N>(N lr, N momentum, N dampening, N weightDecay, StepNumber<N> step)
        where N : struct, IScalar<N>
    {
        var (zero, one) = (N.Of(0), N.Of(1));
        return step.IsFirst ? new(lr, momentum, zero, one, weightDecay) : new(lr, momentum, momentum, one - dampening, weightDecay);
    }

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V buffer)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (lr, momentum, keep, take, decay) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        if (Is.On(Momentum))
        {
            buffer = V.Fma(keep, buffer, take * grad);
            grad = Is.On(Nesterov) ? V.Fma(momentum, buffer, grad) : buffer;
        }
        param -= lr * grad;
    }
}
