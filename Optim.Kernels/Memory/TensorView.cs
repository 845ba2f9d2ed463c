using System.Collections.Immutable;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// A window of memory with a shape: where the first element lies, how the others follow, and who keeps the memory alive.
/// A view is cheap to copy and does not own anything by itself; the default value is absent. Two views are equal where they are the same window;
/// <see cref="ContentEquals"/> compares elements.
/// </summary>
/// <param name="address">The address of the first element.</param>
/// <param name="layout">How the elements lie.</param>
/// <param name="owner">Whatever must stay alive for the memory to stay valid; null when the caller sees to it.</param>
public readonly unsafe struct TensorView(nint address, Layout layout, object? owner)
{
    private const int Chunk = 1 << 20;

    /// <summary>Elements that are converted at a time: their numbers as doubles stay in a cache.</summary>
    private const int ConvertedAtOnce = 1 << 16;

    /// <summary>The address of the first element.</summary>
    public nint Address { get; } = address;

    /// <summary>How the elements lie.</summary>
    public Layout Layout { get; } = layout ?? throw new ArgumentNullException(nameof(layout));

    /// <summary>What keeps the memory alive.</summary>
    public object? Owner { get; } = owner;

    /// <summary>Whether there is no tensor.</summary>
    public bool IsAbsent => Layout is null;

    /// <summary>Whether its owner has given the memory back, so that nothing can be read or written any more.</summary>
    public bool IsReleased => Owner is ReleasableMemory { IsReleased: true };

    /// <summary>The type of the elements.</summary>
    public DType DType => Known.DType;

    /// <summary>Where the elements lie.</summary>
    public Device Device => Known.Device;

    /// <summary>Lengths of the dimensions; empty for a single number.</summary>
    public ImmutableArray<long> Shape => Known.Shape;

    /// <summary>Elements between neighbours, for each dimension.</summary>
    public ImmutableArray<long> Strides => Known.Strides;

    /// <summary>The number of elements.</summary>
    public nint Count => Known.Count;

    private Layout Known => Layout ?? throw Absent();

    private static InvalidOperationException Absent() => new("the tensor is absent (a default TensorView): it has no elements");

    /// <summary>The view itself, whose memory is still there.</summary>
    /// <exception cref="InvalidOperationException">It is absent.</exception>
    /// <exception cref="ObjectDisposedException">Its owner has given the memory back.</exception>
    internal TensorView Live()
    {
        if (IsAbsent)
            throw Absent();
        return IsReleased
            ? throw new ObjectDisposedException(null, $"the memory of {Layout} was given back when its parameter was disposed")
            : this;
    }

    /// <summary>An argument that must be there, and its memory with it.</summary>
    internal static void Check(in TensorView view, string name)
    {
        if (view.IsAbsent)
            throw new ArgumentException("the tensor is absent (a default TensorView)", name);
        view.Live();
    }

    /// <summary>Fresh aligned memory, all zero.</summary>
    public static TensorView Zeros(DType dtype, params ReadOnlySpan<long> shape) => Zeros(Layout.Contiguous(dtype, shape));

    /// <inheritdoc cref="Zeros(DType, ReadOnlySpan{long})"/>
    public static TensorView Zeros(DType dtype, long[] shape)
    {
        ArgumentNullException.ThrowIfNull(shape);
        return Zeros(dtype, shape.AsSpan());
    }

    /// <summary>Fresh aligned memory, all zero, for a layout without gaps.</summary>
    public static TensorView Zeros(Layout layout)
    {
        ArgumentNullException.ThrowIfNull(layout);
        if (!layout.IsOnCpu)
            return DeviceMemory.Of(layout.Device).Zeros(layout);
        var block = new NativeBlock(layout.Bytes);
        return new(block.Address, layout, block);
    }

    /// <summary>One block of zeroed memory for several tensors without gaps, each starting on a cache line of its own; on other devices a block each.</summary>
    public static TensorView[] Slab(ReadOnlySpan<Layout> layouts) => Slab(layouts, cleared: true);

    /// <summary>The same, of memory that is zero only where it is asked for: for what is written as a whole.</summary>
    internal static TensorView[] Slab(ReadOnlySpan<Layout> layouts, bool cleared)
    {
        nint length = 0;
        foreach (var layout in layouts)
            if (layout is null)
                throw new ArgumentException("a layout is null", nameof(layouts));
            else if (layout.IsOnCpu)
                length = Layout.Addressable(length + NativeBlock.Aligned(layout.Bytes), layout);
        var block = new NativeBlock(length, cleared);
        var views = new TensorView[layouts.Length];
        var address = block.Address;
        for (var i = 0; i < views.Length; i++)
        {
            if (!layouts[i].IsOnCpu)
            {
                views[i] = Zeros(layouts[i]);
                continue;
            }
            views[i] = new(address, layouts[i], block);
            address += NativeBlock.Aligned(layouts[i].Bytes);
        }
        return views;
    }

    /// <summary>A copy of row-major values in memory of its own; without a shape, of one dimension, or a single number for one value.</summary>
    /// <exception cref="ArgumentException">The shape has another number of elements.</exception>
    public static TensorView Of<T>(ReadOnlySpan<T> values, params ReadOnlySpan<long> shape)
        where T : unmanaged
    {
        var layout = Layout.Contiguous(DTypes.Of<T>(), shape.IsEmpty && values.Length != 1 ? [values.Length] : shape);
        if (layout.Count != values.Length)
            throw new ArgumentException($"{values.Length} values for the shape of {layout}", nameof(shape));
        var view = Zeros(layout);
        values.CopyTo(view.AsSpan<T>());
        return view;
    }

    /// <inheritdoc cref="Of{T}(ReadOnlySpan{T}, ReadOnlySpan{long})"/>
    public static TensorView Of<T>(T[] values, long[] shape)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(values);
        ArgumentNullException.ThrowIfNull(shape);
        return Of<T>(values.AsSpan(), shape.AsSpan());
    }

    /// <summary>A copy of values in memory of its own, of one dimension.</summary>
    public static TensorView Of<T>(T[] values)
        where T : unmanaged
    {
        ArgumentNullException.ThrowIfNull(values);
        return Of<T>(values.AsSpan(), [values.Length]);
    }

    /// <summary>The elements as a span; free. Up to int.MaxValue elements, without gaps.</summary>
    /// <exception cref="InvalidOperationException">Another dtype, strides with gaps, more elements, or not in the processor's memory.</exception>
    public Span<T> AsSpan<T>()
        where T : unmanaged
    {
        if (DTypes.Of<T>() != Live().DType)
            throw new InvalidOperationException($"the elements of {Layout} are not of type {typeof(T).Name}");
        if (!Layout.IsContiguous || Device != Device.Cpu || Owner is DeferredMemory)
            throw new InvalidOperationException($"{Layout} is not contiguous memory of the processor");
        if (Count > int.MaxValue)
            throw new InvalidOperationException($"{Layout} has more elements than a span, {int.MaxValue}; take views of its parts");
        return new((void*)Address, (int)Count);
    }

    /// <summary>The elements in row-major order, widened to double; <see cref="DTypes.Parts"/> numbers each.</summary>
    /// <exception cref="InvalidOperationException">There are more than an array holds.</exception>
    public double[] ToDoubles()
    {
        if (Live().Count > Array.MaxLength / DType.Parts())
            throw new InvalidOperationException(
                $"{Layout} has more numbers than an array holds, {Array.MaxLength}; take views of its parts"
            );
        var values = new double[(int)Count * DType.Parts()];
        ElementNumbers.Widen(InOrder(), values);
        return values;
    }

    /// <summary>The elements in the memory of the processor: itself where they lie there, a copy in row-major order otherwise.</summary>
    public TensorView ToHost()
    {
        if (Live().Layout.IsOnCpu)
            return this;
        var copy = Zeros(DType, Shape.AsSpan());
        StridedCopy.Run(this, copy);
        return copy;
    }

    /// <summary>The same elements in row-major order, in memory of their own, on the same device.</summary>
    public TensorView Copy()
    {
        var copy = Zeros(Live().Layout.ToContiguous());
        StridedCopy.Run(this, copy);
        return copy;
    }

    /// <summary>Copies the elements of <paramref name="source"/>, of the same dtype and shape, over these.</summary>
    /// <exception cref="ArgumentException">Dtype or shape differ.</exception>
    public void CopyFrom(TensorView source)
    {
        Check(source, nameof(source));
        Live();
        if (source.DType != DType || !source.Layout.SameShape(Layout))
            throw new ArgumentException($"{source.Layout} cannot be copied over {Layout}", nameof(source));
        // Elements that both have in other places: some would be written before they are read.
        StridedCopy.Run(Overlap.Of(source, this) == Sharing.Partial ? source.Copy() : source, this);
    }

    /// <summary>Copies the elements of <paramref name="source"/>, of the same shape and any dtype, over these of a floating point or complex dtype; each is rounded once.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    /// <exception cref="NotSupportedException">These are whole numbers, or one side is complex and the other is not.</exception>
    public void ConvertFrom(TensorView source)
    {
        Check(source, nameof(source));
        Live();
        if (source.DType == DType)
        {
            CopyFrom(source);
            return;
        }
        if (!source.Layout.SameShape(Layout))
            throw new ArgumentException($"{source.Layout} cannot be copied over {Layout}", nameof(source));
        // As a whole before anything is written here: what is deferred may fail to be read, and both may overlap.
        CopyFrom(source.ConvertTo(DType));
    }

    /// <summary>The same elements in row-major order in memory of their own, as another floating point or complex dtype; each is rounded once.</summary>
    /// <exception cref="NotSupportedException">That dtype has whole numbers, or one is complex and the other is not.</exception>
    /// <exception cref="IOException">The elements are deferred and cannot be read.</exception>
    public TensorView ConvertTo(DType dtype)
    {
        if (dtype == DType)
            return Layout.IsOnCpu ? Copy() : ToHost();
        var isComplex = DType.IsComplex() || DType == DType.Complex32;
        if (isComplex != dtype.IsComplex() || !(isComplex || dtype.IsFloatingPoint()) || DType == DType.Float4_E2M1FN_X2)
            throw new NotSupportedException($"{Layout} cannot be converted to {dtype.Name()}");
        var converted = Zeros(dtype, Shape.AsSpan());
        var ordered = Layout.IsOnCpu && Layout.IsContiguous ? this : InOrder();
        Span<double> numbers = new double[(int)Math.Min(ConvertedAtOnce, Count) * dtype.Parts()];
        for (nint at = 0; at < Count; at += ConvertedAtOnce)
        {
            var length = (int)Math.Min(ConvertedAtOnce, Count - at);
            numbers = numbers[..(length * dtype.Parts())];
            ElementNumbers.Widen(ordered.Part(at, length).InOrder(), numbers);
            ElementNumbers.Set(converted.Part(at, length), numbers);
        }
        return converted;
    }

    /// <summary>Some elements of a contiguous tensor, from one on.</summary>
    internal TensorView Part(nint at, nint length) => new(Address + at * DType.Size(), Layout.Contiguous(DType, length), Owner);

    /// <summary>Dtype, shape and the first elements in row-major order, as in <c>float32[2, 5] (1, 2, 3, 4, 5, 6, 7, 8, ...)</c>.</summary>
    public override string ToString() => IsAbsent ? "absent" : PrintedTensor.Of(this);

    /// <summary>Whether both have the same dtype, shape and elements, bit for bit, however they lie.</summary>
    public bool ContentEquals(TensorView other)
    {
        if (IsAbsent || other.IsAbsent)
            return IsAbsent == other.IsAbsent;
        if (DType != other.DType || !Layout.SameShape(other.Layout))
            return false;
        var (a, b) = (Live().InOrder(), other.Live().InOrder());
        var equal = true;
        for (nint at = 0, bytes = Count * DType.Size(); equal && at < bytes; at += Chunk)
        {
            var length = (int)Math.Min(Chunk, bytes - at);
            equal = new ReadOnlySpan<byte>((byte*)a.Address + at, length).SequenceEqual(
                new ReadOnlySpan<byte>((byte*)b.Address + at, length)
            );
        }
        GC.KeepAlive(a.Owner);
        GC.KeepAlive(b.Owner);
        return equal;
    }

    /// <summary>Sets every element to zero, in any layout and dtype.</summary>
    public void Clear()
    {
        if (!Live().Layout.IsOnCpu)
            DeviceMemory.Of(Device).Fill(this, 0);
        else if (Layout.IsDense)
            NativeMemory.Clear((void*)Address, (nuint)(Count * DType.Size()));
        else
            StridedCopy.Run(Zeros(DType).Repeated(Layout), this);
        GC.KeepAlive(Owner);
    }

    /// <summary>Sets every element, and both parts of complex ones; for tensors without gaps of a floating point or complex dtype.</summary>
    internal void Fill(double value)
    {
        if (!Layout.IsOnCpu)
        {
            DeviceMemory.Of(Device).Fill(this, value);
            return;
        }
        var numbers = Count * DType.Parts();
        for (nint at = 0; at < numbers; at += Chunk)
        {
            var length = (int)Math.Min(Chunk, numbers - at);
            switch (DType)
            {
                case DType.Float32 or DType.Complex64:
                    new Span<float>((float*)Address + at, length).Fill((float)value);
                    break;
                case DType.Float64 or DType.Complex128:
                    new Span<double>((double*)Address + at, length).Fill(value);
                    break;
                default:
                    new Span<ushort>((ushort*)Address + at, length).Fill(ElementNumbers.Word(DType, value));
                    break;
            }
        }
        GC.KeepAlive(Owner);
    }

    /// <summary>The elements in row-major order in the memory of the processor: itself where they lie so, else a copy.</summary>
    internal TensorView InOrder() =>
        !Layout.IsOnCpu ? ToHost()
        : Layout.IsContiguous && Owner is not DeferredMemory ? this
        : Copy();

    /// <summary>A tensor of a dtype from numbers in row-major order, each rounded once; complex ones take two each.</summary>
    /// <exception cref="ArgumentException">Not as many numbers as the shape needs.</exception>
    /// <exception cref="NotSupportedException">Neither a floating point nor a complex dtype.</exception>
    public static TensorView OfDoubles(DType dtype, ReadOnlySpan<double> values, params ReadOnlySpan<long> shape)
    {
        if (!(dtype.IsFloatingPoint() || dtype.IsComplex()))
            throw new NotSupportedException($"numbers cannot be rounded to {dtype.Name()}");
        var view = Zeros(dtype, shape);
        if (view.Count * dtype.Parts() != values.Length)
            throw new ArgumentException(
                $"{values.Length} numbers for {view.Layout}, which takes {view.Count * dtype.Parts()}",
                nameof(values)
            );
        ElementNumbers.Set(view, values);
        return view;
    }

    /// <summary>A single number, repeated for every element of a shape.</summary>
    private TensorView Repeated(Layout shape) =>
        new(Address, Layout.Strided(DType, shape.Shape.AsSpan(), new long[shape.Shape.Length]), Owner);
}
