namespace Optim.Cuda;

/// <summary>What kernels need of a device: code, launches, memory and copies, all of them in the order of the current stream.</summary>
internal abstract unsafe class Gpu
{
    /// <summary>What it is called: <c>cuda:0</c>.</summary>
    public abstract string Name { get; }

    /// <summary>The stream to which the next calls add; another one where somebody has changed it.</summary>
    public abstract nint Stream { get; }

    /// <summary>Whether what is added to the stream now is noted for a graph, and not run. Nothing but launches is possible then.</summary>
    public abstract bool IsCapturing { get; }

    private List<GpuMemory> captured = [];

    /// <summary>Has memory stay where it is as long as the graph lives that is being captured; does nothing where none is.</summary>
    public void Keep(GpuMemory memory)
    {
        if (!IsCapturing)
            return;
        memory.BelongToGraph();
        captured.Add(memory);
    }

    /// <summary>The memory that was kept for a graph, which its owner holds from now on.</summary>
    public IReadOnlyList<GpuMemory> TakeKept() => Interlocked.Exchange(ref captured, []);

    /// <summary>Compiles a kernel; returns its function.</summary>
    /// <exception cref="CudaException">It is refused.</exception>
    public abstract nint Load(PtxKernel kernel);

    /// <summary>Adds a launch to the stream.</summary>
    /// <param name="function">The function.</param>
    /// <param name="kernel">Its kernel.</param>
    /// <param name="blocks">Blocks, one at least.</param>
    /// <param name="parameters">Addresses of the parameters.</param>
    /// <exception cref="CudaException">It is refused, or the device is lost.</exception>
    public abstract void Launch(nint function, PtxKernel kernel, uint blocks, void** parameters);

    /// <summary>Memory of the device, at a multiple of 256 bytes.</summary>
    /// <exception cref="CudaException">There is not as much.</exception>
    public abstract GpuMemory Allocate(nint bytes);

    /// <summary>Copies to the device. The source may change when it returns.</summary>
    public abstract void Upload(nint target, void* source, nint bytes);

    /// <summary>Waits for all that was added to the stream, and copies from the device.</summary>
    public abstract void Download(void* target, nint source, nint bytes);

    /// <summary>Room for what is copied from the device while the processor goes on.</summary>
    /// <exception cref="CudaException">There is none.</exception>
    public abstract GpuCopy Room(nint bytes);
}

/// <summary>Some bytes of the device in memory of the processor, which are copied behind what was added to the stream before.</summary>
internal abstract unsafe class GpuCopy : IDisposable
{
    /// <summary>Adds the copy to the stream.</summary>
    public abstract void Begin(nint source);

    /// <summary>Waits until it has been made, and not for what was added later; returns where it lies.</summary>
    public abstract void* Wait();

    public abstract void Dispose();
}

/// <summary>Memory of a device. It is given back when it is disposed of, or nobody has it any more; what a graph uses only then.</summary>
/// <param name="address">Where it begins.</param>
/// <param name="bytes">How long it is.</param>
/// <param name="owner">Who gives it back.</param>
internal sealed class GpuMemory(nint address, nint bytes, IDisposable owner) : IDisposable
{
    private bool isOfGraph;

    public nint Address => address;

    public nint Bytes => bytes;

    /// <summary>Has it outlive those who made it.</summary>
    public void BelongToGraph() => isOfGraph = true;

    public void Dispose()
    {
        if (!isOfGraph)
            owner.Dispose();
    }
}
