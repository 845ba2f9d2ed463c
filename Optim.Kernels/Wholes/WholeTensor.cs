using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>
/// A whole tensor in the step of a rule of matrices: what <see cref="IWhole{V}"/> is to lanes, as a value that formulas are written with, of any
/// shape. Shapes are broadcast; what is made of many elements keeps its dimensions with a length of 1. A tensor of no dimensions counts as one of
/// a single dimension. It lives as long as the step, in which nothing that it is made of changes.
/// </summary>
public abstract partial class WholeTensor
{
    private protected WholeTensor(DType dtype, ImmutableArray<long> shape)
    {
        (DType, Shape) = (dtype, shape);
        Count = 1;
        foreach (var length in shape)
            Count *= (nint)length;
    }

    /// <summary>float32 or float64, or bfloat16 after <see cref="To"/>: every operation is then rounded to it.</summary>
    public DType DType { get; }

    /// <summary>Lengths of the dimensions, one at least.</summary>
    public ImmutableArray<long> Shape { get; }

    /// <summary>The number of elements.</summary>
    public nint Count { get; }

    /// <summary>The number of dimensions.</summary>
    public int Rank => Shape.Length;

    /// <summary>The length of a dimension; counted from the last one, which is -1, where it is negative.</summary>
    public long Length(int dimension) => Shape[Dimension(dimension)];

    // What engines do.

    private protected abstract WholeTensor Number(double value);

    private protected abstract WholeTensor Apply(
        WholeOperation operation,
        ImmutableArray<long> shape,
        WholeTensor a,
        WholeTensor? b = null,
        WholeTensor? c = null,
        WholeTensor? d = null
    );

    // Dimensions [first, last) become 1; of a tensor of bfloat16 the result is of float32.
    private protected abstract WholeTensor Reduced(WholeReduction reduction, int first, int last, ImmutableArray<long> shape);

    private protected abstract WholeTensor Viewed(ImmutableArray<int> dimensions, ImmutableArray<long> shape);

    private protected abstract WholeTensor Shaped(ImmutableArray<long> shape);

    private protected abstract WholeTensor Multiplied(
        WholeTensor right,
        double scale,
        WholeTensor? other,
        double shift,
        ImmutableArray<long> shape
    );

    private protected abstract WholeTensor Converted(DType dtype);

    private protected abstract (WholeTensor Values, WholeTensor Vectors) Decomposed(ImmutableArray<long> values);

    private protected abstract WholeTensor Orthonormalized();

    private protected abstract WholeTensor Sorted(int dimension, WholeTensor keys);

    private protected abstract WholeTensor Unit(ImmutableArray<long> shape);

    // In row-major order, for whom that matters.
    private protected abstract WholeTensor Settled();

    /// <summary>Says that the value is not needed any more, and shares its memory with none that is: so it can be used again.</summary>
    private protected abstract void Free();

    // What is made of many elements.

    /// <summary>The sum of all elements.</summary>
    public WholeTensor Sum() => Made(WholeReduction.Sum, 0, Rank);

    /// <summary>The sums along neighbouring dimensions.</summary>
    public WholeTensor Sum(int first, int last) => Made(WholeReduction.Sum, first, last);

    /// <summary>The mean of all elements.</summary>
    public WholeTensor Mean() => Mean(0, -1);

    /// <summary>The means along neighbouring dimensions.</summary>
    public WholeTensor Mean(int first, int last)
    {
        var count = 1.0;
        for (var i = Dimension(first); i <= Dimension(last); i++)
            count *= Shape[i];
        return Sum(first, last) / count;
    }

    /// <summary>The largest element along neighbouring dimensions; NaN where there is one.</summary>
    public WholeTensor Largest(int first, int last) => Made(WholeReduction.Max, first, last);

    /// <summary>The smallest element along neighbouring dimensions; NaN where there is one.</summary>
    public WholeTensor Smallest(int first, int last) => -(-this).Largest(first, last);

    /// <summary>The Euclidean norm of all elements.</summary>
    public WholeTensor Norm() => Norm(0, -1);

    /// <summary>The Euclidean norms along neighbouring dimensions.</summary>
    public WholeTensor Norm(int first, int last) => Sqrt(Raw(WholeReduction.SumOfSquares, first, last)).To(DType);

    /// <summary>The root of the mean square of all elements.</summary>
    public WholeTensor RootMeanSquare() => Norm() / Math.Sqrt(Count);

    // Shapes.

    /// <summary>The dimensions in another order.</summary>
    public WholeTensor Permuted(params int[] dimensions)
    {
        ArgumentNullException.ThrowIfNull(dimensions);
        if (dimensions.Length != Rank)
            throw new ArgumentException($"{dimensions.Length} dimensions of a tensor of {Rank}", nameof(dimensions));
        var shape = ImmutableArray.CreateBuilder<long>(Rank);
        foreach (var dimension in dimensions)
            shape.Add(Shape[dimension]);
        return Viewed([.. dimensions], shape.ToImmutable());
    }

    /// <summary>A matrix with rows and columns exchanged.</summary>
    public WholeTensor Transposed => Matrix().Permuted(1, 0);

    /// <summary>The same elements in row-major order under other lengths of dimensions.</summary>
    public WholeTensor Reshaped(params long[] shape) => Reshaped(shape.AsSpan());

    /// <summary>The same elements in row-major order under other lengths of dimensions.</summary>
    public WholeTensor Reshaped(ReadOnlySpan<long> shape)
    {
        nint count = 1;
        foreach (var length in shape)
            count *= (nint)length;
        if (count != Count || shape.IsEmpty)
            throw new ArgumentException($"[{string.Join(", ", Shape)}] cannot be reshaped to [{string.Join(", ", shape.ToArray())}]");
        return shape.SequenceEqual(Shape.AsSpan()) ? this : Shaped([.. shape]);
    }

    /// <summary>A matrix: the first dimension by all the others; a vector is a single column.</summary>
    public WholeTensor Flattened => Rank == 2 ? this : Reshaped(Shape[0], Count / Math.Max(1, (nint)Shape[0]));

    /// <summary>The slices along a dimension in falling order of as many keys.</summary>
    public WholeTensor Ordered(int dimension, WholeTensor keys)
    {
        ArgumentNullException.ThrowIfNull(keys);
        if (keys.Count != Length(dimension))
            throw new ArgumentException($"{keys.Count} keys for a dimension of {Length(dimension)}", nameof(keys));
        return Sorted(Dimension(dimension), keys);
    }

    // Matrices.

    /// <summary>The product of two matrices.</summary>
    public static WholeTensor Product(WholeTensor left, WholeTensor right) => Product(left, right, 1, null, 0);

    /// <summary>scale left right + shift other, of matrices; in bfloat16 it is rounded once.</summary>
    public static WholeTensor Product(WholeTensor left, WholeTensor right, double scale, WholeTensor? other, double shift)
    {
        var (m, k, n) = (Given(left).Matrix().Shape[0], left.Shape[1], Given(right).Matrix().Shape[1]);
        if (right.Shape[0] != k || other is not null && !other.Shape.SequenceEqual([m, n]))
            throw new ArgumentException($"a product of [{m}, {k}] and [{right.Shape[0]}, {n}]", nameof(right));
        return left.Multiplied(right, scale, other, shift, [m, n]);
    }

    /// <summary>The identity matrix of so many rows.</summary>
    public WholeTensor Identity(long rows) => Unit([rows, rows]);

    /// <summary>Of a symmetric matrix the eigenvalues, falling, as a row, and their vectors as columns; NaN where an element is not finite.</summary>
    public (WholeTensor Values, WholeTensor Vectors) Eigenvectors()
    {
        if (Matrix().Shape[0] != Shape[1])
            throw new ArgumentException($"[{string.Join(", ", Shape)}] is not square");
        return Decomposed([1, Shape[0]]);
    }

    /// <summary>The Q of a matrix' factors Q R, of no more columns than rows: orthonormal columns, each in the span of the first ones.</summary>
    public WholeTensor Orthonormal()
    {
        if (Matrix().Shape[0] < Shape[1])
            throw new ArgumentException($"[{string.Join(", ", Shape)}] has more columns than rows");
        return Orthonormalized();
    }

    /// <summary>
    /// A matrix near the nearest one with orthonormal rows or columns, by Newton and Schulz's iteration on X, the matrix over its Frobenius norm, with
    /// no more rows than columns (transposed when it has): A = X X', X = a X + (b A + c A A) X.
    /// </summary>
    /// <param name="coefficients">a, b and c of each iteration.</param>
    /// <param name="work">The type in which every matrix is kept; bfloat16 as PyTorch has it.</param>
    /// <param name="divisor">What the matrix is divided by, made of its norm.</param>
    public WholeTensor Orthogonalized(
        ReadOnlySpan<(double A, double B, double C)> coefficients,
        DType work,
        Func<WholeTensor, WholeTensor> divisor
    )
    {
        ArgumentNullException.ThrowIfNull(divisor);
        var isTall = Matrix().Shape[0] > Shape[1];
        var x = To(work);
        x /= divisor(x.Norm());
        if (isTall)
            x = x.Transposed.Settled();
        foreach (var (a, b, c) in coefficients)
        {
            var square = Product(x, x.Transposed);
            // It is symmetric: half of a product with its transpose is worked out.
            var polynomial = Product(square, square.Transposed, c, square, b);
            var next = Product(polynomial, x, 1, x, a);
            // All of the iterations' matrices at once would be many times the parameter.
            x.Free();
            square.Free();
            polynomial.Free();
            x = next;
        }
        return isTall ? x.Transposed : x;
    }

    /// <summary>The nearest number of bfloat16.</summary>
    public static double ToBFloat16(double value) => HostLoops.ToBFloat16((float)value);

    /// <summary>In another type: float32, float64 or bfloat16.</summary>
    public WholeTensor To(DType dtype) =>
        dtype == DType ? this
        : dtype is DType.Float32 or DType.Float64 or DType.BFloat16 ? Converted(dtype)
        : throw new ArgumentException($"whole tensors are float32, float64 or bfloat16, and not {dtype.Name()}", nameof(dtype));

    /// <summary>Rounded to bfloat16, in the type that it has.</summary>
    public WholeTensor Rounded() => DType == DType.BFloat16 ? this : Of(WholeOperation.Round, this);

    /// <inheritdoc/>
    public override string ToString() => $"{DType.Name()}[{string.Join(", ", Shape)}]";

    private static WholeTensor Given(WholeTensor value) => value ?? throw new ArgumentNullException(nameof(value));

    private WholeTensor Matrix() => Rank == 2 ? this : throw new ArgumentException($"{this} is not a matrix");

    private int Dimension(int dimension)
    {
        var counted = dimension < 0 ? dimension + Rank : dimension;
        return counted >= 0 && counted < Rank
            ? counted
            : throw new ArgumentException($"{this} has no dimension {dimension}", nameof(dimension));
    }

    private WholeTensor Made(WholeReduction reduction, int first, int last) =>
        Raw(reduction, first, last == Rank ? Rank - 1 : last).To(DType);

    private WholeTensor Raw(WholeReduction reduction, int first, int last)
    {
        (first, last) = (Dimension(first), Dimension(last) + 1);
        var shape = Shape.ToBuilder();
        for (var i = first; i < last; i++)
            shape[i] = 1;
        return Reduced(reduction, first, last, shape.ToImmutable());
    }
}
