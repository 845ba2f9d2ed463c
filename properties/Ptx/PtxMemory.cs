namespace Optim.Ptx;

/// <summary>The memory that a kernel may read and write. Accesses outside of it, or not at a multiple of their size, are errors.</summary>
public abstract class PtxMemory
{
    /// <summary>Begins a launch: nobody has written anything in it.</summary>
    public virtual void Begin() { }

    /// <summary>Up to 8 bytes.</summary>
    /// <param name="address">Where.</param>
    /// <param name="size">Bytes: 1, 2, 4 or 8.</param>
    /// <param name="reader">Who reads.</param>
    public abstract ulong Load(ulong address, int size, Access reader);

    /// <summary>Up to 8 bytes.</summary>
    public abstract void Store(ulong address, int size, ulong value, Access writer);
}

/// <summary>A thread of a launch, and how many barriers it has passed.</summary>
public readonly record struct Access(int Block, int Thread, int Phase);

/// <summary>
/// Memory of this process that was lent. Two threads may not write to one place, nor one read what another has written in the same launch, unless both
/// are of one block, with a barrier between.
/// </summary>
public sealed unsafe class HostMemory : PtxMemory
{
    private sealed class Region(ulong start, ulong end)
    {
        public readonly ulong Start = start;
        public readonly ulong End = end;

        // For each two bytes: the launch in which they were written last, and by whom.
        public readonly int[] Launches = new int[(end - start) / 2 + 1];
        public readonly Access[] Writers = new Access[(end - start) / 2 + 1];
    }

    private readonly List<Region> regions = [];
    private Region? last;
    private int launch;

    /// <summary>Lends memory.</summary>
    public void Lend(nint start, nint bytes)
    {
        lock (regions)
            regions.Add(new((ulong)start, (ulong)(start + bytes)));
    }

    /// <summary>Takes memory back.</summary>
    public void Return(nint start)
    {
        lock (regions)
        {
            last = null;
            regions.RemoveAll(region => region.Start == (ulong)start);
        }
    }

    public override void Begin() => launch++;

    public override ulong Load(ulong address, int size, Access reader)
    {
        var region = Find(address, size);
        for (var at = (address - region.Start) / 2; at < (address - region.Start + (ulong)size + 1) / 2; at++)
            if (region.Launches[at] == launch)
                Separate(region.Writers[at], reader, address, "reads what another writes");
        return size switch
        {
            8 => *(ulong*)address,
            4 => *(uint*)address,
            2 => *(ushort*)address,
            _ => *(byte*)address,
        };
    }

    public override void Store(ulong address, int size, ulong value, Access writer)
    {
        var region = Find(address, size);
        for (var at = (address - region.Start) / 2; at < (address - region.Start + (ulong)size + 1) / 2; at++)
        {
            if (region.Launches[at] == launch)
                Separate(region.Writers[at], writer, address, "writes where another does");
            (region.Launches[at], region.Writers[at]) = (launch, writer);
        }
        switch (size)
        {
            case 8:
                *(ulong*)address = value;
                break;
            case 4:
                *(uint*)address = (uint)value;
                break;
            case 2:
                *(ushort*)address = (ushort)value;
                break;
            default:
                *(byte*)address = (byte)value;
                break;
        }
    }

    private static void Separate(Access before, Access now, ulong address, string what)
    {
        var isSame = before.Block == now.Block && before.Thread == now.Thread;
        if (!isSame && (before.Block != now.Block || before.Phase == now.Phase))
            throw new PtxException($"a thread {what} at {address:x}: {before} and {now}");
    }

    private Region Find(ulong address, int size)
    {
        if (address % (ulong)size != 0)
            throw new PtxException($"address {address:x} is no multiple of {size}");
        if (last is { } known && address >= known.Start && address + (ulong)size <= known.End)
            return known;
        lock (regions)
            foreach (var region in regions)
                if (address >= region.Start && address + (ulong)size <= region.End)
                    return last = region;
        throw new PtxException($"access of {size} bytes outside of all memory, at {address:x}");
    }
}

/// <summary>Memory without bounds, of which only what is written is there: for addresses that no machine has. What is read and was never written is an error.</summary>
public sealed class SparseMemory : PtxMemory
{
    private readonly Dictionary<ulong, ulong> words = [];

    /// <summary>Every place that was stored to, in order.</summary>
    public IEnumerable<ulong> Stored => stored.Order();

    private readonly HashSet<ulong> stored = [];

    /// <summary>What elements hold that nobody has set; null where that is an error.</summary>
    public Func<ulong, int, ulong?>? Content { get; set; }

    /// <summary>Sets a word.</summary>
    public void Set(ulong address, ulong value) => words[address] = value;

    public override ulong Load(ulong address, int size, Access reader)
    {
        Check(address, size);
        return words.TryGetValue(address, out var value)
            ? value
            : Content?.Invoke(address, size) ?? throw new PtxException($"{address:x} is read, and there is nothing");
    }

    public override void Store(ulong address, int size, ulong value, Access writer)
    {
        Check(address, size);
        if (!stored.Add(address))
            throw new PtxException($"{address:x} is written twice");
        words[address] = value;
    }

    private static void Check(ulong address, int size)
    {
        if (address % (ulong)size != 0)
            throw new PtxException($"address {address:x} is no multiple of {size}");
    }
}
