using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;

namespace Optim.Kernels;

/// <summary>Runs the code of a visit as machine code: the runtime compiles it when it is first run, and drops it with this object.</summary>
[RequiresDynamicCode("makes code at run time")]
internal sealed unsafe class EmittedKernel : VisitKernel
{
    /// <summary>Arrays beyond which there are enough loads under way as it is; from main memory two vectors at a time are faster with fewer.</summary>
    private const int FewArrays = 5;

    /// <summary>State columns beyond which narrow ones do not go into one loop.</summary>
    private const int MostNarrow = 16;

    private readonly KernelCode spelledOut;
    private readonly VectorMethods methods;
    private readonly KernelBody single;
    private readonly bool inPairs,
        canReduce;
    private readonly ConcurrentDictionary<long, KernelBody> narrow = [];
    private KernelBody? streaming;
    private KernelBody? reducing,
        reducingAhead;

    public EmittedKernel(KernelCode code, Width width)
        : base(code)
    {
        methods = VectorMethods.Of(width, code.IsDouble);
        spelledOut = code.SpelledOut();
        single = new KernelEmitter(spelledOut, methods, 1).Emit();
        canReduce = KernelEmitter.CanReduce(methods);
        inPairs = code.ArrayUses.Length <= FewArrays;
    }

    public override int Count => methods.Count;

    public override bool Reduce(nint* entry, nint stride, nint at, nint end, void* numbers, bool streams, double* sums)
    {
        if (!canReduce)
            return false;
        // Two threads may both make it: the same code.
        ref var body = ref (streams ? ref reducingAhead : ref reducing);
        body ??= KernelEmitter.Reducing(spelledOut, methods, streams).Emit();
        var span = new SliceSpan
        {
            Entry = entry,
            Stride = stride,
            At = at,
            End = end,
            Numbers = numbers,
            Sums = sums,
        };
        body(&span);
        return true;
    }

    public override KernelBody? Narrow(ReadOnlySpan<NarrowKind> kinds)
    {
        if (!NarrowCodec.IsFused || Code.IsDouble || Code.Reductions.Length > 0 || Code.Rooms > 0 || kinds.Length > MostNarrow)
            return null;
        var key = 0L;
        foreach (var kind in kinds)
            key = key << 2 | (long)kind;
        return narrow.TryGetValue(key, out var body)
            ? body
            : narrow.GetOrAdd(key, new KernelEmitter(spelledOut, methods, 1, looksAhead: true).EmitNarrow(kinds.ToArray()));
    }

    protected override nint Vectors(ref nint* entry, nint stride, nint at, nint end, void* numbers, bool streams)
    {
        var span = new SliceSpan
        {
            Entry = entry,
            Stride = stride,
            At = at,
            End = end,
            Numbers = numbers,
        };
        if (streams)
        {
            // Two threads may both make it: the same code.
            (streaming ??= new KernelEmitter(spelledOut, methods, inPairs ? 2 : 1, looksAhead: true).Emit())(&span);
            if (span.At < end)
                // The rest of the slice that has more than pairs.
                span.End = Math.Min(end, span.Entry[stride]);
        }
        if (span.At < span.End)
            single(&span);
        entry = span.Entry;
        return span.At;
    }
}

/// <summary>Elements of neighbouring slices that a kernel goes over, and how far it has come.</summary>
internal unsafe struct SliceSpan
{
    /// <summary>The slice that holds the next element: its start, its addresses, and where the next one starts.</summary>
    public nint* Entry;

    /// <summary>Words of an entry.</summary>
    public nint Stride;

    /// <summary>The next element.</summary>
    public nint At;

    /// <summary>One past the last element.</summary>
    public nint End;

    /// <summary>The numbers that are handed in.</summary>
    public void* Numbers;

    /// <summary>The running sums of each reduction, where they are kept in registers meanwhile.</summary>
    public double* Sums;
}

/// <summary>Whole vectors of one slice after the other, up to the first that has a tail.</summary>
internal unsafe delegate void KernelBody(SliceSpan* span);
