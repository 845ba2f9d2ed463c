using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// The numbers that a formula needs beside tensors, worked out once a step from the options and the step count. A plain
/// struct of up to 12, so that the compiler keeps them in registers; formulas take them apart by position.
/// </summary>
/// <typeparam name="N">A number, or a lane.</typeparam>
public readonly struct Coefficients<N>
    where N : struct
{
    internal readonly N C1;
    internal readonly N C2;
    internal readonly N C3;
    internal readonly N C4;
    internal readonly N C5;
    internal readonly N C6;
    internal readonly N C7;
    internal readonly N C8;
    internal readonly N C9;
    internal readonly N C10;
    internal readonly N C11;
    internal readonly N C12;

    /// <summary>The numbers, in the order in which the formula takes them apart.</summary>
    public Coefficients(
        N c1 = default,
        N c2 = default,
        N c3 = default,
        N c4 = default,
        N c5 = default,
        N c6 = default,
        N c7 = default,
        N c8 = default,
        N c9 = default,
        N c10 = default,
        N c11 = default,
        N c12 = default
    )
    {
        C1 = c1;
        C2 = c2;
        C3 = c3;
        C4 = c4;
        C5 = c5;
        C6 = c6;
        C7 = c7;
        C8 = c8;
        C9 = c9;
        C10 = c10;
        C11 = c11;
        C12 = c12;
    }

    /// <summary>The same numbers in lanes: done once before a loop, since the compiler would not move it out.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Coefficients<V> To<V>()
        where V : struct, ITakes<V, N> =>
        new(
            V.From(C1),
            V.From(C2),
            V.From(C3),
            V.From(C4),
            V.From(C5),
            V.From(C6),
            V.From(C7),
            V.From(C8),
            V.From(C9),
            V.From(C10),
            V.From(C11),
            V.From(C12)
        );

    /// <summary>The first number, for formulas with a single one.</summary>
    public N First => C1;

    /// <summary>The first 2 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2) => (c1, c2) = (C1, C2);

    /// <summary>The first 3 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3) => (c1, c2, c3) = (C1, C2, C3);

    /// <summary>The first 4 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4) => (c1, c2, c3, c4) = (C1, C2, C3, C4);

    /// <summary>The first 5 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5) => (c1, c2, c3, c4, c5) = (C1, C2, C3, C4, C5);

    /// <summary>The first 6 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5, out N c6) =>
        (c1, c2, c3, c4, c5, c6) = (C1, C2, C3, C4, C5, C6);

    /// <summary>The first 7 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5, out N c6, out N c7) =>
        (c1, c2, c3, c4, c5, c6, c7) = (C1, C2, C3, C4, C5, C6, C7);

    /// <summary>The first 8 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5, out N c6, out N c7, out N c8) =>
        (c1, c2, c3, c4, c5, c6, c7, c8) = (C1, C2, C3, C4, C5, C6, C7, C8);

    /// <summary>The first 9 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5, out N c6, out N c7, out N c8, out N c9) =>
        (c1, c2, c3, c4, c5, c6, c7, c8, c9) = (C1, C2, C3, C4, C5, C6, C7, C8, C9);

    /// <summary>The first 10 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(out N c1, out N c2, out N c3, out N c4, out N c5, out N c6, out N c7, out N c8, out N c9, out N c10) =>
        (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10) = (C1, C2, C3, C4, C5, C6, C7, C8, C9, C10);

    /// <summary>The first 11 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(
        out N c1,
        out N c2,
        out N c3,
        out N c4,
        out N c5,
        out N c6,
        out N c7,
        out N c8,
        out N c9,
        out N c10,
        out N c11
    ) => (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11) = (C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11);

    /// <summary>The first 12 numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Deconstruct(
        out N c1,
        out N c2,
        out N c3,
        out N c4,
        out N c5,
        out N c6,
        out N c7,
        out N c8,
        out N c9,
        out N c10,
        out N c11,
        out N c12
    ) => (c1, c2, c3, c4, c5, c6, c7, c8, c9, c10, c11, c12) = (C1, C2, C3, C4, C5, C6, C7, C8, C9, C10, C11, C12);
}
