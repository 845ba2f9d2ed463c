using System.Runtime.InteropServices;
using Optim.Cuda;

namespace Optim.Ptx;

/// <summary>A device that is none: kernels are interpreted, over memory of this process.</summary>
internal sealed unsafe class InterpretedGpu(PretendHeap heap) : Gpu
{
    private readonly List<PtxProgram> programs = [];
    private List<Action>? captured;

    public override string Name => "an interpreter";

    /// <summary>Names another stream from now on.</summary>
    public nint StreamNow { get; set; }

    public override nint Stream => StreamNow;

    /// <summary>Changes the text of each kernel before it is read.</summary>
    public Func<string, string> Change { get; set; } = text => text;

    public long Executed { get; private set; }

    /// <summary>How often the processor has waited for the device.</summary>
    public int Waits { get; private set; }

    /// <summary>How often something was copied there.</summary>
    public int Uploads { get; private set; }

    public override bool IsCapturing => captured is not null;

    /// <summary>Notes what is launched from now on.</summary>
    public void BeginCapture() => captured = [];

    /// <summary>A graph of what was launched since.</summary>
    public Action EndCapture()
    {
        var launches = captured!;
        captured = null;
        return () => launches.ForEach(launch => launch());
    }

    private void RefuseCapture(string what)
    {
        if (IsCapturing)
            throw new PtxException($"{what} while a graph is captured");
    }

    public override nint Load(PtxKernel kernel)
    {
        RefuseCapture("a kernel is compiled");
        programs.Add(new(Change(kernel.Text)));
        return programs.Count;
    }

    public override void Launch(nint function, PtxKernel kernel, uint blocks, void** parameters)
    {
        var program = programs[(int)function - 1];
        var bytes = new byte[program.ParameterBytes];
        for (var i = 0; i < program.Parameters.Count; i++)
            new ReadOnlySpan<byte>(parameters[i], program.Parameters[i].Bytes).CopyTo(bytes.AsSpan(program.Parameters[i].Offset));
        if (captured is null)
            Run();
        else
            captured.Add(Run);

        void Run()
        {
            var run = new PtxRun(program, heap.Memory);
            run.Run(0, blocks, kernel.Threads, bytes);
            Executed += run.Executed;
        }
    }

    public override GpuMemory Allocate(nint bytes)
    {
        RefuseCapture("memory is allocated");
        return heap.Allocate(bytes);
    }

    public override void Upload(nint target, void* source, nint bytes)
    {
        RefuseCapture("something is copied there");
        Uploads++;
        NativeMemory.Copy(source, (void*)target, (nuint)bytes);
    }

    public override GpuCopy Room(nint bytes) => new Copy(this, bytes);

    private sealed class Copy(InterpretedGpu gpu, nint bytes) : GpuCopy
    {
        private readonly nint room = (nint)NativeMemory.Alloc((nuint)bytes);

        ~Copy() => NativeMemory.Free((void*)room);

        public override void Begin(nint source)
        {
            gpu.RefuseCapture("something is copied from there");
            NativeMemory.Copy((void*)source, (void*)room, (nuint)bytes);
        }

        public override void* Wait()
        {
            gpu.Waits++;
            return (void*)room;
        }

        public override void Dispose() { }
    }

    public override void Download(void* target, nint source, nint bytes)
    {
        RefuseCapture("something is copied from there");
        Waits++;
        NativeMemory.Copy((void*)source, target, (nuint)bytes);
    }
}
