using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>How the elements of a tensor lie in memory: dtype, device, shape and strides. Compared by content.</summary>
public sealed class Layout : IEquatable<Layout>
{
    private Layout(DType dtype, Device device, ImmutableArray<long> shape, ImmutableArray<long> strides)
    {
        (DType, Device, Shape, Strides) = (dtype, device, shape, strides);
        IsOnCpu = device == Device.Cpu;
        try
        {
            Count = 1;
            foreach (var length in shape)
                Count = checked(Count * (nint)length);
            Extent = Count == 0 ? 0 : 1;
            for (var i = 0; i < shape.Length && Count > 0; i++)
                Extent = checked(Extent + (nint)((shape[i] - 1) * strides[i]));
        }
        catch (OverflowException error)
        {
            throw new ArgumentException(
                $"the shape [{string.Join(", ", shape)}] has more elements, or its strides [{string.Join(", ", strides)}] reach farther, than {nint.MaxValue}",
                nameof(shape),
                error
            );
        }
        (IsContiguous, IsDense) = (strides.SequenceEqual(RowMajor(shape)) || Count <= 1, Count <= 1 || Packed());
    }

    /// <summary>The type of the elements.</summary>
    public DType DType { get; }

    /// <summary>Where they lie.</summary>
    public Device Device { get; }

    /// <summary>Lengths of the dimensions; empty for a single number.</summary>
    public ImmutableArray<long> Shape { get; }

    /// <summary>Elements between neighbours, for each dimension.</summary>
    public ImmutableArray<long> Strides { get; }

    /// <summary>The number of elements.</summary>
    public nint Count { get; }

    /// <summary>Elements from the first to the last in memory, with the gaps between them.</summary>
    internal nint Extent { get; }

    /// <summary>Whether the elements lie in row-major order without gaps.</summary>
    public bool IsContiguous { get; }

    /// <summary>Whether the elements lie without gaps or overlap, in the order of some permutation of the dimensions.</summary>
    public bool IsDense { get; }

    /// <summary>Row-major order without gaps, on the CPU.</summary>
    public static Layout Contiguous(DType dtype, params ReadOnlySpan<long> shape) => Strided(dtype, shape, RowMajor([.. shape]).AsSpan());

    /// <summary>Any strides, in elements; 0 repeats an element.</summary>
    /// <exception cref="ArgumentException">A length or a stride is negative, their numbers differ, or the elements are more than a 64-bit number counts.</exception>
    public static Layout Strided(DType dtype, ReadOnlySpan<long> shape, ReadOnlySpan<long> strides, Device? device = null)
    {
        if (shape.Length != strides.Length)
            throw new ArgumentException($"{strides.Length} strides for {shape.Length} dimensions", nameof(strides));
        foreach (var length in shape)
            if (length < 0)
                throw new ArgumentException($"a dimension has length {length}; it must be at least 0", nameof(shape));
        foreach (var stride in strides)
            if (stride < 0)
                throw new ArgumentException($"a stride is {stride}; it must be at least 0", nameof(strides));
        return new(dtype, device ?? Device.Cpu, [.. shape], [.. strides]);
    }

    /// <summary>Whether they lie in the memory of the processor.</summary>
    public bool IsOnCpu { get; }

    /// <summary>The same dtype, shape and device in row-major order without gaps.</summary>
    public Layout ToContiguous() => IsContiguous ? this : new(DType, Device, Shape, RowMajor(Shape));

    /// <summary>The same shape, strides and device with elements of another type.</summary>
    public Layout WithDType(DType dtype) => dtype == DType ? this : new(dtype, Device, Shape, Strides);

    /// <summary>The same dtype, shape and strides on another device.</summary>
    internal Layout On(Device device) => device == Device ? this : new(DType, device, Shape, Strides);

    /// <summary>The bytes that its elements take where each lies by itself.</summary>
    /// <exception cref="ArgumentException">More than there are addresses.</exception>
    internal nint Bytes => Addressable(Count <= MostBytes / DType.Size() ? Count * DType.Size() : nint.MaxValue, this);

    /// <summary>What any memory is smaller than; sums of two such numbers do not overflow.</summary>
    private const long MostBytes = 1L << 61;

    /// <summary>That many bytes, if there can be as many.</summary>
    /// <exception cref="ArgumentException">There cannot.</exception>
    internal static nint Addressable(nint bytes, Layout layout) =>
        bytes <= MostBytes ? bytes : throw new ArgumentException($"{layout} takes more memory than can be addressed");

    /// <summary>Whether both have the same shape.</summary>
    public bool SameShape(Layout other)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Shape.AsSpan().SequenceEqual(other.Shape.AsSpan());
    }

    /// <summary>Whether the elements of both, which have the same shape, follow each other in the same way.</summary>
    internal bool SameOrder(Layout other) =>
        ReferenceEquals(this, other) || IsContiguous && other.IsContiguous || Strides.AsSpan().SequenceEqual(other.Strides.AsSpan());

    /// <inheritdoc/>
    public bool Equals(Layout? other) =>
        ReferenceEquals(this, other)
        || other is not null
            && DType == other.DType
            && Device == other.Device
            && SameShape(other)
            && Strides.AsSpan().SequenceEqual(other.Strides.AsSpan());

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as Layout);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(DType, Device, Shape.Length, Count);

    /// <summary>Such as <c>float32[3, 2]</c>.</summary>
    public override string ToString() => $"{DType.Name()}[{string.Join(", ", Shape)}]";

    private static ImmutableArray<long> RowMajor(ImmutableArray<long> shape)
    {
        var strides = new long[shape.Length];
        for (long i = shape.Length - 1, stride = 1; i >= 0; stride *= Math.Max(1, shape[(int)i--]))
            strides[i] = stride;
        return [.. strides];
    }

    private bool Packed()
    {
        var expected = 1L;
        foreach (var (stride, length) in Strides.Zip(Shape).Where(d => d.Second != 1).OrderBy(d => d.First))
        {
            if (stride != expected)
                return false;
            expected *= length;
        }
        return true;
    }
}
