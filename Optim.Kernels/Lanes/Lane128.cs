using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>128 bits of numbers in a register.</summary>
/// <typeparam name="T">float or double.</typeparam>
internal readonly unsafe struct Lane128<T>(Vector128<T> value) : IDigits<Lane128<T>>, ICodes<Lane128<T>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly Vector128<T> value = value;

    /// <summary>The register.</summary>
    public Vector128<T> Value => value;

    public static int Count => Vector128<T>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Of(double value) => new(Vector128.Create(T.CreateTruncating(value)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> From(Real number) => Of(number.Value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Load(void* source) => new(Vector128.Load((T*)source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lane128<T> value, void* target) => value.value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> operator +(Lane128<T> left, Lane128<T> right) => new(left.value + right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> operator -(Lane128<T> left, Lane128<T> right) => new(left.value - right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> operator *(Lane128<T> left, Lane128<T> right) => new(left.value * right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> operator /(Lane128<T> left, Lane128<T> right) => new(left.value / right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> operator -(Lane128<T> value) => new(-value.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Fma(Lane128<T> a, Lane128<T> b, Lane128<T> c) =>
        typeof(T) == typeof(float)
            ? new(Vector128.FusedMultiplyAdd(a.value.AsSingle(), b.value.AsSingle(), c.value.AsSingle()).As<float, T>())
            : new(Vector128.FusedMultiplyAdd(a.value.AsDouble(), b.value.AsDouble(), c.value.AsDouble()).As<double, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Sqrt(Lane128<T> value) => new(Vector128.Sqrt(value.value));

    public static Lane128<T> Exp(Lane128<T> value) => LaneMath.Exp<Lane128<T>, T>(value);

    public static Lane128<T> Log(Lane128<T> value) => LaneMath.Log<Lane128<T>, T>(value);

    public static Lane128<T> Cbrt(Lane128<T> value) => LaneMath.Cbrt<Lane128<T>, T>(value);

    public static Lane128<T> Pow(Lane128<T> value, Lane128<T> exponent) => LaneMath.Pow<Lane128<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Abs(Lane128<T> value) => new(Vector128.Abs(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Greater(Lane128<T> a, Lane128<T> b) => new(Vector128.GreaterThan(a.value, b.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> IsNaN(Lane128<T> value) => new(Vector128.IsNaN(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Select(Lane128<T> mask, Lane128<T> yes, Lane128<T> no) =>
        new(Vector128.ConditionalSelect(mask.value, yes.value, no.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Scale(Lane128<T> value, Lane128<T> exponent) => LaneMath.Scale<Lane128<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Exponent(Lane128<T> value) => LaneMath.Exponent<Lane128<T>, T>(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Significand(Lane128<T> value) => LaneMath.Significand<Lane128<T>, T>(value);

    private static bool IsDouble => typeof(T) == typeof(double);

    // A number that has no places for fractions has whole ones in its last bits.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> PowerOfTwo(Lane128<T> exponent) =>
        IsDouble
            ? new(((exponent.value.AsDouble() + Vector128.Create(6755399441055744.0 + 1023)).AsUInt64() << 52).As<ulong, T>())
            : new(((exponent.value.AsSingle() + Vector128.Create(12582912f + 127)).AsUInt32() << 23).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> BiasedExponent(Lane128<T> value) =>
        IsDouble
            ? new Lane128<T>(((value.value.AsUInt64() >>> 52) | Vector128.Create(4503599627370496.0).AsUInt64()).As<ulong, T>())
                - Of(4503599627370496)
            : new Lane128<T>(((value.value.AsUInt32() >>> 23) | Vector128.Create(8388608f).AsUInt32()).As<uint, T>()) - Of(8388608);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Digits(Lane128<T> value) =>
        IsDouble
            ? new(((value.value.AsUInt64() & Vector128.Create((1UL << 52) - 1)) | Vector128.Create(1.0).AsUInt64()).As<ulong, T>())
            : new(((value.value.AsUInt32() & Vector128.Create((1U << 23) - 1)) | Vector128.Create(1f).AsUInt32()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> LoadWords(void* source) =>
        new(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(ulong*)source).AsUInt16()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWords(Lane128<T> value, void* target)
    {
        var words = value.value.AsUInt32();
        *(ulong*)target = Vector128.Narrow(words, words).AsUInt64().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> OfBits(uint bits) => Words(Vector128.Create(bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> And(Lane128<T> a, Lane128<T> b) => new(a.value & b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> Or(Lane128<T> a, Lane128<T> b) => new(a.value | b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> AddBits(Lane128<T> a, Lane128<T> b) => Words(a.value.AsUInt32() + b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> ShiftLeft(Lane128<T> value, int bits) => Words(value.value.AsUInt32() << bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> ShiftRight(Lane128<T> value, int bits) => Words(value.value.AsUInt32() >>> bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> GreaterBits(Lane128<T> a, Lane128<T> b) =>
        new(Vector128.GreaterThan(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> LoadBytes(byte* source) =>
        new(Vector128.WidenLower(Vector128.WidenLower(Vector128.CreateScalarUnsafe(*(uint*)source).AsByte())).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreBytes(Lane128<T> value, byte* target)
    {
        var bytes = value.value.AsUInt32();
        var words = Vector128.Narrow(bytes, bytes);
        *(uint*)target = Vector128.Narrow(words, words).AsUInt32().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> SubtractBits(Lane128<T> a, Lane128<T> b) => Words(a.value.AsUInt32() - b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> MaxBits(Lane128<T> a, Lane128<T> b) => new(Vector128.Max(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> MinUnsigned(Lane128<T> a, Lane128<T> b) => Words(Vector128.Min(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> MaxUnsigned(Lane128<T> a, Lane128<T> b) => Words(Vector128.Max(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> MinBits(Lane128<T> a, Lane128<T> b) => new(Vector128.Min(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> ToNumber(Lane128<T> bits) => new(Vector128.ConvertToSingle(bits.value.AsInt32()).As<float, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane128<T> ToWhole(Lane128<T> value) => new(Vector128.ConvertToInt32Native(value.value.AsSingle()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Largest(Lane128<T> value)
    {
        var bits = value.value.AsInt32();
        bits = Vector128.Max(bits, Vector128.Shuffle(bits, Vector128.Create(2, 3, 0, 1)));
        return Vector128.Max(bits, Vector128.Shuffle(bits, Vector128.Create(1, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Smallest(Lane128<T> value)
    {
        var bits = value.value.AsUInt32();
        bits = Vector128.Min(bits, Vector128.Shuffle(bits, Vector128.Create(2u, 3, 0, 1)));
        return Vector128.Min(bits, Vector128.Shuffle(bits, Vector128.Create(1u, 0, 3, 2))).ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lane128<T> Words(Vector128<uint> words) => new(words.As<uint, T>());
}
