using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Some neighbouring blocks of a row with narrow state.</summary>
/// <param name="kind">How they are kept.</param>
/// <param name="codes">The codes, from a whole block on.</param>
/// <param name="scales">The scales of the blocks.</param>
/// <param name="noise">With what is rounded: see <see cref="NarrowCodec.FillNoise"/>; not needed to widen.</param>
/// <param name="first">The number of the first block.</param>
internal readonly unsafe struct NarrowBlocks(NarrowKind kind, void* codes, float* scales, uint* noise, nint first)
{
    public NarrowKind Kind => kind;
    public byte* Codes => (byte*)codes;
    public uint* Scales => (uint*)scales;

    /// <summary>What is added to the numbers of a block: where it begins in the table depends on the block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint* NoiseOf(int block) => noise + NarrowCodec.TurnOf(first + block);

    /// <summary>From a later block on.</summary>
    public NarrowBlocks From(int block) =>
        new(
            kind,
            Codes + (nint)block * StateStorage.BlockLength * NarrowKinds.SizeOf(kind),
            (float*)(Scales + block),
            noise,
            first + block
        );

    /// <summary>The same blocks with codes elsewhere.</summary>
    public NarrowBlocks At(void* other) => new(kind, other, scales, noise, first);
}

/// <summary>
/// Between float32 and narrow codes, some blocks at a time; whole numbers and one conversion, so every width of registers gives the same bits.
/// </summary>
/// <remarks>
/// Of eight bits a code is how far below the top of its block a number lies, counted in units of its bits as float32 (that is, in powers of
/// two), as a small floating-point number itself: fine steps near the top, coarser ones far below. The top is the block's largest number, its bits
/// rounded up to a multiple of 8; what is free there stands beside it in the scale. Codes of numbers of either sign reach over 15 powers of two, and
/// smaller numbers are nothing beside the largest. Codes of numbers that are never below 0 reach over up to 60 (which is 30 of their roots: nine
/// decades): over how many is chosen for each block in four classes; one above 0 has a code above 0 however small it is.
/// Rounding goes up with the probability of what is cut off, by a hash; codes are exact numbers, which are never rounded. So what is widened
/// and narrowed again does not change.
/// </remarks>
internal static unsafe partial class NarrowCodec
{
    /// <summary>Numbers in a table of noise: wherever a block begins in it, there are enough.</summary>
    public const int NoiseLength = 2 * Block;

    private const int Block = StateStorage.BlockLength;

    /// <summary>The golden ratio's bits: multiples of it are spread evenly, so that a number between two codes takes each as often as it should.</summary>
    public const uint Golden = 0x9E3779B9;

    public const uint Magnitude = 0x7FFF_FFFF;
    public const uint Infinity = 0x7F80_0000;

    /// <summary>The largest finite number of which <see cref="Free"/> bits are none.</summary>
    public const uint Largest = 0x7F7F_FFF8;

    /// <summary>The bits of a scale that are not the top's.</summary>
    public const uint Free = 7;

    /// <summary>The class of a block, in its scale.</summary>
    public const uint Class = 3;

    /// <summary>In a scale: there are codes for nothing in the block.</summary>
    public const uint HasZero = 4;

    /// <summary>The sign of a scale: there is NaN in the block.</summary>
    public const uint HasNaN = 0x8000_0000;

    /// <summary>A hash of the seed and the places in a block, twice.</summary>
    /// <param name="places">Room for <see cref="NoiseLength"/> numbers.</param>
    /// <param name="seed">The seed, of which each one's hash is another.</param>
    public static void FillPlaces(uint* places, long seed)
    {
        var first = Hash((uint)seed) + 1;
        for (uint i = 0; i < NoiseLength; i++)
            places[i] = Hash(i % Block * Golden + first);
    }

    /// <summary>Memory that stays.</summary>
    private static T* Table<T>(int count)
        where T : unmanaged => (T*)NativeMemory.AlignedAlloc((nuint)count * (nuint)sizeof(T), 64);

    /// <summary>The factors of <see cref="Hash"/>, and by how many bits what each multiplies was moved.</summary>
    public const uint FirstFactor = 0x7FEB352D,
        SecondFactor = 0x846CA68B;

    public const int FirstShift = 16,
        SecondShift = 15,
        LastShift = 16;

    /// <summary>Bits that look unrelated for neighbouring numbers.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static uint Hash(uint x)
    {
        x = (x ^ (x >> FirstShift)) * FirstFactor;
        x = (x ^ (x >> SecondShift)) * SecondFactor;
        return x ^ (x >> LastShift);
    }

    /// <summary>
    /// With what the numbers of a column are rounded in a step: as many bits as are cut off, from a hash of seed, place and column to which each step adds
    /// the golden ratio. The lowest of them are 0, so that the largest number of a block stays the largest.
    /// </summary>
    /// <param name="noise">Room for <see cref="NoiseLength"/> numbers.</param>
    /// <param name="places">What <see cref="FillPlaces"/> gives; may lie in the same room.</param>
    /// <param name="kind">How the column is kept.</param>
    /// <param name="step">The step.</param>
    /// <param name="column">The column's number.</param>
    public static void FillNoise(uint* noise, uint* places, NarrowKind kind, long step, int column)
    {
        var first = HashOf(column) + (uint)step * Golden;
        var (shift, mask) = CutOff(kind);
        for (var i = 0; i < NoiseLength; i++)
            noise[i] = places[i] + first >> shift & mask;
    }

    /// <summary>What a column adds to the hashes of places, beside the step.</summary>
    public static uint HashOf(int column) => Hash((uint)column * 0xC2B2AE35);

    /// <summary>By how many bits a hash is moved, and which of the others are taken, to be as many as are cut off.</summary>
    public static (int Shift, uint Mask) CutOff(NarrowKind kind) =>
        kind switch
        {
            NarrowKind.Signed8 => (32 - Signed.Shift, ~Free),
            NarrowKind.NonNegative8 => (32 - NonNegative.Shift, ~(Free << NonNegative.Finest)),
            _ => (16, ~0u),
        };

    /// <summary>By what the number of a block is multiplied before it is hashed.</summary>
    public const uint OfBlocks = 0x85EBCA6B;

    /// <summary>The bits of a block's hash that say where it begins in a table of noise.</summary>
    public const int Turns = Block - 16;

    /// <summary>Where a block begins in a table of noise: at a multiple of 16.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint TurnOf(nint block) => (nint)(Hash((uint)block * OfBlocks + (uint)((long)block >> 32)) & Turns);

    /// <summary>Numbers of either sign.</summary>
    public static class Signed
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
    public static class NonNegative
    {
        /// <summary>Bits that are cut off a distance: its mantissa has six.</summary>
        public const int Shift = 17;
        public const int Top = 254;
        public const byte NaN = 0xFF;

        /// <summary>How many bits of a distance's float one of its units is, in the class of the finest steps.</summary>
        public const int Finest = 4;

        /// <summary>The power of the class of the finest steps; each class after it has 2 more.</summary>
        public const int LeastPower = 19;

        /// <summary>With distances of so many, times two to the power of 17 and 2 for each class before, the next class begins.</summary>
        public const int Edge = 59;

        /// <summary>The largest distance that has a code, times two to the power of 3 less than the class's.</summary>
        public const int Furthest = 117;

        /// <summary>The power of two that is added to distances, by class.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int Power(int kind) => LeastPower + 2 * kind;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int First(int power) => Top + (127 + power << 6);

        /// <summary>The class in which the smallest number has a code. Each begins at a code of its own, so that what was rounded stays in it.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int ClassOf(int distance) =>
            // Signs of differences: no branches.
            ((Edge << 17) - 1 - distance >>> 31)
            + ((Edge << 19) - 1 - distance >>> 31)
            + ((Edge << 21) - 1 - distance >>> 31);

        /// <summary>The largest distance that has a code, of a number above 0.</summary>
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static int Last(int top, int power)
        {
            var last = Furthest << (power - 3);
            return last < top ? last : LastBelow(top, power);
        }

        private static int LastBelow(int top, int power)
        {
            var bits = BitConverter.SingleToUInt32Bits(top - 8 + (1 << power)) >> Shift;
            var last = (int)BitConverter.UInt32BitsToSingle(bits << Shift) - (1 << power);
            // The sum may have been rounded up to the next code.
            return last <= top - 8 ? last : (int)BitConverter.UInt32BitsToSingle(bits - 1 << Shift) - (1 << power);
        }
    }

    /// <summary>Numbers from their codes.</summary>
    /// <param name="blocks">The codes.</param>
    /// <param name="width">The width of registers.</param>
    /// <param name="target">Room for whole blocks.</param>
    /// <param name="count">How many numbers.</param>
    /// <param name="ahead">Memory that is needed soon: four bytes of it for each number.</param>
    public static void Widen(in NarrowBlocks blocks, Width width, float* target, int count, void* ahead)
    {
        switch (width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Widen<Lane512<float>>(blocks, target, count, (byte*)ahead);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Widen<Lane256<float>>(blocks, target, count, (byte*)ahead);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Widen<Lane128<float>>(blocks, target, count, (byte*)ahead);
                break;
            default:
                WidenOneByOne(blocks, target, count);
                break;
        }
    }

    /// <summary>Codes and scales of numbers. These are spoilt where they are not finite, and zeros are written after them up to a whole block.</summary>
    /// <param name="blocks">Where to, and with what is rounded.</param>
    /// <param name="width">The width of registers.</param>
    /// <param name="source">The numbers, in room for whole blocks.</param>
    /// <param name="count">How many numbers.</param>
    /// <param name="ahead">Memory that is needed soon: four bytes of it for each number.</param>
    public static void Narrow(in NarrowBlocks blocks, Width width, float* source, int count, void* ahead)
    {
        switch (width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Narrow<Lane512<float>>(blocks, source, count, (byte*)ahead);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Narrow<Lane256<float>>(blocks, source, count, (byte*)ahead);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Narrow<Lane128<float>>(blocks, source, count, (byte*)ahead);
                break;
            default:
                for (var at = 0; at < count; at += Block)
                    NarrowOneByOne(blocks.From(at / Block), source + at, Math.Min(Block, count - at));
                break;
        }
    }

    [SkipLocalsInit]
    private static void Widen<V>(in NarrowBlocks blocks, float* target, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var whole = count & -Block;
        if (whole > 0)
            WidenBlocks<V>(blocks, target, whole, ahead);
        if (whole == count)
            return;
        // The last block is shorter: beside it.
        var room = stackalloc byte[Block * sizeof(ushort)];
        var last = blocks.From(whole / Block);
        var rest = (count - whole) * NarrowKinds.SizeOf(blocks.Kind);
        new ReadOnlySpan<byte>(last.Codes, rest).CopyTo(new(room, rest));
        new Span<byte>(room + rest, Block * sizeof(ushort) - rest).Clear();
        WidenBlocks<V>(last.At(room), target + whole, Block, ahead);
    }

    [SkipLocalsInit]
    private static void Narrow<V>(in NarrowBlocks blocks, float* source, int count, byte* ahead)
        where V : struct, ICodes<V>
    {
        var whole = count & -Block;
        if (whole > 0)
            NarrowSome<V>(blocks, source, whole, ahead);
        if (whole == count)
            return;
        new Span<float>(source + count, whole + Block - count).Clear();
        var room = stackalloc byte[Block * sizeof(ushort)];
        var last = blocks.From(whole / Block);
        NarrowSome<V>(last.At(room), source + whole, Block, ahead);
        var rest = (count - whole) * NarrowKinds.SizeOf(blocks.Kind);
        new ReadOnlySpan<byte>(room, rest).CopyTo(new(last.Codes, rest));
    }
}
