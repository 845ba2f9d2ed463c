namespace Optim.Cuda;

/// <summary>Whose streams and memory kernels use: libtorch's, where its tensors are stepped.</summary>
internal abstract class CudaHost
{
    /// <summary>The stream to which the device's work is added now; 0 for the default one.</summary>
    public abstract nint Stream(int device);

    /// <summary>Memory of a device.</summary>
    public abstract GpuMemory Allocate(int device, nint bytes);
}
