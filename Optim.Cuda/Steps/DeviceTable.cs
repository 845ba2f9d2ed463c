using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Neighbouring slices of a table as kernels find them on a device: uploaded where an address, a length or the stream has changed.</summary>
internal sealed unsafe class DeviceTable(Gpu gpu)
{
    private nint[] known = [];
    private nint[] words = [];
    private GpuMemory? memory;
    private nint stream;

    /// <summary>Slices.</summary>
    public int Slices { get; private set; }

    /// <summary>Blocks of all slices.</summary>
    public nint Blocks { get; private set; }

    /// <summary>Bytes of an entry.</summary>
    public int EntryBytes { get; private set; }

    /// <summary>Where it lies.</summary>
    public nint Address => memory!.Address;

    /// <summary>How often it was uploaded.</summary>
    public int Uploads { get; private set; }

    /// <summary>Brings it up to date.</summary>
    /// <param name="table">The table here.</param>
    /// <param name="first">The first slice.</param>
    /// <param name="count">How many.</param>
    /// <param name="units">How many elements of a slice a block takes: always the same.</param>
    public void Update(SliceTable table, int first, int count, int units)
    {
        var stride = table.Stride;
        var now = new ReadOnlySpan<nint>(table.Entries + first * (nint)stride, count * stride + 1);
        var current = gpu.Stream;
        if (memory is not null && stream == current && now.SequenceEqual(known))
        {
            gpu.Keep(memory);
            return;
        }
        // Until all has gone well, what is there is not known.
        known = [];
        var entry = PtxKernel.Head + stride - 1;
        if (words.Length < count * entry)
            words = new nint[count * entry];
        nint blocks = 0;
        for (var slice = 0; slice < count; slice++)
        {
            var source = now.Slice(slice * stride, stride + 1);
            var target = words.AsSpan(slice * entry, entry);
            var elements = source[stride] - source[0];
            (target[0], target[1]) = (blocks, elements);
            source[1..stride].CopyTo(target[PtxKernel.Head..]);
            blocks += (elements + units - 1) / units;
        }
        var bytes = (nint)count * entry * sizeof(nint);
        if (memory is null || memory.Bytes < bytes || stream != current)
        {
            var larger = gpu.Allocate(Math.Max(bytes, sizeof(nint)));
            memory?.Dispose();
            memory = larger;
        }
        fixed (nint* source = words)
            gpu.Upload(memory.Address, source, bytes);
        (Slices, Blocks, EntryBytes, stream) = (count, blocks, entry * sizeof(nint), current);
        known = now.ToArray();
        Uploads++;
    }
}
