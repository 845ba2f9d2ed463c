using System.Diagnostics;

namespace Optim.Bench;

/// <summary>How long to measure: blocks a side, their length, the warm-up before, and the time for all of it, by which there may be fewer blocks.</summary>
internal sealed record Effort(int Blocks, double BlockMs, double WarmUpMs, double BudgetMs = double.PositiveInfinity)
{
    /// <summary>Fewer blocks than this say nothing.</summary>
    public const int FewestBlocks = 3;

    public static readonly Effort Full = new(31, 20, 150);

    public static Effort Quick(double budgetMs) => new(15, 20, 60, budgetMs);
}

/// <summary>Runs a number of steps and says how many microseconds each took: one number, or more where parts of a step are told apart.</summary>
internal delegate double[] Block(int steps);

/// <summary>
/// Compares two ways to do the same in one process: alternating blocks, and of each side's blocks the 25th percentile.
/// </summary>
/// <remarks>
/// After an operator, libtorch's OpenMP threads spin for some ten milliseconds, and ours for a fifth of one: before each
/// block there is a pause, not timed, until this process rests, and then an eighth of a block, not timed either,
/// which wakes that side's threads and brings its memory back into the caches.
/// </remarks>
internal static class Timing
{
    public static (double[] Ours, double[] Theirs) Compare(Block ours, Block theirs, Effort effort)
    {
        var start = Stopwatch.GetTimestamp();
        var oursSteps = WarmUp(ours, effort);
        var theirsSteps = WarmUp(theirs, effort);
        var (oursTimes, theirsTimes) = (new List<double[]>(), new List<double[]>());
        while (oursTimes.Count < effort.Blocks)
        {
            if (oursTimes.Count >= Effort.FewestBlocks && Stopwatch.GetElapsedTime(start).TotalMilliseconds > effort.BudgetMs)
                break;
            oursTimes.Add(Timed(ours, oursSteps));
            theirsTimes.Add(Timed(theirs, theirsSteps));
        }
        return (Quartiles(oursTimes), Quartiles(theirsTimes));
    }

    /// <summary>Microseconds of a step, on average.</summary>
    /// <param name="step">The step.</param>
    /// <param name="finish">Waits until the last one is made, where steps return before that.</param>
    public static Block Of(Action step, Action? finish = null) =>
        steps =>
        {
            var start = Stopwatch.GetTimestamp();
            for (var i = 0; i < steps; i++)
                step();
            finish?.Invoke();
            return [Stopwatch.GetElapsedTime(start).TotalMicroseconds / steps];
        };

    private static double[] Timed(Block block, int steps)
    {
        Rest();
        if (steps >= 8)
            block(steps / 8);
        return block(steps);
    }

    /// <summary>The number of steps that fill a block even at the best speed seen.</summary>
    private static int WarmUp(Block block, Effort effort)
    {
        block(1);
        var start = Stopwatch.GetTimestamp();
        var steps = 1;
        var fastest = double.PositiveInfinity;
        while (true)
        {
            fastest = Math.Min(fastest, block(steps)[0] / 1000);
            var needed = effort.BlockMs / fastest;
            if (Stopwatch.GetElapsedTime(start).TotalMilliseconds >= effort.WarmUpMs)
                return (int)Math.Ceiling(1.1 * needed);
            steps = (int)Math.Clamp(needed / 2, 1, 4.0 * steps);
        }
    }

    /// <summary>Waits until no thread of this process computes; the system counts processor time in ticks of up to 4 ms.</summary>
    private static void Rest()
    {
        for (var waited = 0; waited < 60; waited += 5)
        {
            var before = Environment.CpuUsage.TotalTime;
            Thread.Sleep(5);
            if ((Environment.CpuUsage.TotalTime - before).TotalMilliseconds < 1)
                return;
        }
    }

    private static double[] Quartiles(List<double[]> times) =>
        [.. Enumerable.Range(0, times[0].Length).Select(part => times.Select(time => time[part]).Order().ElementAt((times.Count - 1) / 4))];
}
