namespace Optim.Kernels;

/// <summary>What a spread of the slices of a segment comes to: from the visit that takes their elements in to the last that makes it. Kept from step to step.</summary>
internal sealed unsafe class SpreadSums(Node node)
{
    private SpreadSpan[] spans = [];
    private (NativeBlock Block, nint Bytes)? memory;

    /// <summary>Makes room for the sums of a segment.</summary>
    public void Lay(in ProgramSegment segment, SpreadSlice[] slices, bool isDouble)
    {
        nint doubles = 0;
        MakeRoomForSpans(in segment);
        for (var slice = 0; slice < segment.Count; slice++)
            doubles += Lay(slice, in segment, slices, isDouble, null);
        var next = (double*)Memory(doubles * sizeof(double));
        for (var slice = 0; slice < segment.Count; slice++)
            next += Lay(slice, in segment, slices, isDouble, next);
    }

    /// <summary>
    /// Makes room for what the totals of spreads over the same rows or columns are made into, and lays all of it out as a pass goes over it: an entry for
    /// each slice, of the totals and of what becomes of them.
    /// </summary>
    /// <param name="segment">The segment.</param>
    /// <param name="of">The spreads.</param>
    /// <param name="pass">The pass.</param>
    /// <returns>Elements of the pass.</returns>
    public nint LayWork(in ProgramSegment segment, List<SpreadSums> of, ref ProgramPass pass)
    {
        MakeRoomForSpans(in segment);
        var stride = 1 + of.Count + 1;
        nint length = 0;
        for (var slice = 0; slice < segment.Count; slice++)
            length += of[0].spans[slice].TotalCount;
        var entries = (nint*)Memory((segment.Count * (nint)stride + 1) * sizeof(nint) + length * sizeof(double));
        var next = (double*)(entries + segment.Count * (nint)stride + 1);
        nint start = 0;
        for (var slice = 0; slice < segment.Count; slice++)
        {
            var entry = entries + slice * (nint)stride;
            spans[slice] = of[0].spans[slice] with { Totals = (byte*)next };
            entry[0] = start;
            for (var i = 0; i < of.Count; i++)
                entry[1 + i] = (nint)of[i].spans[slice].Totals;
            entry[1 + of.Count] = (nint)next;
            next += spans[slice].TotalCount;
            start += spans[slice].TotalCount;
        }
        entries[segment.Count * (nint)stride] = start;
        pass.Entries = entries;
        (pass.Stride, pass.Slices) = (stride, segment.Count);
        return length;
    }

    private void MakeRoomForSpans(in ProgramSegment segment)
    {
        if (spans.Length < segment.Count)
            spans = new SpreadSpan[segment.Count];
    }

    private nint Memory(nint bytes)
    {
        if (memory is not { } known || known.Bytes < bytes)
            memory = known = (new(Math.Max(bytes, sizeof(double)), cleared: false), bytes);
        return known.Block.Address;
    }

    /// <summary>The sums of a slice.</summary>
    public SpreadSpan this[int slice] => spans[slice];

    /// <summary>Works out what the rows or columns of each slice come to, when all elements have been taken in.</summary>
    public void Join(in ProgramSegment segment)
    {
        for (var slice = 0; slice < segment.Count; slice++)
            spans[slice].Join(Blocks(in segment, slice));
    }

    private static nint Blocks(in ProgramSegment segment, int slice) =>
        (segment.Table.LengthOf(segment.First + slice) + ReductionTable.Block - 1) / ReductionTable.Block;

    private nint Lay(int slice, in ProgramSegment segment, SpreadSlice[] slices, bool isDouble, double* at)
    {
        var blocks = Blocks(in segment, slice);
        // Nothing is summed of a tensor without elements, whatever its shape.
        var rows = blocks == 0 ? 0 : slices[segment.First + slice].LeadingCount((int)node.Value);
        var columns = blocks == 0 ? 1 : segment.Table.LengthOf(segment.First + slice) / rows;
        var isOfRows = node.Operation.IsOfRows();
        var sums = columns == 1 ? 1 : (int)(columns * Math.Max(1, (ReductionTable.Sums + columns - 1) / columns));
        var bandBlocks = isOfRows ? 1 : SpreadSpan.BandBlocksOf(columns);
        var parts = isOfRows ? rows : (blocks + bandBlocks - 1) / bandBlocks * sums;
        var begun = isOfRows ? blocks : 0;
        spans[slice] = new()
        {
            Operation = node.Operation,
            IsDouble = isDouble,
            Width = Lanes.Width,
            Rows = rows,
            Columns = columns,
            BandBlocks = bandBlocks,
            RunningSums = sums,
            Parts = at,
            Begun = at + parts,
            Totals = (byte*)(at + parts + begun),
        };
        return parts + begun + (isOfRows ? rows : columns);
    }
}
