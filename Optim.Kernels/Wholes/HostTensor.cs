using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>
/// A whole tensor in the memory of the processor. Arithmetic of elements is put off until something needs them all: then what was written down so
/// far runs block by block, in one pass. Sums along dimensions are part of that pass.
/// </summary>
internal sealed class HostTensor : WholeTensor
{
    private readonly HostWhole home;

    /// <summary>A value to be worked out.</summary>
    public HostTensor(
        HostWhole home,
        DType dtype,
        ImmutableArray<long> shape,
        WholeOperation operation,
        HostTensor? a,
        HostTensor? b,
        HostTensor? c,
        HostTensor? d,
        double value
    )
        : base(dtype, shape)
    {
        this.home = home;
        (Operation, A, B, C, D, Value) = (operation, a, b, c, d, value);
    }

    /// <summary>Elements in memory, of float32 (also where they are rounded to bfloat16) or float64, and the type that they are taken as.</summary>
    public HostTensor(HostWhole home, DType dtype, ImmutableArray<long> shape, nint address, ImmutableArray<long> strides, DType stored)
        : base(dtype, shape)
    {
        this.home = home;
        (Address, Strides, Stored) = (address, strides, stored);
    }

    /// <summary>What it is made by; Leaf once it is in memory.</summary>
    public WholeOperation Operation { get; private set; }

    public HostTensor? A { get; private set; }

    public HostTensor? B { get; private set; }

    public HostTensor? C { get; private set; }

    public HostTensor? D { get; private set; }

    /// <summary>Of a number.</summary>
    public double Value { get; }

    /// <summary>Where its elements lie.</summary>
    public nint Address { get; private set; }

    /// <summary>Elements between neighbours.</summary>
    public ImmutableArray<long> Strides { get; private set; }

    /// <summary>The type that its elements have in memory.</summary>
    public DType Stored { get; private set; }

    /// <summary>The type that it is worked out in.</summary>
    public DType Work => DType == DType.Float64 ? DType.Float64 : DType.Float32;

    /// <summary>The pass that it was written down for last, and its place there.</summary>
    public int Pass { get; set; }

    /// <summary>Its place there.</summary>
    public int Place { get; set; }

    /// <summary>Whether it lies in row-major order without gaps, in its own type.</summary>
    public bool IsInOrder => Operation == WholeOperation.Leaf && Stored == Work && Strides.SequenceEqual(HostWhole.RowMajor(Shape));

    /// <summary>It is in memory now, in row-major order.</summary>
    public void Lies(nint address)
    {
        (Operation, A, B, C, D) = (WholeOperation.Leaf, null, null, null, null);
        (Address, Strides, Stored) = (address, HostWhole.RowMajor(Shape), Work);
    }

    private protected override WholeTensor Number(double value) =>
        new HostTensor(home, DType, [1], WholeOperation.Number, null, null, null, null, value);

    private protected override WholeTensor Apply(
        WholeOperation operation,
        ImmutableArray<long> shape,
        WholeTensor a,
        WholeTensor? b,
        WholeTensor? c,
        WholeTensor? d
    )
    {
        // The widest of those that are no numbers; all values of a pass are of one type.
        var isNumber = a is HostTensor { Operation: WholeOperation.Number } && b is null or HostTensor { Operation: WholeOperation.Number };
        var dtype = isNumber && c is null ? a.DType : DType.BFloat16;
        foreach (var one in (ReadOnlySpan<WholeTensor?>)[a, b, c, d])
            if (one is HostTensor { Operation: not WholeOperation.Number } known)
                dtype = Wider(dtype, known.DType);
        var made = new HostTensor(home, dtype, shape, operation, In(a, dtype), In(b, dtype), In(c, dtype), In(d, dtype), 0);
        return dtype == DType.BFloat16 && operation is not (WholeOperation.Sign or WholeOperation.Abs or WholeOperation.Negate)
            ? new HostTensor(home, dtype, shape, WholeOperation.Round, made, null, null, null, 0)
            : made;
    }

    private static DType Wider(DType a, DType b) =>
        a == DType.Float64 || b == DType.Float64 ? DType.Float64
        : a == DType.Float32 || b == DType.Float32 ? DType.Float32
        : DType.BFloat16;

    private static HostTensor? In(WholeTensor? value, DType dtype) =>
        value is null ? null
        : value.DType == dtype || ((HostTensor)value).Operation == WholeOperation.Number ? (HostTensor)value
        : (HostTensor)value.To(dtype);

    private protected override WholeTensor Converted(DType dtype)
    {
        if (Operation == WholeOperation.Number)
            return new HostTensor(home, dtype, Shape, WholeOperation.Number, null, null, null, null, Value);
        var leaf = home.InMemory(this);
        var other = new HostTensor(home, dtype, Shape, leaf.Address, leaf.Strides, leaf.Stored);
        return dtype == DType.BFloat16 ? new HostTensor(home, dtype, Shape, WholeOperation.Round, other, null, null, null, 0) : other;
    }

    private protected override WholeTensor Reduced(WholeReduction reduction, int first, int last, ImmutableArray<long> shape) =>
        home.Reduce(this, reduction, first, last, shape);

    private protected override WholeTensor Viewed(ImmutableArray<int> dimensions, ImmutableArray<long> shape)
    {
        var leaf = home.InMemory(this);
        return new HostTensor(home, DType, shape, leaf.Address, [.. dimensions.Select(dimension => leaf.Strides[dimension])], leaf.Stored);
    }

    private protected override WholeTensor Shaped(ImmutableArray<long> shape) =>
        new HostTensor(home, DType, shape, home.InOrder(this).Address, HostWhole.RowMajor(shape), Work);

    private protected override WholeTensor Multiplied(
        WholeTensor right,
        double scale,
        WholeTensor? other,
        double shift,
        ImmutableArray<long> shape
    ) => home.Product(this, (HostTensor)right, scale, (HostTensor?)other, shift, shape);

    private protected override (WholeTensor Values, WholeTensor Vectors) Decomposed(ImmutableArray<long> values) =>
        home.Eigenvectors(this, values);

    private protected override WholeTensor Orthonormalized() => home.Orthonormal(this);

    private protected override WholeTensor Sorted(int dimension, WholeTensor keys) => home.Ordered(this, dimension, (HostTensor)keys);

    private protected override WholeTensor Unit(ImmutableArray<long> shape) => home.Identity(DType, shape);

    private protected override WholeTensor Settled() => home.InOrder(this);

    private protected override void Free()
    {
        if (Operation == WholeOperation.Leaf)
            home.Memory.Give(Address);
    }
}
