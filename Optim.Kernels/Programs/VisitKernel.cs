using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>What an engine makes of the code of a visit, for vectors of one width. Any number of threads may run it at once.</summary>
internal abstract unsafe class VisitKernel
{
    /// <summary>Bytes of the widest vector.</summary>
    private const int VectorBytes = 64;

    private readonly GCHandle handle;

    protected VisitKernel(KernelCode code)
    {
        Code = code;
        handle = GCHandle.Alloc(this, GCHandleType.Weak);
    }

    ~VisitKernel() => handle.Free();

    public KernelCode Code { get; }

    /// <summary>Elements of a vector.</summary>
    public abstract int Count { get; }

    /// <summary>How a pass, which holds no references, names it; valid while somebody keeps it.</summary>
    public nint Handle => GCHandle.ToIntPtr(handle);

    /// <summary>The one of a handle.</summary>
    public static VisitKernel Of(nint handle) => (VisitKernel)GCHandle.FromIntPtr(handle).Target!;

    /// <summary>Elements [begin, end) of the arrays at these addresses.</summary>
    public void Run(nint* arrays, nint begin, nint end, void* numbers, bool streams)
    {
        var whole = end - (end - begin) % Count;
        if (begin < whole)
            Vectors(arrays, begin, whole, numbers, streams);
        if (whole < end)
            Tail(arrays, whole, (int)(end - whole), numbers);
    }

    /// <summary>Elements [begin, end), which are whole vectors.</summary>
    protected abstract void Vectors(nint* arrays, nint begin, nint end, void* numbers, bool streams);

    /// <summary>Fewer elements than a vector has, as a vector beside them: an element's result depends on that element alone.</summary>
    private void Tail(nint* arrays, nint begin, int count, void* numbers)
    {
        var uses = Code.ArrayUses;
        var room = stackalloc byte[uses.Length * VectorBytes];
        var addresses = stackalloc nint[uses[^1].Array + 1];
        for (var i = 0; i < uses.Length; i++)
        {
            var use = uses[i];
            var vector = room + i * VectorBytes;
            addresses[use.Array] = (nint)vector;
            if (use.IsRead)
                Copy((byte*)arrays[use.Array] + begin * use.Size, vector, count * use.Size);
        }
        Vectors(addresses, 0, Count, numbers, false);
        foreach (var use in uses)
            if (use.IsWritten)
                Copy((byte*)addresses[use.Array], (byte*)arrays[use.Array] + begin * use.Size, count * use.Size);
    }

    private static void Copy(byte* source, byte* target, int bytes) => new ReadOnlySpan<byte>(source, bytes).CopyTo(new(target, bytes));
}
