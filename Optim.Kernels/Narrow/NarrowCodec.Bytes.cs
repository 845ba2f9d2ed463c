using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

// 64 codes at a time, where bytes of registers of 512 bits can be chosen from two others (AVX-512 VBMI): the same bits with a third of the operations.
// Only for blocks in which every number has a code of its own; what is written of others is written once more.
internal static unsafe partial class NarrowCodec
{
    private const int Bytes = 64;

    /// <summary>The upper halves of the distances of the codes of numbers of either sign: their lower bytes, then their upper ones.</summary>
    private static readonly byte* distances = Distances();

    private static byte* Distances()
    {
        var table = Table<byte>(4 * Bytes);
        for (var code = 0u; code < 2 * Bytes; code++)
        {
            var distance = (uint)BitConverter.UInt32BitsToSingle(Signed.First - code << Signed.Shift) >> 16;
            (table[code], table[2 * Bytes + code]) = ((byte)distance, (byte)(distance >> 8));
        }
        return table;
    }

    /// <summary>The order of the quarters of 64 bytes in which taking them apart twice, within 128 bits, gives all in order.</summary>
    private static Vector512<int> Order => Vector512.Create(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);

    /// <summary>Every second one of 64 words, and of 128 bytes, from a place on.</summary>
    private static Vector512<ushort> UpperWords => Vector512.CreateSequence((ushort)1, (ushort)2);

    private static Vector512<byte> LowerBytes => Vector512.CreateSequence((byte)0, (byte)2);

    private static Vector512<byte> UpperBytes => Vector512.CreateSequence((byte)1, (byte)2);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch4(byte* ahead)
    {
        Fetch(ahead);
        Fetch(ahead + 64);
        Fetch(ahead + 128);
        Fetch(ahead + 192);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void WidenSignedByBytes(byte* codes, uint* scales, float* target, int count, byte* ahead)
    {
        for (var first = 0; first < count; first += Block)
        {
            var tops = Vector512.Create(TopsOfSigned(scales[first / Block]));
            for (var i = first; i < first + Block; i += Bytes)
            {
                WidenSigned64(codes + i, target + i, tops);
                Fetch4(ahead + i * sizeof(float));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void WidenNonNegativeByBytes(byte* codes, uint* scales, float* target, int count, byte* ahead)
    {
        for (var first = 0; first < count; first += Block)
        {
            var tops = Vector512.Create(TopsOfNonNegative(scales[first / Block]));
            var firsts = Vector512.Create(FirstsOfNonNegative(scales[first / Block]));
            for (var i = first; i < first + Block; i += Bytes)
            {
                WidenNonNegative64(codes + i, target + i, tops, firsts);
                Fetch4(ahead + i * sizeof(float));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfSignedByBytes(float* source, byte* codes, int count, Coding* blocks, uint* scales, byte* ahead)
    {
        for (var first = 0; first < count; first += Block)
        {
            var bases = Vector512.Create(blocks[first / Block].Base);
            var noise = blocks[first / Block].Noise;
            var least = Vector512<byte>.AllBitsSet;
            for (var i = 0; i < Block; i += Bytes)
            {
                least = CodesOfSigned64(source + first + i, codes + first + i, noise + i, bases, least);
                Fetch4(ahead + (first + i) * sizeof(float));
            }
            scales[first / Block] |= HasZeroOf(least);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfNonNegativeByBytes(float* source, byte* codes, int count, Coding* blocks, byte* ahead)
    {
        for (var first = 0; first < count; first += Block)
        {
            var coding = blocks + first / Block;
            var (bases, firsts) = (Vector512.Create(coding->Base), Vector512.Create((ushort)coding->First));
            var noise = coding->Noise;
            for (var i = 0; i < Block; i += Bytes)
            {
                CodesOfNonNegative64(source + first + i, codes + first + i, noise + i, bases, firsts);
                Fetch4(ahead + (first + i) * sizeof(float));
            }
        }
    }

    /// <summary>What distances of numbers of either sign are taken from, in a block of this scale.</summary>
    private static uint TopsOfSigned(uint scale) => (scale & Magnitude & ~Free) + Signed.Base;

    /// <summary>What distances of numbers above 0 are taken from, in a block of this scale.</summary>
    private static uint TopsOfNonNegative(uint scale) => (scale & Magnitude & ~Free) + (1u << NonNegative.Power((int)(scale & Class)));

    /// <summary>The upper half of the distance of code 0, of numbers above 0.</summary>
    private static ushort FirstsOfNonNegative(uint scale) =>
        (ushort)(NonNegative.First(NonNegative.Power((int)(scale & Class))) << NonNegative.Shift - 16);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint HasZeroOf(Vector512<byte> least) => Vector512.EqualsAny(least, Vector512<byte>.Zero) ? HasZero : 0;

    /// <summary>64 numbers of either sign.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void WidenSigned64(byte* codes, float* target, Vector512<uint> tops)
    {
        var table = distances;
        var zero = Vector512<ushort>.Zero;
        var code = Avx512F.PermuteVar16x32(Vector512.Load((int*)codes), Order).AsByte();
        var low = Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table), code, Vector512.Load(table + Bytes));
        // A sign bit that is taken away is the same as one that is added.
        var high =
            Avx512Vbmi.PermuteVar64x8x2(Vector512.Load(table + 2 * Bytes), code, Vector512.Load(table + 3 * Bytes))
            ^ (code & Vector512.Create((byte)0x80));
        var (words, words2) = (Avx512BW.UnpackLow(low, high).AsUInt16(), Avx512BW.UnpackHigh(low, high).AsUInt16());
        (tops - Avx512BW.UnpackLow(zero, words).AsUInt32()).Store((uint*)target);
        (tops - Avx512BW.UnpackHigh(zero, words).AsUInt32()).Store((uint*)target + 16);
        (tops - Avx512BW.UnpackLow(zero, words2).AsUInt32()).Store((uint*)target + 32);
        (tops - Avx512BW.UnpackHigh(zero, words2).AsUInt32()).Store((uint*)target + 48);
    }

    /// <summary>64 numbers above 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void WidenNonNegative64(byte* codes, float* target, Vector512<uint> tops, Vector512<ushort> firsts)
    {
        var (none, zero) = (Vector512<byte>.Zero, Vector512<ushort>.Zero);
        var code = Avx512F.PermuteVar16x32(Vector512.Load((int*)codes), Order).AsByte();
        // Codes as upper bytes of words, moved down to where they belong in the upper half of a float.
        var words = firsts - (Avx512BW.UnpackLow(none, code).AsUInt16() >> 24 - NonNegative.Shift);
        var words2 = firsts - (Avx512BW.UnpackHigh(none, code).AsUInt16() >> 24 - NonNegative.Shift);
        Below(tops, Avx512BW.UnpackLow(zero, words)).Store((uint*)target);
        Below(tops, Avx512BW.UnpackHigh(zero, words)).Store((uint*)target + 16);
        Below(tops, Avx512BW.UnpackLow(zero, words2)).Store((uint*)target + 32);
        Below(tops, Avx512BW.UnpackHigh(zero, words2)).Store((uint*)target + 48);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Below(Vector512<uint> tops, Vector512<ushort> distances) =>
        tops - Avx512F.ConvertToVector512Int32WithTruncation(distances.AsSingle()).AsUInt32();

    /// <summary>64 codes of numbers of either sign; the smallest of them, whatever their sign, and of those before is returned by places.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<byte> CodesOfSigned64(float* source, byte* codes, uint* noise, Vector512<uint> bases, Vector512<byte> least)
    {
        var from = (uint*)source;
        var (magnitudes, firsts) = (Vector512.Create(Magnitude), Vector512.Create((ushort)Signed.First));
        var (a, b, c, d) = (Vector512.Load(from), Vector512.Load(from + 16), Vector512.Load(from + 32), Vector512.Load(from + 48));
        var half = Uppers(Rounded(bases - (a & magnitudes), noise), Rounded(bases - (b & magnitudes), noise + 16));
        var half2 = Uppers(Rounded(bases - (c & magnitudes), noise + 32), Rounded(bases - (d & magnitudes), noise + 48));
        var code = Avx512Vbmi.PermuteVar64x8x2(
            Avx512BW.SubtractSaturate(firsts, half >> Signed.Shift - 16).AsByte(),
            LowerBytes,
            Avx512BW.SubtractSaturate(firsts, half2 >> Signed.Shift - 16).AsByte()
        );
        var sign = Avx512Vbmi.PermuteVar64x8x2(Uppers(a, b).AsByte(), UpperBytes, Uppers(c, d).AsByte());
        (code | (sign & Vector512.Create((byte)0x80))).Store(codes);
        return Vector512.Min(least, code);
    }

    /// <summary>64 codes of numbers above 0.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void CodesOfNonNegative64(float* source, byte* codes, uint* noise, Vector512<uint> bases, Vector512<ushort> firsts)
    {
        var from = (uint*)source;
        var half = Uppers(Rounded(bases - Vector512.Load(from), noise), Rounded(bases - Vector512.Load(from + 16), noise + 16));
        var half2 = Uppers(Rounded(bases - Vector512.Load(from + 32), noise + 32), Rounded(bases - Vector512.Load(from + 48), noise + 48));
        Avx512Vbmi
            .PermuteVar64x8x2(
                (firsts - (half >> NonNegative.Shift - 16)).AsByte(),
                LowerBytes,
                (firsts - (half2 >> NonNegative.Shift - 16)).AsByte()
            )
            .Store(codes);
    }

    /// <summary>Distances as floats, with noise added to their bits.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<uint> Rounded(Vector512<uint> distances, uint* noise) =>
        Vector512.ConvertToSingle(distances.AsInt32()).AsUInt32() + Vector512.Load(noise);

    /// <summary>The upper halves.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ushort> Uppers(Vector512<uint> first, Vector512<uint> second) =>
        Avx512BW.PermuteVar32x16x2(first.AsUInt16(), UpperWords, second.AsUInt16());

    /// <summary>64 numbers in bfloat16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void WidenWords64(ushort* codes, float* target)
    {
        for (var i = 0; i < Bytes; i += 16)
            (Vector512.WidenLower(Vector256.Load(codes + i).ToVector512Unsafe()) << 16).Store((uint*)target + i);
    }

    /// <summary>32 numbers to bfloat16; the words without their signs are returned.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector512<ushort> CodesOfWords32(float* source, ushort* codes, uint* noise)
    {
        var from = (uint*)source;
        var words = Uppers(Vector512.Load(from) + Vector512.Load(noise), Vector512.Load(from + 16) + Vector512.Load(noise + 16));
        words.Store(codes);
        return words & Vector512.Create((ushort)0x7FFF);
    }
}
