using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The parts of which a floating-point number is made.</summary>
/// <typeparam name="V">The implementing type.</typeparam>
internal interface IBinary<V> : IVector<V>
    where V : struct, IBinary<V>
{
    /// <summary>The value times 2 to the power of a whole number, rounded once; the value is in [1/2, 8), its product below infinity or not far above.</summary>
    static abstract V Scale(V value, V exponent);

    /// <summary>The whole number e for which 2^-e times the magnitude is in [1, 2): minus infinity for 0, and what is not finite is left alone.</summary>
    static abstract V Exponent(V value);

    /// <summary>The magnitude times 2 to such a power that it is in [1, 2); 1 for 0 and infinities.</summary>
    static abstract V Significand(V value);
}

/// <summary>What of <see cref="IBinary{V}"/> can be read off the bits of normal numbers.</summary>
/// <typeparam name="V">The implementing type.</typeparam>
internal interface IDigits<V> : IBinary<V>
    where V : struct, IDigits<V>
{
    /// <summary>2 to the power of a whole number, of which the result is neither subnormal nor infinite.</summary>
    static abstract V PowerOfTwo(V exponent);

    /// <summary>The bits of the exponent of a positive number, as a number: the exponent and a bias. 0 for zeros and subnormal numbers.</summary>
    static abstract V BiasedExponent(V value);

    /// <summary>The number with the exponent 0: in [1, 2).</summary>
    static abstract V Digits(V value);
}

/// <summary>
/// The exponential function, the logarithm, the cube root and powers of lanes, from operations that are rounded once: the same bits in lanes of
/// any width, all but powers within two units of the last place. The type beside the lane's is that of its elements: float or double.
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
        // Beyond these the result is infinite or 0. NaN is not beyond, and stays.
        var (most, least) = isDouble ? (709.79, -746.0) : (88.73, -104.0);
        var x = V.Select(V.Greater(value, V.Of(most)), V.Of(most), value);
        x = V.Select(V.Greater(V.Of(least), x), V.Of(least), x);
        var n = Rounded<V, T>(x, V.Of(1.4426950408889634));
        var rest = V.Fma(n, V.Of(-Ln2Low), V.Fma(n, V.Of(-Ln2High), x));
        V sum;
        if (isDouble)
        {
            // 1 / k!, from the highest that counts.
            sum = V.Fma(V.Of(1.0 / 6227020800), rest, V.Of(1.0 / 479001600));
            sum = V.Fma(sum, rest, V.Of(1.0 / 39916800));
            sum = V.Fma(sum, rest, V.Of(1.0 / 3628800));
            sum = V.Fma(sum, rest, V.Of(1.0 / 362880));
            sum = V.Fma(sum, rest, V.Of(1.0 / 40320));
            sum = V.Fma(sum, rest, V.Of(1.0 / 5040));
            sum = V.Fma(sum, rest, V.Of(1.0 / 720));
            sum = V.Fma(sum, rest, V.Of(1.0 / 120));
            sum = V.Fma(sum, rest, V.Of(1.0 / 24));
            sum = V.Fma(sum, rest, V.Of(1.0 / 6));
            sum = V.Fma(sum, rest, V.Of(0.5));
        }
        else
        {
            // The polynomial whose largest relative error, 3e-9, is least.
            sum = V.Fma(V.Of(0.0013950479671814876), rest, V.Of(0.008368884185239277));
            sum = V.Fma(sum, rest, V.Of(0.041666205970827874));
            sum = V.Fma(sum, rest, V.Of(0.16666518882113712));
            sum = V.Fma(sum, rest, V.Of(0.5000000095135425));
        }
        return V.Scale(V.Fma(V.Fma(sum, rest, V.Of(1)), rest, V.Of(1)), n);
    }

    /// <summary>The natural logarithm: minus infinity of 0, NaN below.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Log<V, T>(V value)
        where V : struct, IBinary<V>
    {
        var (exponent, significand) = (V.Exponent(value), V.Significand(value));
        var isLarge = V.Greater(significand, V.Of(1.4142135623730951));
        var m = V.Select(isLarge, significand * V.Of(0.5), significand);
        exponent = V.Select(isLarge, exponent + V.Of(1), exponent);
        var f = m - V.Of(1);
        V main,
            tail;
        if (typeof(T) == typeof(double))
        {
            // ln m = 2 artanh((m - 1) / (m + 1)): 1 / (2 k + 1), from the highest that counts.
            var s = f / (m + V.Of(1));
            var square = s * s;
            var sum = V.Fma(V.Of(1.0 / 21), square, V.Of(1.0 / 19));
            sum = V.Fma(sum, square, V.Of(1.0 / 17));
            sum = V.Fma(sum, square, V.Of(1.0 / 15));
            sum = V.Fma(sum, square, V.Of(1.0 / 13));
            sum = V.Fma(sum, square, V.Of(1.0 / 11));
            sum = V.Fma(sum, square, V.Of(1.0 / 9));
            sum = V.Fma(sum, square, V.Of(1.0 / 7));
            sum = V.Fma(sum, square, V.Of(1.0 / 5));
            sum = V.Fma(sum, square, V.Of(1.0 / 3));
            (main, tail) = (s + s, V.Fma(s * square, sum + sum, exponent * V.Of(Ln2Low)));
        }
        else
        {
            // ln m = f - f^2 / 2 + f^3 times the polynomial whose largest error, 6e-9 of the logarithm, is least.
            var square = f * f;
            var sum = V.Fma(V.Of(-0.07859562130476508), f, V.Of(0.12881647268765417));
            sum = V.Fma(sum, f, V.Of(-0.13128772837309194));
            sum = V.Fma(sum, f, V.Of(0.14181192973216203));
            sum = V.Fma(sum, f, V.Of(-0.1662455235264079));
            sum = V.Fma(sum, f, V.Of(0.20002286199726693));
            sum = V.Fma(sum, f, V.Of(-0.25000810450970457));
            sum = V.Fma(sum, f, V.Of(0.333333167262665));
            (main, tail) = (f, V.Fma(f * square, sum, V.Fma(square, V.Of(-0.5), exponent * V.Of(Ln2Low))));
        }
        // What is added to the main part is small against it.
        var result = V.Fma(exponent, V.Of(Ln2High), main + tail);
        return V.Select(V.Greater(V.Of(0), value), V.Of(double.NaN), result);
    }

    /// <summary>
    /// A power: NaN of what is below 0, and as far off as an error in the last place of exponent log2(value) makes it. In float 2 to that power, which takes
    /// half the operations of exp(exponent log(value)), by which it is in double.
    /// </summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Pow<V, T>(V value, V exponent)
        where V : struct, IBinary<V>
    {
        if (typeof(T) == typeof(double))
            return Exp<V, T>(exponent * Log<V, T>(value));
        // log2(1 + f) = f times the polynomial whose product with f is off by 5e-8 at most. Pairs of terms do not wait for each other.
        var f = V.Significand(value) - V.Of(1);
        var square = f * f;
        var low = V.Fma(
            V.Fma(V.Of(-0.34730115725736072), f, V.Of(0.47868371565784623)),
            square,
            V.Fma(V.Of(-0.721165807640885), f, V.Of(1.4426898812360616))
        );
        var high = V.Fma(
            V.Fma(V.Of(-0.0093091972300353965), f, V.Of(0.052059131131620721)),
            square,
            V.Fma(V.Of(-0.13752155305637539), f, V.Of(0.24186494085071509))
        );
        var power = V.Fma(exponent * f, V.Fma(high, square * square, low), exponent * V.Exponent(value));
        // Beyond these the result is infinite or 0. NaN is not beyond, and stays.
        var (most, least) = (V.Of(129), V.Of(-152));
        power = V.Select(V.Greater(power, most), most, power);
        power = V.Select(V.Greater(least, power), least, power);
        var n = Rounded<V, T>(power);
        var rest = power - n;
        // 2^rest = 1 + rest times the polynomial whose product with it is off by 2e-9 at most.
        square = rest * rest;
        var sum = V.Fma(V.Of(0.00015476304070307951), rest, V.Of(0.0013400269585264496));
        sum = V.Fma(sum, square, V.Fma(V.Of(0.0096180038766606933), rest, V.Of(0.055503277914459995)));
        sum = V.Fma(sum, square, V.Fma(V.Of(0.24022651346007603), rest, V.Of(0.69314720624808834)));
        var result = V.Scale(V.Fma(sum, rest, V.Of(1)), n);
        return V.Select(V.Greater(V.Of(0), value), V.Of(double.NaN), result);
    }

    /// <summary>The cube root, of either sign; of zeros and what is not finite the value itself.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Cbrt<V, T>(V value)
        where V : struct, IBinary<V>
    {
        var (exponent, significand) = (V.Exponent(value), V.Significand(value));
        // -n, where the exponent is 3 n + rest, and rest is -1, 0 or 1.
        var n = Rounded<V, T>(exponent, V.Of(-1.0 / 3));
        var rest = V.Fma(n, V.Of(3), exponent);
        // The inverse root of the significand within 3e-4, and 2^(-rest / 3), exact at its three places: together near 1 / cbrt(value).
        var y = V.Fma(V.Of(-0.049936401010523435), significand, V.Of(0.3177550206380246));
        y = V.Fma(y, significand, V.Of(-0.8099574903990339));
        y = V.Fma(y, significand, V.Of(1.541885799517262));
        var third = V.Fma(V.Fma(V.Of(0.026810787939486451), rest, V.Of(-0.23311026195538671)), rest, V.Of(1));
        y = V.Scale(y, n) * third;
        if (typeof(T) == typeof(double))
        {
            var above = Above(value * y * y, y);
            y = V.Fma(y * above, V.Fma(above, V.Of(2.0 / 9), V.Of(-1.0 / 3)), y);
        }
        // cbrt(value) = root (1 + off)^(-2/3): its first terms, of which two thirds of what products were rounded by comes back.
        var root = value * y * y;
        var off = Above(root, y);
        root = V.Fma(root * off, V.Fma(off, V.Of(5.0 / 9), V.Of(-2.0 / 3)), root);
        // What is 0 or not finite has no exponent, and has become NaN.
        return V.Select(V.IsNaN(root), value, root);
    }

    /// <summary>By how much the magnitude of value y^2, which is given, times y is above 1: how far y is from 1 / cbrt(value).</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Above<V>(V root, V y)
        where V : struct, IBinary<V> => V.Fma(V.Abs(root), y, V.Of(-1));

    /// <summary>A number that has no places for fractions: added and taken off, it rounds to a whole number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Whole<V, T>()
        where V : struct, IBinary<V> => V.Of(typeof(T) == typeof(double) ? 1.5 * (1L << 52) : 1.5 * (1 << 23));

    /// <summary>x, rounded to a whole number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Rounded<V, T>(V x)
        where V : struct, IBinary<V> => x + Whole<V, T>() - Whole<V, T>();

    /// <summary>factor x, rounded to a whole number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Rounded<V, T>(V x, V factor)
        where V : struct, IBinary<V> => V.Fma(x, factor, Whole<V, T>()) - Whole<V, T>();

    /// <summary><see cref="IBinary{V}.Scale"/> by two powers: one by itself may be out of range.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Scale<V, T>(V value, V exponent)
        where V : struct, IDigits<V>
    {
        var half = Rounded<V, T>(exponent, V.Of(0.5));
        return value * V.PowerOfTwo(half) * V.PowerOfTwo(exponent - half);
    }

    /// <inheritdoc cref="IBinary{V}.Exponent"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Exponent<V, T>(V value)
        where V : struct, IDigits<V>
    {
        var (bias, digits) = typeof(T) == typeof(double) ? (1023.0, 52) : (127.0, 23);
        var (normal, isSmall) = Normal<V, T>(value);
        var exponent = V.BiasedExponent(normal) - V.Select(isSmall, V.Of(bias + digits + 1), V.Of(bias));
        exponent = V.Select(V.Greater(V.Abs(value), V.Of(0)), exponent, V.Of(double.NegativeInfinity));
        return V.Select(V.Greater(V.Of(double.PositiveInfinity), V.Abs(value)), exponent, V.Abs(value));
    }

    /// <inheritdoc cref="IBinary{V}.Significand"/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Significand<V, T>(V value)
        where V : struct, IDigits<V> => V.Select(V.IsNaN(value), value, V.Digits(Normal<V, T>(value).Value));

    /// <summary>The magnitude; a subnormal number is made normal.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static (V Value, V IsSmall) Normal<V, T>(V value)
        where V : struct, IDigits<V>
    {
        var magnitude = V.Abs(value);
        var (least, up) = typeof(T) == typeof(double) ? (2.2250738585072014e-308, 2.0 * (1L << 52)) : (1.17549435e-38f, 2.0 * (1 << 23));
        var isSmall = V.Greater(V.Of(least), magnitude);
        return (V.Select(isSmall, magnitude * V.Of(up), magnitude), isSmall);
    }
}
