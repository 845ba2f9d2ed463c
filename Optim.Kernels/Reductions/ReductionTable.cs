using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>What one tensor brings to a pass: where it lies, where it starts among all elements, and where its first block does among all blocks.</summary>
internal struct ReductionEntry
{
    public nint X;
    public nint Y;
    public nint Start;
    public nint Count;
    public nint FirstBlock;
    public DType DType;
}

/// <summary>What a pass of a reduction needs.</summary>
internal unsafe struct ReductionPass
{
    public ReductionEntry* Entries;
    public int Count;
    public double* Partials;
    public Width Width;
    public double Power;
    public double Factor;
}

/// <summary>The tensors of a reduction, and room for a number of each of their blocks. One per thread, kept and grown when it has to.</summary>
internal sealed unsafe class ReductionTable
{
    /// <summary>Elements of a block: 16 KiB of float32, enough work for its own sums to be joined unnoticed.</summary>
    public const int Block = 4096;

    /// <summary>Running sums in a block; a divisor of its length, and enough to keep the widest registers busy.</summary>
    public const int Sums = 32;

    [ThreadStatic]
    private static ReductionTable? ofThisThread;

    private readonly List<object> owners = [];
    private ReductionEntry* entries;
    private int capacity;
    private int count;
    private nint blocks;
    private double* partials;
    private nint room;

    ~ReductionTable()
    {
        NativeMemory.Free(entries);
        NativeMemory.Free(partials);
    }

    /// <summary>Elements of all tensors.</summary>
    public nint Length { get; private set; }

    /// <summary>The table of the calling thread, empty, with room for so many tensors.</summary>
    public static ReductionTable OfThisThread(int tensors)
    {
        var table = ofThisThread ??= new();
        table.Clear();
        if (tensors > table.capacity)
        {
            table.entries = (ReductionEntry*)NativeMemory.Realloc(table.entries, checked((nuint)tensors * (nuint)sizeof(ReductionEntry)));
            table.capacity = tensors;
        }
        return table;
    }

    /// <summary>Forgets the tensors.</summary>
    public void Clear()
    {
        owners.Clear();
        (count, blocks, Length) = (0, 0, 0);
    }

    /// <summary>Adds a contiguous tensor, and another one to go with it unless that is absent; complex ones as twice as many reals where that is asked for.</summary>
    public void Add(TensorView x, TensorView y, bool asReals)
    {
        var (dtype, length) = x.DType switch
        {
            DType.Complex64 when asReals => (DType.Float32, 2 * x.Count),
            DType.Complex128 when asReals => (DType.Float64, 2 * x.Count),
            _ => (x.DType, x.Count),
        };
        if (x.Owner is { } owner)
            owners.Add(owner);
        if (!y.IsAbsent && y.Owner is { } other)
            owners.Add(other);
        Add(x.Address, y.Address, length, dtype);
    }

    /// <summary>Adds neighbouring elements.</summary>
    public void Add(nint x, nint y, nint length, DType dtype)
    {
        entries[count++] = new()
        {
            X = x,
            Y = y,
            Start = Length,
            Count = length,
            FirstBlock = blocks,
            DType = dtype,
        };
        Length = checked(Length + length);
        blocks += (length + Block - 1) / Block;
    }

    /// <summary>The pass over all that was added.</summary>
    public ReductionPass Pass(Width width, double power, double factor)
    {
        if (blocks > room)
        {
            NativeMemory.Free(partials);
            partials = (double*)NativeMemory.Alloc((nuint)blocks, sizeof(double));
            room = blocks;
        }
        return new()
        {
            Entries = entries,
            Count = count,
            Partials = partials,
            Width = width,
            Power = power,
            Factor = factor,
        };
    }

    /// <summary>The numbers of a tensor's blocks.</summary>
    public double* Partials(int tensor, out nint length)
    {
        length = (tensor + 1 < count ? entries[tensor + 1].FirstBlock : blocks) - entries[tensor].FirstBlock;
        return partials + entries[tensor].FirstBlock;
    }
}
