using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The parts of which a floating-point number is made.</summary>
/// <typeparam name="V">The implementing type.</typeparam>
internal interface IBinary<V> : IVector<V>
    where V : struct, IBinary<V>
{
    /// <summary>2 to the power of a whole number, of which the result is neither subnormal nor infinite.</summary>
    static abstract V PowerOfTwo(V exponent);

    /// <summary>The bits of the exponent, as a number: the exponent and a bias. 0 for zeros and subnormal numbers.</summary>
    static abstract V BiasedExponent(V value);

    /// <summary>The number with the exponent 0: in [1, 2).</summary>
    static abstract V Significand(V value);
}

/// <summary>
/// The exponential function and the logarithm of lanes, from operations that are rounded once: the same bits in lanes of any width, within
/// two units of the last place. The type beside the lane's is that of its elements: float or double.
/// </summary>
internal static class LaneMath
{
    // ln 2 in two parts: the first has so few bits that its products with exponents are exact.
    private const double Ln2High = 0.693145751953125;
    private const double Ln2Low = 1.4286068203094172321e-6;

    /// <summary>e to the power of the value.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exp<V, T>(V value)
        where V : struct, IBinary<V>
    {
        var isDouble = typeof(T) == typeof(double);
        // Beyond these the result is infinite or 0.
        var (most, least) = isDouble ? (709.79, -746.0) : (88.73, -104.0);
        var x = V.Max(V.Min(value, V.Of(most)), V.Of(least));
        // Rounded to whole numbers by adding a number that has no places for fractions.
        var whole = V.Of(isDouble ? 1.5 * (1L << 52) : 1.5 * (1 << 23));
        var n = V.Fma(x, V.Of(1.4426950408889634), whole) - whole;
        var rest = V.Fma(n, V.Of(-Ln2Low), V.Fma(n, V.Of(-Ln2High), x));
        // 1 / k!, from the highest that counts.
        var sum = V.Of(1.0 / 40320);
        if (isDouble)
        {
            sum = V.Fma(V.Of(1.0 / 6227020800), rest, V.Of(1.0 / 479001600));
            sum = V.Fma(sum, rest, V.Of(1.0 / 39916800));
            sum = V.Fma(sum, rest, V.Of(1.0 / 3628800));
            sum = V.Fma(sum, rest, V.Of(1.0 / 362880));
            sum = V.Fma(sum, rest, V.Of(1.0 / 40320));
        }
        sum = V.Fma(sum, rest, V.Of(1.0 / 5040));
        sum = V.Fma(sum, rest, V.Of(1.0 / 720));
        sum = V.Fma(sum, rest, V.Of(1.0 / 120));
        sum = V.Fma(sum, rest, V.Of(1.0 / 24));
        sum = V.Fma(sum, rest, V.Of(1.0 / 6));
        sum = V.Fma(sum, rest, V.Of(0.5));
        sum = V.Fma(V.Fma(sum, rest, V.Of(1)), rest, V.Of(1));
        // In two steps: the power by itself may be out of range.
        var half = V.Fma(n, V.Of(0.5), whole) - whole;
        var result = sum * V.PowerOfTwo(half) * V.PowerOfTwo(n - half);
        return V.Select(V.IsNaN(value), value, result);
    }

    /// <summary>The natural logarithm: minus infinity of 0, NaN below.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Log<V, T>(V value)
        where V : struct, IBinary<V>
    {
        var isDouble = typeof(T) == typeof(double);
        var (zero, one) = (V.Of(0), V.Of(1));
        var (bias, digits) = isDouble ? (1023.0, 52) : (127.0, 23);
        // Subnormal numbers are made normal first.
        var isSmall = V.Greater(V.Of(isDouble ? 2.2250738585072014e-308 : 1.17549435e-38f), value);
        var x = V.Select(isSmall, value * V.Of(2.0 * (1L << digits)), value);
        var exponent = V.BiasedExponent(x) - V.Select(isSmall, V.Of(bias + digits + 1), V.Of(bias));
        var significand = V.Significand(x);
        var isLarge = V.Greater(significand, V.Of(1.4142135623730951));
        var m = V.Select(isLarge, significand * V.Of(0.5), significand);
        exponent += V.Select(isLarge, one, zero);
        // ln m = 2 artanh((m - 1) / (m + 1)).
        var s = (m - one) / (m + one);
        var square = s * s;
        // 1 / (2 k + 1), from the highest that counts.
        var sum = V.Of(1.0 / 11);
        if (isDouble)
        {
            sum = V.Fma(V.Of(1.0 / 21), square, V.Of(1.0 / 19));
            sum = V.Fma(sum, square, V.Of(1.0 / 17));
            sum = V.Fma(sum, square, V.Of(1.0 / 15));
            sum = V.Fma(sum, square, V.Of(1.0 / 13));
            sum = V.Fma(sum, square, V.Of(1.0 / 11));
        }
        sum = V.Fma(sum, square, V.Of(1.0 / 9));
        sum = V.Fma(sum, square, V.Of(1.0 / 7));
        sum = V.Fma(sum, square, V.Of(1.0 / 5));
        sum = V.Fma(sum, square, V.Of(1.0 / 3));
        // What is added to 2 s is small against it.
        var tail = V.Fma(s * square, sum + sum, exponent * V.Of(Ln2Low));
        var result = V.Fma(exponent, V.Of(Ln2High), s + s + tail);
        result = V.Select(V.Greater(V.Of(double.PositiveInfinity), value), result, value);
        var others = V.Select(V.Greater(zero, value), V.Of(double.NaN), V.Select(V.IsNaN(value), value, V.Of(double.NegativeInfinity)));
        return V.Select(V.Greater(value, zero), result, others);
    }
}
