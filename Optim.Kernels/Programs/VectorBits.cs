using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

// What the lanes do with 32-bit words, and their longer functions, on bare vectors: emitted code has no lanes.

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

    public static Vector512<T> Exp(Vector512<T> value) => Lane512<T>.Exp(new(value)).Value;

    public static Vector512<T> Log(Vector512<T> value) => Lane512<T>.Log(new(value)).Value;
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

    public static Vector256<T> Exp(Vector256<T> value) => Lane256<T>.Exp(new(value)).Value;

    public static Vector256<T> Log(Vector256<T> value) => Lane256<T>.Log(new(value)).Value;
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

    public static Vector128<T> Exp(Vector128<T> value) => Lane128<T>.Exp(new(value)).Value;

    public static Vector128<T> Log(Vector128<T> value) => Lane128<T>.Log(new(value)).Value;
}
