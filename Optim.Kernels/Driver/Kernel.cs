using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What one pass over a table needs, on the stack of the caller while the pass runs.</summary>
internal unsafe struct Pass
{
    public nint* Entries;
    public int Stride;
    public int Slices;
    public bool Unrolled;
    public Width Width;
    public Coefficients<Real> Coefficients;
}

/// <summary>
/// Runs a formula over slices. Written once for all formulas, widths, dtypes and switches: loads, update, stores, the tail
/// one by one. An element's result depends on that element alone, so it does not matter where a slice or a share begins.
/// </summary>
internal static unsafe class Kernel<F, Is, T>
    where F : struct, IFormula
    where Is : ISwitches
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Elements [begin, end) of a pass, counted from its first slice, at the width that it asks for.</summary>
    public static void Run(nint begin, nint end, void* context)
    {
        var pass = (Pass*)context;
        begin += pass->Entries[0];
        end += pass->Entries[0];
        switch (pass->Width)
        {
            case Width.Bits512:
                Slices<Lane512<T>>(pass, begin, end);
                break;
            case Width.Bits256:
                Slices<Lane256<T>>(pass, begin, end);
                break;
            case Width.Bits128:
                Slices<Lane128<T>>(pass, begin, end);
                break;
            default:
                Slices<Lane1<T>>(pass, begin, end);
                break;
        }
    }

    private static void Slices<V>(Pass* pass, nint at, nint end)
        where V : struct, IVector<V>
    {
        var entry = pass->Entries + FirstAt(pass, at) * (nint)pass->Stride;
        while (at < end)
        {
            at = pass->Unrolled ? Vectors<V, One>(pass, ref entry, at, end) : Vectors<V, Zero>(pass, ref entry, at, end);
            if (at < end)
                at = Tail(pass, ref entry, at, end);
        }
    }

    // Two loops with no call in them: only so do the coefficients stay in registers, and does the compiler's budget for inlining last.
    // Without AggressiveOptimization the first hundred steps run unoptimized code, twenty times slower.

    /// <summary>Whole vectors, of one slice after the other, up to the first that has a tail.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Vectors<V, Unrolled>(Pass* pass, ref nint* first, nint at, nint end)
        where V : struct, IVector<V>
        where Unrolled : IBit
    {
        var coefficients = pass->Coefficients.To<V>();
        nint stride = pass->Stride;
        var entry = first;
        while (at < end)
        {
            var i = at - entry[0];
            var to = Math.Min(end, entry[stride]) - entry[0];
            var param = (T*)entry[1];
            var grad = (T*)entry[2];
            var c0 = Uses(0) ? (T*)entry[3] : null;
            var c1 = Uses(1) ? (T*)entry[4] : null;
            var c2 = Uses(2) ? (T*)entry[5] : null;
            var c3 = Uses(3) ? (T*)entry[6] : null;
            var c4 = Uses(4) ? (T*)entry[7] : null;
            var c5 = Uses(5) ? (T*)entry[8] : null;
            if (Unrolled.On)
                for (; i <= to - 2 * V.Count; i += 2 * V.Count)
                    Twice(in coefficients, param + i, grad + i, c0 + i, c1 + i, c2 + i, c3 + i, c4 + i, c5 + i);
            for (; i <= to - V.Count; i += V.Count)
                Once(in coefficients, param + i, grad + i, c0 + i, c1 + i, c2 + i, c3 + i, c4 + i, c5 + i);
            at = entry[0] + i;
            if (i < to)
                break;
            entry += stride;
        }
        first = entry;
        return at;
    }

    /// <summary>The rest of a slice, one by one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Tail(Pass* pass, ref nint* entry, nint at, nint end)
    {
        var coefficients = pass->Coefficients.To<Lane1<T>>();
        var i = at - entry[0];
        var to = Math.Min(end, entry[pass->Stride]) - entry[0];
        var param = (T*)entry[1];
        var grad = (T*)entry[2];
        var c0 = Uses(0) ? (T*)entry[3] : null;
        var c1 = Uses(1) ? (T*)entry[4] : null;
        var c2 = Uses(2) ? (T*)entry[5] : null;
        var c3 = Uses(3) ? (T*)entry[6] : null;
        var c4 = Uses(4) ? (T*)entry[7] : null;
        var c5 = Uses(5) ? (T*)entry[8] : null;
        at = entry[0] + to;
        entry += pass->Stride;
        for (; i < to; i++)
            Once(in coefficients, param + i, grad + i, c0 + i, c1 + i, c2 + i, c3 + i, c4 + i, c5 + i);
        return at;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Once<V>(in Coefficients<V> coefficients, T* param, T* grad, T* c0, T* c1, T* c2, T* c3, T* c4, T* c5)
        where V : struct, IVector<V>
    {
        var vp = V.Load(param);
        var vg = V.Load(grad);
        var v0 = Uses(0) ? V.Load(c0) : default;
        var v1 = Uses(1) ? V.Load(c1) : default;
        var v2 = Uses(2) ? V.Load(c2) : default;
        var v3 = Uses(3) ? V.Load(c3) : default;
        var v4 = Uses(4) ? V.Load(c4) : default;
        var v5 = Uses(5) ? V.Load(c5) : default;
        F.UpdateAll<V, Is>(in coefficients, ref vp, vg, ref v0, ref v1, ref v2, ref v3, ref v4, ref v5);
        V.Store(vp, param);
        if (Uses(0))
            V.Store(v0, c0);
        if (Uses(1))
            V.Store(v1, c1);
        if (Uses(2))
            V.Store(v2, c2);
        if (Uses(3))
            V.Store(v3, c3);
        if (Uses(4))
            V.Store(v4, c4);
        if (Uses(5))
            V.Store(v5, c5);
    }

    /// <summary>Two vectors of each array, all loads before the stores: more of them under way at once from main memory.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Twice<V>(in Coefficients<V> coefficients, T* param, T* grad, T* c0, T* c1, T* c2, T* c3, T* c4, T* c5)
        where V : struct, IVector<V>
    {
        var n = V.Count;
        var vp = V.Load(param);
        var vg = V.Load(grad);
        var v0 = Uses(0) ? V.Load(c0) : default;
        var v1 = Uses(1) ? V.Load(c1) : default;
        var v2 = Uses(2) ? V.Load(c2) : default;
        var v3 = Uses(3) ? V.Load(c3) : default;
        var v4 = Uses(4) ? V.Load(c4) : default;
        var v5 = Uses(5) ? V.Load(c5) : default;
        var wp = V.Load(param + n);
        var wg = V.Load(grad + n);
        var w0 = Uses(0) ? V.Load(c0 + n) : default;
        var w1 = Uses(1) ? V.Load(c1 + n) : default;
        var w2 = Uses(2) ? V.Load(c2 + n) : default;
        var w3 = Uses(3) ? V.Load(c3 + n) : default;
        var w4 = Uses(4) ? V.Load(c4 + n) : default;
        var w5 = Uses(5) ? V.Load(c5 + n) : default;
        F.UpdateAll<V, Is>(in coefficients, ref vp, vg, ref v0, ref v1, ref v2, ref v3, ref v4, ref v5);
        F.UpdateAll<V, Is>(in coefficients, ref wp, wg, ref w0, ref w1, ref w2, ref w3, ref w4, ref w5);
        V.Store(vp, param);
        if (Uses(0))
            V.Store(v0, c0);
        if (Uses(1))
            V.Store(v1, c1);
        if (Uses(2))
            V.Store(v2, c2);
        if (Uses(3))
            V.Store(v3, c3);
        if (Uses(4))
            V.Store(v4, c4);
        if (Uses(5))
            V.Store(v5, c5);
        V.Store(wp, param + n);
        if (Uses(0))
            V.Store(w0, c0 + n);
        if (Uses(1))
            V.Store(w1, c1 + n);
        if (Uses(2))
            V.Store(w2, c2 + n);
        if (Uses(3))
            V.Store(w3, c3 + n);
        if (Uses(4))
            V.Store(w4, c4 + n);
        if (Uses(5))
            V.Store(w5, c5 + n);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Uses(int column) => column < F.Columns && F.Uses<Is>(column);

    /// <summary>The slice that holds an element, by halving.</summary>
    private static int FirstAt(Pass* pass, nint element)
    {
        var (low, high) = (0, pass->Slices - 1);
        while (low < high)
        {
            var middle = (low + high + 1) >>> 1;
            if (pass->Entries[middle * (nint)pass->Stride] <= element)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }
}
