using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>
/// Where on a device the numbers of a run lie that goes through all visits there: what each slice comes to, by reductions, and what all of them come to
/// together. It is kept from step to step.
/// </summary>
internal sealed unsafe class WholePlan
{
    private readonly ProgramRun[] runs;
    private readonly (SliceTable Table, int First, int Count, DType DType, int Kind)[] segments;
    private readonly nint[] results;
    private readonly nint[] totals;
    private readonly int[] rows;
    private readonly List<Total> lists = [];
    private readonly List<(nint Offset, double[] Values)> lengths = [];
    private readonly nint bytes;
    private GpuMemory? memory;
    private nint stream;

    /// <summary>What all slices come to together, after a visit.</summary>
    /// <param name="Visit">The visit.</param>
    /// <param name="Kind">Which run makes it.</param>
    /// <param name="Place">Its place in the program.</param>
    /// <param name="Cell">Where it lies.</param>
    /// <param name="List">Where the addresses of what slices come to are listed, in the order of the parameters.</param>
    /// <param name="Parts">Where these lie.</param>
    internal sealed record Total(int Visit, int Kind, int Place, nint Cell, nint List, nint[] Parts)
    {
        public bool IsLargest { get; init; }
    }

    public WholePlan(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds)
    {
        this.runs = [.. runs];
        this.segments = new (SliceTable, int, int, DType, int)[segments.Length];
        (results, totals) = (new nint[segments.Length], new nint[runs.Length]);
        var ordered = new List<int>();
        for (var i = 0; i < segments.Length; i++)
        {
            ref readonly var segment = ref segments[i];
            this.segments[i] = (segment.Table, segment.First, segment.Count, segment.DType, kinds[i]);
            results[i] = bytes;
            bytes += runs[kinds[i]].SliceNumbers.Length * segment.Count * sizeof(double);
            for (var slice = 0; slice < segment.Count; slice++)
                ordered.Add(ProgramRun.RowOf(in segment, slice));
            foreach (var place in Lengths(runs[kinds[i]]))
                lengths.Add((OffsetOf(i, place), LengthsOf(runs[kinds[i]], place, in segment)));
        }
        rows = [.. ordered];
        for (var kind = 0; kind < runs.Length; kind++)
        {
            totals[kind] = bytes;
            bytes += runs[kind].Totals.Length * sizeof(double);
        }
        for (var kind = 0; kind < runs.Length; kind++)
            foreach (var place in runs[kind].Totals)
                AddTotal(kind, place, ref bytes);
    }

    /// <summary>The totals, visit by visit.</summary>
    public IReadOnlyList<Total> Totals => lists;

    /// <summary>Whether it was made for these runs and segments.</summary>
    public bool Is(ProgramRun[] others, ReadOnlySpan<ProgramSegment> those, ReadOnlySpan<int> kinds)
    {
        if (those.Length != segments.Length || !runs.AsSpan().SequenceEqual(others))
            return false;
        var (row, length) = (0, 0);
        for (var i = 0; i < those.Length; i++)
        {
            ref readonly var segment = ref those[i];
            if (segments[i] != (segment.Table, segment.First, segment.Count, segment.DType, kinds[i]))
                return false;
            for (var slice = 0; slice < segment.Count; slice++)
                if (rows[row++] != ProgramRun.RowOf(in segment, slice))
                    return false;
            foreach (var place in lengths.Count == 0 ? [] : Lengths(runs[kinds[i]]))
                if (!lengths[length++].Values.AsSpan().SequenceEqual(LengthsOf(runs[kinds[i]], place, in segment)))
                    return false;
        }
        return true;
    }

    /// <summary>Makes sure that there is memory, in the order of the current stream, and that the lists are in it.</summary>
    public void Lay(Gpu gpu)
    {
        var current = gpu.Stream;
        if (bytes == 0 || memory is not null && stream == current)
            return;
        memory?.Dispose();
        memory = null;
        var made = gpu.Allocate(bytes);
        foreach (var total in lists)
        {
            var addresses = Array.ConvertAll(total.Parts, part => made.Address + part);
            fixed (nint* source = addresses)
                gpu.Upload(made.Address + total.List, source, addresses.Length * (nint)sizeof(nint));
        }
        foreach (var (offset, values) in lengths)
            fixed (double* source = values)
                gpu.Upload(made.Address + offset, source, values.Length * (nint)sizeof(double));
        (memory, stream) = (made, current);
    }

    /// <summary>Where something lies that begins so far behind the first byte.</summary>
    public nint At(nint offset) => memory is null ? 0 : memory.Address + offset;

    /// <summary>Where the numbers of a segment's slices lie.</summary>
    public nint Results(int segment) => At(results[segment]);

    /// <summary>Where the totals of a run lie.</summary>
    public nint TotalsOf(int kind) => At(totals[kind]);

    /// <summary>Where what slices of a segment come to lies, for one of its reductions.</summary>
    public nint ResultOf(int segment, int place) => At(OffsetOf(segment, place));

    private nint OffsetOf(int segment, int place)
    {
        var run = runs[segments[segment].Kind];
        return results[segment] + sizeof(double) * (nint)segments[segment].Count * Array.IndexOf(run.SliceNumbers, place);
    }

    private static IEnumerable<int> Lengths(ProgramRun run) =>
        run.SliceNumbers.Where(place => run.Program.Nodes[place].Operation == Operation.LeadingCount);

    private static double[] LengthsOf(ProgramRun run, int place, in ProgramSegment segment)
    {
        var values = new double[segment.Count];
        for (var slice = 0; slice < values.Length; slice++)
            values[slice] = segment.Spread![segment.First + slice].LeadingCount((int)run.Program.Nodes[place].Value);
        return values;
    }

    // Programs of other kinds of parameters add to it, where they have it by the same name.
    private void AddTotal(int kind, int place, ref nint end)
    {
        var (run, visit) = (runs[kind], runs[kind].Program.VisitPlan.VisitOf(place));
        var found = new List<(int Row, nint Offset)>();
        var row = 0;
        for (var i = 0; i < segments.Length; i++)
        {
            var other = runs[segments[i].Kind];
            var own = Array.Find(
                other.Totals,
                total => other.Program.VisitPlan.VisitOf(total) == visit && other.NameOf(total) == run.NameOf(place)
            );
            var has = Array.Exists(other.Totals, total => total == own && other.NameOf(total) == run.NameOf(place));
            for (var slice = 0; slice < segments[i].Count; slice++, row++)
                if (has)
                    found.Add((rows[row], OffsetOf(i, own) + slice * sizeof(double)));
        }
        var parts = found.OrderBy(part => part.Row).Select(part => part.Offset).ToArray();
        var cell = totals[kind] + Array.IndexOf(run.Totals, place) * sizeof(double);
        var isLargest = run.Program.Nodes[place].Operation == Operation.LargestMagnitude;
        lists.Add(new(visit, kind, place, cell, end, parts) { IsLargest = isLargest });
        end += parts.Length * sizeof(nint);
    }
}
