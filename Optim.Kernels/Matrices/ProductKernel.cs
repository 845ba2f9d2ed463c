using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>The passes of a matrix product: B into panels, rows of tiles, the lower half of a symmetric one.</summary>
internal static unsafe class ProductKernel<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Copies B into panels, with zeros beyond its last column.</summary>
    public static void Pack(nint begin, nint end, void* context)
    {
        var pass = (ProductPass*)context;
        var columns = pass->Columns(DTypes.Of<T>());
        for (var panel = pass->TaskAt(begin); panel < pass->TaskAt(end); panel++)
        {
            var first = panel * columns;
            var width = (int)Math.Min(columns, pass->N - first);
            var target = (T*)pass->Panels + panel * columns * pass->K;
            var source = (T*)pass->B + first * pass->ByColumn;
            if (width < columns)
                new Span<T>(target, checked((int)(columns * pass->K))).Clear();
            // Some rows at a time, so that what is written stays in the first cache while columns are read.
            for (nint from = 0; from < pass->K; from += 64)
            {
                var to = Math.Min(from + 64, pass->K);
                if (pass->ByColumn == 1)
                    for (var k = from; k < to; k++)
                        new ReadOnlySpan<T>(source + k * pass->ByRow, width).CopyTo(new(target + k * columns, width));
                else
                    for (var j = 0; j < width; j++)
                        Column(source + j * pass->ByColumn, pass->ByRow, target + j, columns, from, to);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Column(T* source, nint byRow, T* target, int columns, nint from, nint to)
    {
        for (var k = from; k < to; k++)
            target[k * columns] = source[k * byRow];
    }

    /// <summary>Works blocks of rows out, all columns.</summary>
    public static void Multiply(nint begin, nint end, void* context)
    {
        var pass = (ProductPass*)context;
        for (var task = pass->TaskAt(begin); task < pass->TaskAt(end); task++)
        {
            Rows(pass, task);
            if (pass->IsSymmetric && pass->Blocks - 1 - task != task)
                Rows(pass, pass->Blocks - 1 - task);
        }
    }

    /// <summary>Copies what lies above the diagonal to below it.</summary>
    public static void Mirror(nint begin, nint end, void* context)
    {
        var pass = (ProductPass*)context;
        for (var task = pass->TaskAt(begin); task < pass->TaskAt(end); task++)
        {
            Below(pass, task);
            if (pass->Blocks - 1 - task != task)
                Below(pass, pass->Blocks - 1 - task);
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Below(ProductPass* pass, nint block)
    {
        var c = (T*)pass->C;
        var n = pass->N;
        var last = Math.Min((block + 1) * pass->Rows, pass->M);
        for (nint from = 0; from < last; from += 16)
        for (var i = block * pass->Rows; i < last; i++)
        for (var j = from; j < Math.Min(from + 16, i); j++)
            c[i * n + j] = c[j * n + i];
    }

    private static void Rows(ProductPass* pass, nint block)
    {
        switch (pass->Width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Rows<Lane512<T>>(pass, block);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Rows<Lane256<T>>(pass, block);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Rows<Lane128<T>>(pass, block);
                break;
            case Width.Single when Lanes.IsCompiled(Width.Single):
                Rows<Lane1<T>>(pass, block);
                break;
        }
    }

    private static void Rows<V>(ProductPass* pass, nint block)
        where V : struct, IVector<V>
    {
        var columns = 2 * V.Count;
        var first = block * pass->Rows;
        var last = Math.Min(first + pass->Rows, pass->M);
        nint k = 0;
        do
        {
            var depth = (int)Math.Min(pass->Depth, pass->K - k);
            for (nint j = 0; j < pass->N; j += columns)
            for (var i = first; i < last; i += MatrixProduct.TileRows)
                if (!pass->IsSymmetric || j + columns > i)
                    Tile<V>(pass, i, j, k, depth);
            k += depth;
        } while (k < pass->K);
    }

    /// <summary>What a block of terms adds to six rows and two registers of columns. Rows and columns beyond the last are worked out, too, and not stored.</summary>
    private static void Tile<V>(ProductPass* pass, nint i, nint j, nint k, int depth)
        where V : struct, IVector<V>
    {
        var rows = (int)Math.Min(MatrixProduct.TileRows, pass->M - i);
        var a = stackalloc T*[MatrixProduct.TileRows];
        for (var row = 0; row < MatrixProduct.TileRows; row++)
            a[row] = (T*)pass->A + (i + Math.Min(row, rows - 1)) * pass->K + k;
        var sums = stackalloc T[MatrixProduct.TileRows * 2 * V.Count];
        Sums<V>(a, (T*)pass->Panels + j * pass->K + k * 2 * V.Count, depth, sums);
        Add<V>(pass, i, rows, j, sums, k == 0, k + depth >= pass->K);
    }

    // A loop with no call in the method: only so do the twelve sums stay in registers.

    /// <summary>The sums of a tile over a block of terms.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Sums<V>(T** rows, T* panel, nint depth, T* sums)
        where V : struct, IVector<V>
    {
        T* a0 = rows[0],
            a1 = rows[1],
            a2 = rows[2],
            a3 = rows[3],
            a4 = rows[4],
            a5 = rows[5];
        V c00 = V.Of(0),
            c01 = c00,
            c10 = c00,
            c11 = c00,
            c20 = c00,
            c21 = c00,
            c30 = c00,
            c31 = c00,
            c40 = c00,
            c41 = c00,
            c50 = c00,
            c51 = c00;
        for (nint l = 0; l < depth; l++)
        {
            var b0 = V.Load(panel);
            var b1 = V.Load(panel + V.Count);
            panel += 2 * V.Count;
            var a = Each<V>(a0 + l);
            c00 = V.Fma(a, b0, c00);
            c01 = V.Fma(a, b1, c01);
            a = Each<V>(a1 + l);
            c10 = V.Fma(a, b0, c10);
            c11 = V.Fma(a, b1, c11);
            a = Each<V>(a2 + l);
            c20 = V.Fma(a, b0, c20);
            c21 = V.Fma(a, b1, c21);
            a = Each<V>(a3 + l);
            c30 = V.Fma(a, b0, c30);
            c31 = V.Fma(a, b1, c31);
            a = Each<V>(a4 + l);
            c40 = V.Fma(a, b0, c40);
            c41 = V.Fma(a, b1, c41);
            a = Each<V>(a5 + l);
            c50 = V.Fma(a, b0, c50);
            c51 = V.Fma(a, b1, c51);
        }
        Pair(c00, c01, sums);
        Pair(c10, c11, sums + 2 * V.Count);
        Pair(c20, c21, sums + 4 * V.Count);
        Pair(c30, c31, sums + 6 * V.Count);
        Pair(c40, c41, sums + 8 * V.Count);
        Pair(c50, c51, sums + 10 * V.Count);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Pair<V>(V left, V right, T* target)
        where V : struct, IVector<V>
    {
        V.Store(left, target);
        V.Store(right, target + V.Count);
    }

    /// <summary>Adds the sums of a block to some rows of C, and after the last block scales them and adds their part of D.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static void Add<V>(ProductPass* pass, nint i, int rows, nint j, T* sums, bool isFirst, bool isLast)
        where V : struct, IVector<V>
    {
        for (var row = 0; row < rows; row++)
            Add<V>(pass, i + row, j, sums + row * 2 * V.Count, isFirst, isLast);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static void Add<V>(ProductPass* pass, nint i, nint j, T* sums, bool isFirst, bool isLast)
        where V : struct, IVector<V>
    {
        var at = i * pass->N + j;
        var c = (T*)pass->C + at;
        var d = pass->D == null ? null : (T*)pass->D + at;
        var length = (int)Math.Min(2 * V.Count, pass->N - j);
        var x = 0;
        for (; x + V.Count <= length; x += V.Count)
            V.Store(
                Add(pass, V.Load(sums + x), isFirst ? default : V.Load(c + x), d == null ? default : V.Load(d + x), isFirst, isLast),
                c + x
            );
        for (; x < length; x++)
            Lane1<T>.Store(
                Add(
                    pass,
                    Lane1<T>.Load(sums + x),
                    isFirst ? default : Lane1<T>.Load(c + x),
                    d == null ? default : Lane1<T>.Load(d + x),
                    isFirst,
                    isLast
                ),
                c + x
            );
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Add<V>(ProductPass* pass, V sum, V c, V d, bool isFirst, bool isLast)
        where V : struct, IVector<V>
    {
        if (!isFirst)
            sum = c + sum;
        if (!isLast)
            return sum;
        if (pass->Scale != 1)
            sum = V.Of(pass->Scale) * sum;
        return pass->D == null ? sum : V.Fma(V.Of(pass->Shift), d, sum);
    }

    /// <summary>A number in every element of a lane.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static V Each<V>(T* number)
        where V : struct, IVector<V> =>
        typeof(V) == typeof(Lane512<T>) ? (V)(object)new Lane512<T>(Vector512.Create(*number))
        : typeof(V) == typeof(Lane256<T>) ? (V)(object)new Lane256<T>(Vector256.Create(*number))
        : typeof(V) == typeof(Lane128<T>) ? (V)(object)new Lane128<T>(Vector128.Create(*number))
        : (V)(object)new Lane1<T>(*number);
}
