using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

// What the lanes do with the words that numbers are made of, on bare vectors: emitted code has no lanes.

/// <summary>Words in 512 bits.</summary>
internal static unsafe class Bits512<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Of(uint bits) => Lane512<T>.OfBits(bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Load(void* source) => Lane512<T>.LoadWords(source).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector512<T> value, void* target) => Lane512<T>.StoreWords(new(value), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Add(Vector512<T> a, Vector512<T> b) => Lane512<T>.AddBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> ShiftLeft(Vector512<T> value, int bits) => Lane512<T>.ShiftLeft(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> ShiftRight(Vector512<T> value, int bits) => Lane512<T>.ShiftRight(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Greater(Vector512<T> a, Vector512<T> b) => Lane512<T>.GreaterBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Scale(Vector512<T> value, Vector512<T> exponent) => Lane512<T>.Scale(new(value), new(exponent)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Exponent(Vector512<T> value) => Lane512<T>.Exponent(new(value)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<T> Significand(Vector512<T> value) => Lane512<T>.Significand(new(value)).Value;
}

/// <summary>Words in 256 bits.</summary>
internal static unsafe class Bits256<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Of(uint bits) => Lane256<T>.OfBits(bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Load(void* source) => Lane256<T>.LoadWords(source).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector256<T> value, void* target) => Lane256<T>.StoreWords(new(value), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Add(Vector256<T> a, Vector256<T> b) => Lane256<T>.AddBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> ShiftLeft(Vector256<T> value, int bits) => Lane256<T>.ShiftLeft(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> ShiftRight(Vector256<T> value, int bits) => Lane256<T>.ShiftRight(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Greater(Vector256<T> a, Vector256<T> b) => Lane256<T>.GreaterBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Scale(Vector256<T> value, Vector256<T> exponent) => Lane256<T>.Scale(new(value), new(exponent)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Exponent(Vector256<T> value) => Lane256<T>.Exponent(new(value)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<T> Significand(Vector256<T> value) => Lane256<T>.Significand(new(value)).Value;
}

/// <summary>Words in 128 bits.</summary>
internal static unsafe class Bits128<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Of(uint bits) => Lane128<T>.OfBits(bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Load(void* source) => Lane128<T>.LoadWords(source).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Store(Vector128<T> value, void* target) => Lane128<T>.StoreWords(new(value), target);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Add(Vector128<T> a, Vector128<T> b) => Lane128<T>.AddBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> ShiftLeft(Vector128<T> value, int bits) => Lane128<T>.ShiftLeft(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> ShiftRight(Vector128<T> value, int bits) => Lane128<T>.ShiftRight(new(value), bits).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Greater(Vector128<T> a, Vector128<T> b) => Lane128<T>.GreaterBits(new(a), new(b)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Scale(Vector128<T> value, Vector128<T> exponent) => Lane128<T>.Scale(new(value), new(exponent)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Exponent(Vector128<T> value) => Lane128<T>.Exponent(new(value)).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector128<T> Significand(Vector128<T> value) => Lane128<T>.Significand(new(value)).Value;
}

/// <summary>How a reduction's running sums, in 256 bits, take elements.</summary>
internal static class Running256<R>
    where R : struct, IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> All(Vector256<double> sums, Vector256<double> x) =>
        R.Take<Lane256<double>>(new(sums), new(x), default).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> Lower(Vector256<double> sums, Vector256<float> x) => All(sums, Vector256.WidenLower(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector256<double> Upper(Vector256<double> sums, Vector256<float> x) => All(sums, Vector256.WidenUpper(x));
}

/// <summary>How a reduction's running sums, in 512 bits, take elements.</summary>
internal static class Running512<R>
    where R : struct, IReducer
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<double> All(Vector512<double> sums, Vector512<double> x) =>
        R.Take<Lane512<double>>(new(sums), new(x), default).Value;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<double> Lower(Vector512<double> sums, Vector512<float> x) => All(sums, Vector512.WidenLower(x));

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Vector512<double> Upper(Vector512<double> sums, Vector512<float> x) => All(sums, Vector512.WidenUpper(x));
}
