namespace Optim.Kernels;

/// <summary>Who runs the shares of a pass. Every executor gives the same bits; they differ in speed only.</summary>
public abstract unsafe class Executor
{
    /// <summary>The calling thread alone.</summary>
    public static Executor Caller { get; } = new Alone();

    /// <summary>The calling thread and threads of our own, as many as <see cref="Threads.Count"/>.</summary>
    public static Executor Team { get; } = new Team();

    /// <summary>What it is called when it is printed.</summary>
    public abstract string Name { get; }

    /// <summary>Whether steps run on a device by it, and not on threads of the processor.</summary>
    public virtual bool IsOfDevice => false;

    /// <summary>
    /// Runs <paramref name="body"/> over [0, length), each element once, in shares of any size on any threads, and
    /// returns when all are done.
    /// </summary>
    /// <param name="length">Elements in all; at least 1.</param>
    /// <param name="body">Takes the first and one past the last element of a share, and the context. Throws nothing.</param>
    /// <param name="context">Handed to the body; valid until this returns.</param>
    /// <returns>The number of threads that could take part.</returns>
    public abstract int Run(nint length, delegate* <nint, nint, void*, void> body, void* context);

    private sealed class Alone : Executor
    {
        public override string Name => "caller";

        public override int Run(nint length, delegate* <nint, nint, void*, void> body, void* context)
        {
            body(0, length, context);
            return 1;
        }
    }
}
