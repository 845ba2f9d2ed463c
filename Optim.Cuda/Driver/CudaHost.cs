namespace Optim.Cuda;

/// <summary>Whose streams and memory kernels use: libtorch's, where its tensors are stepped.</summary>
internal abstract class CudaHost
{
    /// <summary>The stream to which the device's work is added now; 0 for the default one.</summary>
    public abstract nint Stream(int device);

    /// <summary>Has the device's work of this thread be added to a stream, until what it returns is disposed of.</summary>
    public abstract IDisposable Use(int device, nint stream);

    /// <summary>Does something once, when it is disposed of.</summary>
    protected internal sealed class Afterwards(Action action) : IDisposable
    {
        private Action? action = action;

        public void Dispose() => Interlocked.Exchange(ref action, null)?.Invoke();
    }

    /// <summary>Memory of a device.</summary>
    public abstract GpuMemory Allocate(int device, nint bytes);
}
