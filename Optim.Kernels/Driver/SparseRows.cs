using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// The sparse gradient of one parameter, made ready for a pass: rows in order, each once, with the values of repeated ones summed up
/// in the order in which they came. Kept between steps, so that a step allocates nothing once it has seen as many rows.
/// </summary>
internal sealed unsafe class SparseRows
{
    private readonly record struct Entry(long Row, int Position) : IComparable<Entry>
    {
        public int CompareTo(Entry other) => Row != other.Row ? Row.CompareTo(other.Row) : Position.CompareTo(other.Position);
    }

    /// <summary>Rows of the gradient as it came, in order: so many.</summary>
    private Entry[] entries = [];
    private long[] rows = [];
    private nint[] values = [];
    private int length;
    private int count;
    private TensorView sums;
    private TensorView zeros;
    private object? owner;

    /// <summary>Rows of earlier gradients, in order; null where it is not known which.</summary>
    private List<long>? soFar;

    /// <summary>Rows of this gradient, each once.</summary>
    public int Count => count;

    /// <summary>Rows of this gradient as it came.</summary>
    public int Length => length;

    /// <summary>A row, in order.</summary>
    public long Row(int index) => rows[index];

    /// <summary>Where its values lie: the sums.</summary>
    public nint Values(int index) => values[index];

    /// <summary>Where one of the rows as they came, put in order, had been.</summary>
    public int Position(int entry) => entries[entry].Position;

    /// <summary>Dimensions of the parameter that a row's index counts through: one, unless the indices have several for each row.</summary>
    public static int IndexDimensions(TensorView rows) => rows.Shape.Length == 2 ? (int)rows.Shape[0] : 1;

    /// <summary>Puts a gradient in order. Its indices are int64 of shape [n] or [dimensions, n], its values [n, rest of the parameter's shape].</summary>
    /// <returns>The first index that is not one of the parameter's rows; null when all are.</returns>
    public long? Sort(Layout parameter, TensorView indices, TensorView gradient) =>
        Sort(parameter.Shape.AsSpan()[..IndexDimensions(indices)], indices, gradient);

    /// <summary>The same for a parameter of which only the lengths are known that the indices go through.</summary>
    public long? Sort(ReadOnlySpan<long> bounds, TensorView indices, TensorView gradient)
    {
        var dimensions = bounds.Length;
        length = (int)indices.Shape[^1];
        if (!indices.Layout.IsContiguous)
            indices = indices.Copy();
        if (!gradient.Layout.IsContiguous)
            gradient = gradient.Copy();
        if (entries.Length < length)
            entries = new Entry[Math.Max(length, 2 * entries.Length)];
        var ordered = true;
        for (var i = 0; i < length; i++)
        {
            long row = 0;
            for (var d = 0; d < dimensions; d++)
            {
                var index = ((long*)indices.Address)[d * (long)length + i];
                if (index < 0 || index >= bounds[d])
                    return index;
                row = row * bounds[d] + index;
            }
            entries[i] = new(row, i);
            ordered = ordered && (i == 0 || entries[i - 1].Row < row);
        }
        GC.KeepAlive(indices.Owner);
        if (!ordered)
            Array.Sort(entries, 0, length);
        if (rows.Length < length)
            (rows, values) = (new long[entries.Length], new nint[entries.Length]);
        owner = gradient.Owner;
        Sum(gradient, RowLength(gradient.Layout, 1));
        return null;
    }

    /// <summary>The first index that is not one of the parameter's rows; null when all are.</summary>
    public static long? FirstOutside(Layout parameter, TensorView indices)
    {
        var host = indices.InOrder();
        var (dimensions, length) = (IndexDimensions(host), host.Shape[^1]);
        for (var d = 0; d < dimensions; d++)
        for (var i = 0L; i < length; i++)
            if (((long*)host.Address)[d * length + i] is var index && (index < 0 || index >= parameter.Shape[d]))
                return index;
        GC.KeepAlive(host.Owner);
        return null;
    }

    /// <summary>One past the last entry of the row that begins with one.</summary>
    public int EndOfRow(int first)
    {
        var end = first + 1;
        while (end < length && entries[end].Row == entries[first].Row)
            end++;
        return end;
    }

    /// <summary>Rows of earlier gradients step along, with a gradient of zero; which these are is read off a state column the first time.</summary>
    public void KeepRowsSoFar(Layout parameter, TensorView indices, TensorView column)
    {
        soFar ??= column.IsAbsent ? [] : Moving(column, IndexDimensions(indices));
        var before = soFar;
        soFar = new(before.Count + count);
        var (own, ownValues, ownCount) = (rows[..count], values[..count], count);
        var length = RowLength(parameter, IndexDimensions(indices));
        if (zeros.IsAbsent || zeros.Count < length)
            zeros = TensorView.Zeros(parameter.DType, length);
        if (rows.Length < before.Count + count)
            (rows, values) = (new long[before.Count + count], new nint[before.Count + count]);
        count = 0;
        for (var (i, k) = (0, 0); i < before.Count || k < ownCount; count++)
        {
            var fromOwn = k < ownCount && (i == before.Count || own[k] <= before[i]);
            if (fromOwn && i < before.Count && own[k] == before[i])
                i++;
            (rows[count], values[count]) = fromOwn ? (own[k], ownValues[k++]) : (before[i++], zeros.Address);
            soFar.Add(rows[count]);
        }
    }

    /// <summary>
    /// Adds a slice for each row, or for each run of neighbours; the state and the parameter (or its copy) lie in the given order.
    /// </summary>
    public void AddSlices(SliceTable table, nint parameter, Layout order, TensorView indices, ReadOnlySpan<nint> columns)
    {
        var dimensions = IndexDimensions(indices);
        var length = RowLength(order, dimensions);
        var (size, stateSize, parts) = (order.DType.Size(), order.DType.ToStateDType().Size(), order.DType.Parts());
        var whole = Layout.Strided(order.DType, order.Shape.AsSpan()[dimensions..], order.Strides.AsSpan()[dimensions..]).IsContiguous;
        for (int i = 0, together = 1; i < count; i += together)
        {
            // Neighbouring rows, whose values are neighbours, too, are one slice.
            together = 1;
            while (
                order.IsContiguous
                && i + together < count
                && rows[i + together] == rows[i] + together
                && values[i + together] == values[i] + (nint)(together * length * size)
            )
                together++;
            var step = whole ? together * length : 1;
            var first = FirstOf(rows[i], order, dimensions);
            for (long element = 0; element < length; element += step)
            {
                var offset = first + (whole ? 0 : OffsetOf(element, order, dimensions));
                table.Add((nint)step * parts, parameter + (nint)(offset * size), values[i] + (nint)(element * size));
                for (var column = 0; column < columns.Length; column++)
                    if (columns[column] != 0)
                        table.SetColumn(column, columns[column] + (nint)(offset * stateSize));
            }
        }
    }

    /// <summary>The same gradient with a zero for every row that it lacks, over a contiguous tensor of the parameter's shape.</summary>
    public void WriteOver(TensorView dense, TensorView indices, DType dtype)
    {
        dense.Clear();
        var length = RowLength(dense.Layout, IndexDimensions(indices));
        var (from, to) = (Layout.Contiguous(dtype, length), Layout.Contiguous(dense.DType, length));
        var bytes = (nint)length * dense.DType.Size();
        for (var i = 0; i < count; i++)
            new TensorView(dense.Address + (nint)rows[i] * bytes, to, dense.Owner).ConvertFrom(new(values[i], from, owner));
        KeepAlive();
    }

    /// <summary>Keeps what the slices point to alive.</summary>
    public void KeepAlive()
    {
        GC.KeepAlive(owner);
        GC.KeepAlive(this);
    }

    public static long RowLength(Layout layout, int dimensions)
    {
        long length = 1;
        foreach (var dimension in layout.Shape.AsSpan()[dimensions..])
            length *= dimension;
        return length;
    }

    private static long FirstOf(long row, Layout layout, int dimensions)
    {
        long offset = 0;
        for (var d = dimensions - 1; d >= 0; row /= layout.Shape[d--])
            offset += row % layout.Shape[d] * layout.Strides[d];
        return offset;
    }

    private static long OffsetOf(long element, Layout layout, int dimensions)
    {
        long offset = 0;
        for (var d = layout.Shape.Length - 1; d >= dimensions; element /= layout.Shape[d--])
            offset += element % layout.Shape[d] * layout.Strides[d];
        return offset;
    }

    /// <summary>Where the values of each row lie: in the gradient itself, or, for a row that comes more than once, in a sum.</summary>
    private void Sum(TensorView gradient, long rowLength)
    {
        var repeats = 0;
        for (var i = 1; i < length; i++)
            if (entries[i].Row == entries[i - 1].Row && (i == 1 || entries[i - 2].Row != entries[i].Row))
                repeats++;
        if (repeats > 0 && (sums.IsAbsent || sums.DType != gradient.DType || sums.Count < repeats * rowLength))
            sums = TensorView.Zeros(gradient.DType, 2 * repeats * rowLength);
        var bytes = (nint)(rowLength * gradient.DType.Size());
        var next = repeats > 0 ? sums.Address : 0;
        count = 0;
        for (var i = 0; i < length; )
        {
            var end = i + 1;
            while (end < length && entries[end].Row == entries[i].Row)
                end++;
            rows[count] = entries[i].Row;
            values[count] = gradient.Address + entries[i].Position * bytes;
            if (end - i > 1)
            {
                Add(gradient, entries.AsSpan(i, end - i), next, rowLength * gradient.DType.Parts());
                values[count] = next;
                next += bytes;
            }
            count++;
            i = end;
        }
    }

    private static void Add(TensorView gradient, ReadOnlySpan<Entry> same, nint target, long length)
    {
        for (long e = 0; e < length; e++)
            switch (gradient.DType)
            {
                case DType.Float32 or DType.Complex64:
                    var sum = 0f;
                    foreach (var entry in same)
                        sum += ((float*)gradient.Address)[entry.Position * length + e];
                    ((float*)target)[e] = sum;
                    break;
                case DType.Float64 or DType.Complex128:
                    var wide = 0d;
                    foreach (var entry in same)
                        wide += ((double*)gradient.Address)[entry.Position * length + e];
                    ((double*)target)[e] = wide;
                    break;
                case DType.BFloat16:
                    Add<BFloat16>(gradient.Address, same, target, length, e);
                    break;
                default:
                    Add<Float16>(gradient.Address, same, target, length, e);
                    break;
            }
    }

    // Summed in float32 and rounded once.
    private static void Add<P>(nint source, ReadOnlySpan<Entry> same, nint target, long length, long e)
        where P : IStorage
    {
        var sum = Lane1<float>.Of(0);
        foreach (var entry in same)
            sum += P.Load<Lane1<float>>((void*)source, (nint)(entry.Position * length + e));
        P.Store(sum, (void*)target, (nint)e);
    }

    /// <summary>The rows of a state column that are not all zero.</summary>
    private static List<long> Moving(TensorView column, int dimensions)
    {
        const long together = 1 << 16; // elements, as far as rows are shorter
        var (ordered, length) = (column.InOrder(), RowLength(column.Layout, dimensions));
        var found = new List<long>();
        if (column.Count == 0)
            return found;
        var (rows, atOnce) = (column.Count / length, Math.Max(1, together / length));
        for (long first = 0; first < rows; first += atOnce)
        {
            var count = Math.Min(atOnce, rows - first);
            var numbers = ordered.Part((nint)(first * length), (nint)(count * length)).ToDoubles();
            var size = (int)(numbers.Length / count);
            for (var row = 0; row < count; row++)
                if (numbers.AsSpan(row * size, size).ContainsAnyExcept(0.0))
                    found.Add(first + row);
        }
        return found;
    }
}
