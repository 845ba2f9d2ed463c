using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// Between float32 and narrow codes, some blocks at a time; whole numbers and one conversion, so every width of registers gives the same bits.
/// </summary>
/// <remarks>
/// Of eight bits a code is how far below the block's largest number a number lies, counted in units of its bits as float32 (that is, in powers of
/// two), as a small floating-point number itself: fine steps near the largest number, coarser ones far below. Codes of numbers of either sign reach
/// over 15 powers of two, and smaller numbers are nothing beside the largest. Codes of numbers that are never below 0 reach over up to 60 (which is 30 of
/// their roots: nine decades): over how many is chosen for each block in four classes, and stands in the last two bits of its scale, whose other
/// bits are the largest number; one above 0 has a code above 0 however small it is.
/// Rounding goes up with the probability of what is cut off, by a hash; codes are exact numbers, which are never rounded. So what is widened
/// and narrowed again does not change.
/// </remarks>
internal static unsafe partial class NarrowCodec
{
    private const int Block = StateStorage.BlockLength;

    /// <summary>The golden ratio's bits: multiples of it are spread evenly, so that a number between two codes takes each as often as it should.</summary>
    private const uint Golden = 0x9E3779B9;

    private const uint Magnitude = 0x7FFF_FFFF;
    private const uint Infinity = 0x7F80_0000;

    /// <summary>The largest finite number, of which the last two bits are free.</summary>
    private const uint Largest = 0x7F7F_FFFC;

    /// <summary>The sign of a scale: there is NaN in the block.</summary>
    private const uint HasNaN = 0x8000_0000;

    /// <summary>A hash of the places in a block.</summary>
    private static readonly uint* places = Places();

    private static uint* Places()
    {
        var table = (uint*)NativeMemory.AlignedAlloc(Block * sizeof(uint), 64);
        for (uint i = 0; i < Block; i++)
            table[i] = Hash(i * Golden + 1);
        return table;
    }

    /// <summary>Bits that look unrelated for neighbouring numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Hash(uint x)
    {
        x = (x ^ (x >> 16)) * 0x7FEB352D;
        x = (x ^ (x >> 15)) * 0x846CA68B;
        return x ^ (x >> 16);
    }

    /// <summary>What is added to the hash of a place in a block: of the step, the column and the block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static uint NoiseOf(long step, int column, nint block) =>
        Hash((uint)block * 0x85EBCA6B + (uint)((long)block >> 32) + (uint)column * 0xC2B2AE35) + (uint)step * Golden;

    /// <summary>Numbers of either sign.</summary>
    private static class Signed
    {
        /// <summary>Bits that are cut off a distance: its mantissa has five.</summary>
        public const int Shift = 18;

        /// <summary>What is added to distances: steps are even up to there.</summary>
        public const int Base = 1 << 23;

        /// <summary>The code of the largest number, and of a distance of 0 as a float.</summary>
        public const int Top = 126,
            First = Top + (150 << 5);

        /// <summary>Where all numbers are smaller they are nothing: there are no numbers that far below.</summary>
        public const uint Least = 31u << 22;

        public const byte NaN = 0x7F;
    }

    /// <summary>Numbers that are at least 0.</summary>
    private static class NonNegative
    {
        /// <summary>Bits that are cut off a distance: its mantissa has six.</summary>
        public const int Shift = 17;
        public const int Top = 254;
        public const byte NaN = 0xFF;

        /// <summary>The power of two that is added to distances, by class.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int Power(int kind) => 19 + 2 * kind;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int First(int power) => Top + (127 + power << 6);

        /// <summary>The class in which the smallest number has a code. Each begins at a code of its own, so that what was rounded stays in it.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int ClassOf(int distance) =>
            distance < 59 << 17 ? 0
            : distance < 59 << 19 ? 1
            : distance < 59 << 21 ? 2
            : 3;

        /// <summary>The largest distance that has a code, of a number above 0.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int Last(int largest, int power)
        {
            var last = 117 << (power - 3);
            return last < largest ? last : LastBelow(largest, power);
        }

        private static int LastBelow(int largest, int power)
        {
            var bits = BitConverter.SingleToUInt32Bits(largest - 4 + (1 << power)) >> Shift;
            var last = (int)BitConverter.UInt32BitsToSingle(bits << Shift) - (1 << power);
            // The sum may have been rounded up to the next code.
            return last <= largest - 4 ? last : (int)BitConverter.UInt32BitsToSingle(bits - 1 << Shift) - (1 << power);
        }
    }

    /// <summary>Numbers from their codes.</summary>
    /// <param name="kind">How they are kept.</param>
    /// <param name="width">The width of registers.</param>
    /// <param name="codes">The codes, from a whole block on.</param>
    /// <param name="scales">The scales of the blocks.</param>
    /// <param name="target">Room for whole blocks.</param>
    /// <param name="count">How many numbers.</param>
    /// <param name="ahead">Memory that is needed soon: four bytes of it for each number.</param>
    public static void Widen(NarrowKind kind, Width width, void* codes, float* scales, float* target, int count, void* ahead)
    {
        switch (width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Widen<Lane512<float>>(kind, codes, scales, target, count, (byte*)ahead);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Widen<Lane256<float>>(kind, codes, scales, target, count, (byte*)ahead);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Widen<Lane128<float>>(kind, codes, scales, target, count, (byte*)ahead);
                break;
            default:
                WidenOneByOne(kind, codes, scales, target, count);
                break;
        }
    }

    /// <summary>Codes and scales of numbers. These are spoilt where they are not finite, and zeros are written after them up to a whole block.</summary>
    /// <param name="kind">How they are kept.</param>
    /// <param name="width">The width of registers.</param>
    /// <param name="source">The numbers, in room for whole blocks.</param>
    /// <param name="codes">Their codes.</param>
    /// <param name="scales">The scales of the blocks.</param>
    /// <param name="count">How many numbers.</param>
    /// <param name="step">The step.</param>
    /// <param name="column">The column's number.</param>
    /// <param name="block">The number of the first block.</param>
    /// <param name="ahead">Memory that is needed soon: four bytes of it for each number.</param>
    public static void Narrow(
        NarrowKind kind,
        Width width,
        float* source,
        void* codes,
        float* scales,
        int count,
        long step,
        int column,
        nint block,
        void* ahead
    )
    {
        switch (width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Narrow<Lane512<float>>(kind, source, codes, scales, count, step, column, block, (byte*)ahead);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Narrow<Lane256<float>>(kind, source, codes, scales, count, step, column, block, (byte*)ahead);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Narrow<Lane128<float>>(kind, source, codes, scales, count, step, column, block, (byte*)ahead);
                break;
            default:
                for (var at = 0; at < count; at += Block, block++)
                    NarrowOneByOne(
                        kind,
                        source + at,
                        (byte*)codes + at * SizeOf(kind),
                        scales + at / Block,
                        Math.Min(Block, count - at),
                        NoiseOf(step, column, block)
                    );
                break;
        }
    }

    private static int SizeOf(NarrowKind kind) => kind == NarrowKind.BFloat16 ? sizeof(ushort) : 1;

    [SkipLocalsInit]
    private static void Widen<V>(NarrowKind kind, void* codes, float* scales, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var whole = count & -Block;
        if (whole > 0)
            WidenBlocks<V>(kind, codes, scales, target, whole, ahead);
        if (whole == count)
            return;
        // The last block is shorter: beside it.
        var room = stackalloc byte[Block * sizeof(ushort)];
        var rest = (count - whole) * SizeOf(kind);
        new ReadOnlySpan<byte>((byte*)codes + whole * SizeOf(kind), rest).CopyTo(new(room, rest));
        new Span<byte>(room + rest, Block * sizeof(ushort) - rest).Clear();
        WidenBlocks<V>(kind, room, scales + whole / Block, target + whole, Block, ahead);
    }

    [SkipLocalsInit]
    private static void Narrow<V>(
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
        var whole = count & -Block;
        if (whole > 0)
            NarrowBlocks<V>(kind, source, codes, scales, whole, step, column, block, ahead);
        if (whole == count)
            return;
        new Span<float>(source + count, whole + Block - count).Clear();
        var room = stackalloc byte[Block * sizeof(ushort)];
        NarrowBlocks<V>(kind, source + whole, room, scales + whole / Block, Block, step, column, block + whole / Block, ahead);
        var rest = (count - whole) * SizeOf(kind);
        new ReadOnlySpan<byte>(room, rest).CopyTo(new((byte*)codes + whole * SizeOf(kind), rest));
    }
}
