using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// A parameter over a host array, which is pinned and used as it is, or over aligned memory of its own
/// (<see cref="Zeros(string, DType, long[])"/>). The gradient is set, bound to an array, or written through <see cref="Gradient{T}"/>.
/// Disposing it unpins the arrays; a forgotten one is unpinned by its finalizer.
/// </summary>
public sealed class Param : IParameter, IDisposable
{
    private readonly TensorView data;
    private TensorView gradient;
    private TensorView indices; // of a sparse gradient
    private readonly PinnedArray? pinned;
    private PinnedArray? pinnedGradient;
    private bool requiresGradient = true;
    private bool disposed;

    private Param(string? name, TensorView data) => (Name, this.data) = (name, data);

    private Param(string? name, PinnedArray array)
        : this(name, array.View) => pinned = array;

    /// <summary>Over an array, of one dimension unless a shape is given.</summary>
    /// <exception cref="ArgumentException">The shape has another number of elements than the array.</exception>
    public Param(string? name, float[] data, params long[] shape)
        : this(name, PinnedArray.Of(data, shape)) { }

    /// <inheritdoc cref="Param(string?, float[], long[])"/>
    public Param(string? name, double[] data, params long[] shape)
        : this(name, PinnedArray.Of(data, shape)) { }

    /// <inheritdoc cref="Param(string?, float[], long[])"/>
    public Param(float[] data, params long[] shape)
        : this(null, data, shape) { }

    /// <inheritdoc cref="Param(string?, float[], long[])"/>
    public Param(double[] data, params long[] shape)
        : this(null, data, shape) { }

    /// <inheritdoc cref="Param(string?, float[], long[])"/>
    public Param(string? name, Half[] data, params long[] shape)
        : this(name, PinnedArray.Of(data, shape)) { }

    /// <inheritdoc cref="Param(string?, float[], long[])"/>
    public Param(string? name, System.Numerics.Complex[] data, params long[] shape)
        : this(name, PinnedArray.Of(data, shape)) { }

    /// <summary>In aligned memory of its own, all zero; without lengths a single number.</summary>
    /// <exception cref="ArgumentException">A length is negative.</exception>
    public static Param Zeros(string? name, DType dtype, params long[] shape) => new(name, TensorView.Zeros(dtype, shape));

    /// <summary>Over memory that the view's owner keeps, with any strides.</summary>
    /// <exception cref="ArgumentException">The view is absent.</exception>
    public static Param Of(string? name, TensorView data) =>
        data.IsAbsent ? throw new ArgumentException("the tensor is absent (a default TensorView)", nameof(data)) : new(name, data);

    /// <inheritdoc/>
    public string? Name { get; }

    TensorView IParameter.Data => Live().data;

    /// <summary>The data, where they lie.</summary>
    public TensorView View => Live().data;

    /// <summary>Whether the parameter is trained.</summary>
    public bool RequiresGradient
    {
        get => Live().requiresGradient;
        set => Live().requiresGradient = value;
    }

    object IParameter.Identity => Live().data.Address == 0 || data.Count == 0 ? this : data.Address;

    Executor? IParameter.Executor => null;

    /// <summary>Whether there is a gradient.</summary>
    public bool HasGradient => !Live().gradient.IsAbsent;

    /// <summary>Whether the gradient is sparse.</summary>
    public bool IsGradientSparse => !Live().indices.IsAbsent;

    /// <summary>The gradient, where it lies; absent when there is none. Of a sparse one the values of its rows.</summary>
    public TensorView GradientView => Live().gradient;

    /// <summary>The indices of the rows of a sparse gradient; absent when it is not sparse.</summary>
    public TensorView GradientRows => Live().indices;

    /// <summary>The data as a span.</summary>
    public Span<T> Data<T>()
        where T : unmanaged => Live().data.AsSpan<T>();

    /// <summary>The gradient as a span; made, and zero, when there was none.</summary>
    /// <exception cref="InvalidOperationException">Another type than the parameter's elements have; no gradient is made then.</exception>
    public Span<T> Gradient<T>()
        where T : unmanaged
    {
        if (DTypes.Of<T>() != Live().data.DType)
            throw new InvalidOperationException($"{Label}: the elements of {data.Layout} are not of type {typeof(T).Name}");
        if (gradient.IsAbsent || IsGradientSparse)
            (gradient, indices) = (TensorView.Zeros(data.Layout.ToContiguous()), default);
        return gradient.AsSpan<T>();
    }

    /// <summary>Copies a gradient in row-major order.</summary>
    /// <exception cref="ArgumentException">Not as many numbers as the parameter has elements.</exception>
    public void SetGradient<T>(ReadOnlySpan<T> values)
        where T : unmanaged
    {
        if (values.Length != Live().data.Count)
            throw new ArgumentException(
                $"{Label}: the gradient has {values.Length} elements, and the parameter {data.Count}",
                nameof(values)
            );
        // A copy first: the values may be the gradient itself.
        if (DTypes.Of<T>() != data.DType)
            throw new ArgumentException(
                $"{Label}: the gradient is of {DTypes.Of<T>().Name()}; it must be {data.DType.Name()}, as the parameter is",
                nameof(values)
            );
        values.CopyTo(Gradient<T>());
    }

    /// <summary>Copies a gradient of the parameter's shape; of another floating point dtype it is rounded to the parameter's.</summary>
    /// <exception cref="ArgumentException">Another shape than the parameter's.</exception>
    /// <exception cref="NotSupportedException">Whole numbers, or complex ones for a real parameter or the other way round.</exception>
    public void SetGradient(TensorView values)
    {
        Live();
        RefuseAbsent(values, nameof(values));
        var copy = TensorView.Zeros(data.Layout.ToContiguous());
        copy.ConvertFrom(values);
        (gradient, indices) = (copy, default);
    }

    /// <summary>
    /// Takes a sparse gradient, not copied: the indices of its rows (int64 of shape [n]; a row may come more than once) and their values,
    /// of shape [n, rest of the parameter's shape]. SparseAdam, Adagrad, SGD and LBFGS take such gradients, and say what is wrong with them in the step.
    /// </summary>
    /// <exception cref="ArgumentException">The values have another dtype than the parameter.</exception>
    public void SetSparseGradient(TensorView indices, TensorView values)
    {
        Live();
        RefuseAbsent(indices, nameof(indices));
        RefuseAbsent(values, nameof(values));
        if (values.DType != data.DType || indices.DType != DType.Int64)
            throw new ArgumentException(
                $"{Label}: a sparse gradient has indices of int64 and values of {data.DType.Name()}, and these are {indices.Layout} and {values.Layout}"
            );
        (this.indices, gradient) = (indices, values);
    }

    /// <summary>Copies a sparse gradient: the indices of its rows, and their values one row after the other.</summary>
    /// <exception cref="ArgumentException">Another dtype, or not as many values as the rows have elements.</exception>
    public void SetSparseGradient<T>(ReadOnlySpan<long> rows, ReadOnlySpan<T> values)
        where T : unmanaged
    {
        var shape = Live().data.Shape.AsSpan();
        SetSparseGradient(
            TensorView.Of<long>(rows, [rows.Length]),
            TensorView.Of<T>(values, [rows.Length, .. shape.IsEmpty ? [] : shape[1..]])
        );
    }

    /// <summary>Takes an array as the gradient, pinned and not copied: write the next gradients into it.</summary>
    /// <exception cref="ArgumentException">Another length or dtype than the parameter's.</exception>
    public void BindGradient(float[] values) => BindArray(values);

    /// <inheritdoc cref="BindGradient(float[])"/>
    public void BindGradient(double[] values) => BindArray(values);

    /// <summary>Takes a tensor as the gradient, of any strides, not copied.</summary>
    /// <exception cref="ArgumentException">Another shape or dtype than the parameter's.</exception>
    public void BindGradient(TensorView values)
    {
        Live();
        RefuseAbsent(values, nameof(values));
        var flat = values.Shape.Length == 1 && values.Layout.IsContiguous && values.Count == data.Count;
        if (!(flat || values.Layout.SameShape(data.Layout)) || values.DType != data.DType)
            throw new ArgumentException($"{Label}: the gradient is {values.Layout}, and the parameter {data.Layout}", nameof(values));
        (gradient, indices) = (flat ? new(values.Address, data.Layout.ToContiguous(), values.Owner) : values, default);
    }

    private void BindArray<T>(T[] values)
        where T : unmanaged
    {
        Live();
        var array = PinnedArray.Of(values, []);
        try
        {
            BindGradient(array.View);
        }
        catch
        {
            array.Dispose();
            throw;
        }
        pinnedGradient = array;
    }

    /// <summary>Leaves the parameter without a gradient: steps pass it over.</summary>
    public void DropGradient()
    {
        (Own().gradient, indices) = (default, default);
    }

    /// <inheritdoc/>
    public void ZeroGradient(bool setToNone)
    {
        if (setToNone)
            DropGradient();
        else if (HasGradient)
            gradient.Clear();
    }

    void IParameter.Refresh(ref TensorView data, ref Gradient gradient)
    {
        Live();
        var found = RequiresGradient ? this.gradient : default;
        if (IsGradientSparse && !found.IsAbsent)
            gradient = Core.Gradient.OfSparse(indices, found);
        else if (
            gradient.Kind == GradientKind.Sparse
            || found.Address != gradient.Values.Address
            || !ReferenceEquals(found.Layout, gradient.Values.Layout)
        )
            gradient = found.IsAbsent ? Core.Gradient.Absent : Core.Gradient.OfDense(found);
    }

    void IParameter.AfterStep() { }

    /// <summary>
    /// Unpins the arrays that it has pinned. All that reads or writes the parameter is an <see cref="ObjectDisposedException"/> afterwards,
    /// views of it that are still held included; only its name and text remain.
    /// </summary>
    public void Dispose()
    {
        disposed = true;
        pinned?.Dispose();
        pinnedGradient?.Dispose();
    }

    /// <summary>Such as <c>weight: float32[3, 2]</c>.</summary>
    public override string ToString() => Name is null ? data.Layout.ToString() : $"{Name}: {data.Layout}";

    private string Label => Name is null ? "the parameter" : $"parameter '{Name}'";

    private Param Own() => disposed ? throw new ObjectDisposedException(nameof(Param), $"{Label} was disposed") : this;

    /// <summary>Itself, whose memory and that of its gradient are still there.</summary>
    private Param Live() =>
        Own().data.IsReleased || gradient.IsReleased
            ? throw new ObjectDisposedException(
                nameof(Param),
                $"the memory of {Label}, or of its gradient, was given back when another parameter was disposed"
            )
            : this;

    private void RefuseAbsent(TensorView view, string name)
    {
        if (view.IsAbsent)
            throw new ArgumentException($"{Label}: the tensor is absent (a default TensorView)", name);
    }

    /// <summary>An array that stays where it is until disposed or forgotten.</summary>
    private sealed class PinnedArray : ReleasableMemory, IDisposable
    {
        private readonly Layout layout;
        private GCHandle handle;

        private PinnedArray(Array array, Layout layout) => (handle, this.layout) = (GCHandle.Alloc(array, GCHandleType.Pinned), layout);

        ~PinnedArray() => Free();

        public override bool IsReleased => !handle.IsAllocated;

        public TensorView View => new(handle.AddrOfPinnedObject(), layout, this);

        /// <summary>Of one dimension unless a shape is given.</summary>
        public static PinnedArray Of<T>(T[] array, long[] shape, [CallerArgumentExpression(nameof(array))] string name = "")
            where T : unmanaged
        {
            ArgumentNullException.ThrowIfNull(array, name);
            ArgumentNullException.ThrowIfNull(shape);
            var layout = Layout.Contiguous(DTypes.Of<T>(), shape is [] ? [array.Length] : shape);
            return layout.Count == array.Length
                ? new(array, layout)
                : throw new ArgumentException(
                    $"shape [{string.Join(", ", shape)}] has {layout.Count} elements, and the array {array.Length}",
                    nameof(shape)
                );
        }

        public void Dispose()
        {
            Free();
            GC.SuppressFinalize(this);
        }

        private void Free()
        {
            if (handle.IsAllocated)
                handle.Free();
        }
    }
}
