using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// What can be added, multiplied, divided and rooted, each rounded once, as IEEE 754 says. The exponential function, the logarithm and the cube root are
/// within a few units of the last place, the same ones in lanes of any width.
/// </summary>
/// <typeparam name="V">The implementing type.</typeparam>
public interface IArithmetic<V>
    where V : struct, IArithmetic<V>
{
    /// <summary>The constant <paramref name="value"/>, rounded to the type; in every element of a lane.</summary>
    static abstract V Of(double value);

    /// <summary>Sum.</summary>
    static abstract V operator +(V left, V right);

    /// <summary>Difference.</summary>
    static abstract V operator -(V left, V right);

    /// <summary>Product.</summary>
    static abstract V operator *(V left, V right);

    /// <summary>Quotient.</summary>
    static abstract V operator /(V left, V right);

    /// <summary>The other sign.</summary>
    static abstract V operator -(V value);

    /// <summary>The square root.</summary>
    static abstract V Sqrt(V value);

    /// <summary>e to the power of the value.</summary>
    static abstract V Exp(V value);

    /// <summary>The natural logarithm; minus infinity of 0, NaN below.</summary>
    static abstract V Log(V value);

    /// <summary>The cube root, of either sign.</summary>
    static abstract V Cbrt(V value);
}

/// <summary>A number that coefficients are worked out in: <see cref="Real"/> for kernels, a traced tensor for differentiable steps.</summary>
/// <typeparam name="N">The implementing type.</typeparam>
public interface IScalar<N> : IArithmetic<N>
    where N : struct, IScalar<N>
{
    /// <summary>A whole power.</summary>
    static abstract N Pow(N value, long exponent);

    /// <summary>Any power of a positive number.</summary>
    static abstract N Pow(N value, N exponent);
}

/// <summary>
/// What a formula computes on: a register of numbers, one number, or a whole tensor. Every operation but Exp, Log, Cbrt and Pow is rounded
/// once, as IEEE 754 says, so a formula gives the same bits on each lane.
/// </summary>
/// <typeparam name="V">The implementing type.</typeparam>
public interface ILane<V> : IArithmetic<V>
    where V : struct, ILane<V>
{
    /// <summary>a b + c, rounded once.</summary>
    static abstract V Fma(V a, V b, V c);

    /// <summary>The absolute value.</summary>
    static abstract V Abs(V value);

    /// <summary>A power of what is not negative: exp(exponent log(value)), or as near to it as the last place of exponent log(value) lets it be.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual V Pow(V value, V exponent) => V.Exp(exponent * V.Log(value));

    /// <summary>The larger one; NaN when either is NaN, the second when both are zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual V Max(V a, V b) => V.Select(V.Greater(a, b), a, V.Select(V.IsNaN(a), a, b));

    /// <summary>The smaller one; NaN when either is NaN, the second when both are zero.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static virtual V Min(V a, V b) => V.Select(V.Greater(b, a), a, V.Select(V.IsNaN(a), a, b));

    /// <summary>Where a is larger than b: a mask for <see cref="Select"/>. False for NaN.</summary>
    static abstract V Greater(V a, V b);

    /// <summary>Where the value is NaN: a mask for <see cref="Select"/>.</summary>
    static abstract V IsNaN(V value);

    /// <summary>Element by element, <paramref name="yes"/> where the mask holds and <paramref name="no"/> elsewhere.</summary>
    static abstract V Select(V mask, V yes, V no);
}

/// <summary>How a lane takes the numbers in which coefficients were worked out.</summary>
/// <typeparam name="V">The lane.</typeparam>
/// <typeparam name="N">The number.</typeparam>
public interface ITakes<V, N>
{
    /// <summary>The number in every element of a lane.</summary>
    static abstract V From(N number);
}

/// <summary>A lane that is loaded from memory and stored there.</summary>
/// <typeparam name="V">The implementing type.</typeparam>
public unsafe interface IVector<V> : ILane<V>, ITakes<V, Real>
    where V : struct, IVector<V>
{
    /// <summary>The number of elements.</summary>
    static abstract int Count { get; }

    /// <summary>The next <see cref="Count"/> elements at an address of any alignment.</summary>
    static abstract V Load(void* source);

    /// <summary>Stores <see cref="Count"/> elements at an address of any alignment.</summary>
    static abstract void Store(V value, void* target);

    // What narrow types are widened and rounded with: float lanes as 32-bit words. Meaningless for lanes of doubles.

    /// <summary>The next <see cref="Count"/> 16-bit words, each in 32 bits.</summary>
    static abstract V LoadWords(void* source);

    /// <summary>Stores the lower 16 bits of each element.</summary>
    static abstract void StoreWords(V value, void* target);

    /// <summary>The same 32 bits in every element.</summary>
    static abstract V OfBits(uint bits);

    /// <summary>Bits that are set in both.</summary>
    static abstract V And(V a, V b);

    /// <summary>Bits that are set in either.</summary>
    static abstract V Or(V a, V b);

    /// <summary>The sum as whole numbers, modulo 2^32.</summary>
    static abstract V AddBits(V a, V b);

    /// <summary>The bits moved up.</summary>
    static abstract V ShiftLeft(V value, int bits);

    /// <summary>The bits moved down, zeros after them.</summary>
    static abstract V ShiftRight(V value, int bits);

    /// <summary>Where a is larger than b as signed whole numbers: a mask for <see cref="ILane{V}.Select"/>.</summary>
    static abstract V GreaterBits(V a, V b);
}
