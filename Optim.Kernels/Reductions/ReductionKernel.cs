using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Runs a reduction over blocks. A share takes the blocks that begin in it, so it does not matter where shares begin.</summary>
internal static unsafe class ReductionKernel<R>
    where R : struct, IReducer
{
    private const int Sums = ReductionTable.Sums;

    /// <summary>The blocks that begin in elements [begin, end) of a pass.</summary>
    public static void Run(nint begin, nint end, void* context)
    {
        var pass = (ReductionPass*)context;
        switch (pass->Width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Blocks<Lane512<double>>(pass, begin, end);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Blocks<Lane256<double>>(pass, begin, end);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Blocks<Lane128<double>>(pass, begin, end);
                break;
            case Width.Single when Lanes.IsCompiled(Width.Single):
                Blocks<Lane1<double>>(pass, begin, end);
                break;
        }
    }

    /// <summary>What the elements of a block come to, which are of float32 or float64. The first of them may be in the running sums already.</summary>
    public static double OfBlock(Width width, nint x, int count, bool isDouble, double* sums = null, int taken = 0) =>
        isDouble ? OfBlock(width, (double*)x, count, sums, taken) : OfBlock(width, (float*)x, count, sums, taken);

    private static double OfBlock<S>(Width width, S* x, int count, double* sums, int taken)
        where S : unmanaged =>
        taken > 0 ? Joined(x, x, taken, count, sums)
        : width == Width.Bits512 ? Tree<Lane512<double>, S>(x, x, count)
        : width == Width.Bits256 ? Tree<Lane256<double>, S>(x, x, count)
        : width == Width.Bits128 ? Tree<Lane128<double>, S>(x, x, count)
        : Tree<Lane1<double>, S>(x, x, count);

    /// <summary>Neighbouring elements, which are of float32 or float64, go to running sums in turn; the first of them to the one at a place.</summary>
    public static void InTurn(Width width, nint x, int count, bool isDouble, double* sums, int length, int at)
    {
        if (isDouble)
            InTurn(width, (double*)x, count, sums, length, at);
        else
            InTurn(width, (float*)x, count, sums, length, at);
    }

    private static void InTurn<S>(Width width, S* x, int count, double* sums, int length, int at)
        where S : unmanaged
    {
        for (var i = 0; i < count; at = 0)
        {
            var next = Math.Min(length - at, count - i);
            if (width == Width.Bits512)
                Each<Lane512<double>, S>(x + i, sums + at, next);
            else if (width == Width.Bits256)
                Each<Lane256<double>, S>(x + i, sums + at, next);
            else if (width == Width.Bits128)
                Each<Lane128<double>, S>(x + i, sums + at, next);
            else
                Each<Lane1<double>, S>(x + i, sums + at, next);
            i += next;
        }
    }

    private static void Each<V, S>(S* x, double* sums, int count)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        var i = 0;
        for (; i <= count - V.Count; i += V.Count)
            V.Store(Take(V.Load(sums + i), x + i, x + i), sums + i);
        for (; i < count; i++)
            Lane1<double>.Store(Take(Lane1<double>.Load(sums + i), x + i, x + i), sums + i);
    }

    /// <summary>What all blocks of a tensor come to: pairs of neighbours until one is left.</summary>
    public static double Join(double* blocks, nint length)
    {
        for (nint apart = 1; apart < length; apart *= 2)
        for (nint i = 0; i + apart < length; i += 2 * apart)
            Join(blocks + i, blocks + i + apart);
        // One NaN for all: which one comes out of an addition of two is the machine's choice.
        return length == 0 ? R.Start
            : double.IsNaN(blocks[0]) ? double.NaN
            : blocks[0];
    }

    private static void Join(double* left, double* right) =>
        Lane1<double>.Store(R.Join(Lane1<double>.Load(left), Lane1<double>.Load(right)), left);

    private static void Blocks<V>(ReductionPass* pass, nint begin, nint end)
        where V : struct, IVector<V>
    {
        for (var entry = pass->Entries + FirstAt(pass, begin); entry < pass->Entries + pass->Count && entry->Start < end; entry++)
        {
            var block = Math.Max(0, begin - entry->Start + ReductionTable.Block - 1) / ReductionTable.Block;
            for (; ; block++)
            {
                var first = block * ReductionTable.Block;
                if (first >= entry->Count || entry->Start + first >= end)
                    break;
                pass->Partials[entry->FirstBlock + block] = Block<V>(
                    entry,
                    first,
                    (int)Math.Min(ReductionTable.Block, entry->Count - first),
                    pass->Power,
                    pass->Factor
                );
            }
        }
    }

    /// <summary>What neighbouring elements come to, block after block: for rows, which are many and short.</summary>
    public static double Row<V, S>(S* x, nint count)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        var sum = Tree<V, S>(x, x, (int)Math.Min(ReductionTable.Block, count));
        for (nint first = ReductionTable.Block; first < count; first += ReductionTable.Block)
        {
            var more = Tree<V, S>(x + first, x + first, (int)Math.Min(ReductionTable.Block, count - first));
            Join(&sum, &more);
        }
        return sum;
    }

    /// <summary>The last tensor that starts at an element or before it, by halving.</summary>
    private static int FirstAt(ReductionPass* pass, nint element)
    {
        var (low, high) = (0, pass->Count - 1);
        while (low < high)
        {
            var middle = (low + high + 1) >>> 1;
            if (pass->Entries[middle].Start <= element)
                low = middle;
            else
                high = middle - 1;
        }
        return low;
    }

    private static double Block<V>(ReductionEntry* entry, nint first, int count, double power, double factor)
        where V : struct, IVector<V> =>
        R.Powers || (factor != 1 && entry->DType is not (DType.Float32 or DType.Float64)) ? Converted<V>(entry, first, count, power, factor)
        : factor != 1 && entry->DType == DType.Float32 ? Multiplied<V, float>((float*)entry->X + first, (float)factor, count)
        : factor != 1 ? Multiplied<V, double>((double*)entry->X + first, factor, count)
        : entry->DType == DType.Float32 ? Tree<V, float>((float*)entry->X + first, (float*)entry->Y + first, count)
        : entry->DType == DType.Float64 ? Tree<V, double>((double*)entry->X + first, (double*)entry->Y + first, count)
        : Converted<V>(entry, first, count, power, factor);

    /// <summary>A block times a factor, each product rounded to the elements' type as if it had been stored.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    [SkipLocalsInit]
    private static double Multiplied<V, S>(S* x, S factor, int count)
        where V : struct, IVector<V>
        where S : unmanaged, INumber<S>
    {
        var products = stackalloc S[ReductionTable.Block];
        var i = 0;
        for (; i <= count - Vector<S>.Count; i += Vector<S>.Count)
            (Vector.Load(x + i) * factor).Store(products + i);
        for (; i < count; i++)
            products[i] = x[i] * factor;
        return Tree<V, S>(products, products, count);
    }

    /// <summary>A block whose elements are not loaded as they lie.</summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    [SkipLocalsInit]
    private static double Converted<V>(ReductionEntry* entry, nint first, int count, double power, double factor)
        where V : struct, IVector<V>
    {
        var x = stackalloc double[ReductionTable.Block];
        var y = stackalloc double[R.Two ? ReductionTable.Block : 1];
        Widened.Copy(entry->X, entry->DType, first, count, x);
        if (R.Two)
            Widened.Copy(entry->Y, entry->DType, first, count, y);
        if (factor != 1)
            for (var i = 0; i < count; i++)
                x[i] = entry->DType is DType.Float64 or DType.Complex128 ? x[i] * factor : (float)(x[i] * factor);
        if (R.Powers)
            for (var i = 0; i < count; i++)
                x[i] = power == 0 ? (x[i] == 0 ? 0 : 1) : Math.Pow(Math.Abs(x[i]), power);
        return Tree<V, double>(x, y, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static double Tree<V, S>(S* x, S* y, int count)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        var sums = stackalloc double[Sums];
        // The widest registers hold the sums in four; others take eight at a time, and narrow ones go over the block again.
        for (var at = 0; at < Sums; at += (V.Count == 8 ? 4 : 8) * V.Count)
            if (V.Count == 8)
                Four<V, S>(x + at, y + at, count & -Sums, sums + at);
            else
                Eight<V, S>(x + at, y + at, count & -Sums, sums + at);
        return Joined(x, y, count & -Sums, count, sums);
    }

    /// <summary>The running sums, which took the first elements, take the others one by one and are joined.</summary>
    private static double Joined<S>(S* x, S* y, int taken, int count, double* sums)
        where S : unmanaged
    {
        for (var i = taken; i < count; i++)
        {
            var sum = sums + i % Sums;
            var element = R.Two ? Widened.Load<Lane1<double>, S>(y + i) : default;
            Lane1<double>.Store(R.Take(Lane1<double>.Load(sum), Widened.Load<Lane1<double>, S>(x + i), element), sum);
        }
        JoinHalves<Lane256<double>>(sums, Sums / 2, 4);
        JoinHalves<Lane128<double>>(sums, 2, 2);
        Join(sums, sums + 1);
        return sums[0];
    }

    /// <summary>Joins the sums of both halves, then those of halves half as long, down to a length.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void JoinHalves<V>(double* sums, int half, int shortest)
        where V : struct, IVector<V>
    {
        for (; half >= shortest; half /= 2)
        for (var i = 0; i < half; i += V.Count)
            V.Store(R.Join(V.Load(sums + i), V.Load(sums + i + half)), sums + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Four<V, S>(S* x, S* y, int count, double* sums)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        V s0 = V.Of(R.Start),
            s1 = s0,
            s2 = s0,
            s3 = s0;
        for (var i = 0; i < count; i += Sums)
        {
            s0 = Take(s0, x + i, y + i);
            s1 = Take(s1, x + i + V.Count, y + i + V.Count);
            s2 = Take(s2, x + i + 2 * V.Count, y + i + 2 * V.Count);
            s3 = Take(s3, x + i + 3 * V.Count, y + i + 3 * V.Count);
        }
        V.Store(s0, sums);
        V.Store(s1, sums + V.Count);
        V.Store(s2, sums + 2 * V.Count);
        V.Store(s3, sums + 3 * V.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Eight<V, S>(S* x, S* y, int count, double* sums)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        V s0 = V.Of(R.Start),
            s1 = s0,
            s2 = s0,
            s3 = s0,
            s4 = s0,
            s5 = s0,
            s6 = s0,
            s7 = s0;
        for (var i = 0; i < count; i += Sums)
        {
            s0 = Take(s0, x + i, y + i);
            s1 = Take(s1, x + i + V.Count, y + i + V.Count);
            s2 = Take(s2, x + i + 2 * V.Count, y + i + 2 * V.Count);
            s3 = Take(s3, x + i + 3 * V.Count, y + i + 3 * V.Count);
            s4 = Take(s4, x + i + 4 * V.Count, y + i + 4 * V.Count);
            s5 = Take(s5, x + i + 5 * V.Count, y + i + 5 * V.Count);
            s6 = Take(s6, x + i + 6 * V.Count, y + i + 6 * V.Count);
            s7 = Take(s7, x + i + 7 * V.Count, y + i + 7 * V.Count);
        }
        V.Store(s0, sums);
        V.Store(s1, sums + V.Count);
        V.Store(s2, sums + 2 * V.Count);
        V.Store(s3, sums + 3 * V.Count);
        V.Store(s4, sums + 4 * V.Count);
        V.Store(s5, sums + 5 * V.Count);
        V.Store(s6, sums + 6 * V.Count);
        V.Store(s7, sums + 7 * V.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Take<V, S>(V sum, S* x, S* y)
        where V : struct, IVector<V>
        where S : unmanaged => R.Take(sum, Widened.Load<V, S>(x), R.Two ? Widened.Load<V, S>(y) : default);
}
