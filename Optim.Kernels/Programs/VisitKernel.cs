using System.Runtime.CompilerServices;
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

    /// <summary>Elements [at, end) of neighbouring slices; the first entry is that of the slice which holds the first of them.</summary>
    /// <param name="entry">Of the first slice: where it starts, its addresses, and a stride further where the next one starts.</param>
    /// <param name="stride">Words of an entry.</param>
    /// <param name="at">The first element.</param>
    /// <param name="end">One past the last.</param>
    /// <param name="numbers">The numbers that are handed in, the same for all slices.</param>
    /// <param name="streams">Whether arrays come from main memory.</param>
    public void Run(nint* entry, nint stride, nint at, nint end, void* numbers, bool streams)
    {
        while (at < end)
        {
            at = Vectors(ref entry, stride, at, end, numbers, streams);
            if (at == end)
                return;
            var to = Math.Min(end, entry[stride]);
            if (to - at < Count)
            {
                Tail(entry, at - entry[0], (int)(to - at), numbers);
                at = to;
                entry += stride;
            }
        }
    }

    /// <summary>
    /// Elements [at, end) of one slice, as many times as there are running sums, of which the values that are reduced go into these at once:
    /// all sums of the first reduction, then all of the next one. False, and nothing is done, where the engine cannot.
    /// </summary>
    public virtual bool Reduce(nint* entry, nint stride, nint at, nint end, void* numbers, bool streams, double* sums) => false;

    /// <summary>A loop over whole blocks of a slice with columns that are kept so; null where the engine has none.</summary>
    public virtual KernelBody? Narrow(ReadOnlySpan<NarrowKind> kinds) => null;

    /// <summary>
    /// Whole vectors, of one slice after the other, as far as it is pleasant; at the latest up to the first slice that has a tail. Returns
    /// the next element, and moves on to its slice.
    /// </summary>
    protected abstract nint Vectors(ref nint* entry, nint stride, nint at, nint end, void* numbers, bool streams);

    /// <summary>Fewer elements than a vector has, as a vector beside them: an element's result depends on that element alone.</summary>
    [SkipLocalsInit]
    private void Tail(nint* entry, nint begin, int count, void* numbers)
    {
        var uses = Code.ArrayUses;
        var arrays = SliceTable.AddressesOf(entry);
        var room = stackalloc byte[uses.Length * VectorBytes];
        // An entry of one slice, and where it ends.
        var stride = uses[^1].Array + 2;
        var beside = stackalloc nint[stride + 1];
        (beside[0], beside[stride]) = (0, Count);
        var addresses = SliceTable.AddressesOf(beside);
        for (var i = 0; i < uses.Length; i++)
        {
            var use = uses[i];
            var vector = room + i * VectorBytes;
            addresses[use.Array] = (nint)vector;
            if (use.IsRead)
                Copy((byte*)arrays[use.Array] + begin * use.Size, vector, count * use.Size);
        }
        Vectors(ref beside, stride, 0, Count, numbers, false);
        foreach (var use in uses)
            if (use.IsWritten)
                Copy((byte*)addresses[use.Array], (byte*)arrays[use.Array] + begin * use.Size, count * use.Size);
    }

    private static void Copy(byte* source, byte* target, int bytes) => new ReadOnlySpan<byte>(source, bytes).CopyTo(new(target, bytes));
}
