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

    /// <summary>Dimensions of the parameter that a row's index counts through: one, unless the indices have several for each row.</summary>
    public static int IndexDimensions(TensorView rows) => rows.Shape.Length == 2 ? (int)rows.Shape[0] : 1;

    /// <summary>Puts a gradient in order. Its indices are int64 of shape [n] or [dimensions, n], its values [n, rest of the parameter's shape].</summary>
    /// <returns>The first index that is not one of the parameter's rows; null when all are.</returns>
    public long? Sort(Layout parameter, TensorView indices, TensorView gradient) =>
        Sort(parameter.Shape.AsSpan()[..IndexDimensions(indices)], indices, gradient);

    private long? Sort(ReadOnlySpan<long> bounds, TensorView indices, TensorView gradient)
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

    /// <summary>The sum of sparse gradients of one parameter, with each row once, in order and in memory of its own on the same device.</summary>
    /// <exception cref="ArgumentException">Indices and values do not fit together.</exception>
    public static (TensorView Indices, TensorView Values) Coalesce(ReadOnlySpan<(TensorView Indices, TensorView Values)> gradients)
    {
        var (indices, values) = gradients[0];
        var device = values.Device;
        var sorted = Sorted(ref indices, ref values);
        foreach (var (moreIndices, moreValues) in gradients[1..])
        {
            (indices, values) = (Joined(indices, moreIndices.ToHost(), indices.Shape.Length - 1), Joined(values, moreValues.ToHost(), 0));
            sorted = Sorted(ref indices, ref values);
        }
        var (dimensions, all) = (IndexDimensions(indices), indices.Shape[^1]);
        long[] shape = indices.Shape.Length == 2 ? [dimensions, sorted.count] : [sorted.count];
        var rows = TensorView.Zeros(DType.Int64, shape);
        var sums = TensorView.Zeros(values.DType, [sorted.count, .. values.Shape.AsSpan()[1..]]);
        var bytes = RowBytes(values);
        for (int row = 0, i = 0; row < sorted.count; i = sorted.EndOfRow(i), row++)
        {
            NativeMemory.Copy((void*)sorted.values[row], (void*)(sums.Address + row * bytes), (nuint)bytes);
            for (var d = 0; d < dimensions; d++)
                ((long*)rows.Address)[d * (long)sorted.count + row] = ((long*)indices.Address)[d * all + sorted.entries[i].Position];
        }
        sorted.KeepAlive();
        GC.KeepAlive(indices.Owner);
        return (On(device, rows), On(device, sums));
    }

    /// <summary>Sums repeated rows up where they lie: the first of them becomes the sum, the others zero.</summary>
    /// <exception cref="ArgumentException">Indices and values do not fit together.</exception>
    /// <exception cref="NotSupportedException">A row repeats, and values share memory.</exception>
    public static void SumInPlace(TensorView indices, TensorView values)
    {
        var target = values;
        var sorted = Sorted(ref indices, ref values);
        if (sorted.count == sorted.length)
            return;
        for (var d = 0; d < target.Shape.Length; d++)
            if (target.Strides[d] == 0 && target.Shape[d] > 1)
                throw new NotSupportedException(
                    $"a sparse gradient has a row more than once, and values that share memory (an expanded tensor), {target.Layout}; make it contiguous"
                );
        var bytes = RowBytes(values);
        for (int row = 0, i = 0; row < sorted.count; row++)
        {
            var end = sorted.EndOfRow(i);
            var first = (void*)(values.Address + sorted.entries[i].Position * bytes);
            if (end - i > 1)
                NativeMemory.Copy((void*)sorted.values[row], first, (nuint)bytes);
            while (++i < end)
                NativeMemory.Clear((void*)(values.Address + sorted.entries[i].Position * bytes), (nuint)bytes);
        }
        sorted.KeepAlive();
        if (values.Address != target.Address)
            target.CopyFrom(values);
        GC.KeepAlive(target.Owner);
    }

    /// <summary>Adds a gradient that has each row once to a dense one.</summary>
    /// <exception cref="ArgumentException">It has a row that is not one of the dense gradient's.</exception>
    public static void AddTo(TensorView dense, TensorView indices, TensorView values)
    {
        var target = dense.InOrder();
        (indices, values) = (indices.InOrder(), values.InOrder());
        var sorted = new SparseRows();
        if (sorted.Sort(target.Layout, indices, values) is { } wrong)
            throw new ArgumentException($"a sparse gradient has row {wrong}, and the dense one to which it is added is {dense.Layout}");
        var layout = Layout.Contiguous(values.DType, RowLength(values.Layout, 1));
        var (rows, sums) = (new TensorView[sorted.count], new TensorView[sorted.count]);
        for (var row = 0; row < sorted.count; row++)
        {
            rows[row] = new(target.Address + (nint)sorted.rows[row] * RowBytes(values), layout, target.Owner);
            sums[row] = new(sorted.values[row], layout, values.Owner);
        }
        Elements.Run(Driver<AddedFormula>.Instance, 0, new Coefficients<Real>(new Real(1)), rows, sums, Executor.Team);
        sorted.KeepAlive();
        if (target.Address != dense.Address)
            dense.CopyFrom(target);
    }

    /// <summary>A gradient of a parameter of any size put in order, in row-major memory of the processor.</summary>
    private static SparseRows Sorted(ref TensorView indices, ref TensorView values)
    {
        if (
            indices.DType != DType.Int64
            || indices.Shape.Length is < 1 or > 2
            || values.Shape.Length < 1
            || values.Shape[0] != indices.Shape[^1]
        )
            throw new ArgumentException(
                $"a sparse gradient has indices {indices.Layout} and values {values.Layout}; indices are int64[rows], and there is a row of values for each"
            );
        (indices, values) = (indices.InOrder(), values.InOrder());
        var bounds = new long[IndexDimensions(indices)];
        var length = indices.Shape[^1];
        for (var d = 0; d < bounds.Length; d++)
        for (var i = 0L; i < length; i++)
            bounds[d] = Math.Max(bounds[d], ((long*)indices.Address)[d * length + i] is var index and < long.MaxValue ? index + 1 : 0);
        var sorted = new SparseRows();
        return sorted.Sort(bounds, indices, values) is { } wrong
            ? throw new ArgumentException($"a sparse gradient has row {wrong}, which no parameter has")
            : sorted;
    }

    /// <summary>One past the last entry of the row that begins with one.</summary>
    private int EndOfRow(int first)
    {
        var end = first + 1;
        while (end < length && entries[end].Row == entries[first].Row)
            end++;
        return end;
    }

    private static nint RowBytes(TensorView values) => (nint)RowLength(values.Layout, 1) * values.DType.Size();

    /// <summary>Two tensors of the processor one after the other, along a dimension.</summary>
    private static TensorView Joined(TensorView a, TensorView b, int dimension)
    {
        long[] shape = [.. a.Shape];
        shape[dimension] += b.Shape[dimension];
        var joined = TensorView.Zeros(a.DType, shape);
        TensorView Part(long first, TensorView like) =>
            new(
                joined.Address + (nint)(first * joined.Strides[dimension]) * joined.DType.Size(),
                Layout.Strided(joined.DType, like.Shape.AsSpan(), joined.Strides.AsSpan()),
                joined.Owner
            );
        Part(0, a).CopyFrom(a);
        Part(a.Shape[dimension], b).CopyFrom(b);
        return joined;
    }

    private static TensorView On(Device device, TensorView view)
    {
        if (device == Device.Cpu)
            return view;
        var there = TensorView.Zeros(view.Layout.On(device));
        there.CopyFrom(view);
        return there;
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
        var step = whole ? length : 1;
        for (var i = 0; i < count; i++)
        {
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

    private static long RowLength(Layout layout, int dimensions)
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
