using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>How a reduction takes an element in, and joins what two parts came to.</summary>
internal interface IReducer
{
    /// <summary>What nothing comes to.</summary>
    static virtual double Start => 0;

    /// <summary>Whether elements go in as |x|^p, worked out one by one.</summary>
    static virtual bool Powers => false;

    /// <summary>Whether there is a second tensor.</summary>
    static virtual bool Two => false;

    static abstract V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V>;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual V Join<V>(V left, V right)
        where V : struct, ILane<V> => left + right;
}

internal readonly struct Sums : IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => sum + x;
}

internal readonly struct Powers : IReducer
{
    static bool IReducer.Powers => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => sum + x;
}

internal readonly struct Squares : IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => V.Fma(x, x, sum);
}

internal readonly struct Magnitudes : IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => sum + V.Abs(x);
}

internal readonly struct Products : IReducer
{
    static bool IReducer.Two => true;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => V.Fma(x, y, sum);
}

internal readonly struct Largest : IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => V.Max(sum, V.Abs(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static V IReducer.Join<V>(V left, V right) => V.Max(left, right);
}

internal readonly struct Smallest : IReducer
{
    static double IReducer.Start => double.PositiveInfinity;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Take<V>(V sum, V x, V y)
        where V : struct, ILane<V> => V.Min(sum, V.Abs(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static V IReducer.Join<V>(V left, V right) => V.Min(left, right);
}
