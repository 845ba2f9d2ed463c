using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// How the elements of parameters and gradients stand in memory. State is as wide as the arithmetic; these may be narrower, and are
/// widened on load and rounded to nearest, ties to even, on store.
/// </summary>
internal unsafe interface IStorage
{
    /// <summary>Whether numbers are rounded on store.</summary>
    static abstract bool IsNarrow { get; }

    /// <summary>The next elements after <paramref name="i"/> of them.</summary>
    static abstract V Load<V>(void* source, nint i)
        where V : struct, IVector<V>;

    /// <summary>Stores elements from <paramref name="i"/> on.</summary>
    static abstract void Store<V>(V value, void* target, nint i)
        where V : struct, IVector<V>;

    /// <summary>What a load finds after a store.</summary>
    static abstract V Round<V>(V value)
        where V : struct, IVector<V>;
}

/// <summary>As wide as the arithmetic.</summary>
internal readonly unsafe struct Wide<T> : IStorage
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    public static bool IsNarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V>(void* source, nint i)
        where V : struct, IVector<V> => V.Load((T*)source + i);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<V>(V value, void* target, nint i)
        where V : struct, IVector<V> => V.Store(value, (T*)target + i);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Round<V>(V value)
        where V : struct, IVector<V> => value;
}

/// <summary>bfloat16: the upper half of a float32.</summary>
internal readonly unsafe struct BFloat16 : IStorage
{
    public static bool IsNarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V>(void* source, nint i)
        where V : struct, IVector<V> => Widen(V.LoadWords((ushort*)source + i));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Round<V>(V value)
        where V : struct, IVector<V> => Widen(Words(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Widen<V>(V words)
        where V : struct, IVector<V> => V.ShiftLeft(words, 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<V>(V value, void* target, nint i)
        where V : struct, IVector<V> => V.StoreWords(Words(value), (ushort*)target + i);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Words<V>(V value)
        where V : struct, IVector<V>
    {
        // Half of the last place that stays, less one where that place is even: so a tie goes to the even side.
        var odd = V.And(V.ShiftRight(value, 16), V.OfBits(1));
        var rounded = V.ShiftRight(V.AddBits(V.AddBits(value, V.OfBits(0x7FFF)), odd), 16);
        return V.Select(V.IsNaN(value), V.OfBits(0x7FC0), rounded);
    }
}

/// <summary>IEEE 754 half precision.</summary>
internal readonly unsafe struct Float16 : IStorage
{
    public static bool IsNarrow
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    private const uint Sign = 0x8000;
    private const uint Infinity = 0x7F80_0000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V>(void* source, nint i)
        where V : struct, IVector<V> => Widen(V.LoadWords((ushort*)source + i));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Round<V>(V value)
        where V : struct, IVector<V> => Widen(Words(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Widen<V>(V words)
        where V : struct, IVector<V>
    {
        var magnitude = V.And(words, V.OfBits(0x7FFF));
        // Exponent and mantissa in their places, and the difference of the two biases as an exact factor, which also makes subnormal numbers normal.
        var value = V.ShiftLeft(magnitude, 13) * V.Of(5.192296858534828e33);
        var special = V.GreaterBits(magnitude, V.OfBits(0x7BFF));
        value = V.Select(special, V.Or(value, V.OfBits(Infinity)), value);
        return V.Or(value, V.ShiftLeft(V.And(words, V.OfBits(Sign)), 16));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store<V>(V value, void* target, nint i)
        where V : struct, IVector<V> => V.StoreWords(Words(value), (ushort*)target + i);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Words<V>(V value)
        where V : struct, IVector<V>
    {
        var magnitude = V.Abs(value);
        var odd = V.And(V.ShiftRight(magnitude, 13), V.OfBits(1));
        // Exponents from 127 to 15, and half of the last place that stays.
        var normal = V.ShiftRight(V.AddBits(V.AddBits(magnitude, V.OfBits(unchecked((uint)((15 - 127) << 23)) + 0xFFF)), odd), 13);
        // Below 2^-14 an addition rounds to the fixed last place of subnormal numbers.
        var half = V.Of(0.5);
        var subnormal = V.AddBits(magnitude + half, V.OfBits(unchecked(0u - 0x3F00_0000u)));
        var words = V.Select(V.GreaterBits(V.OfBits(0x3880_0000), magnitude), subnormal, normal);
        words = V.Select(V.GreaterBits(magnitude, V.OfBits(0x477F_FFFF)), V.OfBits(0x7C00), words);
        words = V.Select(V.IsNaN(value), V.OfBits(0x7E00), words);
        return V.Or(words, V.And(V.ShiftRight(value, 16), V.OfBits(Sign)));
    }
}
