using System.Runtime.InteropServices;
using Optim.Kernels;
using static Optim.LibTorchImports;

namespace Optim;

/// <summary>
/// What Optim asks of libtorch beside TorchSharp's public surface. A tensor is an <c>at::Tensor*</c>, which is what TorchSharp calls a handle.
/// The calls that read a field take nanoseconds, call nothing back and never wait: they go without the switch of the collector's mode.
/// </summary>
internal static unsafe class LibTorch
{
    /// <summary>The <see cref="Layout"/> of ordinary tensors.</summary>
    public const int Strided = 0;

    /// <summary>The <see cref="Layout"/> of sparse tensors with an index for each value (COO).</summary>
    public const int Sparse = 1;

    /// <summary>The <see cref="DeviceType"/> of the processor.</summary>
    public const int Cpu = 0;

    // By their numbers in libtorch's headers.
    private static readonly string[] Layouts =
    [
        "strided",
        "sparse",
        "sparse (CSR)",
        "in the layout of mkldnn",
        "sparse (CSC)",
        "sparse (BSR)",
        "sparse (BSC)",
        "jagged",
    ];

    private static readonly Dictionary<string, int> devices = new(StringComparer.Ordinal)
    {
        ["cpu"] = Cpu,
        ["cuda"] = 1,
        ["xpu"] = 12,
        ["mps"] = 13,
        ["meta"] = 14,
    };

    // By c10's numbers; of several names of one kind, the first.
    private static readonly string?[] kinds = KindsByNumber();

    // C++ symbols, not part of libtorch's stable interface: each is done without where it is missing. The second name is Windows' own.
    private static readonly nint BumpExport = Export(
        TorchCpu,
        "_ZN5torch8autograd4impl12bump_versionERKN2at6TensorE",
        "?bump_version@impl@autograd@torch@@YAXAEBVTensor@at@@@Z"
    );
    private static readonly nint IsInferenceExport = Export(
        TorchCpu,
        "_ZN2at6native12is_inferenceERKNS_6TensorE",
        "?is_inference@native@at@@YA_NAEBVTensor@2@@Z"
    );
    private static readonly nint GradientExport = Export(
        "c10",
        "_ZNK3c1010TensorImpl4gradEv",
        "?grad@TensorImpl@c10@@QEBAAEBVTensor@at@@XZ"
    );
    private static readonly nint Undefined = UndefinedTensor();

    /// <summary>The tensor's implementation: what makes two wrappers the same tensor.</summary>
    public static nint Implementation(nint tensor) => *(nint*)tensor;

    /// <summary>A further handle of the same tensor; whoever takes it disposes it.</summary>
    public static nint NewHandle(nint tensor)
    {
        nint copy;
        Check(aoti_torch_new_tensor_handle(tensor, &copy));
        return copy;
    }

    /// <summary>A tensor over memory that somebody else owns.</summary>
    public static nint FromMemory(nint address, Layout layout)
    {
        nint tensor;
        fixed (
            long* shape = layout.Shape.AsSpan(),
                strides = layout.Strides.AsSpan()
        )
            Check(
                aoti_torch_create_tensor_from_blob(
                    address,
                    layout.Shape.Length,
                    shape,
                    strides,
                    0,
                    (int)layout.DType,
                    devices[layout.Device.Kind],
                    layout.Device.Index,
                    &tensor
                )
            );
        return tensor;
    }

    /// <summary>A tensor of uninitialized memory of its own.</summary>
    public static nint Empty(Layout layout)
    {
        nint tensor;
        fixed (
            long* shape = layout.Shape.AsSpan(),
                strides = layout.Strides.AsSpan()
        )
            Check(
                aoti_torch_empty_strided(
                    layout.Shape.Length,
                    shape,
                    strides,
                    (int)layout.DType,
                    devices[layout.Device.Kind],
                    layout.Device.Index,
                    &tensor
                )
            );
        return tensor;
    }

    /// <summary>How its elements are stored: strided, or some kind of sparse. First of all, as the others do not suit each layout.</summary>
    public static int Layout(nint tensor)
    {
        int layout;
        Check(aoti_torch_get_layout(tensor, &layout));
        return layout;
    }

    /// <summary>c10's number of the dtype.</summary>
    public static int ScalarType(nint tensor)
    {
        int type;
        Check(aoti_torch_get_dtype(tensor, &type));
        return type;
    }

    /// <summary>c10's number of the kind of device.</summary>
    public static int DeviceType(nint tensor)
    {
        int type;
        Check(aoti_torch_get_device_type(tensor, &type));
        return type;
    }

    /// <summary>Whether autograd makes gradients of it.</summary>
    public static bool RequiresGradient(nint tensor) => THSTensor_requires_grad(tensor) != 0;

    /// <summary>What its layout is called.</summary>
    public static string LayoutName(nint tensor) =>
        Layout(tensor) is var layout && layout < Layouts.Length ? Layouts[layout] : FormattableString.Invariant($"in layout {layout}");

    /// <summary>Where it lies, as PyTorch calls it.</summary>
    public static Device Device(nint tensor)
    {
        var type = DeviceType(tensor);
        return new(KindOf(type) ?? FormattableString.Invariant($"device{type}"), DeviceIndex(tensor));
    }

    /// <summary>Whether it lies there.</summary>
    public static bool LiesOn(nint tensor, Device device)
    {
        var type = DeviceType(tensor);
        return KindOf(type) == device.Kind && (type == Cpu || DeviceIndex(tensor) == device.Index);
    }

    private static int DeviceIndex(nint tensor)
    {
        int index;
        Check(aoti_torch_get_device_index(tensor, &index));
        return Math.Max(index, 0);
    }

    private static string? KindOf(int type) => type < kinds.Length ? kinds[type] : null;

    private static string?[] KindsByNumber()
    {
        var names = new string?[devices.Values.Max() + 1];
        foreach (var (kind, type) in devices)
            names[type] ??= kind;
        return names;
    }

    /// <summary>A further name of a kind of device; for tests, which have no other device than the processor.</summary>
    public static void Name(string kind, int type) => devices[kind] = type;

    /// <summary>The lengths of the dimensions, in memory of the tensor.</summary>
    public static ReadOnlySpan<long> Shape(nint tensor)
    {
        long dimensions;
        long* lengths;
        Check(aoti_torch_get_dim(tensor, &dimensions));
        Check(aoti_torch_get_sizes(tensor, &lengths));
        return new(lengths, (int)dimensions);
    }

    /// <summary>The strides of so many dimensions, in memory of the tensor.</summary>
    public static ReadOnlySpan<long> Strides(nint tensor, int dimensions)
    {
        long* strides;
        Check(aoti_torch_get_strides(tensor, &strides));
        return new(strides, dimensions);
    }

    /// <summary>The address of the first element.</summary>
    public static nint Data(nint tensor)
    {
        nint data;
        Check(aoti_torch_get_data_ptr(tensor, &data));
        return data;
    }

    /// <summary>Whether the elements stand in memory with the wrong sign, to be turned when they are read.</summary>
    public static bool IsNegated(nint tensor) => THSTensor_is_neg(tensor) != 0;

    /// <summary>Whether the elements stand in memory with the other sign of their imaginary part, to be turned when they are read.</summary>
    public static bool IsConjugated(nint tensor) => THSTensor_is_conj(tensor) != 0;

    /// <summary>The gradient, to be given back with <see cref="Return"/>; 0 when there is none.</summary>
    public static nint Gradient(nint tensor)
    {
        if (GradientExport == 0 || Undefined == 0)
            return THSTensor_grad(tensor);
        // The tensor's own field: a third of a step's cost less than an object made and deleted.
        var gradient = ((delegate* unmanaged[SuppressGCTransition]<nint, nint>)GradientExport)(Implementation(tensor));
        return Implementation(gradient) == Undefined ? 0 : gradient;
    }

    /// <summary>
    /// The indices and the values of a sparse (COO) tensor, coalesced or not: they share memory with it. To be given back with
    /// <see cref="Dispose"/>.
    /// </summary>
    public static (nint Indices, nint Values) Parts(nint sparse)
    {
        var indices = THSTensor_indices(sparse);
        TorchSharp.torch.CheckForErrors();
        var values = THSTensor_values(sparse);
        TorchSharp.torch.CheckForErrors();
        return (indices, values);
    }

    /// <summary>Gives back a handle.</summary>
    public static void Dispose(nint tensor) => THSTensor_dispose(tensor);

    /// <summary>Gives back a gradient.</summary>
    public static void Return(nint gradient)
    {
        if (GradientExport == 0 || Undefined == 0)
            THSTensor_dispose(gradient);
    }

    /// <summary>
    /// Whether it was made in inference mode: such a tensor has no version, and asking libtorch to count one up would end the process.
    /// </summary>
    public static bool IsInference(nint tensor) =>
        IsInferenceExport != 0 && ((delegate* unmanaged<nint, byte>)IsInferenceExport)(tensor) != 0;

    /// <summary>Counts the tensor's version up, so that a graph which needs its old values is refused (unnoticed where libtorch has no such symbol).</summary>
    public static void BumpVersion(nint tensor)
    {
        if (BumpExport != 0 && IsInferenceExport != 0)
            ((delegate* unmanaged[SuppressGCTransition]<nint, void>)BumpExport)(tensor);
    }

    /// <summary>How many threads libtorch uses.</summary>
    public static int ThreadCount
    {
        get
        {
            uint threads;
            return torch_get_num_threads(&threads) == 0 ? (int)threads : 1;
        }
    }

    /// <summary>Runs a body over parts of a range on libtorch's threads; parts are no smaller than the grain.</summary>
    public static void ParallelFor(long length, long grain, delegate* unmanaged<long, long, void*, void> body, void* context) =>
        Check(torch_parallel_for(0, length, grain, body, context));

    private static nint Export(string name, string symbol, string onWindows) =>
        NativeLibrary.TryLoad(name, typeof(LibTorch).Assembly, null, out var library)
        && NativeLibrary.TryGetExport(library, OperatingSystem.IsWindows() ? onWindows : symbol, out var export)
            ? export
            : 0;

    /// <summary>The implementation of the tensor that is none: a variable, or on Windows what a function returns.</summary>
    private static nint UndefinedTensor()
    {
        var export = Export(
            "c10",
            "_ZN3c1019UndefinedTensorImpl10_singletonE",
            "?singleton@UndefinedTensorImpl@c10@@SAPEAUTensorImpl@2@XZ"
        );
        return export != 0 && OperatingSystem.IsWindows() ? ((delegate* unmanaged<nint>)export)() : export;
    }

    private static void Check(int error)
    {
        if (error != 0)
            throw new InvalidOperationException("a call of libtorch failed; what it says about it stands on standard error");
    }
}
