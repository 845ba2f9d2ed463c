namespace Optim.Kernels;

/// <summary>
/// A lane that is a whole tensor of one dimension at least: what the rules that look at whole tensors need beside the arithmetic of elements.
/// A number that is made of all elements is a lane, too, which combines with the tensor.
/// </summary>
/// <typeparam name="V">The implementing type.</typeparam>
public interface IWhole<V> : ILane<V>, ITakes<V, Real>
    where V : struct, IWhole<V>
{
    /// <summary>The sum of the squares of all elements, as a number; in float64 where there is such a thing.</summary>
    static abstract V SumOfSquares(V value);

    /// <summary>The sum of all elements, as a number; in float64 where there is such a thing.</summary>
    static abstract V Sum(V value);

    /// <summary>The largest magnitude of all elements, as a number; NaN where there is one.</summary>
    static abstract V LargestMagnitude(V value);

    /// <summary>What a number comes to.</summary>
    static abstract double Read(V number);

    /// <summary>A copy of a tensor in the processor's memory, where another one lies, in the form of lanes.</summary>
    static abstract V CopyOf(TensorView tensor, V like);

    /// <summary>The means along a dimension, counted from the last one, which is -1; it stays, with a length of 1.</summary>
    static abstract V Mean(V value, int dimension);

    /// <summary>A matrix with rows and columns exchanged; it may share its memory.</summary>
    static abstract V Transposed(V matrix);

    /// <summary>The product of two matrices.</summary>
    static abstract V Product(V left, V right);

    /// <summary>scale left right + shift other, of matrices; what is kept in a narrow type is rounded to it once.</summary>
    static abstract V Product(V left, V right, double scale, V other, double shift);

    /// <summary>Rounded to bfloat16, in which products are then computed.</summary>
    static abstract V Narrow(V value);

    /// <summary>A narrow one in the type of another lane.</summary>
    static abstract V Widen(V value, V like);

    /// <summary>Rounded to a half type, and in the type of the arithmetic as before.</summary>
    static abstract V Round(V value, DType dtype);

    // What rules of matrices need beside that. Dimensions are counted from the first, which is 0, and stay, with a length of 1.

    /// <summary>The sums along a dimension.</summary>
    static abstract V Sum(V value, int dimension);

    /// <summary>The largest elements along a dimension; NaN where there is one.</summary>
    static abstract V Largest(V value, int dimension);

    /// <summary>The same elements in row-major order under other lengths of dimensions.</summary>
    static abstract V Reshaped(V value, ReadOnlySpan<long> shape);

    /// <summary>The dimensions in another order; it may share its memory.</summary>
    static abstract V Permuted(V value, ReadOnlySpan<int> dimensions);

    /// <summary>In float32 or float64.</summary>
    static abstract V Converted(V value, DType dtype);

    /// <summary>Each element to a power, which is a number.</summary>
    static abstract V Power(V value, V exponent);

    /// <summary>Of a symmetric matrix the vectors, as columns, by falling eigenvalues, and these as a row.</summary>
    static abstract V Eigenvectors(V matrix, out V values);

    /// <summary>The Q of a matrix' factors Q R.</summary>
    static abstract V Orthonormal(V matrix);

    /// <summary>The slices along a dimension in falling order of as many keys.</summary>
    static abstract V Ordered(V value, int dimension, V keys);

    /// <summary>The identity matrix of so many rows, of the type and on the device of another lane.</summary>
    static abstract V Identity(V like, long rows);

    /// <summary>Says that a value which nothing else shares is not needed any more, so that its memory can be used again.</summary>
    static abstract void Free(V value);
}
