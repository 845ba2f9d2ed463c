using System.Runtime.CompilerServices;

namespace Optim.Kernels;

// One number at a time: where there are no registers, and for blocks that are not finite or nothing at all. The same bits as the lanes.
internal static unsafe partial class NarrowCodec
{
    private static void WidenOneByOne(NarrowKind kind, void* codes, float* scales, float* target, int count)
    {
        for (var i = 0; i < count; i++)
            ((uint*)target)[i] = kind switch
            {
                NarrowKind.BFloat16 => (uint)((ushort*)codes)[i] << 16,
                NarrowKind.Signed8 => Signed8(((byte*)codes)[i], ((uint*)scales)[i / Block]),
                _ => NonNegative8(((byte*)codes)[i], ((uint*)scales)[i / Block]),
            };
    }

    private static uint Signed8(uint code, uint scale)
    {
        var magnitude = code & 0x7F;
        if (magnitude == Signed.NaN && (scale & HasNaN) != 0)
            return BitConverter.SingleToUInt32Bits(float.NaN);
        var distance = (uint)(int)BitConverter.UInt32BitsToSingle(Signed.First - magnitude << Signed.Shift);
        return (magnitude > 0 ? (scale & Magnitude) + Signed.Base - distance : 0) | (code & 0x80) << 24;
    }

    private static uint NonNegative8(uint code, uint scale)
    {
        if (code == NonNegative.NaN && (scale & HasNaN) != 0)
            return BitConverter.SingleToUInt32Bits(float.NaN);
        var power = NonNegative.Power((int)(scale & 3));
        var distance = (uint)(int)BitConverter.UInt32BitsToSingle((uint)NonNegative.First(power) - code << NonNegative.Shift);
        return code > 0 ? (scale & Magnitude & ~3u) + (1u << power) - distance : 0;
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
    private static void NarrowOneByOne(NarrowKind kind, float* source, void* codes, float* scale, int count, uint noise)
    {
        if (kind == NarrowKind.BFloat16)
        {
            for (var i = 0; i < count; i++)
                ((ushort*)codes)[i] = Word(((uint*)source)[i], places[i] + noise);
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
        if (kind == NarrowKind.Signed8)
            CodesOfSigned((uint*)source, (byte*)codes, (uint*)scale, count, noise, largest, nan);
        else
            CodesOfNonNegative((uint*)source, (byte*)codes, (uint*)scale, count, noise, (int)largest, (int)(smallest + 1), nan);
        for (var i = 0; i < count; i++)
            if (isNaN[i])
                ((byte*)codes)[i] = kind == NarrowKind.Signed8 ? Signed.NaN : NonNegative.NaN;
    }

    private static ushort Word(uint bits, uint hash)
    {
        var magnitude = bits & Magnitude;
        var word =
            magnitude > Infinity ? 0x7FC0
            : magnitude == Infinity ? Infinity >> 16
            : Math.Min(Math.Max(magnitude + (hash >> 16) >> 16, Math.Min(magnitude, 1)), 0x7F7F);
        return (ushort)(word | (bits & ~Magnitude) >> 16);
    }

    private static void CodesOfSigned(uint* source, byte* codes, uint* scale, int count, uint noise, uint largest, uint nan)
    {
        var isNothing = largest < Signed.Least;
        *scale = (isNothing ? 0 : largest) | nan;
        for (var i = 0; i < count; i++)
        {
            var number = BitConverter.SingleToUInt32Bits((int)(largest + Signed.Base - (source[i] & Magnitude)));
            var up = places[i] + noise >> 32 - Signed.Shift;
            var code = isNothing ? 0 : Math.Max(0, Signed.First - (int)(number + up >> Signed.Shift));
            codes[i] = (byte)(code | (int)(source[i] >> 24 & 0x80));
        }
    }

    private static void CodesOfNonNegative(
        uint* source,
        byte* codes,
        uint* scale,
        int count,
        uint noise,
        int largest,
        int smallest,
        uint nan
    )
    {
        if (largest == 0)
        {
            new Span<byte>(codes, count).Clear();
            *scale = nan;
            return;
        }
        largest = (largest + 3) & ~3;
        var kind = NonNegative.ClassOf(largest - smallest);
        var power = NonNegative.Power(kind);
        var last = NonNegative.Last(largest, power);
        *scale = (uint)(largest | kind) | nan;
        for (var i = 0; i < count; i++)
        {
            var magnitude = (int)(source[i] & Magnitude);
            var number = BitConverter.SingleToUInt32Bits(Math.Min((largest - magnitude) & ~3, last) + (1 << power));
            var up = places[i] + noise >> 32 - NonNegative.Shift;
            codes[i] = (byte)(magnitude == 0 ? 0 : NonNegative.First(power) - (int)(number + up >> NonNegative.Shift));
        }
    }
}
