using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// A formula with what surrounds it where no code is made: block after block of many thousand elements, which stay in the cache, the
/// gradient is changed into room beside it, the formula's own loop goes over it, and the averages move.
/// </summary>
internal sealed unsafe class FormulaBlocks(Driver driver, int switches, Surroundings around)
{
    /// <summary>Elements of a block: some arrays of them stay in a core's cache.</summary>
    private const int Block = 8192;

    private readonly ProgramRun before = new(around.Before()),
        after = new((around with { Unscales = false, Clips = false, Clamps = false }).After(driver.Columns));

    private readonly Dictionary<ProgramRun, double[]> leaves = [];

    /// <summary>What the shares of a pass need.</summary>
    private struct Shares
    {
        public nint* Entries;
        public int Stride;
        public int Slices;
        public int Size;
        public Pass Step;
        public delegate* <nint, nint, void*, void> Loop;
        public nint Before;
        public nint After;
        public nint BeforeNumbers;
        public nint AfterNumbers;
        public bool Changes;
        public bool Ends;
        public bool Streams;
    }

    /// <summary>Makes the kernels for a dtype.</summary>
    public void Prepare(DType dtype)
    {
        if (around.ChangesGradients)
            before.Prepare(dtype);
        if (around.HasEpilogue)
            after.Prepare(dtype);
        driver.Loop(switches);
    }

    public int Run(
        SliceTable table,
        int firstSlice,
        int slices,
        DType dtype,
        in Coefficients<Real> coefficients,
        double[] numbers,
        Executor executor
    )
    {
        var entries = table.Entries + firstSlice * (nint)table.Stride;
        var length = entries[slices * (nint)table.Stride] - entries[0];
        if (length == 0)
            return 1;
        var shares = new Shares
        {
            Entries = entries,
            Stride = table.Stride,
            Slices = slices,
            Size = dtype.Size() / dtype.Parts(),
            Step = new()
            {
                Stride = table.Stride,
                Slices = 1,
                Width = Lanes.Width,
                Coefficients = coefficients,
            },
            Loop = driver.Loop(switches).For(dtype),
            Changes = around.ChangesGradients,
            Ends = around.HasEpilogue,
            Streams = length * (long)(table.Stride - 1) * (dtype.Size() / dtype.Parts()) > Driver.Cache,
        };
        VisitKernel? first = null,
            last = null;
        if (around.ChangesGradients)
            (first, shares.Before, shares.BeforeNumbers) = Made(before, dtype, numbers);
        if (around.HasEpilogue)
            (last, shares.After, shares.AfterNumbers) = Made(after, dtype, numbers);
        var took = executor.Run(length, &RunShare, &shares);
        GC.KeepAlive(first);
        GC.KeepAlive(last);
        GC.KeepAlive(this);
        return took;
    }

    private (VisitKernel, nint, nint) Made(ProgramRun run, DType dtype, double[] numbers)
    {
        if (!leaves.TryGetValue(run, out var values))
            leaves.Add(run, values = new double[run.Leaves.Length]);
        for (var i = 0; i < values.Length; i++)
            values[i] = numbers[Surroundings.PlaceOf(run.Leaves[i].Name)];
        var (kernel, written) = run.Ready(dtype, values);
        return (kernel, kernel.Handle, written);
    }

    [SkipLocalsInit]
    private static void RunShare(nint begin, nint end, void* context)
    {
        var shares = (Shares*)context;
        var (before, after) = (
            shares->Changes ? VisitKernel.Of(shares->Before) : null,
            shares->Ends ? VisitKernel.Of(shares->After) : null
        );
        nint stride = shares->Stride;
        // An entry of one block, and one of the prologue.
        var own = stackalloc nint[(int)stride + 1];
        var changed = stackalloc nint[4];
        var space = stackalloc byte[shares->Changes ? Block * shares->Size + BlockKernel.VectorBytes : 0];
        var room = BlockKernel.Aligned(space);
        var step = shares->Step;
        step.Entries = own;
        var (at, last) = (begin + shares->Entries[0], end + shares->Entries[0]);
        for (var slice = SliceTable.FirstAt(shares->Entries, shares->Stride, shares->Slices, at); at < last; slice++)
        {
            var entry = shares->Entries + slice * stride;
            var to = Math.Min(last, entry[stride]) - entry[0];
            new ReadOnlySpan<nint>(entry, (int)stride).CopyTo(new(own, (int)stride));
            var arrays = SliceTable.AddressesOf(own);
            var gradient = arrays[1];
            (own[0], own[stride]) = (0, to);
            for (var first = at - entry[0]; first < to; first += Block)
            {
                var next = Math.Min(first + Block, to);
                if (before is not null)
                {
                    arrays[1] = (nint)room - first * shares->Size;
                    (changed[0], changed[1], changed[2], changed[3]) = (0, arrays[1], gradient, next);
                    before.Run(changed, 3, first, next, (void*)shares->BeforeNumbers, shares->Streams);
                }
                shares->Loop(first, next, &step);
                arrays[1] = gradient;
                after?.Run(own, stride, first, next, (void*)shares->AfterNumbers, shares->Streams);
            }
            at = entry[0] + to;
        }
    }
}
