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

    /// <summary>Words of an entry: its start, parameter, gradient, state columns, averages.</summary>
    public int Stride { get; private set; }

    /// <summary>Arrays that a step goes over beside what surrounds it.</summary>
    public int Arrays { get; private set; }

    /// <summary>Averages that there is room for.</summary>
    public int Averages => Stride - Head - Arrays;

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

    /// <summary>Empties the table and makes room for slices with so many state columns and averages.</summary>
    public void Reset(int slices, int columns, int averages = 0)
    {
        Count = 0;
        Arrays = 2 + columns;
        Stride = Head + Arrays + averages;
        MakeRoom(slices);
        entries[0] = 0;
    }

    /// <summary>Adds a slice; its state columns are written by <see cref="SetColumn"/>.</summary>
    public void Add(nint length, nint parameter, nint gradient)
    {
        if (Count == slices)
            MakeRoom(Math.Max(16, 2 * slices));
        var entry = entries + Count * Stride;
        (entry[Head], entry[Head + 1]) = (parameter, gradient);
        entry[Stride] = entry[0] + length;
        Count++;
    }

    /// <summary>The address of a state column of the slice that was added last.</summary>
    public void SetColumn(int column, nint address) => entries[(Count - 1) * Stride + Head + 2 + column] = address;

    /// <summary>Makes room for so many averages of each slice, beside what there is.</summary>
    public void Widen(int averages)
    {
        var (before, width) = (Stride, Head + Arrays + averages);
        if (width <= before)
            return;
        Stride = width;
        MakeRoom(slices);
        entries[Count * width] = entries[Count * before];
        for (var slice = Count - 1; slice >= 0; slice--)
            new ReadOnlySpan<nint>(entries + slice * before, before).CopyTo(new(entries + slice * width, before));
    }

    /// <summary>The address of an average of a slice's parameter.</summary>
    public void SetAverage(int slice, int average, nint address) => entries[slice * Stride + Head + Arrays + average] = address;

    /// <summary>Where an array of a slice lies: the parameter, the gradient, the columns.</summary>
    public nint AddressOf(int slice, int array) => entries[slice * Stride + Head + array];

    /// <summary>Elements of a slice.</summary>
    public nint LengthOf(int slice) => entries[(slice + 1) * Stride] - entries[slice * Stride];

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
