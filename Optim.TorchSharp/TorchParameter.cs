using Optim.Core;
using Optim.Kernels;
using TorchSharp.Modules;
using Device = Optim.Kernels.Device;
using ScalarType = TorchSharp.torch.ScalarType;
using Tensor = TorchSharp.torch.Tensor;

namespace Optim;

/// <summary>
/// A TorchSharp tensor as a parameter of an optimizer, which reads its gradient and writes its elements where they lie, without copies.
/// It refers to the tensor's wrapper and owns nothing: whoever made the tensor, or its module, disposes it, and steps are refused from then on.
/// </summary>
/// <remarks>
/// Leaf tensors. Which dtypes, devices and strides can be stepped, the rules say: float16, bfloat16, float32, float64, complex64 and
/// complex128 on any device, in any strides that do not repeat elements. Gradients are of the same dtype, device and shape, in any strides or
/// sparse; those of a frozen tensor (<c>requires_grad</c> false) are passed over.
/// </remarks>
public sealed class TorchParameter : IParameter
{
    private readonly object identity;
    private readonly TensorMemory memory;
    private Layout layout;
    private Layout gradientLayout;
    private PrefetchPath trail;
    private Parameter? parameter;

    static TorchParameter() => TorchOperators.Register();

    /// <summary>The tensor under a name, or without one.</summary>
    /// <exception cref="ArgumentException">The tensor is not a leaf of the graph, or was made in inference mode.</exception>
    /// <exception cref="NotSupportedException">The tensor is sparse, or of a dtype that Optim does not know.</exception>
    /// <exception cref="InvalidOperationException">The tensor has been disposed.</exception>
    public TorchParameter(string? name, Tensor tensor)
    {
        ArgumentNullException.ThrowIfNull(tensor);
        (Name, Tensor, memory) = (name, tensor, new(tensor));
        identity = new SameTensor(tensor, LibTorch.Implementation(Handle));
        layout = gradientLayout = Describe(Handle, Label);
        if (!tensor.is_leaf)
            throw new ArgumentException($"can't optimize a non-leaf Tensor: {Label} was computed from others", nameof(tensor));
        if (LibTorch.IsNegated(Handle) || LibTorch.IsConjugated(Handle))
            throw new NotSupportedException(
                $"{Label} is a conjugated or negated view, whose elements are others than its memory holds: use a copy of it (resolve_conj, resolve_neg)"
            );
        if (LibTorch.IsInference(Handle))
            throw new ArgumentException($"{Label} was made in inference mode, outside of which it cannot change", nameof(tensor));
    }

    /// <inheritdoc/>
    public string? Name { get; }

    /// <summary>The wrapper that was given.</summary>
    public Tensor Tensor { get; }

    /// <inheritdoc/>
    /// <exception cref="InvalidOperationException">The tensor has been disposed.</exception>
    public TensorView Data => new(LibTorch.Data(Handle), layout = Match(Handle, layout, of: ""), memory);

    /// <inheritdoc/>
    public bool RequiresGradient => LibTorch.RequiresGradient(Handle);

    /// <summary>Equal for all wrappers of one tensor, while they live.</summary>
    public object Identity => identity;

    /// <summary>
    /// libtorch's own threads, unless another one is given: <see cref="Torch.Operators"/> steps the whole group by libtorch's operators.
    /// </summary>
    public Executor Executor
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = TorchThreads.Instance;

    /// <inheritdoc/>
    public IReadOnlyList<Type> ModuleTypes { get; internal init; } = [];

    private string Label => Name is null ? "a parameter without a name" : $"parameter '{Name}'";

    private nint Handle =>
        Tensor.IsInvalid
            ? throw new InvalidOperationException(
                $"the tensor of {Label} has been disposed: by itself, with its module, or by module.to(), which replaces parameters. "
                    + "Dispose a module after the last step, and make the optimizer after the move"
            )
            : Tensor.Handle;

    /// <summary>The parameter that steps come to after some others, if that is known.</summary>
    internal TorchParameter? Ahead { get; set; }

    /// <summary>Takes one of the layouts of other parameters for an equal one of its own, so that fewer of them pass through the cache.</summary>
    internal void Share(Dictionary<Layout, Layout> layouts)
    {
        if (!layouts.TryGetValue(layout, out var equal))
            layouts.Add(layout, equal = layout);
        layout = gradientLayout = equal;
    }

    /// <inheritdoc/>
    public void Refresh(ref TensorView data, ref Gradient gradient)
    {
        Ahead?.trail.Fetch();
        var handle = Handle;
        var found = LibTorch.RequiresGradient(handle) ? LibTorch.Gradient(handle) : 0;
        try
        {
            trail.Keep(handle, found);
            layout = Match(handle, layout, of: "");
            var address = LibTorch.Data(handle);
            if (address != data.Address || !ReferenceEquals(layout, data.Layout))
                data = new(address, layout, memory);
            if (found == 0)
            {
                gradient = Gradient.Absent;
                return;
            }
            if (LibTorch.Layout(found) == LibTorch.Sparse)
            {
                gradient = SparseGradient(found);
                return;
            }
            // Only of complex tensors: a question to libtorch less for all others.
            if (LibTorch.IsNegated(found) || (layout.DType.IsComplex() && LibTorch.IsConjugated(found)))
                Resolve(handle, ref found);
            gradientLayout = Match(found, gradientLayout, of: "the gradient of ");
            address = LibTorch.Data(found);
            // Its owner is the parameter, which keeps its gradient alive until the step is over.
            if (
                gradient.Kind != GradientKind.Dense
                || address != gradient.Values.Address
                || !ReferenceEquals(gradientLayout, gradient.Values.Layout)
            )
                gradient = Gradient.OfDense(new(address, gradientLayout, memory));
        }
        finally
        {
            if (found != 0)
                LibTorch.Return(found);
        }
    }

    // The gradient becomes an ordinary tensor of the same values, which passes over memory can read and write.
    private void Resolve(nint handle, ref nint found)
    {
        LibTorch.Return(found);
        found = 0;
        using (var gradient = Tensor.grad)
        using (var conjugated = gradient!.resolve_conj())
        using (var resolved = conjugated.resolve_neg())
            Tensor.grad = resolved;
        found = LibTorch.Gradient(handle);
    }

    // Coalesced or not, as it is: what the rule makes of rows that come twice, it does without a tensor of the parameter's size.
    private Gradient SparseGradient(nint sparse)
    {
        var (indices, values) = LibTorch.Parts(sparse);
        try
        {
            TensorView View(nint part) => new(LibTorch.Data(part), Describe(part, $"a part of the sparse gradient of {Label}"), memory);
            return Gradient.OfSparse(View(indices), View(values));
        }
        finally
        {
            // The memory is the gradient's, which the parameter keeps.
            LibTorch.Dispose(indices);
            LibTorch.Dispose(values);
        }
    }

    /// <summary>As in PyTorch: drops the gradient, or fills it with zeros and takes it out of the graph that it came from.</summary>
    public void ZeroGradient(bool setToNone)
    {
        _ = Handle;
        if (setToNone)
        {
            Tensor.grad = null;
            return;
        }
        using var gradient = Tensor.grad;
        if (gradient is null)
            return;
        if (!gradient.is_leaf)
            gradient.detach_();
        else if (gradient.requires_grad)
            gradient.requires_grad = false;
        gradient.zero_();
    }

    /// <summary>Tells autograd that the tensor has changed: a backward pass that needs its old values is refused.</summary>
    public void AfterStep()
    {
        Ahead?.trail.FetchVersion();
        LibTorch.BumpVersion(Handle);
    }

    /// <summary>A closure runs with gradients enabled, even inside of no_grad().</summary>
    public IDisposable EnterClosure() => TorchSharp.torch.enable_grad();

    /// <summary>The tensor as TorchSharp's own kind of parameter: what was given when it is one, and a wrapper of its own otherwise.</summary>
    internal Parameter AsParameter() => parameter ??= Tensor as Parameter ?? Wrap();

    // A Parameter takes the handle of the tensor that it is made from: one made for it alone.
    private Parameter Wrap()
    {
        using var twin = Tensor.UnsafeCreateTensor(LibTorch.NewHandle(Handle));
        var wrapper = new Parameter(twin, RequiresGradient);
        wrapper.DetachFromDisposeScope();
        return wrapper;
    }

    /// <summary>The number of a tensor of one element.</summary>
    /// <exception cref="NotSupportedException">It is none.</exception>
    public double ReadLoss(object? loss)
    {
        if (loss is not Tensor tensor)
            throw new NotSupportedException(
                $"the closure returned {(loss is null ? "null" : $"a {loss.GetType().Name}")}; the loss must be a Tensor or a number"
            );
        if (tensor.numel() != 1)
            throw new NotSupportedException(
                $"the closure returned a Tensor of {tensor.numel()} elements; the loss must be a single number"
            );
        using var number = tensor.detach().to_type(ScalarType.Float64);
        return number.item<double>();
    }

    /// <summary>Its name.</summary>
    public override string ToString() => Label;

    /// <summary>How a tensor lies: in most steps as in the step before.</summary>
    private Layout Match(nint tensor, Layout known, string of) =>
        LibTorch.Layout(tensor) == LibTorch.Strided
        && LibTorch.ScalarType(tensor) == (int)known.DType
        && LibTorch.LiesOn(tensor, known.Device)
        && LibTorch.Shape(tensor).SequenceEqual(known.Shape.AsSpan())
        && LibTorch.Strides(tensor, known.Strides.Length).SequenceEqual(known.Strides.AsSpan())
            ? known
            : Describe(tensor, of + Label);

    /// <summary>Any tensor, where it lies.</summary>
    internal static TensorView View(Tensor tensor, string label) =>
        new(LibTorch.Data(tensor.Handle), Describe(tensor.Handle, $"'{label}'"), new TensorMemory(tensor));

    // Which dtypes, devices and strides can be stepped, the rules say.
    private static Layout Describe(nint tensor, string label)
    {
        if (LibTorch.Layout(tensor) != LibTorch.Strided)
            throw new NotSupportedException($"{label} is {LibTorch.LayoutName(tensor)}, which is not supported: it must be dense");
        var dtype = (DType)LibTorch.ScalarType(tensor);
        if (!Enum.IsDefined(dtype))
            throw new NotSupportedException(
                $"{label} is of libtorch's dtype {(int)dtype}, which is not supported: it must be a floating point or complex dtype"
            );
        var shape = LibTorch.Shape(tensor);
        return Layout.Strided(dtype, shape, LibTorch.Strides(tensor, shape.Length), LibTorch.Device(tensor));
    }

    /// <summary>Keeps a tensor, whose memory is gone when somebody disposes it.</summary>
    private sealed class TensorMemory(Tensor tensor) : ReleasableMemory
    {
        public override bool IsReleased => tensor.IsInvalid;
    }

    /// <summary>
    /// Equality by the tensor's implementation, whose address may go to another tensor once this one has been disposed: the dead equal nothing else.
    /// </summary>
    private sealed class SameTensor(Tensor tensor, nint implementation)
    {
        private readonly Tensor tensor = tensor;
        private readonly nint implementation = implementation;

        public override bool Equals(object? other) =>
            ReferenceEquals(this, other)
            || other is SameTensor same && implementation == same.implementation && !tensor.IsInvalid && !same.tensor.IsInvalid;

        public override int GetHashCode() => implementation.GetHashCode();
    }
}
