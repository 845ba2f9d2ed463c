using Optim.Core;
using Optim.Cuda;
using Optim.Kernels;

namespace Optim.Ptx;

/// <summary>A kind of device that is none, of which tensors, steps and programs know no better.</summary>
internal sealed class PretendDevice : DeviceMemory
{
    private readonly PretendHeap heap;

    /// <param name="kind">What it is called; each one by another name.</param>
    /// <param name="heap">Its memory.</param>
    /// <param name="gpu">Who runs its kernels.</param>
    public PretendDevice(string kind, PretendHeap heap, Gpu gpu)
    {
        this.heap = heap;
        (Device, Kernels) = (new(kind, 0), new(gpu));
        Register(kind, this);
        TensorExecutor.Register(kind, Others);
        ProgramDevice.Register(kind, _ => Kernels);
    }

    public Device Device { get; }

    public CudaDevice Kernels { get; }

    /// <summary>Its memory.</summary>
    public PretendHeap Heap => heap;

    /// <summary>Who is asked where kernels do not reach.</summary>
    public Refusing Others { get; } = new();

    /// <summary>A copy of a tensor there, in the same order.</summary>
    public TensorView Moved(TensorView here)
    {
        var view = Zeros(Layout.Strided(here.DType, here.Shape.AsSpan(), here.Strides.AsSpan(), Device));
        view.CopyFrom(here);
        return view;
    }

    public override TensorView Zeros(Layout layout)
    {
        var memory = heap.Allocate(Math.Max(layout.Bytes, 1));
        var view = new TensorView(memory.Address, layout, memory);
        Here(view).Clear();
        return view;
    }

    /// <summary>Elements that were copied between it and the processor.</summary>
    public nint Crossed { get; private set; }

    public override void Copy(TensorView source, TensorView target)
    {
        if (source.Layout.IsOnCpu != target.Layout.IsOnCpu)
            Crossed += source.Count;
        Here(target).CopyFrom(Here(source));
    }

    public override void Fill(TensorView target, double value) => Here(target).Fill(value);

    private static TensorView Here(TensorView view) =>
        view.Layout.IsOnCpu ? view : new(view.Address, view.Layout.On(Device.Cpu), view.Owner);

    /// <summary>Steps nothing, and counts what it was asked for.</summary>
    internal sealed class Refusing : TensorExecutor
    {
        public int Asked { get; private set; }

        public override string Name => "nobody";

        public override bool HasWholeLanes => true;

        public override unsafe int Run(nint length, delegate* <nint, nint, void*, void> body, void* context) =>
            Caller.Run(length, body, context);

        public override void Step(TensorUpdate update) => Asked++;
    }
}
