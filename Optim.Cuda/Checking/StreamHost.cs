namespace Optim.Cuda;

/// <summary>A host whose streams are said by those who try a device.</summary>
internal sealed class StreamHost(CudaHost host) : CudaHost
{
    /// <summary>The stream from now on; null for the host's.</summary>
    public nint? StreamNow { get; set; }

    public override nint Stream(int device) => StreamNow ?? host.Stream(device);

    public override GpuMemory Allocate(int device, nint bytes) => host.Allocate(device, bytes);
}
