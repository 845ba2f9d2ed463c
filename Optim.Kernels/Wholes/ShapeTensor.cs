using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>A tensor without elements: by it definitions tell what they declare, and that shapes go together.</summary>
internal sealed class ShapeTensor(DType dtype, ImmutableArray<long> shape) : WholeTensor(dtype, shape)
{
    private protected override WholeTensor Number(double value) => new ShapeTensor(DType, [1]);

    private protected override WholeTensor Apply(
        WholeOperation operation,
        ImmutableArray<long> shape,
        WholeTensor a,
        WholeTensor? b,
        WholeTensor? c,
        WholeTensor? d
    ) => new ShapeTensor(DType, shape);

    private protected override WholeTensor Reduced(WholeReduction reduction, int first, int last, ImmutableArray<long> shape) =>
        new ShapeTensor(DType, shape);

    private protected override WholeTensor Viewed(ImmutableArray<int> dimensions, ImmutableArray<long> shape) =>
        new ShapeTensor(DType, shape);

    private protected override WholeTensor Shaped(ImmutableArray<long> shape) => new ShapeTensor(DType, shape);

    private protected override WholeTensor Multiplied(
        WholeTensor right,
        double scale,
        WholeTensor? other,
        double shift,
        ImmutableArray<long> shape
    ) => new ShapeTensor(DType, shape);

    private protected override WholeTensor Converted(DType dtype) => new ShapeTensor(dtype, Shape);

    private protected override (WholeTensor Values, WholeTensor Vectors) Decomposed(ImmutableArray<long> values) =>
        (new ShapeTensor(DType, values), this);

    private protected override WholeTensor Orthonormalized() => this;

    private protected override WholeTensor Sorted(int dimension, WholeTensor keys) => this;

    private protected override WholeTensor Unit(ImmutableArray<long> shape) => new ShapeTensor(DType, shape);

    private protected override WholeTensor Settled() => this;

    private protected override void Free() { }
}
