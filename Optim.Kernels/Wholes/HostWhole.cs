// Long, because it is all that a whole tensor of the processor can do.
using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Carries out steps of whole tensors in the memory of the processor, on the threads of an executor.</summary>
internal sealed unsafe class HostWhole
{
    private readonly HostPlan plan;
    private readonly List<HostTensor> roots = [];
    private readonly List<nint> addresses = [];

    public HostWhole() => plan = new(this);

    /// <summary>Memory of the values of a step.</summary>
    public WholeMemory Memory { get; } = new();

    /// <summary>Who runs shares of passes.</summary>
    public Executor Executor { get; set; } = Executor.Caller;

    /// <summary>How many threads took part in the passes of a step.</summary>
    public int Threads { get; private set; } = 1;

    /// <summary>A pass has run on so many threads.</summary>
    public void Ran(int threads) => Threads = Math.Max(Threads, threads);

    private readonly List<double> totals = [];

    /// <summary>Begins sums over all parameters.</summary>
    public void ClearTotals() => totals.Clear();

    /// <summary>Adds the elements of a value to a sum over all parameters.</summary>
    public void AddTotal(int place, WholeTensor value)
    {
        while (totals.Count <= place)
            totals.Add(0);
        var sum = InOrder((HostTensor)value.Sum());
        totals[place] += sum.Work == DType.Float64 ? *(double*)sum.Address : *(float*)sum.Address;
    }

    /// <summary>The sums over all parameters as far as they have come, which begin anew.</summary>
    public double[] TakeTotals()
    {
        double[] taken = [.. totals];
        totals.Clear();
        return taken;
    }

    /// <summary>Adds what a parameter comes to, on this rank or on another one.</summary>
    public void AddTotals(double[] parts)
    {
        for (var place = 0; place < parts.Length; place++)
            if (place < totals.Count)
                totals[place] += parts[place];
            else
                totals.Add(0 + parts[place]);
    }

    /// <summary>A sum over all parameters, as far as it has come.</summary>
    public double Total(int place) => totals[place];

    /// <summary>Row-major strides.</summary>
    public static ImmutableArray<long> RowMajor(ImmutableArray<long> shape)
    {
        var strides = new long[shape.Length];
        long stride = 1;
        for (var i = shape.Length - 1; i >= 0; i--)
            (strides[i], stride) = (stride, stride * Math.Max(1, shape[i]));
        return [.. strides];
    }

    /// <summary>A contiguous tensor of float32 or float64.</summary>
    public HostTensor Given(DType dtype, ImmutableArray<long> shape, nint address) =>
        new(this, dtype, shape, address, RowMajor(shape), dtype);

    /// <summary>The value in memory, in any order.</summary>
    public HostTensor InMemory(HostTensor value)
    {
        if (value.Operation == WholeOperation.Leaf)
            return value;
        var address = Memory.Take(value.Count * value.Work.Size());
        plan.Run([value], [address], value.Shape, value.Work, null, null);
        value.Lies(address);
        return value;
    }

    /// <summary>The value in memory, in row-major order and its own type.</summary>
    public HostTensor InOrder(HostTensor value)
    {
        if (InMemory(value).IsInOrder)
            return value;
        var address = Memory.Take(value.Count * value.Work.Size());
        var copy = new HostTensor(this, value.DType, value.Shape, address, RowMajor(value.Shape), value.Work);
        var rank = value.Rank;
        if (rank == 2 && value.Stored == value.Work && value.Strides[0] == 1 && value.Strides[1] == value.Shape[0])
            Transpose(value, copy.Address);
        else
            plan.Run([value], [copy.Address], value.Shape, value.Work, null, null);
        return copy;
    }

    private struct Exchange
    {
        public nint From,
            To,
            Rows,
            Columns;
    }

    private void Transpose(HostTensor value, nint target)
    {
        var exchange = new Exchange
        {
            From = value.Address,
            To = target,
            Rows = (nint)value.Shape[0],
            Columns = (nint)value.Shape[1],
        };
        // Rows of the result are columns of memory; in tiles, so that lines of both are used as a whole.
        Executor.Run(value.Count, value.Work == DType.Float64 ? &Exchanged<double> : &Exchanged<float>, &exchange);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Exchanged<T>(nint begin, nint end, void* context)
        where T : unmanaged
    {
        const nint tile = 16;
        var exchange = (Exchange*)context;
        var (rows, columns) = (exchange->Rows, exchange->Columns);
        T* source = (T*)exchange->From,
            target = (T*)exchange->To;
        var (first, last) = ((begin + columns - 1) / columns, (end + columns - 1) / columns);
        for (var i = first; i < last; i += tile)
        for (nint j = 0; j < columns; j += tile)
        for (var row = i; row < Math.Min(i + tile, last); row++)
        for (var column = j; column < Math.Min(j + tile, columns); column++)
            target[row * columns + column] = source[column * rows + row];
    }

    /// <summary>Sums along dimensions [first, last), or largest elements; a value that is squared and used again stays in memory.</summary>
    public HostTensor Reduce(HostTensor value, WholeReduction reduction, int first, int last, ImmutableArray<long> shape)
    {
        var work = value.Work;
        nint outer = 1,
            along = 1,
            inner = 1;
        for (var i = 0; i < value.Rank; i++)
            if (i < first)
                outer *= (nint)value.Shape[i];
            else if (i < last)
                along *= (nint)value.Shape[i];
            else
                inner *= (nint)value.Shape[i];
        var result = Given(work, shape, Memory.Take(outer * inner * work.Size()));
        // Pieces by shape alone, so that the number of threads changes no bit.
        var piece = along * inner <= Piece || outer >= MostPieces ? along : Math.Max(Piece / inner, (along + MostPieces - 1) / MostPieces);
        var pieces = Math.Max(1, (along + piece - 1) / piece);
        var sums = Memory.Take(outer * pieces * inner * sizeof(double));
        var pass = new HostPass
        {
            Reduction = reduction,
            Outer = outer,
            Along = along,
            Inner = inner,
            Piece = piece,
            Pieces = pieces,
            Sums = (double*)sums,
        };
        // Its square alone is summed up: the value itself is what is used again.
        if (reduction == WholeReduction.SumOfSquares && value.Operation is not (WholeOperation.Leaf or WholeOperation.Number))
        {
            var address = Memory.Take(value.Count * work.Size());
            plan.Run([value], [address], value.Shape, work, value, &pass);
            value.Lies(address);
        }
        else
            plan.Run([], [], value.Shape, work, value.Operation == WholeOperation.Number ? InMemory(value) : value, &pass);
        for (nint i = 0; i < outer * inner; i++)
        {
            var from = (double*)sums + i / inner * pieces * inner + i % inner;
            var sum = *from;
            for (nint next = 1; next < pieces; next++)
                sum = reduction == WholeReduction.Max ? Math.Max(sum, from[next * inner]) : sum + from[next * inner];
            if (work == DType.Float64)
                ((double*)result.Address)[i] = sum;
            else
                ((float*)result.Address)[i] = (float)sum;
        }
        Memory.Give(sums);
        return result;
    }

    /// <summary>Elements that are summed up in one piece, at most, where there are more pieces to share.</summary>
    private const nint Piece = 16 << 10;

    private const nint MostPieces = 16;

    /// <summary>scale left right + shift other.</summary>
    public HostTensor Product(HostTensor left, HostTensor right, double scale, HostTensor? other, double shift, ImmutableArray<long> shape)
    {
        var dtype = left.DType;
        if (right.DType != dtype)
            right = (HostTensor)right.To(dtype);
        if (other is not null && other.DType != dtype)
            other = (HostTensor)other.To(dtype);
        var work = left.Work;
        var (m, n, k) = ((nint)shape[0], (nint)shape[1], (nint)left.Shape[1]);
        var result = new HostTensor(this, dtype, shape, Memory.Take(m * n * work.Size()), RowMajor(shape), work);
        var a = InOrder(left);
        var d = other is null ? 0 : InOrder(other).Address;
        var isNarrow = dtype == DType.BFloat16;
        // What is rounded to bfloat16 is one sum from the first term to the last, as in PyTorch.
        var depth = isNarrow ? nint.MaxValue : MatrixProduct.Depth;
        var isTransposed = InMemory(right).Stored == work && right.Strides[0] == 1 && right.Strides[1] == right.Shape[0] && right.Count > 0;
        var room = Memory.Take(MatrixProduct.Room(k, n) * work.Size());
        if (isTransposed && right.Address == a.Address && n == m)
            MatrixProduct.Square(work, m, k, a.Address, result.Address, room, Executor, scale, shift, d, depth);
        else if (isTransposed && !right.IsInOrder)
            MatrixProduct.Run(
                work,
                m,
                n,
                k,
                a.Address,
                right.Address,
                result.Address,
                room,
                Executor,
                scale,
                shift,
                d,
                depth,
                isTransposed: true
            );
        else
            MatrixProduct.Run(work, m, n, k, a.Address, InOrder(right).Address, result.Address, room, Executor, scale, shift, d, depth);
        Memory.Give(room);
        if (isNarrow)
            Executor.Run(Math.Max(1, m * n), &HostLoops.Round, (void*)result.Address);
        return result;
    }

    /// <summary>Ones in the diagonal.</summary>
    public HostTensor Identity(DType dtype, ImmutableArray<long> shape)
    {
        var result = Given(dtype == DType.Float64 ? dtype : DType.Float32, shape, 0);
        var (rows, address) = ((nint)shape[0], Memory.Take(result.Count * result.Work.Size()));
        result.Lies(address);
        NativeMemory.Clear((void*)address, (nuint)(result.Count * result.Work.Size()));
        for (nint i = 0; i < rows; i++)
            if (result.Work == DType.Float64)
                ((double*)address)[i * rows + i] = 1;
            else
                ((float*)address)[i * rows + i] = 1;
        return result;
    }

    /// <summary>Slices along a dimension in falling order of keys; of two alike, and for NaN, as they were.</summary>
    public HostTensor Ordered(HostTensor value, int dimension, HostTensor keys)
    {
        var (from, by) = (InOrder(value), InOrder(keys));
        var count = (int)by.Count;
        var numbers = new double[count];
        var order = new int[count];
        for (var i = 0; i < count; i++)
        {
            numbers[i] = by.Work == DType.Float64 ? -((double*)by.Address)[i] : -((float*)by.Address)[i];
            order[i] = i;
        }
        Array.Sort(order, (a, b) => numbers[a].CompareTo(numbers[b]) is var compared && compared != 0 ? compared : a.CompareTo(b));
        nint outer = 1,
            inner = from.Work.Size();
        for (var i = 0; i < value.Rank; i++)
            if (i < dimension)
                outer *= (nint)value.Shape[i];
            else if (i > dimension)
                inner *= (nint)value.Shape[i];
        var result = Given(from.Work, value.Shape, Memory.Take(value.Count * from.Work.Size()));
        for (nint o = 0; o < outer; o++)
        for (nint i = 0; i < count; i++)
            Buffer.MemoryCopy(
                (void*)(from.Address + (o * count + order[i]) * inner),
                (void*)(result.Address + (o * count + i) * inner),
                inner,
                inner
            );
        return result;
    }

    /// <summary>Eigenvalues, falling, and their vectors as columns, worked out in double.</summary>
    public (WholeTensor, WholeTensor) Eigenvectors(HostTensor matrix, ImmutableArray<long> values)
    {
        var n = (nint)matrix.Shape[0];
        var source = InOrder((HostTensor)matrix.To(DType.Float64));
        var (numbers, vectors) = (
            Given(DType.Float64, values, Memory.Take(n * sizeof(double))),
            Given(DType.Float64, matrix.Shape, Memory.Take(n * n * sizeof(double)))
        );
        var room = Memory.Take(Decomposition.EigenRoom(n) * sizeof(double));
        Decomposition.Eigen(n, (double*)source.Address, (double*)numbers.Address, (double*)vectors.Address, (double*)room, Executor);
        Memory.Give(room);
        return (numbers.To(matrix.Work), vectors.Transposed.To(matrix.Work));
    }

    /// <summary>Orthonormal columns, worked out in double.</summary>
    public HostTensor Orthonormal(HostTensor matrix)
    {
        var (rows, columns) = ((nint)matrix.Shape[0], (nint)matrix.Shape[1]);
        // Columns as rows: reflections go along them.
        var source = InOrder((HostTensor)((HostTensor)matrix.To(DType.Float64)).Transposed);
        var vectors = Given(DType.Float64, source.Shape, Memory.Take(rows * columns * sizeof(double)));
        var room = Memory.Take(Decomposition.OrthonormalRoom(rows, columns) * sizeof(double));
        Decomposition.Orthonormal(rows, columns, (double*)source.Address, (double*)vectors.Address, (double*)room, Executor);
        Memory.Give(room);
        return (HostTensor)vectors.Transposed.To(matrix.Work);
    }

    /// <summary>One more value that becomes a tensor's at the end of the step.</summary>
    public void Set(HostTensor target, WholeTensor value)
    {
        roots.Add((HostTensor)value.To(target.DType));
        addresses.Add(target.Address);
        targets.Add(target);
    }

    private readonly List<HostTensor> targets = [];

    /// <summary>Writes all that was set, as of before, and forgets the values of the step.</summary>
    public void Finish()
    {
        // Values of other shapes than the first one's, and those that are read in another way than they are written, in memory of their own first.
        for (var i = 0; i < roots.Count; i++)
            if (
                i > 0 && !targets[i].Shape.SequenceEqual(targets[0].Shape)
                || roots[i].Operation == WholeOperation.Leaf && addresses.Contains(roots[i].Address)
            )
                roots[i] = Copied(roots[i], targets[i]);
        mark = plan.Mark();
        var (values, places) = (new List<HostTensor>(), new List<nint>());
        for (var i = 0; i < roots.Count; i++)
            if (targets[i].Shape.SequenceEqual(targets[0].Shape))
            {
                values.Add(Untangled(roots[i]));
                places.Add(addresses[i]);
            }
        if (values.Count > 0)
            plan.Run([.. values], [.. places], targets[0].Shape, targets[0].Work, null, null);
        for (var i = 0; i < roots.Count; i++)
            if (!targets[i].Shape.SequenceEqual(targets[0].Shape))
            {
                var bytes = targets[i].Count * targets[i].Work.Size();
                Buffer.MemoryCopy((void*)roots[i].Address, (void*)addresses[i], bytes, bytes);
            }
    }

    /// <summary>Forgets the values of the step.</summary>
    public void Forget()
    {
        roots.Clear();
        addresses.Clear();
        targets.Clear();
        Memory.Reset();
        Threads = 1;
    }

    private HostTensor Copied(HostTensor value, HostTensor target)
    {
        var copy = Given(target.Work, target.Shape, Memory.Take(target.Count * target.Work.Size()));
        plan.Run([value], [copy.Address], target.Shape, target.Work, null, null);
        return copy;
    }

    // Parts of it that read what is written, in another order.
    private HostTensor Untangled(HostTensor value)
    {
        if (!Tangles(value))
            return value;
        var copy = Copied(value, targets[0]);
        mark = plan.Mark();
        return copy;
    }

    private int mark;

    private bool Tangles(HostTensor value)
    {
        if (value.Operation == WholeOperation.Leaf)
            return !(value.IsInOrder && value.Count == targets[0].Count) && addresses.Contains(value.Address);
        if (value.Pass == mark)
            return false;
        value.Pass = mark;
        return value.A is not null && Tangles(value.A)
            || value.B is not null && Tangles(value.B)
            || value.C is not null && Tangles(value.C)
            || value.D is not null && Tangles(value.D);
    }
}
