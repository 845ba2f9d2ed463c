namespace Optim.Bench;

/// <summary>The managed memory that steps allocate.</summary>
internal static class Allocation
{
    /// <summary>Bytes of a step, on any thread; the least of three series, as the runtime's own threads allocate now and then, too.</summary>
    public static double PerStep(Action step, double stepUs)
    {
        var steps = (int)Math.Clamp(20_000 / stepUs, 2, 1000);
        return Enumerable.Range(0, 3).Min(_ => Series(step, steps));
    }

    private static double Series(Action step, int steps)
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        for (var i = 0; i < steps; i++)
            step();
        return Math.Round((GC.GetTotalAllocatedBytes(precise: true) - before) / (double)steps, 1);
    }
}
