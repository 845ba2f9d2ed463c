using System.Diagnostics;

namespace Optim.Cuda;

/// <summary>A device by its driver. The context is made current for each call, and the one before it is current again afterwards.</summary>
internal sealed unsafe class DriverGpu : Gpu
{
    private readonly CudaDriver driver;
    private readonly CudaHost host;
    private readonly int ordinal;
    private readonly nint context;
    private string? lost;

    public DriverGpu(CudaDriver driver, CudaHost host, int ordinal)
    {
        (this.driver, this.host, this.ordinal) = (driver, host, ordinal);
        (context, Model, Capability) = driver.Open(ordinal);
    }

    /// <summary>What the device's maker calls it.</summary>
    public string Model { get; }

    /// <summary>The instructions that it has.</summary>
    public (int Major, int Minor) Capability { get; }

    public override string Name => FormattableString.Invariant($"cuda:{ordinal}");

    public override nint Stream => host.Stream(ordinal);

    public override bool IsCapturing
    {
        get
        {
            // The default stream cannot be captured.
            if (Stream is not (not 0 and var stream))
                return false;
            using var current = Enter();
            return driver.IsCapturing(stream);
        }
    }

    /// <summary>Has work of this thread be added to a stream.</summary>
    public IDisposable Use(nint stream) => host.Use(ordinal, stream);

    /// <summary>Begins to note launches on the current stream for a graph.</summary>
    public void BeginCapture()
    {
        using var current = Enter();
        Check(driver.BeginCapture(Stream), "a graph could not be begun");
    }

    /// <summary>A graph of what was launched since, or 0 where it is given up.</summary>
    public nint EndCapture(bool isGivenUp = false)
    {
        using var current = Enter();
        var error = driver.EndCapture(Stream, out var graph);
        nint ready = 0;
        if (error == 0 && !isGivenUp)
            error = driver.Instantiate(graph, out ready);
        if (graph != 0)
            _ = driver.DestroyGraph(graph);
        if (!isGivenUp)
            Check(error, "what was launched cannot be repeated as a graph");
        return ready;
    }

    /// <summary>Adds all launches of a graph to the stream.</summary>
    public void LaunchGraph(nint ready)
    {
        using var current = Enter();
        Check(driver.LaunchGraph(ready, Stream), "a graph was refused");
    }

    /// <summary>Gives a graph back, once it is done.</summary>
    public void DestroyGraph(nint ready)
    {
        using var current = Enter();
        Check(driver.DestroyReady(ready), "a graph could not be given back");
    }

    /// <summary>How long the driver took for each kernel that it has compiled, or found in its cache.</summary>
    public List<TimeSpan> Compiled { get; } = [];

    public override nint Load(PtxKernel kernel)
    {
        RefuseCapture("a kernel is compiled");
        using var current = Enter();
        var start = Stopwatch.GetTimestamp();
        var error = driver.Load(kernel.Text, PtxKernel.Entry, out var function, out var log);
        Check(error, log.Length > 0 ? $"the driver does not take a kernel ({log.Trim()})" : "the driver does not take a kernel");
        Compiled.Add(Stopwatch.GetElapsedTime(start));
        return function;
    }

    public override void Launch(nint function, PtxKernel kernel, uint blocks, void** parameters)
    {
        using var current = Enter();
        Check(driver.Launch(function, blocks, (uint)kernel.Threads, Stream, parameters), "a launch was refused");
    }

    public override GpuMemory Allocate(nint bytes)
    {
        if (lost is not null)
            throw Lost(lost);
        RefuseCapture("memory is needed");
        return host.Allocate(ordinal, bytes);
    }

    public override void Upload(nint target, void* source, nint bytes)
    {
        RefuseCapture("addresses or numbers are others than in the step before");
        using var current = Enter();
        Check(driver.Upload(target, source, bytes, Stream), $"{bytes} bytes could not be copied there");
    }

    public override void Download(void* target, nint source, nint bytes)
    {
        RefuseCapture("the processor would have to wait for a number");
        using var current = Enter();
        Check(driver.Download(target, source, bytes, Stream), $"{bytes} bytes could not be copied from there");
    }

    public override GpuCopy Room(nint bytes) => new Copy(this, bytes);

    /// <summary>A copy in memory that the driver keeps at its place, and an event behind it.</summary>
    private sealed class Copy : GpuCopy
    {
        private readonly DriverGpu gpu;
        private readonly nint bytes;
        private readonly void* room;
        private readonly nint made;
        private bool isFree;

        public Copy(DriverGpu gpu, nint bytes)
        {
            (this.gpu, this.bytes) = (gpu, bytes);
            using var current = gpu.Enter();
            gpu.Check(gpu.driver.AllocateHost(bytes, out room), "there is no memory for copies from there");
            gpu.Check(gpu.driver.CreateEvent(out made), "there is no event");
        }

        ~Copy() => Free();

        public override void Begin(nint source)
        {
            using var current = gpu.Enter();
            gpu.Check(gpu.driver.BeginDownload(room, source, bytes, gpu.Stream), $"{bytes} bytes could not be copied from there");
            gpu.Check(gpu.driver.Record(made, gpu.Stream), "an event was refused");
        }

        public override void* Wait()
        {
            using var current = gpu.Enter();
            gpu.Check(gpu.driver.WaitFor(made), "waiting failed");
            return room;
        }

        public override void Dispose()
        {
            Free();
            GC.SuppressFinalize(this);
        }

        private void Free()
        {
            if (isFree || gpu is null)
                return;
            isFree = true;
            _ = gpu.driver.Push(gpu.context);
            if (room != null)
                _ = gpu.driver.FreeHost(room);
            if (made != 0)
                _ = gpu.driver.DestroyEvent(made);
            gpu.driver.Pop();
        }
    }

    /// <summary>Waits for all that was added to the stream.</summary>
    public void Synchronize()
    {
        using var current = Enter();
        Check(driver.Synchronize(Stream), "waiting failed");
    }

    /// <summary>A stream of its own, for those who try the device.</summary>
    public nint CreateStream()
    {
        using var current = Enter();
        Check(driver.CreateStream(out var stream), "no stream");
        return stream;
    }

    private nint streamOfGraphs;

    /// <summary>The stream in which graphs are noted; the default one cannot be.</summary>
    public nint StreamOfGraphs => streamOfGraphs == 0 ? streamOfGraphs = CreateStream() : streamOfGraphs;

    /// <summary>Gives a stream back.</summary>
    public void DestroyStream(nint stream)
    {
        using var current = Enter();
        Check(driver.DestroyStream(stream), "a stream could not be given back");
    }

    private void RefuseCapture(string what)
    {
        if (IsCapturing)
            throw new CudaException(
                $"{Name} ({Model}): a graph is being captured, and {what}, which a graph cannot repeat: make the same step once before, on the same stream, and let the graph have nothing else"
            );
    }

    private Current Enter()
    {
        if (lost is not null)
            throw Lost(lost);
        Check(driver.Push(context), "its context could not be entered");
        return new(driver);
    }

    private void Check(int error, string what)
    {
        if (error == 0)
            return;
        var name = driver.NameOf(error);
        if (IsLoss(error))
            throw Lost(lost = name);
        throw new CudaException($"{Name} ({Model}): {what}: {name}", name, false);
    }

    private CudaException Lost(string error) =>
        new(
            $"{Name} ({Model}) is lost to this process: {error}. Parameters and state there cannot be read any more; go on from the last checkpoint, in a new process.",
            error,
            true
        );

    // Errors after which every call returns the same one, whatever it is.
    private static bool IsLoss(int error) =>
        error is 4 or 46 or 201 or 214 or 220 or 700 or 702 or 709 or 710 or (>= 714 and <= 719) or 999;

    private readonly ref struct Current(CudaDriver driver)
    {
        public void Dispose() => driver.Pop();
    }
}
