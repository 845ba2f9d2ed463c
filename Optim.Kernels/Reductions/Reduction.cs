namespace Optim.Kernels;

/// <summary>
/// One number from all elements of a tensor: a sum of squares, a largest magnitude, a dot product. Sums are kept in double
/// whatever the elements are, and formed by one fixed tree: blocks of 4096 elements counted from the tensor's first in
/// row-major order, 32 running sums in a block (element i goes to sum i mod 32), and pairs of neighbours until one is left.
/// So vector width, number of threads, executor, offset and alignment change no bit. NaN and infinities spread; of an
/// empty tensor the sums are 0. float16, bfloat16, float32, float64 and complex tensors (by their magnitudes; a sum or a dot
/// product of complex tensors is that of their pairs of reals); one with gaps, in another order of dimensions or on another
/// device is copied first, unless the device has kernels for it.
/// <code>var norm = Math.Sqrt(Reduction.SumOfSquares.Of(gradient));</code>
/// </summary>
public sealed unsafe class Reduction
{
    private readonly delegate* <nint, nint, void*, void> body;
    private readonly delegate* <double*, nint, double> join;
    private readonly double power;
    private readonly int arity;
    private readonly bool byMagnitude;
    private readonly Operation? operation;

    private Reduction(
        string name,
        delegate* <nint, nint, void*, void> body,
        delegate* <double*, nint, double> join,
        double power = 1,
        int arity = 1,
        bool byMagnitude = true,
        Operation? operation = null
    )
    {
        (Name, this.power, this.arity, this.byMagnitude, this.operation) = (name, power, arity, byMagnitude, operation);
        this.body = body;
        this.join = join;
    }

    /// <summary>sum x.</summary>
    public static Reduction Sum { get; } =
        new("sum", &ReductionKernel<Sums>.Run, &ReductionKernel<Sums>.Join, byMagnitude: false, operation: Operation.Sum);

    /// <summary>sum |x|^2.</summary>
    public static Reduction SumOfSquares { get; } =
        new(
            "sum of squares",
            &ReductionKernel<Squares>.Run,
            &ReductionKernel<Squares>.Join,
            byMagnitude: false,
            operation: Operation.SumOfSquares
        );

    /// <summary>sum |x|.</summary>
    public static Reduction SumOfMagnitudes { get; } =
        new("sum of magnitudes", &ReductionKernel<Magnitudes>.Run, &ReductionKernel<Magnitudes>.Join, operation: Operation.SumOfMagnitudes);

    /// <summary>max |x|: NaN where there is one, 0 when there are no elements.</summary>
    public static Reduction LargestMagnitude { get; } =
        new("largest magnitude", &ReductionKernel<Largest>.Run, &ReductionKernel<Largest>.Join, operation: Operation.LargestMagnitude);

    /// <summary>min |x|: NaN where there is one, infinity when there are no elements.</summary>
    public static Reduction SmallestMagnitude { get; } =
        new("smallest magnitude", &ReductionKernel<Smallest>.Run, &ReductionKernel<Smallest>.Join);

    /// <summary>sum x y, of two tensors.</summary>
    public static Reduction Dot { get; } =
        new(
            "dot product",
            &ReductionKernel<Products>.Run,
            &ReductionKernel<Products>.Join,
            arity: 2,
            byMagnitude: false,
            operation: Operation.SumOfProducts
        );

    /// <summary>What it is called when it is printed.</summary>
    public string Name { get; }

    /// <summary>
    /// sum |x|^p for any number p; for p = 0 the elements other than zero are counted, as for PyTorch's vector norms. One by one
    /// unless p is 1 or 2, with the system's own pow.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">p is infinite or not a number.</exception>
    public static Reduction SumOfPowers(double p) =>
        !double.IsFinite(p)
            ? throw new ArgumentOutOfRangeException(
                nameof(p),
                p,
                "the power must be a finite number; LargestMagnitude is the norm of order infinity"
            )
            : p switch
            {
                1 => SumOfMagnitudes,
                2 => SumOfSquares,
                _ => new($"sum of powers {p}", &ReductionKernel<Powers>.Run, &ReductionKernel<Powers>.Join, p),
            };

    /// <summary>The number of one tensor, on the fastest executor unless one is named.</summary>
    /// <exception cref="ArgumentException">Absent, or <see cref="Dot"/>, which takes two.</exception>
    /// <exception cref="NotSupportedException">Integers.</exception>
    public double Of(TensorView x, Executor? executor = null)
    {
        double result = 0;
        Each([x], new(ref result), executor);
        return result;
    }

    /// <summary>The number of two tensors of one shape: for <see cref="Dot"/> only.</summary>
    /// <exception cref="ArgumentException">Absent, of two shapes or dtypes, or a reduction of one tensor.</exception>
    /// <exception cref="NotSupportedException">Integers.</exception>
    public double Of(TensorView x, TensorView y, Executor? executor = null)
    {
        double result = 0;
        Each([x], [y], new(ref result), executor);
        return result;
    }

    /// <summary>The numbers of several tensors in one pass; they may differ in dtype and shape. Nothing is allocated that grows with them.</summary>
    /// <exception cref="ArgumentException">One is absent, the numbers of tensors and results differ, or <see cref="Dot"/>.</exception>
    /// <exception cref="NotSupportedException">Integers.</exception>
    public void Each(ReadOnlySpan<TensorView> tensors, Span<double> results, Executor? executor = null) =>
        Each(tensors, results, executor, 1);

    /// <summary>The numbers of several tensors, each element times a factor and rounded to its own type before it is taken in.</summary>
    internal void Each(ReadOnlySpan<TensorView> tensors, Span<double> results, Executor? executor, double factor) =>
        Run(arity == 1, tensors, default, results, executor, factor);

    /// <summary>The numbers of several pairs of tensors in one pass.</summary>
    /// <exception cref="ArgumentException">One is absent, two do not fit, the numbers of tensors and results differ, or not <see cref="Dot"/>.</exception>
    /// <exception cref="NotSupportedException">Integers.</exception>
    public void Each(ReadOnlySpan<TensorView> xs, ReadOnlySpan<TensorView> ys, Span<double> results, Executor? executor = null)
    {
        if (ys.Length != xs.Length)
            throw new ArgumentException($"{xs.Length} tensors and {ys.Length} to go with them", nameof(ys));
        Run(arity == 2, xs, ys, results, executor, 1);
    }

    private void Run(
        bool fits,
        ReadOnlySpan<TensorView> xs,
        ReadOnlySpan<TensorView> ys,
        Span<double> results,
        Executor? executor,
        double factor
    )
    {
        if (!fits)
            throw new ArgumentException($"the {Name} is one of {(arity == 1 ? "a single tensor" : "two tensors")}");
        if (results.Length != xs.Length)
            throw new ArgumentException($"{xs.Length} tensors and {results.Length} results", nameof(results));
        if (
            operation is { } kind
            && (ys.IsEmpty ? DeviceReduction.TryRun(kind, xs, factor, results) : DeviceReduction.TryDot(xs, ys, results))
        )
            return;
        var table = ReductionTable.OfThisThread(xs.Length);
        for (var i = 0; i < xs.Length; i++)
            table.Add(Contiguous(xs[i]), ys.IsEmpty ? default : Partner(xs[i], ys[i]), asReals: !byMagnitude);
        Run(table, executor ?? Executor.Team, factor);
        for (var i = 0; i < results.Length; i++)
            results[i] = join(table.Partials(i, out var blocks), blocks);
        table.Clear();
    }

    /// <summary>The number of elements of a block: where tensors can be cut so that the parts' blocks are the whole's.</summary>
    internal const int BlockLength = ReductionTable.Block;

    /// <summary>How many blocks some elements of a dtype have.</summary>
    internal nint BlocksOf(DType dtype, nint count) => (count * (byMagnitude ? 1 : dtype.Parts()) + BlockLength - 1) / BlockLength;

    /// <summary>The numbers of the blocks of several tensors, one tensor after the other; <see cref="Join"/> makes a tensor's number of them.</summary>
    internal double[] Blocks(ReadOnlySpan<TensorView> tensors, Executor? executor, double factor)
    {
        var table = ReductionTable.OfThisThread(tensors.Length);
        foreach (var tensor in tensors)
            table.Add(Contiguous(tensor), default, asReals: !byMagnitude);
        return Blocks(table, tensors.Length, executor, factor);
    }

    /// <summary>The same of a pair of tensors.</summary>
    internal double[] Blocks(TensorView x, TensorView y, Executor? executor)
    {
        var table = ReductionTable.OfThisThread(1);
        table.Add(Contiguous(x), Partner(x, y), asReals: !byMagnitude);
        return Blocks(table, 1, executor, 1);
    }

    private double[] Blocks(ReductionTable table, int tensors, Executor? executor, double factor)
    {
        Run(table, executor ?? Executor.Team, factor);
        var found = new List<double>();
        for (var i = 0; i < tensors; i++)
        {
            var partials = table.Partials(i, out var blocks);
            found.AddRange(new ReadOnlySpan<double>(partials, (int)blocks));
        }
        table.Clear();
        return [.. found];
    }

    /// <summary>What the blocks of a tensor come to; their numbers are overwritten.</summary>
    internal double Join(Span<double> blocks)
    {
        fixed (double* first = blocks)
            return join(first, blocks.Length);
    }

    /// <summary>The number of neighbouring elements of float32 or float64.</summary>
    internal double Of(nint x, nint y, nint count, DType dtype, Executor executor)
    {
        var table = ReductionTable.OfThisThread(1);
        table.Add(x, y, count, dtype);
        Run(table, executor, 1);
        return join(table.Partials(0, out var blocks), blocks);
    }

    /// <inheritdoc cref="Of(nint, nint, nint, DType, Executor)"/>
    internal double Of(nint x, nint count, DType dtype, Executor executor) => Of(x, 0, count, dtype, executor);

    private void Run(ReductionTable table, Executor executor, double factor)
    {
        var pass = table.Pass(Lanes.Width, power, factor);
        if (table.Length > 0)
            executor.Run(table.Length, body, &pass);
    }

    private static TensorView Contiguous(TensorView x)
    {
        if (x.IsAbsent)
            throw new ArgumentException("a tensor to reduce is absent");
        if (!(x.DType.IsFloatingPoint() || x.DType.IsComplex()))
            throw new NotSupportedException($"{x.Layout} cannot be reduced; it must be of a floating point or complex dtype");
        return x.InOrder();
    }

    private static TensorView Partner(TensorView x, TensorView y)
    {
        if (!y.IsAbsent && (y.DType != x.DType || !y.Layout.SameShape(x.Layout)))
            throw new ArgumentException($"{x.Layout} and {y.Layout} do not fit: dtype and shape must be the same");
        return Contiguous(y);
    }
}
