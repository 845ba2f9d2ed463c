using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What one pass over a table needs, on the stack of the caller while the pass runs. It begins as <see cref="PassHead"/> does.</summary>
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
/// <typeparam name="F">The formula.</typeparam>
/// <typeparam name="Is">Its switches.</typeparam>
/// <typeparam name="T">float or double: the type of the arithmetic, and of the state.</typeparam>
/// <typeparam name="P">How parameters and gradients are stored.</typeparam>
internal static unsafe class Kernel<F, Is, T, P>
    where F : struct, IFormula
    where Is : ISwitches
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where P : IStorage
{
    /// <summary>Elements [begin, end) of a pass, counted from its first slice, at the width that it asks for.</summary>
    public static void Run(nint begin, nint end, void* context)
    {
        var pass = (Pass*)context;
        begin += pass->Entries[0];
        end += pass->Entries[0];
        switch (pass->Width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Slices<Lane512<T>>(pass, begin, end);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Slices<Lane256<T>>(pass, begin, end);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Slices<Lane128<T>>(pass, begin, end);
                break;
            case Width.Single when Lanes.IsCompiled(Width.Single):
                Slices<Lane1<T>>(pass, begin, end);
                break;
        }
    }

    private static void Slices<V>(Pass* pass, nint at, nint end)
        where V : struct, IVector<V>
    {
        var entry = pass->Entries + SliceTable.FirstAt(pass->Entries, pass->Stride, pass->Slices, at) * (nint)pass->Stride;
        var numbers = NumbersOf<V>(pass);
        var inPairs = pass->Unrolled;
        while (at < end)
        {
            if (inPairs)
                at = Pairs(pass, in numbers, ref entry, at, end);
            if (at == end)
                return;
            // After the pairs the rest of one slice, else as far as there are whole vectors.
            var to = inPairs ? Math.Min(end, entry[pass->Stride]) : end;
            at = Vectors(pass, in numbers, ref entry, at, to);
            if (at < to)
                at = Tail(pass, ref entry, at, to);
        }
    }

    /// <summary>The numbers of a pass in lanes. Worked out apart from the loop, which needs the compiler's budget for itself.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static Coefficients<V> NumbersOf<V>(Pass* pass)
        where V : struct, IVector<V> => pass->Coefficients.To<V>();

    // Loops with no call in them, each in a method of its own: only so do the coefficients stay in registers, and does the compiler's
    // budget for inlining last. What is never reached counts, too: a branch not taken costs as much of it as one that is.
    // Without AggressiveOptimization the first hundred steps run unoptimized code, twenty times slower.

    /// <summary>Whole vectors two by two, of one slice after the other, up to the first that has more than pairs.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Pairs<V>(Pass* pass, in Coefficients<V> numbers, ref nint* first, nint at, nint end)
        where V : struct, IVector<V>
    {
        var coefficients = numbers;
        nint stride = pass->Stride;
        var entry = first;
        while (at < end)
        {
            var i = at - entry[0];
            var to = Math.Min(end, entry[stride]) - entry[0];
            var slice = new Slice(entry);
            for (; i <= to - 2 * V.Count; i += 2 * V.Count)
            {
                // All loads before the stores: more of them are under way at once from main memory.
                var one = slice.Load<V>(i);
                var two = slice.Load<V>(i + V.Count);
                one.Update(in coefficients);
                two.Update(in coefficients);
                slice.Store(in one, i);
                slice.Store(in two, i + V.Count);
            }
            at = entry[0] + i;
            if (i < to)
                break;
            entry += stride;
        }
        first = entry;
        return at;
    }

    /// <summary>Whole vectors, of one slice after the other, up to the first that has a tail.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Vectors<V>(Pass* pass, in Coefficients<V> numbers, ref nint* first, nint at, nint end)
        where V : struct, IVector<V>
    {
        var coefficients = numbers;
        nint stride = pass->Stride;
        var entry = first;
        while (at < end)
        {
            var i = at - entry[0];
            var to = Math.Min(end, entry[stride]) - entry[0];
            var slice = new Slice(entry);
            for (; i <= to - V.Count; i += V.Count)
            {
                var row = slice.Load<V>(i);
                row.Update(in coefficients);
                slice.Store(in row, i);
            }
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
        var coefficients = NumbersOf<Lane1<T>>(pass);
        var to = Math.Min(end, entry[pass->Stride]);
        var slice = new Slice(entry);
        for (var i = at - entry[0]; i < to - entry[0]; i++)
        {
            var row = slice.Load<Lane1<T>>(i);
            row.Update(in coefficients);
            slice.Store(in row, i);
        }
        entry += pass->Stride;
        return to;
    }

    /// <summary>A vector of each array that a slice has; what the formula does not use is never touched.</summary>
    private struct Row<V>
        where V : struct, IVector<V>
    {
        public V Param,
            Grad,
            V0,
            V1,
            V2,
            V3,
            V4,
            V5;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Update(in Coefficients<V> coefficients) =>
            F.UpdateAll<V, Is>(in coefficients, ref Param, Grad, ref V0, ref V1, ref V2, ref V3, ref V4, ref V5);
    }

    /// <summary>Where the arrays of a slice lie.</summary>
    private readonly struct Slice
    {
        private readonly void* param,
            grad;

        private readonly T* c0,
            c1,
            c2,
            c3,
            c4,
            c5;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Slice(nint* entry)
        {
            param = (void*)entry[1];
            grad = (void*)entry[2];
            c0 = Uses(0) ? (T*)entry[3] : null;
            c1 = Uses(1) ? (T*)entry[4] : null;
            c2 = Uses(2) ? (T*)entry[5] : null;
            c3 = Uses(3) ? (T*)entry[6] : null;
            c4 = Uses(4) ? (T*)entry[7] : null;
            c5 = Uses(5) ? (T*)entry[8] : null;
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public Row<V> Load<V>(nint i)
            where V : struct, IVector<V> =>
            new()
            {
                Param = P.Load<V>(param, i),
                Grad = P.Load<V>(grad, i),
                V0 = Uses(0) ? V.Load(c0 + i) : default,
                V1 = Uses(1) ? V.Load(c1 + i) : default,
                V2 = Uses(2) ? V.Load(c2 + i) : default,
                V3 = Uses(3) ? V.Load(c3 + i) : default,
                V4 = Uses(4) ? V.Load(c4 + i) : default,
                V5 = Uses(5) ? V.Load(c5 + i) : default,
            };

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Store<V>(in Row<V> row, nint i)
            where V : struct, IVector<V>
        {
            if (F.WritesParam)
                P.Store(row.Param, param, i);
            if (Writes(0))
                V.Store(row.V0, c0 + i);
            if (Writes(1))
                V.Store(row.V1, c1 + i);
            if (Writes(2))
                V.Store(row.V2, c2 + i);
            if (Writes(3))
                V.Store(row.V3, c3 + i);
            if (Writes(4))
                V.Store(row.V4, c4 + i);
            if (Writes(5))
                V.Store(row.V5, c5 + i);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Uses(int column) => column < F.Columns && F.Uses<Is>(column);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static bool Writes(int column) => Uses(column) && F.WritesColumn(column);
}
