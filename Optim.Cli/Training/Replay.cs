using Optim.Cli.Data;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>How a repeated run compares with its recording.</summary>
/// <param name="Run">The recording.</param>
/// <param name="Losses">The losses of this run.</param>
/// <param name="LargestLossDifference">Over all steps; infinite where one is NaN and the other is not.</param>
/// <param name="TestAccuracy">Of this run.</param>
/// <param name="LargestRateDifference">Of the learning rates over all steps, relative; NaN when none were recorded.</param>
/// <param name="FirstChecksumDifference">Of the sums of layer1.weight.</param>
/// <param name="SecondChecksumDifference">Of the sums of layer2.weight.</param>
/// <param name="Failures">What is not within its tolerance, in words; empty when the run is as recorded.</param>
public sealed record ReplayRow(
    RecordedRun Run,
    IReadOnlyList<double> Losses,
    double LargestLossDifference,
    double TestAccuracy,
    double LargestRateDifference,
    double FirstChecksumDifference,
    double SecondChecksumDifference,
    IReadOnlyList<string> Failures
)
{
    /// <summary>Everything is within its tolerance.</summary>
    public bool Passed => Failures.Count == 0;
}

/// <summary>A recorded run that was not repeated, and why.</summary>
public sealed record SkippedRun(RecordedRun Run, string Reason);

/// <summary>What repeating a file of recorded runs gave.</summary>
/// <param name="Rows">The runs that were repeated.</param>
/// <param name="Skipped">Those that this program cannot repeat.</param>
/// <param name="Interrupted">It was stopped before all were done.</param>
public sealed record ReplayReport(IReadOnlyList<ReplayRow> Rows, IReadOnlyList<SkippedRun> Skipped, bool Interrupted)
{
    /// <summary>Every run that was repeated is as recorded, and there was one at least.</summary>
    public bool Passed => Rows.Count > 0 && Rows.All(row => row.Passed);
}

/// <summary>
/// Repeats training runs that were recorded with PyTorch, without any random number: weights by <see cref="Models.InitialWeights.Recorded"/>, one hidden
/// layer, batches in the order of the data and never shuffled. On the digits, and on Fashion-MNIST where that is installed: a recording that does
/// not say is recognised by its first loss, which is taken before any update.
/// </summary>
public static class Replay
{
    /// <summary>Repeats those runs of the file whose rule, dtype and schedule this program has.</summary>
    /// <param name="path">A file of the form of golden/training_digits.json.</param>
    /// <param name="backend">Who works out losses and gradients.</param>
    /// <param name="threads">Threads of the optimizer; null: as many as it takes by itself.</param>
    /// <param name="report">Told of every run before it starts: its number from 0, of how many.</param>
    /// <param name="cancel">To stop early.</param>
    /// <exception cref="InvalidDataException">The file is not of that form.</exception>
    /// <exception cref="OptionException">A rule refuses the options recorded.</exception>
    public static ReplayReport Run(
        string path,
        Backend backend = Backend.Host,
        int? threads = null,
        Action<int, int, RecordedRun>? report = null,
        CancellationToken cancel = default
    ) => Run(RecordedRun.ReadAll(path), backend, threads, report, cancel);

    /// <summary>The same with runs that were read before.</summary>
    public static ReplayReport Run(
        IReadOnlyList<RecordedRun> runs,
        Backend backend = Backend.Host,
        int? threads = null,
        Action<int, int, RecordedRun>? report = null,
        CancellationToken cancel = default
    ) => Trainer.WithThreads(threads ?? TrainingSettings.DefaultThreads(backend), () => RepeatAll(runs, backend, report, cancel));

    private static ReplayReport RepeatAll(
        IReadOnlyList<RecordedRun> runs,
        Backend backend,
        Action<int, int, RecordedRun>? report,
        CancellationToken cancel
    )
    {
        var repetition = new Repetition(backend, cancel);
        var rows = new List<ReplayRow>();
        var skipped = new List<SkippedRun>();
        for (var i = 0; i < runs.Count && !cancel.IsCancellationRequested; i++)
        {
            report?.Invoke(i, runs.Count, runs[i]);
            if (WhyNot(runs[i]) is { } reason)
                skipped.Add(new SkippedRun(runs[i], reason));
            else if (repetition.Of(runs[i]) is { } row)
                rows.Add(row);
        }
        return new ReplayReport(rows, skipped, cancel.IsCancellationRequested);
    }

    /// <summary>Why a run cannot be repeated here; null when it can.</summary>
    public static string? WhyNot(RecordedRun run) =>
        !run.Rules.All(RuleNames.Has) ? "no such rule"
        : run.Rules.Count > 1 && OptimizerShare.Companion(RuleNames.Find(run.Rules[0]))?.Name != run.Rules[1] ? "no such pair of rules"
        : run.DType is not ("float32" or "float64") ? $"dtype {run.DType}"
        : run.Scheduler is { } scheduler && !RecordedSchedule.Has(scheduler) ? $"schedule {scheduler}"
        : null;
}
