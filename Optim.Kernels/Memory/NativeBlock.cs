using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Native memory, zeroed unless told otherwise, 64-byte aligned, freed when nobody refers to it any more. It owns the state of optimizers.</summary>
internal sealed unsafe class NativeBlock
{
    /// <summary>A cache line, and the widest vector.</summary>
    private const nint Alignment = 64;

    private const nint Page = 4096;
    private const nint HugePage = 2 << 20;
    private static int blocks;
    private readonly void* memory;
    private readonly nint bytes;

    /// <param name="length">Bytes.</param>
    /// <param name="cleared">Whether they are zero; false for what is written as a whole before anyone reads it.</param>
    public NativeBlock(nint length, bool cleared = true)
    {
        // Arrays that a step goes over together must not start at the same offset in a page, nor each a little after the one
        // before it: a load is held up by a store that is still under way to the same offset in another page (4K aliasing).
        // Each block starts some lines before the last one, so that stores run ahead of the loads that share their offsets.
        var small = length < 4 * Page;
        var shift = small ? 0 : (7 - Interlocked.Increment(ref blocks) % 8) * 5 * Alignment;
        bytes = checked(length + shift);
        var huge = bytes >= 2 * HugePage;
        var alignment =
            huge ? HugePage
            : small ? Alignment
            : Page;
        memory = NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), (nuint)alignment);
        // Fewer translations: up to a tenth less time for passes over main memory. A hint, which Linux alone has; it may be declined.
        if (huge && OperatingSystem.IsLinux())
            _ = madvise(memory, (nuint)bytes, HugePages);
        if (cleared)
            NativeMemory.Clear(memory, (nuint)bytes);
        Address = (nint)memory + shift;
        if (bytes > 0)
            GC.AddMemoryPressure(bytes);
    }

    /// <summary>How many blocks of four pages and more this process has made so far: by it tests see that steps make none.</summary>
    public static int Made => Volatile.Read(ref blocks);

    public nint Address { get; }

    ~NativeBlock()
    {
        NativeMemory.AlignedFree(memory);
        if (bytes > 0)
            GC.RemoveMemoryPressure(bytes);
    }

    /// <summary>Rounds a number of bytes up to whole cache lines.</summary>
    public static nint Aligned(nint length) => checked(length + Alignment - 1) & ~(nint)(Alignment - 1);

    private const int HugePages = 14;

    [DllImport("libc")]
    private static extern int madvise(void* address, nuint length, int advice);
}
