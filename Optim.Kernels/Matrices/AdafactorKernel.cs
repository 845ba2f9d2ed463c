using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// The passes of Adafactor: squares into the means of rows and columns, from them the update of each element, its root mean
/// square, and the move. Every sum has one order, so no bit depends on width, executor, number of threads or device.
/// </summary>
internal unsafe struct AdafactorKernel<T>(AdafactorPass* pass, Executor executor) : IAdafactorEngine<Lane1<double>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    private readonly AdafactorPass* pass = pass;
    private readonly Executor executor = executor;

    /// <summary>How many threads took part.</summary>
    public int Threads { get; private set; }

    public readonly Lane1<double> SquaresOfParameter() => Squares(pass->Tensor.Param);

    public readonly Lane1<double> SquaresOfUpdate() => Squares((nint)pass->Update);

    private readonly Lane1<double> Squares(nint address) =>
        Lane1<double>.Of(Reduction.SumOfSquares.Of(address, pass->Tensor.Count, pass->Tensor.DType, executor));

    public readonly void Update()
    {
        var count = pass->Tensor.Count;
        if (pass->IsVector)
            executor.Run(count, &ElementLoop<T, Elements>.Run, pass);
        else if (pass->IsSmall)
            executor.Run(count, pass->Size == 1 ? &ElementLoop<T, Single>.Run : &Small, pass);
        else
        {
            executor.Run(count, &Squares, pass);
            Means(pass);
            executor.Run(count, &Updates, pass);
        }
    }

    public void Move(Lane1<double> rate)
    {
        Lane1<double>.Store(rate, &pass->Rate);
        Threads = executor.Run(pass->Tensor.Count, &ElementLoop<T, Moved>.Run, pass);
    }

    /// <summary>A vector: the mean square of each element.</summary>
    private readonly struct Elements : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (AdafactorPass*)context;
            T* g = (T*)pass->Tensor.Grad,
                variance = (T*)pass->Tensor.RowVar,
                u = (T*)pass->Update;
            var mean = new Mean<V>(pass);
            var smallest = V.Of(pass->Numbers.Eps1);
            for (; i <= end - V.Count; i += V.Count)
            {
                var grad = V.Load(g + i);
                var square = mean.Next(V.Load(variance + i), grad * grad);
                V.Store(square, variance + i);
                V.Store(AdafactorFormula.Update(grad, square, smallest), u + i);
            }
            return i;
        }
    }

    /// <summary>Matrices of one element each, whose row is their column.</summary>
    private readonly struct Single : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (AdafactorPass*)context;
            T* g = (T*)pass->Tensor.Grad,
                rows = (T*)pass->Tensor.RowVar,
                columns = (T*)pass->Tensor.ColVar,
                u = (T*)pass->Update;
            var mean = new Mean<V>(pass);
            var eps = V.Of(pass->Numbers.Eps1);
            for (; i <= end - V.Count; i += V.Count)
            {
                var grad = V.Load(g + i);
                var row = mean.Next(V.Load(rows + i), grad * grad);
                var column = mean.Next(V.Load(columns + i), grad * grad);
                V.Store(row, rows + i);
                V.Store(column, columns + i);
                V.Store(AdafactorFormula.Update(grad, AdafactorFormula.OfOne(row, column, eps), eps), u + i);
            }
            return i;
        }
    }

    /// <summary>Small matrices, each as a whole; a share takes those that begin in it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Small(nint begin, nint end, void* context)
    {
        var pass = (AdafactorPass*)context;
        var (rows, columns, size) = (pass->Tensor.Rows, pass->Tensor.Columns, pass->Size);
        var sums = stackalloc double[(int)columns];
        var mean = new Mean<Lane1<T>>(pass);
        for (var matrix = (begin + size - 1) / size; matrix * size < end; matrix++)
        {
            var g = (T*)pass->Tensor.Grad + matrix * size;
            var u = (T*)pass->Update + matrix * size;
            var row = (T*)pass->Tensor.RowVar + matrix * rows;
            var column = (T*)pass->Tensor.ColVar + matrix * columns;
            for (nint j = 0; j < columns; j++)
                sums[j] = 0;
            var total = 0.0;
            for (nint i = 0; i < rows; i++)
            {
                mean.Move(row + i, AdafactorRows<T>.Short(g + i * columns, sums, columns) / columns);
                total += double.CreateTruncating(row[i]);
            }
            for (nint j = 0; j < columns; j++)
                mean.Move(column + j, sums[j] / rows);
            var scale = Lane1<T>.Of(Scale(pass, total / rows));
            for (nint i = 0; i < rows; i++)
            {
                var scaled = AdafactorFormula.Scaled(Lane1<T>.Load(row + i), scale);
                for (nint j = 0; j < columns; j++)
                    Lane1<T>.Store(AdafactorFormula.Expected(scaled, Lane1<T>.Load(column + j)), u + i * columns + j);
            }
        }
        // The matrices of the share are in cache: from what they are expected to be to the update.
        var (first, last) = ((begin + size - 1) / size * size, (end + size - 1) / size * size);
        ElementLoop<T, Expected>.Run(first, Math.Min(last, pass->Tensor.Count), pass);
    }

    private readonly struct Expected : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (AdafactorPass*)context;
            T* g = (T*)pass->Tensor.Grad,
                u = (T*)pass->Update;
            var smallest = V.Of(pass->Numbers.Eps1);
            for (; i <= end - V.Count; i += V.Count)
                V.Store(AdafactorFormula.Update(V.Load(g + i), V.Load(u + i), smallest), u + i);
            return i;
        }
    }

    /// <summary>Large matrices: the means of rows, and sums of the columns of each chunk of rows; a share takes the chunks that begin in it.</summary>
    private static void Squares(nint begin, nint end, void* context)
    {
        var pass = (AdafactorPass*)context;
        switch (pass->Width)
        {
            case Width.Bits512 when Lanes.IsCompiled(Width.Bits512):
                Squares<Lane512<double>>(pass, begin, end);
                break;
            case Width.Bits256 when Lanes.IsCompiled(Width.Bits256):
                Squares<Lane256<double>>(pass, begin, end);
                break;
            case Width.Bits128 when Lanes.IsCompiled(Width.Bits128):
                Squares<Lane128<double>>(pass, begin, end);
                break;
            case Width.Single when Lanes.IsCompiled(Width.Single):
                Squares<Lane1<double>>(pass, begin, end);
                break;
        }
    }

    private static void Squares<V>(AdafactorPass* pass, nint begin, nint end)
        where V : struct, IVector<V>
    {
        var (rows, columns) = (pass->Tensor.Rows, pass->Tensor.Columns);
        var mean = new Mean<Lane1<T>>(pass);
        for (var chunk = FirstChunk(pass, begin); chunk < FirstChunk(pass, end); chunk++)
        {
            var (matrix, part) = (chunk / pass->Chunks, chunk % pass->Chunks);
            var sums = pass->Sums + chunk * columns;
            new Span<double>(sums, (int)columns).Clear();
            for (var i = part * AdafactorPass.Chunk; i < Math.Min((part + 1) * AdafactorPass.Chunk, rows); i++)
            {
                var g = (T*)pass->Tensor.Grad + (matrix * rows + i) * columns;
                var sum =
                    columns <= AdafactorPass.Short
                        ? AdafactorRows<T>.Short(g, sums, columns)
                        : ReductionKernel<Squares>.Row<V, T>(g, columns);
                mean.Move((T*)pass->Tensor.RowVar + matrix * rows + i, sum / columns);
                if (columns > AdafactorPass.Short)
                    Lane1Squares(g, sums, Squares<V>(g, sums, columns), columns);
            }
        }

        static void Lane1Squares(T* g, double* sums, nint j, nint columns)
        {
            for (; j < columns; j++)
            {
                var x = double.CreateTruncating(g[j]);
                sums[j] = Math.FusedMultiplyAdd(x, x, sums[j]);
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
    private static nint Squares<V>(T* g, double* sums, nint columns)
        where V : struct, IVector<V>
    {
        nint j = 0;
        for (; j <= columns - V.Count; j += V.Count)
        {
            var x = Widened.Load<V, T>(g + j);
            V.Store(V.Fma(x, x, V.Load(sums + j)), sums + j);
        }
        return j;
    }

    /// <summary>The first chunk that begins at an element or after it.</summary>
    private static nint FirstChunk(AdafactorPass* pass, nint element)
    {
        var matrix = element / pass->Size;
        var row = (element - matrix * pass->Size + pass->Tensor.Columns - 1) / pass->Tensor.Columns;
        return matrix * pass->Chunks + (row + AdafactorPass.Chunk - 1) / AdafactorPass.Chunk;
    }

    /// <summary>The means of columns, chunk after chunk, and what the means of rows are divided by.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Means(AdafactorPass* pass)
    {
        var (rows, columns) = (pass->Tensor.Rows, pass->Tensor.Columns);
        var mean = new Mean<Lane1<T>>(pass);
        for (nint matrix = 0; matrix < pass->Matrices; matrix++)
        {
            var sums = pass->Sums + matrix * pass->Chunks * columns;
            for (nint chunk = 1; chunk < pass->Chunks; chunk++)
            for (nint j = 0; j < columns; j++)
                sums[j] += sums[chunk * columns + j];
            for (nint j = 0; j < columns; j++)
                mean.Move((T*)pass->Tensor.ColVar + matrix * columns + j, sums[j] / rows);
            pass->Scales[matrix] = Scale(pass, AdafactorRows<T>.Total(pass->Width, (T*)pass->Tensor.RowVar + matrix * rows, rows) / rows);
        }
    }

    /// <summary>Large matrices: the updates of a share, row by row.</summary>
    private static void Updates(nint begin, nint end, void* context)
    {
        var pass = (AdafactorPass*)context;
        var columns = pass->Tensor.Columns;
        while (begin < end)
        {
            var row = begin / columns;
            var last = Math.Min((row + 1) * columns, end);
            ElementLoop<T, RowUpdates>.Run(begin, last, pass);
            begin = last;
        }
    }

    private readonly struct RowUpdates : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (AdafactorPass*)context;
            if (i >= end)
                return i;
            var row = i / pass->Tensor.Columns;
            var matrix = row / pass->Tensor.Rows;
            T* g = (T*)pass->Tensor.Grad,
                u = (T*)pass->Update,
                column = (T*)pass->Tensor.ColVar + matrix * pass->Tensor.Columns - row * pass->Tensor.Columns;
            T mean;
            Lane1<T>.Store(AdafactorFormula.Scaled(Lane1<T>.Load((T*)pass->Tensor.RowVar + row), Lane1<T>.Of(pass->Scales[matrix])), &mean);
            var scaled = V.Of(double.CreateTruncating(mean));
            var smallest = V.Of(pass->Numbers.Eps1);
            for (; i <= end - V.Count; i += V.Count)
                V.Store(AdafactorFormula.Update(V.Load(g + i), AdafactorFormula.Expected(scaled, V.Load(column + i)), smallest), u + i);
            return i;
        }
    }

    private readonly struct Moved : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (AdafactorPass*)context;
            T* p = (T*)pass->Tensor.Param,
                u = (T*)pass->Update;
            var (keep, rate) = (V.Of(pass->Numbers.Keep), V.Of(pass->Rate));
            for (; i <= end - V.Count; i += V.Count)
                V.Store(TensorMath.Against(V.Load(p + i), V.Load(u + i), keep, rate), p + i);
            return i;
        }
    }

    private static double Scale(AdafactorPass* pass, double meanOfRows)
    {
        double scale;
        Lane1<double>.Store(AdafactorFormula.Scale(Lane1<double>.Of(meanOfRows), Lane1<double>.Of(pass->Numbers.Eps1)), &scale);
        return scale;
    }

    /// <summary>How means move in this step.</summary>
    private readonly struct Mean<V>(AdafactorPass* pass)
        where V : struct, IVector<V>
    {
        private readonly V weight = V.Of(pass->Numbers.Weight);
        private readonly V rest = V.Of(1 - pass->Numbers.Weight);
        private readonly bool isNear = pass->Numbers.Weight < 0.5;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public V Next(V mean, V value) => TensorMath.Between(mean, value, weight, rest, isNear);

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public void Move(T* mean, double value) => V.Store(Next(V.Load(mean), V.Of(value)), mean);
    }
}
