using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// The flat list of what a step goes over: for each slice where it starts in the whole, and the addresses of its
/// parameter, its gradient and its state columns. It is kept between steps and written again only where an address has changed.
/// </summary>
internal sealed unsafe class SliceTable
{
    private nint* entries;
    private int words;
    private int slices;

    /// <summary>Words before the addresses: the start.</summary>
    private const int Head = 1;

    /// <summary>Slices in the table.</summary>
    public int Count { get; private set; }

    /// <summary>Words of an entry: its start, parameter, gradient, state columns, average.</summary>
    public int Stride { get; private set; }

    /// <summary>Arrays that a step goes over beside what surrounds it.</summary>
    public int Arrays => Stride - Head - 1;

    /// <summary>Elements of all slices.</summary>
    public nint Length => entries == null ? 0 : entries[Count * Stride];

    /// <summary>The first entry.</summary>
    public nint* Entries => entries;

    ~SliceTable() => NativeMemory.Free(entries);

    /// <summary>Where the addresses of an entry begin: parameter, gradient, state columns.</summary>
    public static nint* AddressesOf(nint* entry) => entry + Head;

    /// <summary>The slice, among some, that holds an element, by halving.</summary>
    public static int FirstAt(nint* entries, int stride, int slices, nint element)
    {
        var (low, high) = (0, slices - 1);
        while (low < high)
        {
            var middle = (low + high + 1) >>> 1;
            if (entries[middle * (nint)stride] <= element)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }

    /// <summary>Empties the table and makes room for slices with so many state columns.</summary>
    public void Reset(int slices, int columns)
    {
        Count = 0;
        Stride = Head + 2 + columns + 1;
        MakeRoom(slices);
        entries[0] = 0;
    }

    /// <summary>Adds a slice; its state columns are written by <see cref="SetColumn"/>.</summary>
    public void Add(nint length, nint parameter, nint gradient)
    {
        if (Count == slices)
            MakeRoom(Math.Max(16, 2 * slices));
        var entry = entries + Count * Stride;
        (entry[Head], entry[Head + 1], entry[Stride - 1]) = (parameter, gradient, 0);
        entry[Stride] = entry[0] + length;
        Count++;
    }

    /// <summary>The address of a state column of the slice that was added last.</summary>
    public void SetColumn(int column, nint address) => entries[(Count - 1) * Stride + Head + 2 + column] = address;

    /// <summary>The address of the average of a slice's parameter; 0 for none.</summary>
    public void SetAverage(int slice, nint address) => entries[slice * Stride + Stride - 1] = address;

    /// <summary>Where parameter and gradient of a slice lie now.</summary>
    public void Move(int slice, nint parameter, nint gradient)
    {
        var entry = entries + slice * Stride + Head;
        (entry[0], entry[1]) = (parameter, gradient);
    }

    private void MakeRoom(int slices)
    {
        this.slices = slices;
        // One word more for the end of the last slice.
        var needed = checked(slices * Stride + 1);
        if (needed <= words)
            return;
        entries = (nint*)NativeMemory.Realloc(entries, (nuint)needed * (nuint)sizeof(nint));
        words = needed;
    }
}
