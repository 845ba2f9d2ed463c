using System.Runtime.InteropServices;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// libtorch's own threads. They spin for a while after each of its operators, so threads of ours would have to fight them
/// for the processors: a process that computes with libtorch steps on libtorch's threads.
/// </summary>
internal sealed unsafe class TorchThreads : Executor
{
    /// <summary>Elements below which the hand-over costs more than it gains.</summary>
    private const nint WorthSharing = 16 << 10;

    /// <summary>Elements of which shares are multiples: a cache line of floats, the widest vector.</summary>
    private const nint Line = 16;

    private TorchThreads() { }

    public static TorchThreads Instance { get; } = new();

    public override string Name => "libtorch";

    /// <summary>On as many threads as libtorch uses, at most <see cref="Threads.Count"/>.</summary>
    public override int Run(nint length, delegate* <nint, nint, void*, void> body, void* context)
    {
        var threads = length < WorthSharing ? 1 : Math.Min(LibTorch.ThreadCount, Threads.Count);
        if (threads < 2)
            return Caller.Run(length, body, context);
        var pass = new Pass
        {
            Length = length,
            Body = body,
            Context = context,
        };
        var lines = (length + Line - 1) / Line;
        LibTorch.ParallelFor(lines, (lines + threads - 1) / threads, &Share, &pass);
        return threads;
    }

    private struct Pass
    {
        public nint Length;
        public delegate* <nint, nint, void*, void> Body;
        public void* Context;
    }

    // Bodies throw nothing, as an exception cannot cross libtorch's frames.
    [UnmanagedCallersOnly]
    private static void Share(long begin, long end, void* context)
    {
        var pass = (Pass*)context;
        pass->Body((nint)begin * Line, Math.Min((nint)end * Line, pass->Length), pass->Context);
    }
}
