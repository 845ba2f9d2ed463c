using System.Numerics;

namespace Optim.Kernels;

/// <summary>What a spread of the slices of a segment comes to: from the visit that takes their elements in to the last that makes it. Kept from step to step.</summary>
internal sealed unsafe class SpreadSums(Node node)
{
    private SpreadSpan[] spans = [];
    private (NativeBlock Block, nint Bytes)? memory;

    /// <summary>Makes room for the sums of a segment.</summary>
    public void Lay(in ProgramSegment segment, SpreadSlice[] slices, bool isDouble)
    {
        if (spans.Length < segment.Count)
            spans = new SpreadSpan[segment.Count];
        nint doubles = 0;
        for (var slice = 0; slice < segment.Count; slice++)
            doubles += Lay(slice, in segment, slices, isDouble, null);
        var bytes = Math.Max(doubles, 1) * sizeof(double);
        if (memory is not { } known || known.Bytes < bytes)
            memory = known = (new(bytes, cleared: false), bytes);
        var next = (double*)known.Block.Address;
        for (var slice = 0; slice < segment.Count; slice++)
            next += Lay(slice, in segment, slices, isDouble, next);
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
        var isOfRows = node.Operation is Operation.SumOfRow or Operation.SumOfSquaresOfRow;
        var sums = (int)(columns * Math.Max(1, (ReductionTable.Sums + columns - 1) / columns));
        var bandBlocks = isOfRows
            ? 1
            : (nint)BitOperations.RoundUpToPowerOf2((nuint)((SpreadSpan.BandRows * columns + ReductionTable.Block - 1) / ReductionTable.Block));
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
