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
    public static int Run(
        ProgramRun[] runs,
        ReadOnlySpan<ProgramSegment> segments,
        ReadOnlySpan<int> kinds,
        Executor executor,
        ProgramRun[]? others = null,
        Action<int>? look = null
    )
    {
        if (runs.Length == 1 && look is null)
            return runs[0].Run(segments, executor);
        ProgramRun[] all = look is null ? runs : [.. runs.Union(others ?? [])];
        var took = 1;
        var visits = 0;
        foreach (var run in all)
            visits = Math.Max(visits, run.Program.VisitPlan.Count);
        for (var visit = 0; visit < visits; visit++)
        {
            foreach (var run in all)
                run.Begin(visit);
            for (var i = 0; i < segments.Length; i++)
                took = Math.Max(took, runs[kinds[i]].Visit(visit, i, in segments[i], executor));
            look?.Invoke(visit);
            Share(all, visit);
        }
        for (var i = 0; i < segments.Length; i++)
            runs[kinds[i]].End(i, in segments[i]);
        return took;
    }

    private static void Share(ProgramRun[] runs, int visit)
    {
        foreach (var shared in runs.SelectMany(run => run.SharedAfter(visit)).GroupBy(each => each.Name).ToList())
        {
            var total = shared.Aggregate(0.0, (sum, each) => Joined(each.Kind, sum, each.Value));
            foreach (var run in runs)
                run.Share(visit, shared.Key, total);
        }
    }

    // A comparison with NaN fails, and a NaN stays.
    internal static double Joined(Operation kind, double a, double b) =>
        kind != Operation.LargestMagnitude ? a + b
        : a >= b || double.IsNaN(a) ? a
        : b;
}
