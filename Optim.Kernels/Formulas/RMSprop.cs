using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>RMSprop: columns square_avg, momentum_buffer, grad_avg.</summary>
public readonly struct RMSpropFormula : IFormula3<RMSpropFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1,
        Momentum = 2,
        Centered = 3,
        SlowMean = 4;

    /// <inheritdoc/>
    public static int SwitchCount => 5;

    /// <inheritdoc cref="IFormula.Uses"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static bool Uses<Is>(int column)
        where Is : ISwitches => column == 0 || Is.On(column == 1 ? Momentum : Centered);

    /// <summary>Nothing depends on the step.</summary>
    public static Coefficients<N> Coefficients<N>(N lr, N alpha, N eps, N weightDecay, N momentum)
        where N : struct, IScalar<N> => new(lr, alpha, N.Of(1) - alpha, eps, weightDecay, momentum);

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V squareAvg, ref V buffer, ref V gradAvg)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (lr, alpha, rest, eps, decay, momentum) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        squareAvg = V.Fma(rest * grad, grad, alpha * squareAvg);
        if (Is.On(Centered))
            gradAvg = Is.On(SlowMean) ? V.Fma(rest, grad - gradAvg, gradAvg) : V.Fma(alpha, gradAvg - grad, grad);
        // The variance can round below zero, of which PyTorch makes NaN.
        var variance = Is.On(Centered) ? V.Max(squareAvg - gradAvg * gradAvg, V.Of(0)) : squareAvg;
        var direction = grad / (V.Sqrt(variance) + eps);
        if (Is.On(Momentum))
            direction = buffer = V.Fma(momentum, buffer, direction);
        param -= lr * direction;
    }
}
