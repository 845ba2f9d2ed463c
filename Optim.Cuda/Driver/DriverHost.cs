namespace Optim.Cuda;

/// <summary>The driver's own memory, and its default stream where no other is in use: where there is no libtorch.</summary>
internal sealed class DriverHost(CudaDriver driver) : CudaHost
{
    private readonly Dictionary<int, nint> contexts = [];

    private nint now;

    public override nint Stream(int device) => now;

    public override IDisposable Use(int device, nint stream)
    {
        var before = now;
        now = stream;
        return new Afterwards(() => now = before);
    }

    public override GpuMemory Allocate(int device, nint bytes)
    {
        if (!contexts.TryGetValue(device, out var context))
            contexts.Add(device, context = driver.Open(device).Context);
        _ = driver.Push(context);
        var error = driver.Allocate(bytes, out var address);
        driver.Pop();
        return error == 0
            ? new(address, bytes, new Block(driver, context, address))
            : throw new CudaException(
                FormattableString.Invariant($"cuda:{device}: no {bytes} bytes: {driver.NameOf(error)}"),
                driver.NameOf(error),
                false
            );
    }

    private sealed class Block(CudaDriver driver, nint context, nint address) : IDisposable
    {
        private bool isFree;

        ~Block() => Free();

        public void Dispose()
        {
            Free();
            GC.SuppressFinalize(this);
        }

        private void Free()
        {
            if (isFree)
                return;
            isFree = true;
            // It waits for the kernels that use it.
            _ = driver.Push(context);
            _ = driver.Free(address);
            driver.Pop();
        }
    }
}
