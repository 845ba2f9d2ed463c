using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>
/// On which processors threads run, on Linux. A thread that is woken may be put onto the processor of the one that woke it,
/// in whose way it then stands until the system moves it, milliseconds later.
/// </summary>
internal static unsafe class Processors
{
    /// <summary>Bytes of a set of processors, a bit each.</summary>
    private const int SetSize = 128;

    private static readonly bool isKnown = OperatingSystem.IsLinux();

    /// <summary>The processor of the calling thread; -1 where that is not known.</summary>
    public static int Current => isKnown ? sched_getcpu() : -1;

    /// <summary>Moves the calling thread to another processor than one, if it may use another.</summary>
    public static void Leave(int processor)
    {
        if (processor < 0 || processor >= SetSize * 8 || Current != processor)
            return;
        var allowed = stackalloc byte[SetSize];
        var others = stackalloc byte[SetSize];
        if (sched_getaffinity(0, SetSize, allowed) < 0)
            return;
        new ReadOnlySpan<byte>(allowed, SetSize).CopyTo(new(others, SetSize));
        others[processor / 8] &= (byte)~(1 << processor % 8);
        // The move happens at once; afterwards the thread may run anywhere again.
        if (new ReadOnlySpan<byte>(others, SetSize).ContainsAnyExcept((byte)0) && sched_setaffinity(0, SetSize, others) == 0)
            _ = sched_setaffinity(0, SetSize, allowed);
    }

    [DllImport("libc"), SuppressGCTransition]
    private static extern int sched_getcpu();

    [DllImport("libc")]
    private static extern int sched_getaffinity(int thread, nuint size, byte* set);

    [DllImport("libc")]
    private static extern int sched_setaffinity(int thread, nuint size, byte* set);
}
