using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>
/// A narrow column of a slice in a loop that widens, steps and narrows. While a block is stepped the next one is widened, the largest number of the one
/// before it is found, and the one before that is narrowed. So nothing waits for the arithmetic of the rule, and that of the codes goes on beside it.
/// </summary>
internal unsafe struct NarrowRow
{
    /// <summary>Blocks of a column that are wide at a time.</summary>
    public const int Rooms = 4;

    public NarrowKind Kind;

    /// <summary>The place of the slice's first block in the whole parameter.</summary>
    public nint FirstBlock;

    /// <summary>The codes of the slice's first element.</summary>
    public byte* Codes;

    /// <summary>The scales of the slice.</summary>
    public uint* Scales;

    /// <summary>With what is rounded.</summary>
    public uint* Noise;

    /// <summary>Room for the codes of a block that there is not.</summary>
    public byte* Nowhere;

    /// <summary>Where four blocks are wide: the one that comes, the one that is stepped, the one before it, and the one that is narrowed.</summary>
    public float* Next,
        Wide,
        Held,
        Before;

    /// <summary>With which elements the last two of them begin; below 0 there is none.</summary>
    public nint HeldAt,
        BeforeAt;

    /// <summary>The codes of the block that comes, and where those of the one that is narrowed go.</summary>
    public byte* Source,
        Target;

    /// <summary>What distances of the block that comes are taken from, and the upper half of that of code 0.</summary>
    public uint Tops;
    public ushort Firsts;

    /// <summary>With what a block is narrowed.</summary>
    public NarrowCodec.Coding Coding;

    /// <summary>The largest and the smallest numbers by places of the block that was stepped last.</summary>
    public Vector512<uint> Most,
        Least;

    /// <summary>The largest and the smallest codes by places of the block that is narrowed.</summary>
    public Vector512<ushort> MostCode,
        LeastCode;

    /// <summary>The block that begins with an element.</summary>
    public readonly NarrowBlocks BlockAt(nint at) =>
        new(
            Kind,
            Codes + at * NarrowKinds.SizeOf(Kind),
            (float*)(NarrowKinds.HasScales(Kind) ? Scales + at / StateStorage.BlockLength : null),
            Noise,
            FirstBlock + at / StateStorage.BlockLength
        );

    /// <summary>The place of an element in its block.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static nint Place(nint at) => at & StateStorage.BlockLength - 1;
}

/// <summary>Whole blocks of a slice that a loop goes over, and its narrow columns.</summary>
internal unsafe struct NarrowSpan
{
    /// <summary>Of elements of the slice, all of them whole blocks.</summary>
    public SliceSpan Span;
    public NarrowRow* Rows;

    /// <summary>A row of a span, as the emitted loop sees it.</summary>
    public static NarrowRow* RowOf(SliceSpan* span, int index) => ((NarrowSpan*)span)->Rows + index;

    /// <summary>Where element 0 of a row would be wide.</summary>
    public static nint OriginOf(NarrowRow* row, nint at) => (nint)(row->Wide - at);
}
