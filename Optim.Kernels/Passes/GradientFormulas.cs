using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Multiplies: what unscaling and clipping by norm do to a gradient.</summary>
internal readonly struct ScaleFormula : IFormula0<ScaleFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V gradient, V other)
        where V : struct, ILane<V>
        where Is : ISwitches => gradient *= coefficients.First;
}

/// <summary>Clamps to [-c, c]; NaN stays.</summary>
internal readonly struct ClampFormula : IFormula0<ClampFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V gradient, V other)
        where V : struct, ILane<V>
        where Is : ISwitches => gradient = Clamp(gradient, -coefficients.First, coefficients.First);

    /// <summary>Comparisons with NaN fail, so NaN stays.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal static V Clamp<V>(V gradient, V lower, V upper)
        where V : struct, ILane<V> => V.Select(V.Greater(gradient, upper), upper, V.Select(V.Greater(lower, gradient), lower, gradient));
}

/// <summary>Divides by a number: the mean of what was added.</summary>
internal readonly struct DivideFormula : IFormula0<DivideFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V sum, V other)
        where V : struct, ILane<V>
        where Is : ISwitches => sum /= coefficients.First;
}
