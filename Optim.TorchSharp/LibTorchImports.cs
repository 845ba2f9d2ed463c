using System.Runtime.InteropServices;

namespace Optim;

/// <summary>The functions that <see cref="LibTorch"/> calls: of libtorch itself, and of TorchSharp's native half.</summary>
internal static unsafe class LibTorchImports
{
    public const string TorchCpu = "torch_cpu";
    public const string Sharp = "LibTorchSharp";

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_layout(nint tensor, int* layout);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_dtype(nint tensor, int* dtype);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_device_type(nint tensor, int* type);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_device_index(nint tensor, int* index);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_dim(nint tensor, long* dimensions);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_sizes(nint tensor, long** lengths);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_strides(nint tensor, long** strides);

    [DllImport(TorchCpu), SuppressGCTransition]
    public static extern int aoti_torch_get_data_ptr(nint tensor, nint* data);

    [DllImport(TorchCpu)]
    public static extern int aoti_torch_new_tensor_handle(nint tensor, nint* copy);

    [DllImport(TorchCpu)]
    public static extern int aoti_torch_create_tensor_from_blob(
        nint data,
        long dimensions,
        long* shape,
        long* strides,
        long offset,
        int dtype,
        int deviceType,
        int deviceIndex,
        nint* tensor
    );

    [DllImport(TorchCpu)]
    public static extern int aoti_torch_empty_strided(
        long dimensions,
        long* shape,
        long* strides,
        int dtype,
        int deviceType,
        int deviceIndex,
        nint* tensor
    );

    [DllImport(TorchCpu)]
    public static extern int torch_get_num_threads(uint* threads);

    [DllImport(TorchCpu)]
    public static extern int torch_parallel_for(
        long begin,
        long end,
        long grain,
        delegate* unmanaged<long, long, void*, void> body,
        void* context
    );

    [DllImport(Sharp), SuppressGCTransition]
    public static extern byte THSTensor_is_neg(nint tensor);

    [DllImport(Sharp), SuppressGCTransition]
    public static extern byte THSTensor_is_conj(nint tensor);

    [DllImport(Sharp), SuppressGCTransition]
    public static extern byte THSTensor_requires_grad(nint tensor);

    [DllImport(Sharp)]
    public static extern nint THSTensor_grad(nint tensor);

    [DllImport(Sharp)]
    public static extern nint THSTensor_indices(nint tensor);

    [DllImport(Sharp)]
    public static extern nint THSTensor_values(nint tensor);

    [DllImport(Sharp)]
    public static extern void THSTensor_dispose(nint tensor);
}
