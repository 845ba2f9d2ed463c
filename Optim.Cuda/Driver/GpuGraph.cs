namespace Optim.Cuda;

/// <summary>Launches that a device repeats without the processor, and the memory that they use.</summary>
internal sealed class GpuGraph : IDisposable
{
    private readonly DriverGpu gpu;
    private readonly Action step;
    private readonly IReadOnlyList<GpuMemory> kept;
    private nint ready;

    private GpuGraph(DriverGpu gpu, Action step, nint ready, IReadOnlyList<GpuMemory> kept) =>
        (this.gpu, this.step, this.ready, this.kept) = (gpu, step, ready, kept);

    /// <summary>Makes some steps once, in a stream of their own, which brings forth all that they need; and notes them then, without making them.</summary>
    public static GpuGraph Capture(DriverGpu gpu, Action step)
    {
        // What was added so far comes before it.
        gpu.Synchronize();
        using var stream = gpu.Use(gpu.StreamOfGraphs);
        step();
        _ = gpu.TakeKept();
        gpu.BeginCapture();
        try
        {
            step();
        }
        catch
        {
            _ = gpu.EndCapture(isGivenUp: true);
            _ = gpu.TakeKept();
            throw;
        }
        var ready = gpu.EndCapture();
        gpu.Synchronize();
        return new(gpu, step, ready, gpu.TakeKept());
    }

    /// <summary>Adds all of them to the current stream.</summary>
    public void Launch()
    {
        ObjectDisposedException.ThrowIf(ready == 0, this);
        gpu.LaunchGraph(ready);
        // Whose tensors they write to.
        GC.KeepAlive(step);
        GC.KeepAlive(kept);
    }

    public void Dispose()
    {
        if (Interlocked.Exchange(ref ready, 0) is not 0 and var graph)
            gpu.DestroyGraph(graph);
    }
}
