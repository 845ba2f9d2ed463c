namespace Optim.Kernels;

/// <summary>What the spreads of a program come to on a device, and the tables by which its kernels find that. Kept from step to step.</summary>
internal sealed unsafe class DeviceSpreads(ProgramDevice device)
{
    private readonly DeviceRoom parts = device.NewRoom();
    private readonly Dictionary<(int Place, int First), Totals> totals = [];
    private readonly Dictionary<(object Of, int First), SliceTable> tables = [];
    private readonly Dictionary<(DeviceSums, int First), SumsTables> sumsTables = [];

    /// <summary>Totals of a spread, or what was made of them: of each slice where they begin, how many there are, and how long a row is.</summary>
    private sealed class Totals(DeviceRoom room)
    {
        public readonly DeviceRoom Room = room;
        public nint[] Starts = [];
        public nint[] Counts = [];
        public nint[] Columns = [];

        public void Lay(int slices)
        {
            if (Starts.Length < slices)
                (Starts, Counts, Columns) = (new nint[slices], new nint[slices], new nint[slices]);
        }

        public nint AddressOf(int slice, int size) => Room.Address + Starts[slice] * size;
    }

    /// <summary>A table with two more words for each spread that a visit reads.</summary>
    /// <param name="visit">The visit.</param>
    /// <param name="segment">The segment.</param>
    /// <param name="places">What each of its spreads is called.</param>
    /// <param name="keys">The key of a slice's noise, by its place.</param>
    public SliceTable Lay(DeviceVisit visit, in ProgramSegment segment, int[] places, Func<int, int, ulong> keys)
    {
        var table = TableOf(visit, segment.First);
        table.Reset(segment.Count, visit.Rest.Arrays + 2 * visit.Made.Length - 2);
        for (var slice = 0; slice < segment.Count; slice++)
            AddSlice(table, visit, in segment, slice, segment.Table.LengthOf(segment.First + slice), places, keys);
        return table;
    }

    /// <summary>A table by which something is worked out of the totals of spreads alone.</summary>
    /// <param name="made">What it is called.</param>
    /// <param name="spreads">What the spreads are called.</param>
    /// <param name="segment">The segment.</param>
    /// <param name="size">Bytes of a total.</param>
    public SliceTable LayWork(int made, int[] spreads, in ProgramSegment segment, int size)
    {
        var (own, first) = (TotalsOf(made, segment.First), TotalsOf(spreads[0], segment.First));
        own.Lay(segment.Count);
        nint length = 0;
        for (var slice = 0; slice < segment.Count; slice++)
        {
            (own.Starts[slice], own.Counts[slice], own.Columns[slice]) = (length, first.Counts[slice], first.Columns[slice]);
            length += first.Counts[slice];
        }
        own.Room.Reserve(Math.Max(length, 1) * size);
        var table = TableOf(own, segment.First);
        Totals[] arrays = [.. Array.ConvertAll(spreads, TotalsOfSegment(segment.First)), own];
        table.Reset(segment.Count, arrays.Length - 2);
        for (var slice = 0; slice < segment.Count; slice++)
        {
            table.Add(own.Counts[slice], arrays[0].AddressOf(slice, size), arrays[1].AddressOf(slice, size));
            for (var array = 2; array < arrays.Length; array++)
                SetWords(table, array, [arrays[array].AddressOf(slice, size)]);
        }
        return table;
    }

    /// <summary>The tables of sums that come out of a visit.</summary>
    /// <inheritdoc cref="Lay"/>
    public SumsTables LaySums(DeviceVisit visit, DeviceSums sums, in ProgramSegment segment, int[] places, Func<int, int, ulong> keys)
    {
        if (!sumsTables.TryGetValue((sums, segment.First), out var tables))
            sumsTables.Add((sums, segment.First), tables = new());
        var (number, size) = (sums.Places.Length, sums.Code.Size);
        var shapes = new Shape[segment.Count];
        nint units = 0,
            count = 0;
        for (var slice = 0; slice < segment.Count; slice++)
        {
            shapes[slice] = Shape.Of(
                segment.Table.LengthOf(segment.First + slice),
                segment.Spread![segment.First + slice],
                sums.Dimensions,
                sums.IsOfRows
            );
            units += shapes[slice].Units;
        }
        foreach (var place in sums.Places)
        {
            var own = TotalsOf(place, segment.First);
            own.Lay(segment.Count);
            count = 0;
            for (var slice = 0; slice < segment.Count; slice++)
            {
                (own.Starts[slice], own.Counts[slice], own.Columns[slice]) = (count, shapes[slice].Totals, shapes[slice].Columns);
                count += shapes[slice].Totals;
            }
            own.Room.Reserve(Math.Max(count, 1) * size);
        }
        parts.Reserve(Math.Max(units, 1) * number * sizeof(double));
        var inEntry = sums.Code.Arrays + 2 * visit.Made.Length;
        tables.Parts.Reset(segment.Count, inEntry + 2 + number - 2);
        tables.RunningSums.Reset(segment.Count, inEntry + 3 + number - 2);
        tables.Bands.Reset(segment.Count, number);
        tables.Totals.Reset(segment.Count, 2 * number);
        (tables.IsOfRows, tables.MostBands) = (sums.IsOfRows, 0);
        nint begun = 0;
        for (var slice = 0; slice < segment.Count; slice++)
        {
            var shape = shapes[slice];
            tables.MostBands = Math.Max(tables.MostBands, shape.Bands);
            AddSlice(tables.Parts, visit, in segment, slice, shape.GoesByParts ? shape.Units : 0, places, keys);
            AddSlice(tables.RunningSums, visit, in segment, slice, shape.GoesByParts ? 0 : shape.Units, places, keys);
            SetWords(tables.Parts, inEntry, [shape.RowLength, shape.BlocksOfRow]);
            SetWords(tables.RunningSums, inEntry, [shape.Length, shape.RunningSums, shape.BandElements]);
            tables.Bands.Add(sums.IsOfRows ? 0 : shape.Units, shape.RunningSums, shape.Bands);
            tables.Totals.Add(shape.Totals, shape.Columns, sums.IsOfRows ? shape.BlocksOfRow : shape.RunningSums);
            for (var i = 0; i < number; i++)
            {
                var at = parts.Address + (i * units + begun) * sizeof(double);
                SetWords(tables.Parts, inEntry + 2 + i, [at]);
                SetWords(tables.RunningSums, inEntry + 3 + i, [at]);
                SetWords(tables.Bands, 2 + i, [at]);
                SetWords(tables.Totals, 2 + i, [at]);
                SetWords(tables.Totals, 2 + number + i, [TotalsOf(sums.Places[i], segment.First).AddressOf(slice, size)]);
            }
            begun += shape.Units;
        }
        return tables;
    }

    private void AddSlice(
        SliceTable table,
        DeviceVisit visit,
        in ProgramSegment segment,
        int slice,
        nint units,
        int[] places,
        Func<int, int, ulong> keys
    )
    {
        var from = segment.First + slice;
        table.Add(units, segment.Table.AddressOf(from, 0), segment.Table.AddressOf(from, 1));
        for (var array = 2; array < visit.Rest.Arrays; array++)
            SetWords(table, array, [segment.Table.AddressOf(from, array)]);
        for (var i = 0; i < visit.Made.Length; i++)
        {
            var word = visit.Rest.Arrays + 2 * i;
            if (visit.Made[i].Operation == Operation.Noise)
                SetWords(table, word, [unchecked((nint)keys(places[i], slice)), 1]);
            else
            {
                var own = TotalsOf(places[i], segment.First);
                SetWords(table, word, [own.AddressOf(slice, visit.Rest.Size), own.Columns[slice]]);
            }
        }
    }

    private static void SetWords(SliceTable table, int word, ReadOnlySpan<nint> words)
    {
        for (var i = 0; i < words.Length; i++)
            table.SetColumn(word + i - 2, words[i]);
    }

    private Converter<int, Totals> TotalsOfSegment(int first) => place => TotalsOf(place, first);

    private Totals TotalsOf(int place, int first)
    {
        if (!totals.TryGetValue((place, first), out var found))
            totals.Add((place, first), found = new(device.NewRoom()));
        return found;
    }

    private SliceTable TableOf(object of, int first)
    {
        if (!tables.TryGetValue((of, first), out var table))
            tables.Add((of, first), table = new());
        return table;
    }

    /// <summary>The rows and columns of a slice, and the parts of their sums, as <see cref="SpreadSpan"/> has them.</summary>
    /// <param name="Length">Elements.</param>
    /// <param name="Columns">Elements of a row.</param>
    /// <param name="GoesByParts">Whether rows are summed block by block, or a single column is.</param>
    /// <param name="RowLength">Elements of what is summed block by block.</param>
    /// <param name="BlocksOfRow">How many blocks one may lie in.</param>
    /// <param name="RunningSums">Running sums of a band.</param>
    /// <param name="BandElements">Elements of a band.</param>
    /// <param name="Bands">Bands; 0 where rows are summed.</param>
    /// <param name="Units">Parts or running sums.</param>
    /// <param name="Totals">Rows or columns that have a total.</param>
    private readonly record struct Shape(
        nint Length,
        nint Columns,
        bool GoesByParts,
        nint RowLength,
        nint BlocksOfRow,
        nint RunningSums,
        nint BandElements,
        nint Bands,
        nint Units,
        nint Totals
    )
    {
        public static Shape Of(nint length, SpreadSlice slice, int dimensions, bool isOfRows)
        {
            const nint block = ReductionTable.Block;
            // Nothing is summed of a tensor without elements, whatever its shape.
            if (length == 0)
                return new(0, 1, true, 1, 1, 1, block, 0, 0, isOfRows ? 0 : 1);
            var rows = slice.LeadingCount(dimensions);
            var columns = length / rows;
            var blocks = (length + block - 1) / block;
            if (isOfRows)
            {
                // A row that begins with the last element of a block goes on in as many more as the others fill.
                var most = Math.Min(blocks, (columns + block - 2) / block + 1);
                return new(length, columns, true, columns, most, 0, 0, 0, rows * most, rows);
            }
            if (columns == 1)
                return new(length, 1, true, length, blocks, 1, block, blocks, blocks, 1);
            var sums = columns * Math.Max(1, (ReductionTable.Sums + columns - 1) / columns);
            var bandBlocks = SpreadSpan.BandBlocksOf(columns);
            var bands = (blocks + bandBlocks - 1) / bandBlocks;
            return new(length, columns, false, 1, 1, sums, bandBlocks * block, bands, bands * sums, columns);
        }
    }
}
