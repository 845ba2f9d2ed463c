using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

/// <summary>512 bits of numbers in a register.</summary>
/// <typeparam name="T">float or double.</typeparam>
internal readonly unsafe struct Lane512<T>(Vector512<T> value) : IDigits<Lane512<T>>, ICodes<Lane512<T>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly Vector512<T> value = value;

    /// <summary>The register.</summary>
    public Vector512<T> Value => value;

    public static int Count => Vector512<T>.Count;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Of(double value) => new(Vector512.Create(T.CreateTruncating(value)));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> From(Real number) => Of(number.Value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Load(void* source) => new(Vector512.Load((T*)source));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lane512<T> value, void* target) => value.value.Store((T*)target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> operator +(Lane512<T> left, Lane512<T> right) => new(left.value + right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> operator -(Lane512<T> left, Lane512<T> right) => new(left.value - right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> operator *(Lane512<T> left, Lane512<T> right) => new(left.value * right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> operator /(Lane512<T> left, Lane512<T> right) => new(left.value / right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> operator -(Lane512<T> value) => new(-value.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Fma(Lane512<T> a, Lane512<T> b, Lane512<T> c) =>
        typeof(T) == typeof(float)
            ? new(Vector512.FusedMultiplyAdd(a.value.AsSingle(), b.value.AsSingle(), c.value.AsSingle()).As<float, T>())
            : new(Vector512.FusedMultiplyAdd(a.value.AsDouble(), b.value.AsDouble(), c.value.AsDouble()).As<double, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Sqrt(Lane512<T> value) => new(Vector512.Sqrt(value.value));

    public static Lane512<T> Exp(Lane512<T> value) => LaneMath.Exp<Lane512<T>, T>(value);

    public static Lane512<T> Log(Lane512<T> value) => LaneMath.Log<Lane512<T>, T>(value);

    public static Lane512<T> Cbrt(Lane512<T> value) => LaneMath.Cbrt<Lane512<T>, T>(value);

    public static Lane512<T> Pow(Lane512<T> value, Lane512<T> exponent) => LaneMath.Pow<Lane512<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Abs(Lane512<T> value) => new(Vector512.Abs(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Greater(Lane512<T> a, Lane512<T> b) => new(Vector512.GreaterThan(a.value, b.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> IsNaN(Lane512<T> value) => new(Vector512.IsNaN(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Select(Lane512<T> mask, Lane512<T> yes, Lane512<T> no) =>
        new(Vector512.ConditionalSelect(mask.value, yes.value, no.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Scale(Lane512<T> value, Lane512<T> exponent) =>
        !Avx512F.IsSupported ? LaneMath.Scale<Lane512<T>, T>(value, exponent)
        : IsDouble ? new(Avx512F.Scale(value.value.AsDouble(), exponent.value.AsDouble()).As<double, T>())
        : new(Avx512F.Scale(value.value.AsSingle(), exponent.value.AsSingle()).As<float, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Exponent(Lane512<T> value) =>
        !Avx512F.IsSupported ? LaneMath.Exponent<Lane512<T>, T>(value)
        : IsDouble ? new(Avx512F.GetExponent(value.value.AsDouble()).As<double, T>())
        : new(Avx512F.GetExponent(value.value.AsSingle()).As<float, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Significand(Lane512<T> value) =>
        !Avx512F.IsSupported ? LaneMath.Significand<Lane512<T>, T>(value)
        : IsDouble ? new(Avx512F.GetMantissa(value.value.AsDouble(), Positive).As<double, T>())
        : new(Avx512F.GetMantissa(value.value.AsSingle(), Positive).As<float, T>());

    /// <summary>Significands in [1, 2), whatever the sign.</summary>
    private const byte Positive = 4;

    private static bool IsDouble => typeof(T) == typeof(double);

    // A number that has no places for fractions has whole ones in its last bits.
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> PowerOfTwo(Lane512<T> exponent) =>
        IsDouble
            ? new(((exponent.value.AsDouble() + Vector512.Create(6755399441055744.0 + 1023)).AsUInt64() << 52).As<ulong, T>())
            : new(((exponent.value.AsSingle() + Vector512.Create(12582912f + 127)).AsUInt32() << 23).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> BiasedExponent(Lane512<T> value) =>
        IsDouble
            ? new Lane512<T>(((value.value.AsUInt64() >>> 52) | Vector512.Create(4503599627370496.0).AsUInt64()).As<ulong, T>())
                - Of(4503599627370496)
            : new Lane512<T>(((value.value.AsUInt32() >>> 23) | Vector512.Create(8388608f).AsUInt32()).As<uint, T>()) - Of(8388608);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Digits(Lane512<T> value) =>
        IsDouble
            ? new(((value.value.AsUInt64() & Vector512.Create((1UL << 52) - 1)) | Vector512.Create(1.0).AsUInt64()).As<ulong, T>())
            : new(((value.value.AsUInt32() & Vector512.Create((1U << 23) - 1)) | Vector512.Create(1f).AsUInt32()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> LoadWords(void* source) =>
        new(Vector512.WidenLower(Vector256.Load((ushort*)source).ToVector512Unsafe()).As<uint, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWords(Lane512<T> value, void* target)
    {
        var words = value.value.AsUInt32();
        var narrow = Avx512F.IsSupported ? Avx512F.ConvertToVector256UInt16(words) : Vector256.Narrow(words.GetLower(), words.GetUpper());
        narrow.Store((ushort*)target);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> OfBits(uint bits) => Words(Vector512.Create(bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> And(Lane512<T> a, Lane512<T> b) => new(a.value & b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> Or(Lane512<T> a, Lane512<T> b) => new(a.value | b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> AddBits(Lane512<T> a, Lane512<T> b) => Words(a.value.AsUInt32() + b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> ShiftLeft(Lane512<T> value, int bits) => Words(value.value.AsUInt32() << bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> ShiftRight(Lane512<T> value, int bits) => Words(value.value.AsUInt32() >>> bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> GreaterBits(Lane512<T> a, Lane512<T> b) =>
        new(Vector512.GreaterThan(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> LoadBytes(byte* source) =>
        new(
            (
                Avx512F.IsSupported
                    ? Avx512F.ConvertToVector512Int32(Vector128.Load(source)).AsUInt32()
                    : Vector512.WidenLower(Vector512.WidenLower(Vector128.Load(source).ToVector256Unsafe().ToVector512Unsafe()))
            ).As<uint, T>()
        );

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreBytes(Lane512<T> value, byte* target)
    {
        var bytes = value.value.AsUInt32();
        var narrow = Avx512F.IsSupported
            ? Avx512F.ConvertToVector128Byte(bytes)
            : Vector128.Narrow(Narrow(bytes.GetLower()), Narrow(bytes.GetUpper()));
        narrow.Store(target);

        static Vector128<ushort> Narrow(Vector256<uint> half) => Vector128.Narrow(half.GetLower(), half.GetUpper());
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> SubtractBits(Lane512<T> a, Lane512<T> b) => Words(a.value.AsUInt32() - b.value.AsUInt32());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> MaxBits(Lane512<T> a, Lane512<T> b) => new(Vector512.Max(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> MinUnsigned(Lane512<T> a, Lane512<T> b) => Words(Vector512.Min(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> MaxUnsigned(Lane512<T> a, Lane512<T> b) => Words(Vector512.Max(a.value.AsUInt32(), b.value.AsUInt32()));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> MinBits(Lane512<T> a, Lane512<T> b) => new(Vector512.Min(a.value.AsInt32(), b.value.AsInt32()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> ToNumber(Lane512<T> bits) => new(Vector512.ConvertToSingle(bits.value.AsInt32()).As<float, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane512<T> ToWhole(Lane512<T> value) => new(Vector512.ConvertToInt32Native(value.value.AsSingle()).As<int, T>());

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static int Largest(Lane512<T> value)
    {
        var bits = value.value.AsInt32();
        return Lane256<float>.Largest(new(Vector256.Max(bits.GetLower(), bits.GetUpper()).AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint Smallest(Lane512<T> value)
    {
        var bits = value.value.AsUInt32();
        return Lane256<float>.Smallest(new(Vector256.Min(bits.GetLower(), bits.GetUpper()).AsSingle()));
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Lane512<T> Words(Vector512<uint> words) => new(words.As<uint, T>());
}
