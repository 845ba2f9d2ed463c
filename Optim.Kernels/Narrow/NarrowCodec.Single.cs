using System.Runtime.CompilerServices;

namespace Optim.Kernels;

// One number at a time: where there are no registers, and for blocks that are not finite or nothing at all. The same bits as the lanes.
internal static unsafe partial class NarrowCodec
{
    private static void WidenOneByOne(in NarrowBlocks blocks, float* target, int count)
    {
        for (var i = 0; i < count; i++)
            ((uint*)target)[i] = blocks.Kind switch
            {
                NarrowKind.BFloat16 => (uint)((ushort*)blocks.Codes)[i] << 16,
                NarrowKind.Signed8 => Signed8(blocks.Codes[i], blocks.Scales[i / Block]),
                _ => NonNegative8(blocks.Codes[i], blocks.Scales[i / Block]),
            };
    }

    private static uint Signed8(uint code, uint scale)
    {
        var magnitude = code & 0x7F;
        if (magnitude == Signed.NaN && (scale & HasNaN) != 0)
            return BitConverter.SingleToUInt32Bits(float.NaN);
        var distance = (uint)(int)BitConverter.UInt32BitsToSingle(Signed.First - magnitude << Signed.Shift);
        return (magnitude > 0 ? (scale & Magnitude & ~Free) + Signed.Base - distance : 0) | (code & 0x80) << 24;
    }

    private static uint NonNegative8(uint code, uint scale)
    {
        if (code == NonNegative.NaN && (scale & HasNaN) != 0)
            return BitConverter.SingleToUInt32Bits(float.NaN);
        var power = NonNegative.Power((int)(scale & Class));
        var distance = (uint)(int)BitConverter.UInt32BitsToSingle((uint)NonNegative.First(power) - code << NonNegative.Shift);
        return code > 0 ? (scale & Magnitude & ~Free) + (1u << power) - distance : 0;
    }

    /// <summary>The codes that stand for NaN.</summary>
    private static void SetNaN(byte* codes, NarrowKind kind, float* target, int count)
    {
        var (mask, nan) = kind == NarrowKind.Signed8 ? (0x7F, Signed.NaN) : (0xFF, NonNegative.NaN);
        for (var i = 0; i < count; i++)
            if ((codes[i] & mask) == nan)
                target[i] = float.NaN;
    }

    [SkipLocalsInit]
    private static void NarrowOneByOne(in NarrowBlocks block, float* source, int count)
    {
        var noise = block.NoiseOf(0);
        if (block.Kind == NarrowKind.BFloat16)
        {
            for (var i = 0; i < count; i++)
                ((ushort*)block.Codes)[i] = Word(((uint*)source)[i], noise[i]);
            return;
        }
        var (largest, smallest, nan) = (0u, uint.MaxValue, 0u);
        var isNaN = stackalloc bool[Block];
        for (var i = 0; i < count; i++)
        {
            var bits = ((uint*)source)[i];
            var magnitude = bits & Magnitude;
            isNaN[i] = magnitude > Infinity;
            if (isNaN[i])
                (nan, magnitude, source[i]) = (HasNaN, 0, 0);
            else if (magnitude > Largest)
                ((uint*)source)[i] = (bits & ~Magnitude) | (magnitude = Largest);
            largest = Math.Max(largest, magnitude);
            smallest = Math.Min(smallest, magnitude - 1);
        }
        var top = (int)TopOf(largest);
        *block.Scales = nan;
        if (largest == 0)
            new Span<byte>(block.Codes, count).Clear();
        else if (block.Kind == NarrowKind.Signed8)
            *block.Scales |= CodesOfSigned((uint*)source, block.Codes, count, noise, top);
        else
            *block.Scales |= CodesOfNonNegative((uint*)source, block.Codes, count, noise, top, (int)(smallest + 1));
        for (var i = 0; i < count; i++)
            if (isNaN[i])
                block.Codes[i] = block.Kind == NarrowKind.Signed8 ? Signed.NaN : NonNegative.NaN;
    }

    /// <summary>What a shorter block lacks counts as 0.</summary>
    private static uint RestOf(int count) => count < Block ? HasZero : 0;

    /// <summary>The top of a block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint TopOf(uint largest) => largest + Free & ~Free;

    private static ushort Word(uint bits, uint up)
    {
        var magnitude = bits & Magnitude;
        var word =
            magnitude > Infinity ? 0x7FC0
            : magnitude == Infinity ? Infinity >> 16
            : Math.Min(Math.Max(magnitude + up >> 16, Math.Min(magnitude, 1)), 0x7F7F);
        return (ushort)(word | (bits & ~Magnitude) >> 16);
    }

    /// <summary>Writes codes; the scale is returned.</summary>
    private static uint CodesOfSigned(uint* source, byte* codes, int count, uint* noise, int top)
    {
        var isNothing = top < Signed.Least;
        var scale = isNothing ? 0 : (uint)top | RestOf(count);
        for (var i = 0; i < count; i++)
        {
            var number = BitConverter.SingleToUInt32Bits(top + Signed.Base - (int)(source[i] & Magnitude));
            var code = isNothing ? 0 : Math.Max(0, Signed.First - (int)(number + noise[i] >> Signed.Shift));
            scale |= code == 0 && !isNothing ? HasZero : 0;
            codes[i] = (byte)(code | (int)(source[i] >> 24 & 0x80));
        }
        return scale;
    }

    /// <summary>Writes codes; the scale is returned.</summary>
    private static uint CodesOfNonNegative(uint* source, byte* codes, int count, uint* noise, int top, int smallest)
    {
        var kind = NonNegative.ClassOf(top - smallest);
        var power = NonNegative.Power(kind);
        var last = NonNegative.Last(top, power);
        var scale = (uint)(top | kind) | RestOf(count);
        for (var i = 0; i < count; i++)
        {
            var magnitude = (int)(source[i] & Magnitude);
            var number = BitConverter.SingleToUInt32Bits(Math.Min(top - magnitude, last) + (1 << power));
            scale |= magnitude == 0 ? HasZero : 0;
            codes[i] = (byte)(magnitude == 0 ? 0 : NonNegative.First(power) - (int)(number + noise[i] >> NonNegative.Shift));
        }
        return scale;
    }
}
