using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Adagrad: column sum.</summary>
public readonly struct AdagradFormula : IFormula1<AdagradFormula>
{
    /// <summary>The switches, by their numbers.</summary>
    public const int Maximize = 0,
        L2 = 1;

    /// <inheritdoc/>
    public static int SwitchCount => 2;

    /// <summary>The first step has the whole rate: its decay counts the steps before.</summary>
    public static Coefficients<N> Coefficients<N>(N lr, N lrDecay, N eps, N weightDecay, StepNumber<N> step)
        where N : struct, IScalar<N> => new(lr / (N.Of(1) + (step.Number - N.Of(1)) * lrDecay), eps, weightDecay);

    /// <summary>One step of one element.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V sum)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (rate, eps, decay) = coefficients;
        if (Is.On(Maximize))
            grad = -grad;
        if (Is.On(L2))
            grad = V.Fma(decay, param, grad);
        sum = V.Fma(grad, grad, sum);
        param -= rate * (grad / (V.Sqrt(sum) + eps));
    }
}
