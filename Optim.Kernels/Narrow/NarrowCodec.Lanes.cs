// Long, because every loop over lanes of codes is here, with what chooses among them.
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
    internal struct Coding
    {
        /// <summary>The largest and the smallest number, as bits.</summary>
        public uint Largest,
            Smallest;

        /// <summary>What distances are counted from, with what is added to them; the largest one that has a code; the code of none.</summary>
        public uint Base,
            Last,
            First;

        public uint* Noise;

        public Path Path;
    }

    /// <summary>Which loop a block is for.</summary>
    internal enum Path
    {
        /// <summary>Numbers of either sign; numbers above 0 of which each has a code.</summary>
        Plain,

        /// <summary>Numbers of which some are 0 or have no code of their own.</summary>
        Clamped,

        /// <summary>All of them 0.</summary>
        Zero,

        /// <summary>Not finite, or as good as nothing.</summary>
        OneByOne,
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
    private static void WidenSigned<V>(byte* codes, uint* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var firsts = V.OfBits(Signed.First);
        var (magnitudes, signs) = (V.OfBits(0x7F), V.OfBits(0x8000_0000));
        for (var first = 0; first < count; first += Block)
        {
            var tops = V.OfBits((scales[first / Block] & Magnitude & ~Free) + Signed.Base);
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
    private static void WidenNonNegative<V>(byte* codes, uint* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        for (var first = 0; first < count; first += Block)
        {
            var bits = scales[first / Block];
            var power = NonNegative.Power((int)(bits & Class));
            var firsts = V.OfBits((uint)NonNegative.First(power));
            var tops = V.OfBits((bits & Magnitude & ~Free) + (1u << power));
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
    private static void CodesOfWords<V>(float* source, ushort* codes, int count, Coding* blocks, byte* ahead)
        where V : struct, ICodes<V>
    {
        var (magnitudes, signs, one, finite) = (V.OfBits(Magnitude), V.OfBits(~Magnitude), V.OfBits(1), V.OfBits(0x7F7F));
        for (var first = 0; first < count; first += Block)
        {
            var coding = blocks + first / Block;
            var noise = (float*)coding->Noise;
            var most = V.OfBits(0);
            for (var i = 0; i < Block; i += V.Count)
            {
                var value = V.Load(source + first + i);
                var magnitude = V.And(value, magnitudes);
                most = V.MaxBits(most, magnitude);
                var word = V.MinBits(V.ShiftRight(V.AddBits(magnitude, V.Load(noise + i)), 16), finite);
                // What is above 0 stays above it.
                word = V.MaxBits(word, V.MinBits(magnitude, one));
                V.StoreWords(V.Or(word, V.ShiftRight(V.And(value, signs), 16)), codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
            coding->Path = V.Largest(most) > (int)Largest ? Path.OneByOne : Path.Plain;
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void LargestOf<V>(float* source, int count, Coding* blocks)
        where V : struct, ICodes<V>
    {
        var magnitudes = V.OfBits(Magnitude);
        for (var first = 0; first < count; first += Block)
        {
            var (most, most2) = (V.OfBits(0), V.OfBits(0));
            for (var i = first; i < first + Block; i += 2 * V.Count)
            {
                most = V.MaxBits(most, V.And(V.Load(source + i), magnitudes));
                most2 = V.MaxBits(most2, V.And(V.Load(source + i + V.Count), magnitudes));
            }
            blocks[first / Block].Largest = (uint)V.Largest(V.MaxBits(most, most2));
        }
    }

    /// <summary>Says of each block whether there is a code for nothing.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfSigned<V>(float* source, byte* codes, int count, Coding* blocks, uint* scales, byte* ahead)
        where V : struct, ICodes<V>
    {
        var (magnitudes, signs, firsts) = (V.OfBits(Magnitude), V.OfBits(0x80), V.OfBits(Signed.First));
        for (var first = 0; first < count; first += Block)
        {
            var tops = V.OfBits(blocks[first / Block].Base);
            var noise = (float*)blocks[first / Block].Noise;
            var least = firsts;
            for (var i = 0; i < Block; i += V.Count)
            {
                var value = V.Load(source + first + i);
                var number = V.ToNumber(V.SubtractBits(tops, V.And(value, magnitudes)));
                var code = V.SubtractBits(firsts, V.ShiftRight(V.AddBits(number, V.Load(noise + i)), Signed.Shift));
                code = V.MaxBits(code, V.OfBits(0));
                least = V.MinUnsigned(least, code);
                V.StoreBytes(V.Or(code, V.And(V.ShiftRight(value, 24), signs)), codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
            scales[first / Block] |= V.Smallest(least) == 0 ? HasZero : 0;
        }
    }

    /// <summary>The largest and the smallest number of each block, as bits: one below 0 is larger than all.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void ExtremesOf<V>(float* source, int count, Coding* blocks)
        where V : struct, ICodes<V>
    {
        for (var first = 0; first < count; first += Block)
        {
            var (least, most) = (V.OfBits(~0u), V.OfBits(0));
            for (var i = first; i < first + Block; i += V.Count)
            {
                var value = V.Load(source + i);
                least = V.MinUnsigned(least, value);
                most = V.MaxUnsigned(most, value);
            }
            blocks[first / Block].Largest = ~V.Smallest(V.SubtractBits(V.OfBits(~0u), most));
            blocks[first / Block].Smallest = V.Smallest(least);
        }
    }

    /// <summary>The smallest number above 0 of a block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static uint SmallestAboveZero<V>(float* source)
        where V : struct, ICodes<V>
    {
        var (least, one) = (V.OfBits(~0u), V.OfBits(1));
        for (var i = 0; i < Block; i += V.Count)
            // Less one, so that 0 is the largest of all.
            least = V.MinUnsigned(least, V.SubtractBits(V.Load(source + i), one));
        return V.Smallest(least) + 1;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void CodesOfNonNegative<V>(float* source, byte* codes, int count, Coding* blocks, byte* ahead)
        where V : struct, ICodes<V>
    {
        for (var first = 0; first < count; first += Block)
        {
            var coding = blocks[first / Block];
            var (bases, last, firsts) = (V.OfBits(coding.Base), V.OfBits(coding.Last), V.OfBits(coding.First));
            var noise = (float*)coding.Noise;
            for (var i = 0; i < Block; i += V.Count)
            {
                var value = V.Load(source + first + i);
                // The distance of nothing from the largest numbers has all 32 bits.
                var number = V.ToNumber(V.MinUnsigned(V.SubtractBits(bases, value), last));
                var code = V.SubtractBits(firsts, V.ShiftRight(V.AddBits(number, V.Load(noise + i)), NonNegative.Shift));
                V.StoreBytes(V.Select(V.GreaterBits(value, V.OfBits(0)), code, V.OfBits(0)), codes + first + i);
                Fetch(ahead + (first + i) * sizeof(float));
            }
        }
    }

    /// <summary>Whether 64 codes at a time are worked on.</summary>
    private static bool ByBytes<V>()
        where V : struct => typeof(V) == typeof(Lane512<float>) && Avx512Vbmi.IsSupported;

    /// <summary>Numbers of some whole blocks.</summary>
    private static void WidenBlocks<V>(in NarrowBlocks blocks, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var codes = blocks.Codes;
        var scales = blocks.Scales;
        switch (blocks.Kind)
        {
            case NarrowKind.BFloat16:
                WidenWords<V>((ushort*)codes, target, count, ahead);
                return;
            case NarrowKind.Signed8 when ByBytes<V>():
                WidenSignedByBytes(codes, scales, target, count, ahead);
                break;
            case NarrowKind.NonNegative8 when ByBytes<V>():
                WidenNonNegativeByBytes(codes, scales, target, count, ahead);
                break;
            case NarrowKind.Signed8:
                WidenSigned<V>(codes, scales, target, count, ahead);
                break;
            default:
                WidenNonNegative<V>(codes, scales, target, count, ahead);
                break;
        }
        for (var at = 0; at < count; at += Block)
        {
            var scale = scales[at / Block];
            if (ByBytes<V>() && ((scale & HasZero) != 0 || (scale & Magnitude) == 0))
                if (blocks.Kind == NarrowKind.Signed8)
                    WidenSigned<V>(codes + at, scales + at / Block, target + at, Block, ahead);
                else
                    WidenNonNegative<V>(codes + at, scales + at / Block, target + at, Block, ahead);
            if ((scale & HasNaN) != 0)
                SetNaN(codes + at, blocks.Kind, target + at, Block);
        }
    }

    /// <summary>Codes of some whole blocks.</summary>
    [SkipLocalsInit]
    private static void NarrowSome<V>(in NarrowBlocks blocks, float* source, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var coding = stackalloc Coding[MostBlocks];
        for (var first = 0; first < count; first += MostBlocks * Block)
        {
            var some = Math.Min(count - first, MostBlocks * Block);
            var here = blocks.From(first / Block);
            for (var at = 0; at < some / Block; at++)
                coding[at].Noise = here.NoiseOf(at);
            switch (blocks.Kind)
            {
                case NarrowKind.BFloat16:
                    CodesOfWords<V>(source + first, (ushort*)here.Codes, some, coding, ahead);
                    break;
                case NarrowKind.Signed8:
                    NarrowSigned<V>(here, source + first, some, coding, ahead);
                    break;
                default:
                    NarrowNonNegative<V>(here, source + first, some, coding, ahead);
                    break;
            }
            for (var at = 0; at < some / Block; at++)
                NarrowRest(here.From(at), source + first + at * Block, coding[at].Path);
        }
    }

    /// <summary>A block that these loops are not for.</summary>
    private static void NarrowRest(in NarrowBlocks block, float* source, Path path)
    {
        if (path == Path.OneByOne)
            NarrowOneByOne(block, source, Block);
        else if (path == Path.Zero)
        {
            new Span<byte>(block.Codes, Block).Clear();
            *block.Scales = 0;
        }
    }

    private static void NarrowSigned<V>(in NarrowBlocks blocks, float* source, int count, Coding* coding, byte* ahead)
        where V : struct, ICodes<V>
    {
        LargestOf<V>(source, count, coding);
        for (var at = 0; at < count / Block; at++)
            PrepareSigned(ref coding[at], out blocks.Scales[at]);
        if (ByBytes<V>())
            CodesOfSignedByBytes(source, blocks.Codes, count, coding, blocks.Scales, ahead);
        else
            CodesOfSigned<V>(source, blocks.Codes, count, coding, blocks.Scales, ahead);
    }

    private static void NarrowNonNegative<V>(in NarrowBlocks blocks, float* source, int count, Coding* coding, byte* ahead)
        where V : struct, ICodes<V>
    {
        ExtremesOf<V>(source, count, coding);
        for (var at = 0; at < count / Block; at++)
            PrepareNonNegative<V>(ref coding[at], source + at * Block, out blocks.Scales[at]);
        if (!ByBytes<V>())
        {
            CodesOfNonNegative<V>(source, blocks.Codes, count, coding, ahead);
            return;
        }
        CodesOfNonNegativeByBytes(source, blocks.Codes, count, coding, ahead);
        for (var at = 0; at < count / Block; at++)
            if (coding[at].Path == Path.Clamped)
                CodesOfNonNegative<V>(source + at * Block, blocks.Codes + at * Block, Block, coding + at, ahead);
    }

    /// <summary>With what the codes of a block are worked out, from its largest number.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrepareSigned(ref Coding coding, out uint scale)
    {
        scale = TopOf(coding.Largest);
        coding.Base = scale + Signed.Base;
        coding.Path =
            coding.Largest - Signed.Least <= Largest - Signed.Least ? Path.Plain
            : coding.Largest == 0 ? Path.Zero
            : Path.OneByOne;
    }

    /// <summary>With what the codes of a block are worked out, from its extremes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void PrepareNonNegative<V>(ref Coding coding, float* source, out uint scale)
        where V : struct, ICodes<V>
    {
        scale = 0;
        coding.Path =
            coding.Largest == 0 ? Path.Zero
            : coding.Largest > Largest ? Path.OneByOne
            : Path.Plain;
        if (coding.Path != Path.Plain)
            return;
        var top = (int)TopOf(coding.Largest);
        var hasZero = coding.Smallest == 0;
        var distance = top - (int)(hasZero ? SmallestAboveZero<V>(source) : coding.Smallest);
        var kind = NonNegative.ClassOf(distance);
        var power = NonNegative.Power(kind);
        var last = NonNegative.Last(top, power);
        if (hasZero || distance > last)
            coding.Path = Path.Clamped;
        coding.Base = (uint)top + (1u << power);
        coding.Last = (uint)last + (1u << power);
        coding.First = (uint)NonNegative.First(power);
        scale = (uint)(top | kind) | (hasZero ? HasZero : 0);
    }
}
