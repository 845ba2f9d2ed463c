using System.Runtime.InteropServices;
using Optim.Cuda;
using Optim.Kernels;
using static TorchSharp.torch;

namespace Optim;

/// <summary>libtorch's streams and memory, for kernels: what they add comes in order with libtorch's own, and its allocator knows of their tables.</summary>
internal sealed unsafe class TorchCudaHost : CudaHost
{
    private delegate* unmanaged<int, void**, int> current;
    private delegate* unmanaged<void*, int, void**, int> createGuard;
    private delegate* unmanaged<void*, int> deleteGuard;

    private static nint Find(string name) =>
        NativeLibrary.GetExport(NativeLibrary.Load("torch_cuda", typeof(TorchCudaHost).Assembly, null), name);

    public override IDisposable Use(int device, nint stream)
    {
        if (createGuard == null)
        {
            deleteGuard = (delegate* unmanaged<void*, int>)Find("aoti_torch_delete_cuda_stream_guard");
            createGuard = (delegate* unmanaged<void*, int, void**, int>)Find("aoti_torch_create_cuda_stream_guard");
        }
        void* guard = null;
        if (createGuard((void*)stream, device, &guard) != 0)
            throw new CudaException($"cuda:{device}: libtorch takes no stream");
        var made = (nint)guard;
        return new Afterwards(() => _ = deleteGuard((void*)made));
    }

    public override nint Stream(int device)
    {
        if (current == null)
            current = (delegate* unmanaged<int, void**, int>)Find("aoti_torch_get_current_cuda_stream");
        void* stream = null;
        return current(device, &stream) == 0 ? (nint)stream : throw new CudaException($"cuda:{device}: libtorch tells no stream");
    }

    public override GpuMemory Allocate(int device, nint bytes)
    {
        var layout = Layout.Strided(DType.Int64, [(bytes + sizeof(long) - 1) / sizeof(long)], [1], new("cuda", device));
        Tensor tensor;
        try
        {
            tensor = Views.Fresh(layout);
        }
        catch (Exception e) when (e is ExternalException or InvalidOperationException)
        {
            throw new CudaException($"cuda:{device}: {bytes} bytes for the addresses of a step: {e.Message}", e);
        }
        return new(LibTorch.Data(tensor.Handle), bytes, tensor);
    }
}
