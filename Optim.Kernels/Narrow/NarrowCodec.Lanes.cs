using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

// Whole blocks in registers. Loops with no call in them, so that constants stay in registers; static fields are read outside of them, since until
// their type is initialized that is a call, too, and this code is compiled before.
internal static unsafe partial class NarrowCodec
{
    /// <summary>Blocks at a time.</summary>
    private const int MostBlocks = 8;

    /// <summary>With what the codes of a block are worked out.</summary>
    private struct Coding
    {
        public uint Largest,
            Base,
            Last,
            First,
            Noise;

        /// <summary>Whether it is not for these loops.</summary>
        public bool IsSpecial;
    }

    /// <summary>Fetches what is needed next, while registers are busy.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Fetch(byte* ahead)
    {
        if (Sse.IsSupported)
            Sse.Prefetch0(ahead);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void WidenWords<V>(ushort* codes, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        for (var i = 0; i < count; i += V.Count)
        {
            V.Store(V.ShiftLeft(V.LoadWords(codes + i), 16), target + i);
            Fetch(ahead + i * sizeof(float));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void WidenSigned<V>(byte* codes, float* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var firsts = V.OfBits(Signed.First);
        var (magnitudes, signs) = (V.OfBits(0x7F), V.OfBits(0x8000_0000));
        for (var first = 0; first < count; first += Block)
        {
            var tops = V.OfBits((((uint*)scales)[first / Block] & Magnitude) + Signed.Base);
            for (var i = first; i < first + Block; i += V.Count)
            {
                var code = V.LoadBytes(codes + i);
                var magnitude = V.And(code, magnitudes);
                var distance = V.ToWhole(V.ShiftLeft(V.SubtractBits(firsts, magnitude), Signed.Shift));
                var value = V.Select(V.GreaterBits(magnitude, V.OfBits(0)), V.SubtractBits(tops, distance), V.OfBits(0));
                V.Store(V.Or(value, V.And(V.ShiftLeft(code, 24), signs)), target + i);
                Fetch(ahead + i * sizeof(float));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void WidenNonNegative<V>(byte* codes, float* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        for (var first = 0; first < count; first += Block)
        {
            var bits = ((uint*)scales)[first / Block];
            var power = NonNegative.Power((int)(bits & 3));
            var firsts = V.OfBits((uint)NonNegative.First(power));
            var tops = V.OfBits((bits & Magnitude & ~3u) + (1u << power));
            for (var i = first; i < first + Block; i += V.Count)
            {
                var code = V.LoadBytes(codes + i);
                var distance = V.ToWhole(V.ShiftLeft(V.SubtractBits(firsts, code), NonNegative.Shift));
                V.Store(V.Select(V.GreaterBits(code, V.OfBits(0)), V.SubtractBits(tops, distance), V.OfBits(0)), target + i);
                Fetch(ahead + i * sizeof(float));
            }
        }
    }

    /// <summary>bfloat16; says of each block whether its largest number is not finite in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void NarrowWords<V>(float* source, ushort* codes, int count, Coding* blocks, uint* table, byte* ahead)
        where V : struct, ICodes<V>
    {
        var (magnitudes, signs, one, finite) = (V.OfBits(Magnitude), V.OfBits(~Magnitude), V.OfBits(1), V.OfBits(0x7F7F));
        for (var first = 0; first < count; first += Block)
        {
            var coding = blocks + first / Block;
            var noises = V.OfBits(coding->Noise);
            var most = V.OfBits(0);
            for (var i = 0; i < Block; i += V.Count)
            {
                var value = V.Load(source + first + i);
                var magnitude = V.And(value, magnitudes);
                most = V.MaxBits(most, magnitude);
                var up = V.ShiftRight(V.AddBits(V.Load(table + i), noises), 16);
                var word = V.MinBits(V.ShiftRight(V.AddBits(magnitude, up), 16), finite);
                // What is above 0 stays above it.
                word = V.MaxBits(word, V.MinBits(magnitude, one));
                V.StoreWords(V.Or(word, V.ShiftRight(V.And(value, signs), 16)), codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
            coding->IsSpecial = V.Largest(most) > (int)Largest;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void LargestOf<V>(float* source, int count, Coding* blocks)
        where V : struct, ICodes<V>
    {
        var magnitudes = V.OfBits(Magnitude);
        for (var first = 0; first < count; first += Block)
        {
            var most = V.OfBits(0);
            for (var i = first; i < first + Block; i += V.Count)
                most = V.MaxBits(most, V.And(V.Load(source + i), magnitudes));
            blocks[first / Block].Largest = (uint)V.Largest(most);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfSigned<V>(float* source, byte* codes, int count, Coding* blocks, uint* table, byte* ahead)
        where V : struct, ICodes<V>
    {
        var (magnitudes, signs, firsts) = (V.OfBits(Magnitude), V.OfBits(0x80), V.OfBits(Signed.First));
        for (var first = 0; first < count; first += Block)
        {
            var (tops, noises) = (V.OfBits(blocks[first / Block].Base), V.OfBits(blocks[first / Block].Noise));
            for (var i = 0; i < Block; i += V.Count)
            {
                var value = V.Load(source + first + i);
                var number = V.ToNumber(V.SubtractBits(tops, V.And(value, magnitudes)));
                var up = V.ShiftRight(V.AddBits(V.Load(table + i), noises), 32 - Signed.Shift);
                var code = V.SubtractBits(firsts, V.ShiftRight(V.AddBits(number, up), Signed.Shift));
                code = V.Or(V.MaxBits(code, V.OfBits(0)), V.And(V.ShiftRight(value, 24), signs));
                V.StoreBytes(code, codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
        }
    }

    /// <summary>The largest number of each block, and in the place of the last distance the smallest above 0, less one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void ExtremesOf<V>(float* source, int count, Coding* blocks)
        where V : struct, ICodes<V>
    {
        var (magnitudes, one) = (V.OfBits(Magnitude), V.OfBits(1));
        for (var first = 0; first < count; first += Block)
        {
            var (most, least) = (V.OfBits(0), V.OfBits(~0u));
            for (var i = first; i < first + Block; i += V.Count)
            {
                var magnitude = V.And(V.Load(source + i), magnitudes);
                most = V.MaxBits(most, magnitude);
                // Less one, so that 0 is the largest of all.
                least = V.MinUnsigned(least, V.SubtractBits(magnitude, one));
            }
            blocks[first / Block].Largest = (uint)V.Largest(most);
            blocks[first / Block].Last = V.Smallest(least);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfNonNegative<V>(float* source, byte* codes, int count, Coding* blocks, uint* table, byte* ahead)
        where V : struct, ICodes<V>
    {
        var (magnitudes, whole) = (V.OfBits(Magnitude), V.OfBits(~3u));
        for (var first = 0; first < count; first += Block)
        {
            var coding = blocks[first / Block];
            var (largests, bases, last) = (V.OfBits(coding.Largest), V.OfBits(coding.Base), V.OfBits(coding.Last));
            var (firsts, noises) = (V.OfBits(coding.First), V.OfBits(coding.Noise));
            for (var i = 0; i < Block; i += V.Count)
            {
                var magnitude = V.And(V.Load(source + first + i), magnitudes);
                var distance = V.MinBits(V.And(V.SubtractBits(largests, magnitude), whole), last);
                var number = V.ToNumber(V.AddBits(distance, bases));
                var up = V.ShiftRight(V.AddBits(V.Load(table + i), noises), 32 - NonNegative.Shift);
                var code = V.SubtractBits(firsts, V.ShiftRight(V.AddBits(number, up), NonNegative.Shift));
                V.StoreBytes(V.Select(V.GreaterBits(magnitude, V.OfBits(0)), code, V.OfBits(0)), codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
        }
    }

    /// <summary>Numbers of some whole blocks.</summary>
    private static void WidenBlocks<V>(NarrowKind kind, void* codes, float* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        if (kind == NarrowKind.BFloat16)
        {
            WidenWords<V>((ushort*)codes, target, count, ahead);
            return;
        }
        if (kind == NarrowKind.Signed8)
            WidenSigned<V>((byte*)codes, scales, target, count, ahead);
        else
            WidenNonNegative<V>((byte*)codes, scales, target, count, ahead);
        for (var at = 0; at < count; at += Block)
            if ((((uint*)scales)[at / Block] & HasNaN) != 0)
                SetNaN((byte*)codes + at, kind, target + at, Block);
    }

    /// <summary>Codes of some whole blocks.</summary>
    [SkipLocalsInit]
    private static void NarrowBlocks<V>(
        NarrowKind kind,
        float* source,
        void* codes,
        float* scales,
        int count,
        long step,
        int column,
        nint block,
        byte* ahead
    )
        where V : struct, ICodes<V>
    {
        var coding = stackalloc Coding[MostBlocks];
        var table = places;
        for (var first = 0; first < count; first += MostBlocks * Block)
        {
            var some = Math.Min(count - first, MostBlocks * Block);
            for (var at = 0; at < some / Block; at++)
                coding[at].Noise = NoiseOf(step, column, block++);
            var from = source + first;
            var target = (byte*)codes + first * SizeOf(kind);
            var scale = (uint*)scales + first / Block;
            if (kind == NarrowKind.BFloat16)
                NarrowWords<V>(from, (ushort*)target, some, coding, table, ahead);
            else if (kind == NarrowKind.Signed8)
            {
                LargestOf<V>(from, some, coding);
                for (var at = 0; at < some / Block; at++)
                {
                    coding[at].IsSpecial = coding[at].Largest - Signed.Least > Largest - Signed.Least;
                    coding[at].Base = coding[at].Largest + Signed.Base;
                    scale[at] = coding[at].Largest;
                }
                CodesOfSigned<V>(from, target, some, coding, table, ahead);
            }
            else
            {
                ExtremesOf<V>(from, some, coding);
                for (var at = 0; at < some / Block; at++)
                    scale[at] = Prepare(ref coding[at]);
                CodesOfNonNegative<V>(from, target, some, coding, table, ahead);
            }
            for (var at = 0; at < some / Block; at++)
                if (coding[at].IsSpecial)
                    NarrowOneByOne(
                        kind,
                        from + at * Block,
                        target + at * Block * SizeOf(kind),
                        (float*)scale + at,
                        Block,
                        coding[at].Noise
                    );
        }
    }

    /// <summary>What the codes of a block are worked out with, from its extremes; the scale is returned.</summary>
    private static uint Prepare(ref Coding coding)
    {
        coding.IsSpecial = coding.Largest - 1 >= Largest;
        if (coding.IsSpecial)
            return 0;
        var largest = (int)(coding.Largest + 3 & ~3u);
        var kind = NonNegative.ClassOf(largest - (int)(coding.Last + 1));
        var power = NonNegative.Power(kind);
        coding.Largest = (uint)largest;
        coding.Base = 1u << power;
        coding.Last = (uint)NonNegative.Last(largest, power);
        coding.First = (uint)NonNegative.First(power);
        return (uint)(largest | kind);
    }
}
