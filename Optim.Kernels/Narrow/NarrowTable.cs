using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>How the state columns of each slice of a <see cref="SliceTable"/> are kept: a kind, and where the scales lie.</summary>
internal sealed unsafe class NarrowTable
{
    private nint* words;
    private nint room;

    /// <summary>State columns of a slice.</summary>
    public int Columns { get; private set; }

    ~NarrowTable() => NativeMemory.Free(words);

    /// <summary>Makes room for so many slices, all of whose columns are wide.</summary>
    public void Reset(int slices, int columns)
    {
        Columns = columns;
        var needed = (nint)slices * columns * 2;
        if (needed > room)
        {
            words = (nint*)NativeMemory.Realloc(words, (nuint)needed * (nuint)sizeof(nint));
            room = needed;
        }
        new Span<nint>(words, (int)needed).Clear();
    }

    /// <summary>The kind of a column of a slice, and the address of its scales.</summary>
    public void Set(int slice, int column, NarrowKind kind, nint scales) =>
        (words[((nint)slice * Columns + column) * 2], words[((nint)slice * Columns + column) * 2 + 1]) = ((nint)kind, scales);

    /// <summary>The words of a slice: for each column its kind and the address of its scales.</summary>
    public nint* Of(int slice) => words + (nint)slice * Columns * 2;
}
