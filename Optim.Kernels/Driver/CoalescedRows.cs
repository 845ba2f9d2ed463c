using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Sparse gradients with each row once, for what looks at their sums or writes to them outside of a step.</summary>
internal static unsafe class CoalescedRows
{
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
        var (dimensions, all) = (SparseRows.IndexDimensions(indices), indices.Shape[^1]);
        long[] shape = indices.Shape.Length == 2 ? [dimensions, sorted.Count] : [sorted.Count];
        var rows = TensorView.Zeros(DType.Int64, shape);
        var sums = TensorView.Zeros(values.DType, [sorted.Count, .. values.Shape.AsSpan()[1..]]);
        var bytes = RowBytes(values);
        for (int row = 0, i = 0; row < sorted.Count; i = sorted.EndOfRow(i), row++)
        {
            NativeMemory.Copy((void*)sorted.Values(row), (void*)(sums.Address + row * bytes), (nuint)bytes);
            for (var d = 0; d < dimensions; d++)
                ((long*)rows.Address)[d * (long)sorted.Count + row] = ((long*)indices.Address)[d * all + sorted.Position(i)];
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
        if (sorted.Count == sorted.Length)
            return;
        for (var d = 0; d < target.Shape.Length; d++)
            if (target.Strides[d] == 0 && target.Shape[d] > 1)
                throw new NotSupportedException(
                    $"a sparse gradient has a row more than once, and values that share memory (an expanded tensor), {target.Layout}; make it contiguous"
                );
        var bytes = RowBytes(values);
        for (int row = 0, i = 0; row < sorted.Count; row++)
        {
            var end = sorted.EndOfRow(i);
            var first = (void*)(values.Address + sorted.Position(i) * bytes);
            if (end - i > 1)
                NativeMemory.Copy((void*)sorted.Values(row), first, (nuint)bytes);
            while (++i < end)
                NativeMemory.Clear((void*)(values.Address + sorted.Position(i) * bytes), (nuint)bytes);
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
        var layout = Layout.Contiguous(values.DType, SparseRows.RowLength(values.Layout, 1));
        var (rows, sums) = (new TensorView[sorted.Count], new TensorView[sorted.Count]);
        for (var row = 0; row < sorted.Count; row++)
        {
            rows[row] = new(target.Address + (nint)sorted.Row(row) * RowBytes(values), layout, target.Owner);
            sums[row] = new(sorted.Values(row), layout, values.Owner);
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
        var bounds = new long[SparseRows.IndexDimensions(indices)];
        var length = indices.Shape[^1];
        for (var d = 0; d < bounds.Length; d++)
        for (var i = 0L; i < length; i++)
            bounds[d] = Math.Max(bounds[d], ((long*)indices.Address)[d * length + i] is var index and < long.MaxValue ? index + 1 : 0);
        var sorted = new SparseRows();
        return sorted.Sort(bounds, indices, values) is { } wrong
            ? throw new ArgumentException($"a sparse gradient has row {wrong}, which no parameter has")
            : sorted;
    }

    private static nint RowBytes(TensorView values) => (nint)SparseRows.RowLength(values.Layout, 1) * values.DType.Size();

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
}
