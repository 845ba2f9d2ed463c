using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>column = a grad: a scaled copy, which leaves the parameter alone.</summary>
internal readonly struct ScaledFormula : IFormula1<ScaledFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    static bool IFormula.WritesParam
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V column)
        where V : struct, ILane<V>
        where Is : ISwitches => column = coefficients.First * grad;
}

/// <summary>param = a grad + param.</summary>
internal readonly struct AddedFormula : IFormula0<AddedFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad)
        where V : struct, ILane<V>
        where Is : ISwitches => param = V.Fma(coefficients.First, grad, param);
}

/// <summary>param = a x + y, over two columns that are read only: a point on the line through y with the direction x.</summary>
internal readonly struct CombinedFormula : IFormula2<CombinedFormula>
{
    /// <inheritdoc/>
    public static int SwitchCount => 0;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool IFormula.WritesColumn(int column) => false;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V x, ref V y)
        where V : struct, ILane<V>
        where Is : ISwitches => param = V.Fma(coefficients.First, x, y);
}
