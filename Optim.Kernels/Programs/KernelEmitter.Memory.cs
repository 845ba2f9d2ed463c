using System.Reflection;
using System.Reflection.Emit;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

// Memory that is asked for before it is needed, where arrays come from main memory.
internal sealed unsafe partial class KernelEmitter
{
    /// <summary>So many bytes ahead of what is worked on.</summary>
    private const int BytesAhead = 2048;

    private const int LineBytes = 64;
    private static readonly MethodInfo? prefetch = Sse.IsSupported ? ((Prefetching)Sse.Prefetch0).Method : null;

    private delegate void Prefetching(void* address);

    /// <summary>Asks for the lines of memory that begin where a vector does, further on.</summary>
    private void LookAhead(int vector, int[] atHand)
    {
        if (!looksAhead || prefetch is null)
            return;
        foreach (var use in code.ArrayUses)
            if (use.Array < code.Arrays && !atHand.Contains(use.Array) && vector * methods.Count * use.Size % LineBytes == 0)
            {
                Address(use.Array, use.Size, vector);
                Integer(BytesAhead);
                il.Emit(OpCodes.Add);
                il.Emit(OpCodes.Call, prefetch);
            }
    }
}
