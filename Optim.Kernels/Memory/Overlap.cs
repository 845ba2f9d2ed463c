namespace Optim.Kernels;

/// <summary>How two tensors share memory.</summary>
internal enum Sharing
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>They are the same elements in the same order.</summary>
    Same,

    /// <summary>Some elements of one are elements of the other, but not in the same places.</summary>
    Partial,
}

/// <summary>Whether tensors share memory, element by element: columns of one matrix lie between each other and share nothing.</summary>
internal static class Overlap
{
    /// <summary>Strides that interlock badly take a search; one that takes longer than this ends with "they share memory".</summary>
    private const int MostTrials = 1 << 20;

    /// <summary>How two tensors share memory.</summary>
    public static Sharing Of(in TensorView a, in TensorView b)
    {
        if (!(HasMemory(a) && HasMemory(b)) || a.Device != b.Device || End(a) <= b.Address || End(b) <= a.Address)
            return Sharing.None;
        if (a.Address == b.Address && a.DType == b.DType && a.Layout.SameShape(b.Layout) && a.Layout.SameOrder(b.Layout))
            return Sharing.Same;
        return a.Layout.IsDense && b.Layout.IsDense || Meet(a, b) ? Sharing.Partial : Sharing.None;
    }

    /// <summary>Whether there are elements, and they lie in memory and not, say, in a file.</summary>
    public static bool HasMemory(in TensorView view) => !view.IsAbsent && view.Layout.Extent > 0 && view.Owner is not DeferredMemory;

    /// <summary>The address behind the last byte.</summary>
    public static nint End(in TensorView view) => view.Address + view.Layout.Extent * view.DType.Size();

    /// <summary>
    /// Whether some element of one has a byte in common with some element of the other. With the indices of b counted from their ends,
    /// that is whether a sum of whole numbers, each from 0 to a limit of its own and times a stride, falls into a certain range.
    /// </summary>
    private static bool Meet(in TensorView a, in TensorView b)
    {
        Span<(long Stride, long Limit)> terms = stackalloc (long, long)[a.Shape.Length + b.Shape.Length];
        var count = 0;
        var most = b.Address - a.Address + b.DType.Size() - 1L;
        Add(a, terms, ref count);
        most += Add(b, terms, ref count);
        Span<long> left = stackalloc long[count + 1]; // what the terms from one on can add up to
        left[count] = 0;
        for (var i = count - 1; i >= 0; i--)
            left[i] = left[i + 1] + terms[i].Stride * terms[i].Limit;
        var trials = 0;
        return Reaches(terms[..count], left, most - (a.DType.Size() - 1) - (b.DType.Size() - 1), most, ref trials);
    }

    private static bool Reaches(
        ReadOnlySpan<(long Stride, long Limit)> terms,
        ReadOnlySpan<long> left,
        long least,
        long most,
        ref int trials
    )
    {
        if (most < 0 || least > left[0])
            return false;
        if (terms.IsEmpty || least <= 0 || ++trials > MostTrials)
            return true;
        var (stride, limit) = terms[0];
        var first = Math.Max(0, (least - left[1] + stride - 1) / stride);
        for (var times = Math.Min(limit, most / stride); times >= first; times--)
            if (Reaches(terms[1..], left[1..], least - times * stride, most - times * stride, ref trials))
                return true;
        return false;
    }

    /// <summary>Adds the strides of a tensor, in bytes and from the largest down, and how far each goes; returns how far its last element lies behind its first.</summary>
    private static long Add(in TensorView view, Span<(long Stride, long Limit)> terms, ref int count)
    {
        var end = 0L;
        for (var i = 0; i < view.Shape.Length; i++)
        {
            var (stride, limit) = (view.Strides[i] * view.DType.Size(), view.Shape[i] - 1);
            if (stride == 0 || limit == 0)
                continue;
            end += stride * limit;
            var at = 0;
            while (at < count && terms[at].Stride > stride)
                at++;
            if (at < count && terms[at].Stride == stride)
                terms[at].Limit += limit;
            else
            {
                terms[at..count].CopyTo(terms[(at + 1)..]);
                terms[at] = (stride, limit);
                count++;
            }
        }
        return end;
    }
}
