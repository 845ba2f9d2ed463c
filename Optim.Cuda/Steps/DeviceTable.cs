using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Neighbouring slices of a table as kernels find them on a device: uploaded where an address, a length or the stream has changed.</summary>
internal sealed unsafe class DeviceTable(Gpu gpu)
{
    private nint[] known = [];
    private nint[] knownNarrow = [];
    private long knownSeed;
    private nint[] words = [];
    private GpuMemory? memory;
    private nint stream;

    /// <summary>Slices.</summary>
    public int Slices { get; private set; }

    /// <summary>Blocks of all slices.</summary>
    public nint Blocks { get; private set; }

    /// <summary>Bytes of an entry.</summary>
    public int EntryBytes { get; private set; }

    /// <summary>Where its entries lie.</summary>
    public nint Address => memory!.Address + PlacesBytes;

    /// <summary>Bytes before the entries: they lie at multiples of 16 there.</summary>
    private int PlacesBytes => Narrow is null ? 0 : NarrowKernel.PlacesBytes;

    /// <summary>How the columns of its slices are kept; null where all of them are wide.</summary>
    public NarrowColumns? Narrow { get; private set; }

    /// <summary>How often it was uploaded.</summary>
    public int Uploads { get; private set; }

    /// <summary>Brings it up to date.</summary>
    /// <param name="table">The table here.</param>
    /// <param name="first">The first slice.</param>
    /// <param name="count">How many.</param>
    /// <param name="units">How many elements of a slice a block takes: always the same.</param>
    /// <param name="narrow">How the columns are kept, where some are narrow: an entry has words of that then, and hashes of places lie before all entries.</param>
    public void Update(SliceTable table, int first, int count, int units, NarrowTable? narrow)
    {
        var stride = table.Stride;
        var now = new ReadOnlySpan<nint>(table.Entries + first * (nint)stride, count * stride + 1);
        var nowNarrow = narrow is null ? default : narrow.WordsOf(first, count);
        var seed = narrow?.Seed ?? 0;
        var current = gpu.Stream;
        var isKnown = now.SequenceEqual(known) && nowNarrow.SequenceEqual(knownNarrow) && seed == knownSeed;
        if (memory is not null && stream == current && isKnown)
        {
            gpu.Keep(memory);
            return;
        }
        // Until all has gone well, what is there is not known.
        known = [];
        Narrow = narrow is null ? null : NarrowColumns.Of(narrow, first, count);
        var beside = Narrow?.Words ?? 0;
        var entry = PtxKernel.Head + stride - 1 + beside;
        var begin = PlacesBytes / sizeof(nint);
        var length = begin + count * entry;
        if (words.Length < length)
            words = new nint[length];
        nint blocks = 0;
        for (var slice = 0; slice < count; slice++)
        {
            var source = now.Slice(slice * stride, stride + 1);
            var target = words.AsSpan(begin + slice * entry, entry);
            var elements = source[stride] - source[0];
            (target[0], target[1]) = (blocks, elements);
            source[1..stride].CopyTo(target[PtxKernel.Head..]);
            narrow?.Lay(first + slice, target[(entry - beside)..]);
            blocks += (elements + units - 1) / units;
        }
        if (narrow is not null)
            new ReadOnlySpan<byte>(narrow.Places, PlacesBytes).CopyTo(MemoryMarshal.AsBytes(words.AsSpan()));
        var bytes = (nint)length * sizeof(nint);
        if (memory is null || memory.Bytes < bytes || stream != current)
        {
            var larger = gpu.Allocate(Math.Max(bytes, sizeof(nint)));
            memory?.Dispose();
            memory = larger;
        }
        fixed (nint* source = words)
            gpu.Upload(memory.Address, source, bytes);
        (Slices, Blocks, EntryBytes, stream) = (count, blocks, entry * sizeof(nint), current);
        (known, knownNarrow, knownSeed) = (now.ToArray(), nowNarrow.ToArray(), seed);
        Uploads++;
    }
}
