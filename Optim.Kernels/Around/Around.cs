using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// What surrounds the update of an element in the same visit of memory: its gradient is unscaled and clipped before, its average
/// moves and its gradient becomes zero after. The same operations in the same order as passes of their own, so the same bits.
/// Averages are a column of the slice table; the default is nothing.
/// </summary>
internal struct Around
{
    /// <summary>By what gradients are multiplied to undo a loss scale.</summary>
    public double Unscale;

    /// <summary>By what they are multiplied to clip their norm.</summary>
    public double Clip;

    /// <summary>To what magnitude each is clamped; infinity for not at all.</summary>
    public double Limit;

    /// <summary>The weight of the new parameter in its average, where the table has one.</summary>
    public double Weight;

    /// <summary>Whether gradients become zero.</summary>
    public bool Zeroes;

    /// <summary>Whether there is anything to do.</summary>
    public bool IsOn;

    /// <summary>Arrays that it adds to a pass: an average.</summary>
    public readonly int Arrays => Weight > 0 ? 1 : 0;

    /// <summary>The same numbers in lanes, once before a loop.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public readonly Around<V> To<V>()
        where V : struct, IVector<V> =>
        new(
            V.Of(Unscale),
            V.Of(Clip),
            V.Of(Limit),
            V.Of(-Limit),
            V.Of(Weight),
            V.Of(1 - Weight),
            AverageFormula.Switches(Weight) != 0,
            Limit < double.PositiveInfinity,
            Zeroes
        );
}

/// <summary>Whether there is anything, as a type: where there is nothing, a loop has no trace of it.</summary>
internal unsafe interface IAround
{
    /// <summary>Whether something surrounds the step.</summary>
    static abstract bool On { get; }

    /// <inheritdoc cref="Around{V}.Before"/>
    static abstract V Before<V, P>(in Around<V> around, V gradient)
        where V : struct, IVector<V>
        where P : IStorage;

    /// <inheritdoc cref="Around{V}.Move"/>
    static abstract V Move<V, P>(in Around<V> around, V average, V param)
        where V : struct, IVector<V>
        where P : IStorage;

    /// <summary>Zero for gradients that are to become it.</summary>
    static abstract void Zero<V, P>(in Around<V> around, void* gradient, nint i)
        where V : struct, IVector<V>
        where P : IStorage;
}

/// <summary>A step that something surrounds.</summary>
internal readonly unsafe struct Surrounded : IAround
{
    public static bool On
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => true;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Before<V, P>(in Around<V> around, V gradient)
        where V : struct, IVector<V>
        where P : IStorage => around.Before<P>(gradient);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Move<V, P>(in Around<V> around, V average, V param)
        where V : struct, IVector<V>
        where P : IStorage => around.Move<P>(average, param);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Zero<V, P>(in Around<V> around, void* gradient, nint i)
        where V : struct, IVector<V>
        where P : IStorage
    {
        if (around.Zeroes)
            P.Store(around.Zero, gradient, i);
    }
}

/// <summary>A step alone.</summary>
internal readonly unsafe struct Alone : IAround
{
    public static bool On
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        get => false;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Before<V, P>(in Around<V> around, V gradient)
        where V : struct, IVector<V>
        where P : IStorage => gradient;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Move<V, P>(in Around<V> around, V average, V param)
        where V : struct, IVector<V>
        where P : IStorage => average;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Zero<V, P>(in Around<V> around, void* gradient, nint i)
        where V : struct, IVector<V>
        where P : IStorage { }
}

/// <summary>The numbers of <see cref="Around"/> in lanes. Questions are asked once a vector and answered alike each time.</summary>
internal readonly struct Around<V>(V unscale, V clip, V limit, V lower, V weight, V keep, bool fromNew, bool clamps, bool zeroes)
    where V : struct, IVector<V>
{
    private readonly V unscale = unscale,
        clip = clip,
        limit = limit,
        lower = lower,
        weight = weight,
        keep = keep;

    private readonly bool fromNew = fromNew,
        clamps = clamps;

    public readonly bool Zeroes = zeroes;

    /// <summary>What gradients become.</summary>
    public readonly V Zero = V.Of(0);

    /// <summary>The gradient that the step takes, rounded after each operation as if it had been stored.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public V Before<P>(V gradient)
        where P : IStorage
    {
        gradient *= unscale;
        if (P.IsNarrow)
            gradient = P.Round(gradient);
        gradient *= clip;
        if (P.IsNarrow)
            gradient = P.Round(gradient);
        if (clamps)
            gradient = ClampFormula.Clamp(gradient, lower, limit);
        return clamps && P.IsNarrow ? P.Round(gradient) : gradient;
    }

    /// <summary>The average after the step, which takes the parameter as it is stored.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public V Move<P>(V average, V param)
        where P : IStorage => AverageFormula.Move(weight, keep, average, P.IsNarrow ? P.Round(param) : param, fromNew);
}
