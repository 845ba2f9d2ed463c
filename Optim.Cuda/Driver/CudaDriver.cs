using System.Runtime.InteropServices;
using System.Text;

namespace Optim.Cuda;

/// <summary>
/// What is called of NVIDIA's driver: nothing of the toolkit. The driver is there wherever libtorch finds a device, turns PTX into code of whatever
/// device it drives, and keeps that in a cache of its own on disk.
/// </summary>
internal sealed unsafe class CudaDriver
{
    private readonly delegate* unmanaged<uint, int> init;
    private readonly delegate* unmanaged<int*, int> deviceGetCount;
    private readonly delegate* unmanaged<int*, int, int> deviceGet;
    private readonly delegate* unmanaged<byte*, int, int, int> deviceGetName;
    private readonly delegate* unmanaged<int*, int, int, int> deviceGetAttribute;
    private readonly delegate* unmanaged<nint*, int, int> primaryContextRetain;
    private readonly delegate* unmanaged<nint, int> contextPush;
    private readonly delegate* unmanaged<nint*, int> contextPop;
    private readonly delegate* unmanaged<nint*, byte*, uint, int*, void**, int> moduleLoad;
    private readonly delegate* unmanaged<nint*, nint, byte*, int> moduleGetFunction;
    private readonly delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int> launchKernel;
    private readonly delegate* unmanaged<nint, void*, nuint, nint, int> copyToDevice;
    private readonly delegate* unmanaged<void*, nint, nuint, nint, int> copyToHost;
    private readonly delegate* unmanaged<nint, int> streamSynchronize;
    private readonly delegate* unmanaged<nint*, uint, int> streamCreate;
    private readonly delegate* unmanaged<nint, int> streamDestroy;
    private readonly delegate* unmanaged<nint*, nuint, int> allocate;
    private readonly delegate* unmanaged<nint, int> free;
    private readonly delegate* unmanaged<void**, nuint, uint, int> allocateHost;
    private readonly delegate* unmanaged<void*, int> freeHost;
    private readonly delegate* unmanaged<nint*, uint, int> eventCreate;
    private readonly delegate* unmanaged<nint, nint, int> eventRecord;
    private readonly delegate* unmanaged<nint, int> eventSynchronize;
    private readonly delegate* unmanaged<nint, int> eventDestroy;
    private readonly delegate* unmanaged<int, byte**, int> getErrorName;
    private readonly delegate* unmanaged<nint, int*, int> streamIsCapturing;
    private readonly delegate* unmanaged<int*, int> threadExchangeCaptureMode;
    private readonly delegate* unmanaged<nint, int, int> streamBeginCapture;
    private readonly delegate* unmanaged<nint, nint*, int> streamEndCapture;
    private readonly delegate* unmanaged<nint*, nint, ulong, int> graphInstantiate;
    private readonly delegate* unmanaged<nint, nint, int> graphLaunch;
    private readonly delegate* unmanaged<nint, int> graphExecDestroy;
    private readonly delegate* unmanaged<nint, int> graphDestroy;

    private CudaDriver(nint library)
    {
        init = (delegate* unmanaged<uint, int>)NativeLibrary.GetExport(library, "cuInit");
        deviceGetCount = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(library, "cuDeviceGetCount");
        deviceGet = (delegate* unmanaged<int*, int, int>)NativeLibrary.GetExport(library, "cuDeviceGet");
        deviceGetName = (delegate* unmanaged<byte*, int, int, int>)NativeLibrary.GetExport(library, "cuDeviceGetName");
        deviceGetAttribute = (delegate* unmanaged<int*, int, int, int>)NativeLibrary.GetExport(library, "cuDeviceGetAttribute");
        primaryContextRetain = (delegate* unmanaged<nint*, int, int>)NativeLibrary.GetExport(library, "cuDevicePrimaryCtxRetain");
        contextPush = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuCtxPushCurrent_v2");
        contextPop = (delegate* unmanaged<nint*, int>)NativeLibrary.GetExport(library, "cuCtxPopCurrent_v2");
        moduleLoad = (delegate* unmanaged<nint*, byte*, uint, int*, void**, int>)NativeLibrary.GetExport(library, "cuModuleLoadDataEx");
        moduleGetFunction = (delegate* unmanaged<nint*, nint, byte*, int>)NativeLibrary.GetExport(library, "cuModuleGetFunction");
        launchKernel = (delegate* unmanaged<nint, uint, uint, uint, uint, uint, uint, uint, nint, void**, void**, int>)
            NativeLibrary.GetExport(library, "cuLaunchKernel");
        copyToDevice = (delegate* unmanaged<nint, void*, nuint, nint, int>)NativeLibrary.GetExport(library, "cuMemcpyHtoDAsync_v2");
        copyToHost = (delegate* unmanaged<void*, nint, nuint, nint, int>)NativeLibrary.GetExport(library, "cuMemcpyDtoHAsync_v2");
        streamSynchronize = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuStreamSynchronize");
        streamCreate = (delegate* unmanaged<nint*, uint, int>)NativeLibrary.GetExport(library, "cuStreamCreate");
        streamDestroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuStreamDestroy_v2");
        allocate = (delegate* unmanaged<nint*, nuint, int>)NativeLibrary.GetExport(library, "cuMemAlloc_v2");
        free = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuMemFree_v2");
        allocateHost = (delegate* unmanaged<void**, nuint, uint, int>)NativeLibrary.GetExport(library, "cuMemHostAlloc");
        freeHost = (delegate* unmanaged<void*, int>)NativeLibrary.GetExport(library, "cuMemFreeHost");
        eventCreate = (delegate* unmanaged<nint*, uint, int>)NativeLibrary.GetExport(library, "cuEventCreate");
        eventRecord = (delegate* unmanaged<nint, nint, int>)NativeLibrary.GetExport(library, "cuEventRecord");
        eventSynchronize = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuEventSynchronize");
        eventDestroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuEventDestroy_v2");
        getErrorName = (delegate* unmanaged<int, byte**, int>)NativeLibrary.GetExport(library, "cuGetErrorName");
        threadExchangeCaptureMode = (delegate* unmanaged<int*, int>)NativeLibrary.GetExport(library, "cuThreadExchangeStreamCaptureMode");
        streamIsCapturing = (delegate* unmanaged<nint, int*, int>)NativeLibrary.GetExport(library, "cuStreamIsCapturing");
        streamBeginCapture = (delegate* unmanaged<nint, int, int>)NativeLibrary.GetExport(library, "cuStreamBeginCapture_v2");
        streamEndCapture = (delegate* unmanaged<nint, nint*, int>)NativeLibrary.GetExport(library, "cuStreamEndCapture");
        graphInstantiate = (delegate* unmanaged<nint*, nint, ulong, int>)NativeLibrary.GetExport(library, "cuGraphInstantiateWithFlags");
        graphLaunch = (delegate* unmanaged<nint, nint, int>)NativeLibrary.GetExport(library, "cuGraphLaunch");
        graphExecDestroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuGraphExecDestroy");
        graphDestroy = (delegate* unmanaged<nint, int>)NativeLibrary.GetExport(library, "cuGraphDestroy");
    }

    /// <summary>The driver of this machine; null where there is none, or one that is too old.</summary>
    /// <param name="path">Its library, where it is another one than the system's.</param>
    public static CudaDriver? TryLoad(string? path = null)
    {
        var name = path ?? (OperatingSystem.IsWindows() ? "nvcuda.dll" : "libcuda.so.1");
        if (!NativeLibrary.TryLoad(name, out var library))
            return null;
        try
        {
            var driver = new CudaDriver(library);
            return driver.init(0) == 0 ? driver : null;
        }
        catch (EntryPointNotFoundException)
        {
            return null;
        }
    }

    /// <summary>How many devices there are.</summary>
    public int Devices
    {
        get
        {
            int count;
            return deviceGetCount(&count) == 0 ? count : 0;
        }
    }

    /// <summary>The context that libtorch, and everything else over CUDA's runtime, uses on a device; and what the device is called.</summary>
    public (nint Context, string Model, (int Major, int Minor) Capability) Open(int ordinal)
    {
        int device;
        Check(deviceGet(&device, ordinal), ordinal, "no such device");
        nint context;
        Check(primaryContextRetain(&context, device), ordinal, "no context");
        var text = stackalloc byte[256];
        Check(deviceGetName(text, 256, device), ordinal, "no name");
        // CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and MINOR.
        int major,
            minor;
        Check(deviceGetAttribute(&major, 75, device), ordinal, "no compute capability");
        Check(deviceGetAttribute(&minor, 76, device), ordinal, "no compute capability");
        return (context, Marshal.PtrToStringUTF8((nint)text) ?? "", (major, minor));
    }

    public int Push(nint context) => contextPush(context);

    public void Pop()
    {
        nint context;
        _ = contextPop(&context);
    }

    /// <summary>The function of a kernel's text, or an error and what the driver's assembler says about it.</summary>
    public int Load(string text, string entry, out nint function, out string log)
    {
        const int errorLog = 5,
            errorLogSize = 6,
            logBytes = 4096;
        var room = stackalloc byte[logBytes];
        room[0] = 0;
        var names = stackalloc int[] { errorLog, errorLogSize };
        var values = stackalloc void*[] { room, (void*)logBytes };
        nint module,
            found = 0;
        int error;
        fixed (byte* image = Encoding.ASCII.GetBytes(text + "\0"))
        fixed (byte* name = Encoding.ASCII.GetBytes(entry + "\0"))
        {
            error = moduleLoad(&module, image, 2, names, values);
            if (error == 0)
                error = moduleGetFunction(&found, module, name);
        }
        function = found;
        log = Marshal.PtrToStringUTF8((nint)room) ?? "";
        return error;
    }

    public int Launch(nint function, uint blocks, uint threads, nint stream, void** parameters) =>
        launchKernel(function, blocks, 1, 1, threads, 1, 1, 0, stream, parameters, null);

    public int Upload(nint target, void* source, nint bytes, nint stream) => copyToDevice(target, source, (nuint)bytes, stream);

    public int Download(void* target, nint source, nint bytes, nint stream)
    {
        var error = copyToHost(target, source, (nuint)bytes, stream);
        return error != 0 ? error : streamSynchronize(stream);
    }

    /// <summary>A stream that waits for no other, not for the default one either.</summary>
    public int CreateStream(out nint stream)
    {
        nint found;
        var error = streamCreate(&found, 1);
        stream = found;
        return error;
    }

    public int DestroyStream(nint stream) => streamDestroy(stream);

    public int Synchronize(nint stream) => streamSynchronize(stream);

    public int Allocate(nint bytes, out nint address)
    {
        nint found;
        var error = allocate(&found, (nuint)bytes);
        address = found;
        return error;
    }

    public int Free(nint address) => free(address);

    /// <summary>A copy that waits for nobody: the target is memory that the driver has given out for it.</summary>
    public int BeginDownload(void* target, nint source, nint bytes, nint stream) => copyToHost(target, source, (nuint)bytes, stream);

    public int AllocateHost(nint bytes, out void* address)
    {
        void* found;
        var error = allocateHost(&found, (nuint)bytes, 0);
        address = found;
        return error;
    }

    public int FreeHost(void* address) => freeHost(address);

    /// <summary>An event that tells no times, which makes it cheap.</summary>
    public int CreateEvent(out nint made)
    {
        const uint withoutTiming = 2;
        nint found;
        var error = eventCreate(&found, withoutTiming);
        made = found;
        return error;
    }

    public int Record(nint @event, nint stream) => eventRecord(@event, stream);

    /// <summary>Waits for an event, also while a graph is being captured to which it does not belong.</summary>
    public int WaitFor(nint @event)
    {
        const int anything = 2;
        var allowed = anything;
        _ = threadExchangeCaptureMode(&allowed);
        var error = eventSynchronize(@event);
        _ = threadExchangeCaptureMode(&allowed);
        return error;
    }

    public int DestroyEvent(nint @event) => eventDestroy(@event);

    /// <summary>Whether what is added to a stream is noted for a graph.</summary>
    public bool IsCapturing(nint stream)
    {
        int status;
        return streamIsCapturing(stream, &status) == 0 && status != 0;
    }

    /// <summary>Has launches of this thread on a stream be noted, and not run; other threads are not hindered.</summary>
    public int BeginCapture(nint stream)
    {
        const int ofThread = 1;
        return streamBeginCapture(stream, ofThread);
    }

    /// <summary>Ends that; the graph is 0 where something was done that graphs cannot repeat.</summary>
    public int EndCapture(nint stream, out nint graph)
    {
        nint made = 0;
        var error = streamEndCapture(stream, &made);
        graph = made;
        return error;
    }

    /// <summary>Makes a graph ready to be launched.</summary>
    public int Instantiate(nint graph, out nint ready)
    {
        nint made = 0;
        var error = graphInstantiate(&made, graph, 0);
        ready = made;
        return error;
    }

    public int LaunchGraph(nint ready, nint stream) => graphLaunch(ready, stream);

    public int DestroyGraph(nint graph) => graphDestroy(graph);

    public int DestroyReady(nint ready) => graphExecDestroy(ready);

    /// <summary>The driver's name of an error.</summary>
    public string NameOf(int error)
    {
        byte* text;
        return getErrorName(error, &text) == 0 && text != null
            ? Marshal.PtrToStringUTF8((nint)text)!
            : FormattableString.Invariant($"CUDA error {error}");
    }

    private void Check(int error, int ordinal, string what)
    {
        if (error != 0)
            throw new CudaException($"cuda:{ordinal}: {what}: {NameOf(error)}", NameOf(error), false);
    }
}
