using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>A single number: the tails of slices, and machines without vectors.</summary>
/// <typeparam name="T">float or double.</typeparam>
internal readonly unsafe struct Lane1<T>(T value) : IDigits<Lane1<T>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly T value = value;

    public static int Count => 1;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Of(double value) => new(T.CreateTruncating(value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> From(Real number) => Of(number.Value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Load(void* source) => new(*(T*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Lane1<T> value, void* target) => *(T*)target = value.value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> operator +(Lane1<T> left, Lane1<T> right) => new(left.value + right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> operator -(Lane1<T> left, Lane1<T> right) => new(left.value - right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> operator *(Lane1<T> left, Lane1<T> right) => new(left.value * right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> operator /(Lane1<T> left, Lane1<T> right) => new(left.value / right.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> operator -(Lane1<T> value) => new(-value.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Fma(Lane1<T> a, Lane1<T> b, Lane1<T> c) => new(T.FusedMultiplyAdd(a.value, b.value, c.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Sqrt(Lane1<T> value) => new(T.Sqrt(value.value));

    public static Lane1<T> Exp(Lane1<T> value) => LaneMath.Exp<Lane1<T>, T>(value);

    public static Lane1<T> Log(Lane1<T> value) => LaneMath.Log<Lane1<T>, T>(value);

    public static Lane1<T> Cbrt(Lane1<T> value) => LaneMath.Cbrt<Lane1<T>, T>(value);

    public static Lane1<T> Pow(Lane1<T> value, Lane1<T> exponent) => LaneMath.Pow<Lane1<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Abs(Lane1<T> value) => new(T.Abs(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Greater(Lane1<T> a, Lane1<T> b) => Mask(a.value > b.value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> IsNaN(Lane1<T> value) => Mask(T.IsNaN(value.value));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Select(Lane1<T> mask, Lane1<T> yes, Lane1<T> no) => T.IsZero(mask.value) ? no : yes;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Scale(Lane1<T> value, Lane1<T> exponent) => LaneMath.Scale<Lane1<T>, T>(value, exponent);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Exponent(Lane1<T> value) => LaneMath.Exponent<Lane1<T>, T>(value);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Significand(Lane1<T> value) => LaneMath.Significand<Lane1<T>, T>(value);

    private static bool IsDouble => typeof(T) == typeof(double);

    public static Lane1<T> PowerOfTwo(Lane1<T> exponent) => Of(Math.ScaleB(1, int.CreateTruncating(exponent.value)));

    public static Lane1<T> BiasedExponent(Lane1<T> value) =>
        IsDouble
            ? Of(BitConverter.DoubleToUInt64Bits(double.CreateTruncating(value.value)) >> 52)
            : Of(BitConverter.SingleToUInt32Bits(float.CreateTruncating(value.value)) >> 23);

    public static Lane1<T> Digits(Lane1<T> value) =>
        IsDouble
            ? Of(
                BitConverter.UInt64BitsToDouble(
                    (BitConverter.DoubleToUInt64Bits(double.CreateTruncating(value.value)) & ((1UL << 52) - 1)) | (1023UL << 52)
                )
            )
            : Of(
                BitConverter.UInt32BitsToSingle(
                    (BitConverter.SingleToUInt32Bits(float.CreateTruncating(value.value)) & ((1U << 23) - 1)) | (127U << 23)
                )
            );

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> LoadWords(void* source) => OfBits(*(ushort*)source);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void StoreWords(Lane1<T> value, void* target) => *(ushort*)target = (ushort)value.Bits;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> OfBits(uint bits) => new(Unsafe.BitCast<uint, T>(bits));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> And(Lane1<T> a, Lane1<T> b) => OfBits(a.Bits & b.Bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> Or(Lane1<T> a, Lane1<T> b) => OfBits(a.Bits | b.Bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> AddBits(Lane1<T> a, Lane1<T> b) => OfBits(a.Bits + b.Bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> ShiftLeft(Lane1<T> value, int bits) => OfBits(value.Bits << bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> ShiftRight(Lane1<T> value, int bits) => OfBits(value.Bits >>> bits);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Lane1<T> GreaterBits(Lane1<T> a, Lane1<T> b) => Mask((int)a.Bits > (int)b.Bits);

    private uint Bits => Unsafe.BitCast<T, uint>(value);

    // A mask is 1 or 0 here: only Select reads it.
    private static Lane1<T> Mask(bool holds) => new(holds ? T.One : T.Zero);
}
