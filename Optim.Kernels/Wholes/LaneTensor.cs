using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>A whole tensor as a lane, wherever that lies. Numbers about a tensor may be lanes without dimensions, which go with all shapes.</summary>
/// <param name="lane">The tensor.</param>
/// <param name="dtype">The type of its elements.</param>
/// <param name="shape">Its shape; of a number as many ones as its tensor had dimensions.</param>
internal sealed class LaneTensor<V>(V lane, DType dtype, ImmutableArray<long> shape) : WholeTensor(dtype, shape)
    where V : struct, IWhole<V>
{
    /// <summary>The lane.</summary>
    public V Lane => lane;

    private LaneTensor<V> Of(V made, ImmutableArray<long> shape) => new(made, DType, shape);

    private static V In(WholeTensor? value) => ((LaneTensor<V>)value!).Lane;

    private protected override WholeTensor Number(double value) => Of(V.Of(value), [1]);

    private protected override WholeTensor Apply(
        WholeOperation operation,
        ImmutableArray<long> shape,
        WholeTensor a,
        WholeTensor? b,
        WholeTensor? c,
        WholeTensor? d
    )
    {
        var x = In(a);
        return Of(
            operation switch
            {
                WholeOperation.Add => x + In(b),
                WholeOperation.Subtract => x - In(b),
                WholeOperation.Multiply => x * In(b),
                WholeOperation.Divide => x / In(b),
                WholeOperation.Negate => -x,
                WholeOperation.Sqrt => V.Sqrt(x),
                WholeOperation.Abs => V.Abs(x),
                WholeOperation.Sign => V.Select(V.Greater(x, V.Of(0)), V.Of(1), V.Select(V.Greater(V.Of(0), x), V.Of(-1), V.Of(0))),
                WholeOperation.Max => V.Max(x, In(b)),
                WholeOperation.Min => V.Min(x, In(b)),
                WholeOperation.Exp => V.Exp(x),
                WholeOperation.Log => V.Log(x),
                WholeOperation.Power => V.Power(x, In(b)),
                WholeOperation.Choose => V.Select(V.Greater(x, In(b)), In(c), In(d)),
                WholeOperation.Round => V.Round(x, DType.BFloat16),
                _ => throw new NotSupportedException($"{operation} of a lane"),
            },
            shape
        );
    }

    private protected override WholeTensor Reduced(WholeReduction reduction, int first, int last, ImmutableArray<long> shape)
    {
        // Sums of bfloat16 go on in float32.
        var dtype = DType == DType.BFloat16 ? DType.Float32 : DType;
        nint count = 1;
        foreach (var length in shape)
            count *= (nint)length;
        if (count == Count)
            return new LaneTensor<V>(reduction == WholeReduction.SumOfSquares ? lane * lane : lane, dtype, shape);
        if (count == 1 && reduction != WholeReduction.Max)
            return new LaneTensor<V>(reduction == WholeReduction.Sum ? V.Sum(lane) : V.SumOfSquares(lane), dtype, shape);
        var made = reduction == WholeReduction.SumOfSquares ? lane * lane : lane;
        for (var i = first; i < last; i++)
            if (Shape[i] != 1)
                made = reduction == WholeReduction.Max ? V.Largest(made, i) : V.Sum(made, i);
        return new LaneTensor<V>(made, dtype, shape);
    }

    private protected override WholeTensor Viewed(ImmutableArray<int> dimensions, ImmutableArray<long> shape) =>
        Of(Count == 1 ? lane : V.Permuted(lane, dimensions.AsSpan()), shape);

    private protected override WholeTensor Shaped(ImmutableArray<long> shape) =>
        Of(Count == 1 ? lane : V.Reshaped(lane, shape.AsSpan()), shape);

    private protected override WholeTensor Multiplied(
        WholeTensor right,
        double scale,
        WholeTensor? other,
        double shift,
        ImmutableArray<long> shape
    ) =>
        Of(
            other is null && scale == 1 ? V.Product(lane, In(right))
                : other is null ? V.Of(scale) * V.Product(lane, In(right))
                : V.Product(lane, In(right), scale, In(other), shift),
            shape
        );

    private protected override WholeTensor Converted(DType dtype) =>
        new LaneTensor<V>(dtype == DType.BFloat16 ? V.Narrow(lane) : V.Converted(lane, dtype), dtype, Shape);

    private protected override (WholeTensor Values, WholeTensor Vectors) Decomposed(ImmutableArray<long> values)
    {
        var vectors = V.Eigenvectors(lane, out var numbers);
        return (Of(numbers, values), Of(vectors, Shape));
    }

    private protected override WholeTensor Orthonormalized() => Of(V.Orthonormal(lane), Shape);

    private protected override WholeTensor Sorted(int dimension, WholeTensor keys) => Of(V.Ordered(lane, dimension, In(keys)), Shape);

    private protected override WholeTensor Unit(ImmutableArray<long> shape) => Of(V.Identity(lane, shape[0]), shape);

    private protected override WholeTensor Settled() => this;

    private protected override void Free() => V.Free(lane);
}
