using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What formulas of whole tensors share.</summary>
internal static class TensorMath
{
    /// <summary>From one value towards another by a weight in [0, 1], from the nearer end: all the way at 1.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Between<V>(V start, V end, V weight, V rest, bool isNear)
        where V : struct, ILane<V> => isNear ? V.Fma(weight, end - start, start) : V.Fma(-rest, end - start, end);

    /// <summary>A parameter, decayed, and moved against a direction.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Against<V>(V param, V direction, V keep, V rate)
        where V : struct, ILane<V> => V.Fma(-rate, direction, keep * param);
}
