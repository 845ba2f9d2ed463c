using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// Moves an average towards a new value: a + w (b - a), so that the average of a constant is that constant. From the nearer
/// end, as PyTorch's lerp: above a weight of 1/2 from the new value.
/// </summary>
internal readonly struct AverageFormula : IFormula1<AverageFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 1;

    /// <summary>The switch: from the new value.</summary>
    public const int FromNew = 0;

    /// <summary>The weight of the new value, in [0, 1).</summary>
    public static Coefficients<N> Coefficients<N>(N weight)
        where N : struct, IScalar<N> => new(weight, N.Of(1) - weight);

    /// <summary>The switches that go with a weight.</summary>
    public static int Switches(double weight) => weight > 0.5 ? 1 << FromNew : 0;

    static bool IFormula.WritesParam
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    /// <summary>One move of one element; the value stands where a rule has the gradient, and the parameter is left alone.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V value, ref V average)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (weight, keep) = coefficients;
        average = Move(weight, keep, average, value, Is.On(FromNew));
    }

    /// <summary>The average after a move.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Move<V>(V weight, V keep, V average, V value, bool fromNew)
        where V : struct, ILane<V> => fromNew ? V.Fma(keep, average - value, value) : V.Fma(weight, value - average, average);
}
