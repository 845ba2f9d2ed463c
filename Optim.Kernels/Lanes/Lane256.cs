using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>256 bits of numbers in a register.</summary>
/// <typeparam name="T">float or double.</typeparam>
internal readonly unsafe struct Lane256<T>(Vector256<T> value) : IDigits<Lane256<T>>, ICodes<Lane256<T>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly Vector256<T> value = value;

    /// <summary>The register.</summary>
    public Vector256<T> Value => value;

    public static int Count => Vector256<T>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Of(double value) => new(Vector256.Create(T.CreateTruncating(value)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> From(Real number) => Of(number.Value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Load(void* source) => new(Vector256.Load((T*)source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lane256<T> value, void* target) => value.value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> operator +(Lane256<T> left, Lane256<T> right) => new(left.value + right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> operator -(Lane256<T> left, Lane256<T> right) => new(left.value - right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> operator *(Lane256<T> left, Lane256<T> right) => new(left.value * right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> operator /(Lane256<T> left, Lane256<T> right) => new(left.value / right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> operator -(Lane256<T> value) => new(-value.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Fma(Lane256<T> a, Lane256<T> b, Lane256<T> c) =>
        typeof(T) == typeof(float)
            ? new(Vector256.FusedMultiplyAdd(a.value.AsSingle(), b.value.AsSingle(), c.value.AsSingle()).As<float, T>())
            : new(Vector256.FusedMultiplyAdd(a.value.AsDouble(), b.value.AsDouble(), c.value.AsDouble()).As<double, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Sqrt(Lane256<T> value) => new(Vector256.Sqrt(value.value));

    public static Lane256<T> Exp(Lane256<T> value) => LaneMath.Exp<Lane256<T>, T>(value);

    public static Lane256<T> Log(Lane256<T> value) => LaneMath.Log<Lane256<T>, T>(value);

    public static Lane256<T> Cbrt(Lane256<T> value) => LaneMath.Cbrt<Lane256<T>, T>(value);

    public static Lane256<T> Pow(Lane256<T> value, Lane256<T> exponent) => LaneMath.Pow<Lane256<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Abs(Lane256<T> value) => new(Vector256.Abs(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Greater(Lane256<T> a, Lane256<T> b) => new(Vector256.GreaterThan(a.value, b.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> IsNaN(Lane256<T> value) => new(Vector256.IsNaN(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Select(Lane256<T> mask, Lane256<T> yes, Lane256<T> no) =>
        new(Vector256.ConditionalSelect(mask.value, yes.value, no.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Scale(Lane256<T> value, Lane256<T> exponent) => LaneMath.Scale<Lane256<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Exponent(Lane256<T> value) => LaneMath.Exponent<Lane256<T>, T>(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Significand(Lane256<T> value) => LaneMath.Significand<Lane256<T>, T>(value);

    private static bool IsDouble => typeof(T) == typeof(double);

    // A number that has no places for fractions has whole ones in its last bits.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> PowerOfTwo(Lane256<T> exponent) =>
        IsDouble
            ? new(((exponent.value.AsDouble() + Vector256.Create(6755399441055744.0 + 1023)).AsUInt64() << 52).As<ulong, T>())
            : new(((exponent.value.AsSingle() + Vector256.Create(12582912f + 127)).AsUInt32() << 23).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> BiasedExponent(Lane256<T> value) =>
        IsDouble
            ? new Lane256<T>(((value.value.AsUInt64() >>> 52) | Vector256.Create(4503599627370496.0).AsUInt64()).As<ulong, T>())
                - Of(4503599627370496)
            : new Lane256<T>(((value.value.AsUInt32() >>> 23) | Vector256.Create(8388608f).AsUInt32()).As<uint, T>()) - Of(8388608);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Digits(Lane256<T> value) =>
        IsDouble
            ? new(((value.value.AsUInt64() & Vector256.Create((1UL << 52) - 1)) | Vector256.Create(1.0).AsUInt64()).As<ulong, T>())
            : new(((value.value.AsUInt32() & Vector256.Create((1U << 23) - 1)) | Vector256.Create(1f).AsUInt32()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> LoadWords(void* source) =>
        new(Vector256.WidenLower(Vector128.Load((ushort*)source).ToVector256Unsafe()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWords(Lane256<T> value, void* target)
    {
        var words = value.value.AsUInt32();
        Vector128.Narrow(words.GetLower(), words.GetUpper()).Store((ushort*)target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> OfBits(uint bits) => Words(Vector256.Create(bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> And(Lane256<T> a, Lane256<T> b) => new(a.value & b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> Or(Lane256<T> a, Lane256<T> b) => new(a.value | b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> AddBits(Lane256<T> a, Lane256<T> b) => Words(a.value.AsUInt32() + b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> ShiftLeft(Lane256<T> value, int bits) => Words(value.value.AsUInt32() << bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> ShiftRight(Lane256<T> value, int bits) => Words(value.value.AsUInt32() >>> bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> GreaterBits(Lane256<T> a, Lane256<T> b) =>
        new(Vector256.GreaterThan(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> LoadBytes(byte* source) =>
        new(
            Vector256
                .WidenLower(Vector256.WidenLower(Vector128.CreateScalarUnsafe(*(ulong*)source).AsByte().ToVector256Unsafe()))
                .As<uint, T>()
        );

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreBytes(Lane256<T> value, byte* target)
    {
        var bytes = value.value.AsUInt32();
        var words = Vector128.Narrow(bytes.GetLower(), bytes.GetUpper());
        *(ulong*)target = Vector128.Narrow(words, words).AsUInt64().ToScalar();
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> SubtractBits(Lane256<T> a, Lane256<T> b) => Words(a.value.AsUInt32() - b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> MaxBits(Lane256<T> a, Lane256<T> b) => new(Vector256.Max(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> MinUnsigned(Lane256<T> a, Lane256<T> b) => Words(Vector256.Min(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> MaxUnsigned(Lane256<T> a, Lane256<T> b) => Words(Vector256.Max(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> MinBits(Lane256<T> a, Lane256<T> b) => new(Vector256.Min(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> ToNumber(Lane256<T> bits) => new(Vector256.ConvertToSingle(bits.value.AsInt32()).As<float, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane256<T> ToWhole(Lane256<T> value) => new(Vector256.ConvertToInt32Native(value.value.AsSingle()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Largest(Lane256<T> value)
    {
        var bits = value.value.AsInt32();
        return Lane128<float>.Largest(new(Vector128.Max(bits.GetLower(), bits.GetUpper()).AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Smallest(Lane256<T> value)
    {
        var bits = value.value.AsUInt32();
        return Lane128<float>.Smallest(new(Vector128.Min(bits.GetLower(), bits.GetUpper()).AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lane256<T> Words(Vector256<uint> words) => new(words.As<uint, T>());
}
