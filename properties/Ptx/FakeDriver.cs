using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Optim.Cuda;

namespace Optim.Ptx;

/// <summary>
/// A driver without a device, of which the library was built from fake.c: what is launched is interpreted, over memory of this process. It refuses what it
/// is told to refuse.
/// </summary>
internal sealed unsafe class FakeDriver : CudaHost
{
    private readonly nint library;
    private readonly PretendHeap heap;
    private readonly Hook hook;
    private readonly SizesHook sizes;
    private readonly Dictionary<nint, PtxProgram> programs = [];

    private delegate int SizesHook(nint text, int* bytes);

    private delegate int Hook(nint text, uint blocks, uint threads, nint stream, void** parameters);

    /// <param name="path">The library.</param>
    /// <param name="heap">The memory.</param>
    public FakeDriver(string path, PretendHeap heap)
    {
        this.heap = heap;
        Driver = CudaDriver.TryLoad(path) ?? throw new InvalidOperationException($"{path} is no driver");
        library = NativeLibrary.Load(path);
        (hook, sizes) = (Launch, SizesOf);
        ((delegate* unmanaged<nint, void>)NativeLibrary.GetExport(library, "fake_hook"))(Marshal.GetFunctionPointerForDelegate(hook));
        ((delegate* unmanaged<nint, void>)NativeLibrary.GetExport(library, "fake_sizes"))(Marshal.GetFunctionPointerForDelegate(sizes));
        Call("fake_reset", 0, 0);
    }

    public CudaDriver Driver { get; }

    /// <summary>Changes the text of each kernel before it is read.</summary>
    public Func<string, string> Change { get; set; } = text => text;

    /// <summary>Launches of more than nothing.</summary>
    public int Launches { get; private set; }

    /// <summary>What went wrong in a kernel.</summary>
    public Exception? Error { get; private set; }

    /// <summary>Contexts that were entered and not left.</summary>
    public int Depth => Call("fake_depth", 0, 0);

    // Those that it makes come after this.
    private const nint LastOfStreams = 1000;

    /// <summary>How many devices it has from now on.</summary>
    public void HaveDevices(int count) => Call("fake_devices", count, 0);

    /// <summary>How often the processor has waited for a stream.</summary>
    public int Waits => Call("fake_count", 0, 0);

    /// <summary>How often it has waited for an event.</summary>
    public int EventWaits => Call("fake_count", 2, 0);

    /// <summary>How often something was copied to the device.</summary>
    public int Uploads => Call("fake_count", 1, 0);

    /// <summary>The stream that is current.</summary>
    public nint StreamNow { get; set; } = 5;

    public override nint Stream(int device) => StreamNow;

    public override IDisposable Use(int device, nint stream)
    {
        var before = StreamNow;
        StreamNow = stream;
        return new Afterwards(() => StreamNow = before);
    }

    public override GpuMemory Allocate(int device, nint bytes) => heap.Allocate(bytes);

    /// <summary>Modules are refused with an error from now on; 0 for none.</summary>
    public void RefuseModules(int error) => Call("fake_refuse", 0, error);

    /// <summary>Launches are refused with an error from now on; 0 for none.</summary>
    public void RefuseLaunches(int error) => Call("fake_refuse", 1, error);

    /// <summary>Copies are refused with an error from now on; 0 for none.</summary>
    public void RefuseCopies(int error) => Call("fake_refuse", 2, error);

    private int Call(string name, int a, int b) => ((delegate* unmanaged<int, int, int>)NativeLibrary.GetExport(library, name))(a, b);

    private PtxProgram ProgramOf(nint text)
    {
        if (!programs.TryGetValue(text, out var program))
            programs.Add(text, program = new(Change(Marshal.PtrToStringUTF8(text)!)));
        return program;
    }

    /// <summary>How many bytes each parameter of a kernel has.</summary>
    private int SizesOf(nint text, int* bytes)
    {
        var parameters = ProgramOf(text).Parameters;
        for (var i = 0; i < parameters.Count; i++)
            bytes[i] = parameters[i].Bytes;
        return parameters.Count;
    }

    private int Launch(nint text, uint blocks, uint threads, nint stream, void** parameters)
    {
        try
        {
            var program = ProgramOf(text);
            if (stream != StreamNow && stream <= LastOfStreams)
                throw new PtxException($"a launch on stream {stream}, and {StreamNow} is current");
            var bytes = new byte[program.ParameterBytes];
            for (var i = 0; i < program.Parameters.Count; i++)
                new ReadOnlySpan<byte>(parameters[i], program.Parameters[i].Bytes).CopyTo(bytes.AsSpan(program.Parameters[i].Offset));
            new PtxRun(program, heap.Memory).Run(0, blocks, (int)threads, bytes);
            if (bytes.AsSpan(0, 8).ContainsAnyExcept((byte)0))
                Launches++;
            return 0;
        }
        catch (Exception e) when (e is PtxException or IndexOutOfRangeException)
        {
            Error = e;
            return 700;
        }
    }
}
