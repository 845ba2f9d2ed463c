using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>How the state columns of each slice of a <see cref="SliceTable"/> are kept: a kind, where the scales lie, and which block is the first.</summary>
internal sealed unsafe class NarrowTable
{
    /// <summary>Bits of a word that are the kind.</summary>
    private const int KindBits = 8;

    private nint* words;
    private nint room;
    private uint* places;
    private long placesOf;
    private long seed;

    /// <summary>State columns of a slice.</summary>
    public int Columns { get; private set; }

    /// <summary>With what narrow columns are rounded, of whatever step: see <see cref="NarrowCodec.FillPlaces"/>. It is made when some slice has one.</summary>
    public uint* Places => places;

    ~NarrowTable()
    {
        NativeMemory.Free(words);
        NativeMemory.Free(places);
    }

    /// <summary>Makes room for so many slices, all of whose columns are wide, and takes the seed of the rounding.</summary>
    public void Reset(int slices, int columns, long seed)
    {
        (Columns, this.seed) = (columns, seed);
        var needed = (nint)slices * columns * 2;
        if (needed > room)
        {
            words = (nint*)NativeMemory.Realloc(words, (nuint)needed * (nuint)sizeof(nint));
            room = needed;
        }
        new Span<nint>(words, (int)needed).Clear();
    }

    /// <summary>The kind of a narrow column of a slice, the address of its scales, and the place of its first block in the whole parameter.</summary>
    public void Set(int slice, int column, NarrowKind kind, nint scales, nint firstBlock)
    {
        (Of(slice)[column * 2], Of(slice)[column * 2 + 1]) = ((nint)kind | firstBlock << KindBits, scales);
        if (places != null && placesOf == seed)
            return;
        if (places == null)
            places = (uint*)NativeMemory.Alloc(NarrowCodec.NoiseLength, sizeof(uint));
        NarrowCodec.FillPlaces(places, placesOf = seed);
    }

    /// <summary>The kind of such a word.</summary>
    public static NarrowKind KindOf(nint word) => (NarrowKind)word;

    /// <summary>The first block of a word that <see cref="Of"/> gives for a kind.</summary>
    public static nint FirstBlock(nint word) => word >> KindBits;

    /// <summary>The seed that <see cref="Places"/> were made of.</summary>
    public long Seed => placesOf;

    /// <summary>The words of some neighbouring slices.</summary>
    public ReadOnlySpan<nint> WordsOf(int first, int count) => new(Of(first), count * Columns * 2);

    /// <summary>What a kernel of a device takes of a slice: its first block in the whole parameter, and where the scales of each column lie.</summary>
    public void Lay(int slice, Span<nint> target)
    {
        var here = Of(slice);
        target[0] = 0;
        for (var column = 0; column < Columns; column++)
        {
            target[0] = Math.Max(target[0], FirstBlock(here[2 * column]));
            target[1 + column] = here[2 * column + 1];
        }
    }

    /// <summary>The words of a slice: for each column its kind, with the first block above <see cref="KindBits"/>, and the address of its scales.</summary>
    public nint* Of(int slice) => words + (nint)slice * Columns * 2;
}
