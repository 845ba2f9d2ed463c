namespace Optim.Kernels;

/// <summary>What one visit of some slices needs, on the stack of the caller while it runs. It begins as <see cref="PassHead"/> does.</summary>
internal unsafe struct ProgramPass
{
    public nint* Entries;
    public int Stride;
    public int Slices;

    /// <summary>Whether it streams from main memory.</summary>
    public bool Streams;
    public nint Kernel;

    /// <summary>The numbers of the first slice, in the type of the arithmetic; those of the next one lie so many bytes further.</summary>
    public byte* Numbers;
    public nint NumbersStride;

    /// <summary>The first block of each slice among all blocks, and one past the last.</summary>
    public nint* FirstBlocks;

    /// <summary>What each block comes to: all blocks of the first reduction, then all of the next one.</summary>
    public double* Partials;

    /// <summary>The spreads that are made and taken in, all of the first slice, then all of the next one.</summary>
    public SpreadSpan* Spreads;
    public int SpreadCount;
    public Width Width;

    [ThreadStatic]
    private static (NativeBlock Block, nint Bytes)? room;

    /// <summary>Elements [begin, end) of a pass, counted from its first slice.</summary>
    public static void Run(nint begin, nint end, void* context)
    {
        var pass = (ProgramPass*)context;
        var kernel = VisitKernel.Of(pass->Kernel);
        var (at, last) = (begin + pass->Entries[0], end + pass->Entries[0]);
        for (var slice = SliceTable.FirstAt(pass->Entries, pass->Stride, pass->Slices, at); at < last; slice++)
        {
            var entry = pass->Entries + slice * (nint)pass->Stride;
            // Slices that have the same numbers go together.
            var to = pass->NumbersStride == 0 ? last : Math.Min(last, entry[pass->Stride]);
            kernel.Run(entry, pass->Stride, at, to, pass->Numbers + slice * pass->NumbersStride, pass->Streams);
            at = to;
        }
    }

    /// <summary>The bands of blocks of slices that begin in elements [begin, end): so it does not matter where shares begin.</summary>
    public static void RunBlocks(nint begin, nint end, void* context)
    {
        var pass = (ProgramPass*)context;
        var kernel = VisitKernel.Of(pass->Kernel);
        var code = kernel.Code;
        var (at, last) = (begin + pass->Entries[0], end + pass->Entries[0]);
        // An entry of one slice with room for the elements that are reduced or spread.
        var own = stackalloc nint[1 + code.Arrays + code.Rooms + 1];
        var arrays = SliceTable.AddressesOf(own);
        // The slice of which a whole block of spreads has been made.
        var made = -1;
        for (var slice = SliceTable.FirstAt(pass->Entries, pass->Stride, pass->Slices, at); slice < pass->Slices; slice++)
        {
            var entry = pass->Entries + slice * (nint)pass->Stride;
            if (entry[0] >= last)
                break;
            new ReadOnlySpan<nint>(SliceTable.AddressesOf(entry), code.Arrays).CopyTo(new(arrays, code.Arrays));
            var length = entry[pass->Stride] - entry[0];
            var band = BandBlocks(pass, slice) * ReductionTable.Block;
            for (var begun = Math.Max(0, at - entry[0] + band - 1) / band * band; begun < length && entry[0] + begun < last; begun += band)
            for (var first = begun; first < Math.Min(length, begun + band); first += ReductionTable.Block)
            {
                var count = (int)Math.Min(ReductionTable.Block, length - first);
                Block(pass, kernel, own, first, count, slice, first / ReductionTable.Block, made == slice);
                if (count == ReductionTable.Block)
                    made = slice;
            }
        }
    }

    /// <summary>How many neighbouring blocks of a slice one thread has to take.</summary>
    private static nint BandBlocks(ProgramPass* pass, int slice)
    {
        nint most = 1;
        var spreads = pass->Spreads + slice * (nint)pass->SpreadCount;
        for (var i = 0; i < pass->SpreadCount; i++)
            if (spreads[i].IsTaken)
                // Powers of two: the largest is a multiple of each.
                most = Math.Max(most, spreads[i].BandBlocks);
        return most;
    }

    private static void Block(ProgramPass* pass, VisitKernel kernel, nint* own, nint first, int count, int slice, nint block, bool isMade)
    {
        var code = kernel.Code;
        var arrays = SliceTable.AddressesOf(own);
        var stride = 1 + code.Arrays + code.Rooms;
        var bytes = ReductionTable.Block * (nint)code.Size + BlockKernel.Apart;
        var space = Room(code.Rooms * bytes);
        for (var i = 0; i < code.Rooms; i++)
            arrays[code.Arrays + i] = space + i * bytes - first * code.Size;
        var spreads = pass->Spreads + slice * (nint)pass->SpreadCount;
        for (var i = 0; i < pass->SpreadCount; i++)
            if (!spreads[i].IsTaken && !(isMade && spreads[i].IsRepeated))
                spreads[i].Make(first, (byte*)arrays[spreads[i].Room] + first * code.Size, count);
        (own[0], own[stride]) = (0, first + count);
        var numbers = pass->Numbers + slice * pass->NumbersStride;
        var sums = stackalloc double[code.Reductions.Length * ReductionTable.Sums];
        new Span<double>(sums, code.Reductions.Length * ReductionTable.Sums).Clear();
        // Whole rounds of the running sums go into them in registers, what is left over by way of the room.
        var taken = code.Reductions.Length == 0 ? 0 : count & -ReductionTable.Sums;
        if (taken > 0 && !kernel.Reduce(own, stride, first, first + taken, numbers, pass->Streams, sums))
            taken = 0;
        if (code.Stores.Length > 0 && taken < count)
            kernel.Run(own, stride, first + taken, first + count, numbers, pass->Streams);
        for (var i = 0; i < pass->SpreadCount; i++)
            if (spreads[i].IsTaken)
                spreads[i].Take(block, (byte*)arrays[spreads[i].Room] + first * code.Size, count);
        if (code.Reductions.Length == 0)
            return;
        var blocks = pass->FirstBlocks[pass->Slices];
        for (var i = 0; i < code.Reductions.Length; i++)
        {
            var (kind, array) = code.Reductions[i];
            var elements = arrays[array] + first * code.Size;
            var running = sums + i * ReductionTable.Sums;
            pass->Partials[i * blocks + pass->FirstBlocks[slice] + block] = kind switch
            {
                Operation.Sum => ReductionKernel<Sums>.OfBlock(pass->Width, elements, count, code.IsDouble, running, taken),
                Operation.SumOfSquares => ReductionKernel<Squares>.OfBlock(pass->Width, elements, count, code.IsDouble, running, taken),
                _ => ReductionKernel<Largest>.OfBlock(pass->Width, elements, count, code.IsDouble, running, taken),
            };
        }
    }

    /// <summary>What all blocks of a slice come to.</summary>
    public static double Join(Operation kind, double* blocks, nint count) =>
        kind switch
        {
            Operation.Sum => ReductionKernel<Sums>.Join(blocks, count),
            Operation.SumOfSquares => ReductionKernel<Squares>.Join(blocks, count),
            _ => ReductionKernel<Largest>.Join(blocks, count),
        };

    /// <summary>The same, of blocks of several ranks; their numbers are overwritten.</summary>
    public static double Join(Operation kind, double[] blocks)
    {
        fixed (double* first = blocks)
            return Join(kind, first, blocks.Length);
    }

    /// <summary>Memory of this thread for the elements that are reduced; kept, and grown when it has to.</summary>
    private static nint Room(nint bytes)
    {
        if (room is not { } known || known.Bytes < bytes)
            room = known = (new(bytes, cleared: false), bytes);
        return known.Block.Address;
    }
}
