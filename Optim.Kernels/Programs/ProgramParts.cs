namespace Optim.Kernels;

/// <summary>Runs programs of several kinds of parameters that step together: visit by visit, with the reductions over all that they share.</summary>
internal static class ProgramParts
{
    /// <summary>Runs all visits, and says how many threads took part.</summary>
    /// <param name="runs">A program for each kind, aligned (<see cref="StepProgram.Aligned"/>).</param>
    /// <param name="segments">The segments.</param>
    /// <param name="kinds">The kind of each segment.</param>
    /// <param name="executor">Who runs them.</param>
    /// <param name="others">Programs of tensors that somebody else steps, which share the reductions.</param>
    /// <param name="look">Adds to those, in each visit, what their tensors come to.</param>
    /// <param name="across">The other ranks, which have the rest of the parameters; null for none.</param>
    public static int Run(
        ProgramRun[] runs,
        ReadOnlySpan<ProgramSegment> segments,
        ReadOnlySpan<int> kinds,
        Executor executor,
        ProgramRun[]? others = null,
        Action<int>? look = null,
        TotalsAcross? across = null
    )
    {
        if (runs.Length == 1 && look is null && across is null)
            return runs[0].Run(segments, executor);
        if (look is null && across is null && WholeOn(runs, segments) is { } device)
        {
            device.RunWhole(runs, segments, kinds);
            return 1;
        }
        ProgramRun[] all = look is null ? runs : [.. runs.Union(others ?? [])];
        var took = 1;
        var visits = 0;
        foreach (var run in all)
            (visits, run.KeepsBlocks) = (Math.Max(visits, run.Program.VisitPlan.Count), across is not null);
        for (var visit = 0; visit < visits; visit++)
        {
            foreach (var run in all)
                run.Begin(visit);
            for (var i = 0; i < segments.Length; i++)
                took = Math.Max(took, runs[kinds[i]].Visit(visit, i, in segments[i], executor));
            look?.Invoke(visit);
            if (across is not null)
                Join(all, visit, across);
            Share(all, visit);
        }
        for (var i = 0; i < segments.Length; i++)
            runs[kinds[i]].End(i, in segments[i]);
        return took;
    }

    /// <summary>Makes what devices need for their segments, so that running them cannot fail.</summary>
    /// <inheritdoc cref="Run"/>
    public static void Prepare(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments, ReadOnlySpan<int> kinds, bool waits)
    {
        if (!waits && WholeOn(runs, segments) is { } device)
        {
            device.PrepareWhole(runs, segments, kinds);
            return;
        }
        for (var i = 0; i < segments.Length; i++)
            if (segments[i].There is not null)
                segments[i].On!.PrepareOnLeaves(runs[kinds[i]], in segments[i]);
            else if (segments[i].On is not null)
                runs[kinds[i]].PrepareVisits(in segments[i]);
    }

    /// <summary>
    /// The device that runs all visits of some segments by itself; null where several take part, where it does not, or where nothing is made of
    /// tensors, so that visit by visit is as good.
    /// </summary>
    public static ProgramDevice? WholeOn(ProgramRun[] runs, ReadOnlySpan<ProgramSegment> segments)
    {
        var device = segments.IsEmpty ? null : segments[0].On;
        if (device is null || !Array.Exists(runs, run => run.HasNumbersOfTensors))
            return null;
        foreach (ref readonly var segment in segments)
            if (segment.On != device)
                return null;
        return Array.TrueForAll(runs, run => device.RunsWhole(run.Program)) ? device : null;
    }

    /// <summary>What all blocks of the parameters come to, of which other ranks have some; every rank does it for the same totals.</summary>
    private static void Join(ProgramRun[] runs, int visit, TotalsAcross across)
    {
        var totals = runs.SelectMany(run => run.TotalsOf(visit).Select(total => (Run: run, Total: total))).ToList();
        if (totals.Count == 0)
            return;
        var joined = across.Gather(totals.ConvertAll(each => each.Run.BlocksOf(each.Total)));
        for (var i = 0; i < totals.Count; i++)
        {
            var (run, total) = totals[i];
            foreach (var (row, blocks) in joined[i])
                run.Add(total, row, ProgramPass.Join(run.Program.Nodes[total].Operation, blocks));
        }
    }

    private static void Share(ProgramRun[] runs, int visit)
    {
        foreach (var shared in runs.SelectMany(run => run.SharedAfter(visit)).GroupBy(each => each.Name).ToList())
        {
            // Each parameter is of one kind, and nothing in the others.
            var parts = new double[shared.Max(each => each.Parts.Length)];
            foreach (var each in shared)
                for (var row = 0; row < each.Parts.Length; row++)
                    parts[row] = Joined(each.Kind, parts[row], each.Parts[row]);
            var total = Joined(shared.First().Kind, parts);
            foreach (var run in runs)
                run.Share(visit, shared.Key, total);
        }
    }

    /// <summary>What parameters come to together, one after the other.</summary>
    internal static double Joined(Operation kind, double[] parts)
    {
        var total = 0.0;
        foreach (var part in parts)
            total = Joined(kind, total, part);
        return total;
    }

    // A comparison with NaN fails, and a NaN stays.
    private static double Joined(Operation kind, double a, double b) =>
        kind != Operation.LargestMagnitude ? a + b
        : a >= b || double.IsNaN(a) ? a
        : b;
}
