using System.Text.Json;
using Optim.Cli.Data;
using Optim.Cli.Models;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>How a repeated run compares with its recording.</summary>
/// <param name="Run">The recording.</param>
/// <param name="Losses">The losses of this run.</param>
/// <param name="LargestLossDifference">Over all steps; infinite where one is NaN and the other is not.</param>
/// <param name="TestAccuracy">Of this run.</param>
/// <param name="FirstChecksumDifference">Of the sums of layer1.weight.</param>
/// <param name="SecondChecksumDifference">Of the sums of layer2.weight.</param>
/// <param name="Failures">What is not within its tolerance, in words; empty when the run is as recorded.</param>
public sealed record LikeRow(
    RecordedRun Run,
    IReadOnlyList<double> Losses,
    double LargestLossDifference,
    double TestAccuracy,
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
public sealed record LikeReport(IReadOnlyList<LikeRow> Rows, IReadOnlyList<SkippedRun> Skipped, bool Interrupted)
{
    /// <summary>Every run that was repeated is as recorded, and there was one at least.</summary>
    public bool Passed => Rows.Count > 0 && Rows.All(row => row.Passed);
}

/// <summary>
/// Repeats training runs that were recorded with PyTorch, without any random number: weights by <see cref="InitialWeights.Recorded"/>,
/// Linear(64, 32), ReLU, Linear(32, 10), batch k the rows 64 k, ..., 64 k + 63 modulo 1437 in the order of the file.
/// </summary>
public static class Like
{
    private const int Hidden = 32;
    private const int BatchSize = 64;
    private const string Muon = "Muon";

    /// <summary>Repeats those runs of the file whose rule and dtype this program has and which have no schedule.</summary>
    /// <param name="path">A file of the form of golden/training_digits.json.</param>
    /// <param name="backend">Who works out losses and gradients.</param>
    /// <param name="threads">Threads of the optimizer; null: as many as it takes by itself.</param>
    /// <param name="report">Told of every run before it starts: its number from 0, of how many.</param>
    /// <param name="cancel">To stop early.</param>
    /// <exception cref="InvalidDataException">The file is not of that form.</exception>
    /// <exception cref="OptionException">A rule refuses the options recorded.</exception>
    public static LikeReport Run(
        string path,
        Backend backend = Backend.Host,
        int? threads = null,
        Action<int, int, RecordedRun>? report = null,
        CancellationToken cancel = default
    ) => Run(RecordedRun.ReadAll(path), backend, threads, report, cancel);

    /// <summary>The same with runs that were read before.</summary>
    public static LikeReport Run(
        IReadOnlyList<RecordedRun> runs,
        Backend backend = Backend.Host,
        int? threads = null,
        Action<int, int, RecordedRun>? report = null,
        CancellationToken cancel = default
    ) => Trainer.WithThreads(threads ?? TrainingSettings.DefaultThreads(backend), () => RepeatAll(runs, backend, report, cancel));

    private static LikeReport RepeatAll(
        IReadOnlyList<RecordedRun> runs,
        Backend backend,
        Action<int, int, RecordedRun>? report,
        CancellationToken cancel
    )
    {
        var data = Digits.Load();
        var rows = new List<LikeRow>();
        var skipped = new List<SkippedRun>();
        for (var i = 0; i < runs.Count && !cancel.IsCancellationRequested; i++)
        {
            report?.Invoke(i, runs.Count, runs[i]);
            if (WhyNot(runs[i]) is { } reason)
                skipped.Add(new SkippedRun(runs[i], reason));
            else if (Repeat(runs[i], data, backend, cancel) is { } row)
                rows.Add(row);
        }
        return new LikeReport(rows, skipped, cancel.IsCancellationRequested);
    }

    private static string? WhyNot(RecordedRun run) =>
        run.Scheduler is { } scheduler ? $"schedule {scheduler}"
        : !RuleNames.Has(FirstRule(run)) ? "no such rule"
        : run.DType is not ("float32" or "float64") ? $"dtype {run.DType}"
        : null;

    private static LikeRow? Repeat(RecordedRun run, DataSet data, Backend backend, CancellationToken cancel)
    {
        var weights = InitialWeights.Draw([data.Features, Hidden, data.Classes], InitialWeights.Recorded(run.Start));
        using var model = Trainer.Model(backend, data, [Hidden], weights, DTypes.Parse(run.DType));
        var shares = OptimizerShare.Of(Rules.find(FirstRule(run)), [.. Options(run)], model.Parameters);
        var training = new TrainingRun(model, [.. shares.Select(share => share.Create())]);
        var steps = run.Losses.Count;
        Trainer.Fit(training, Batches.InOrder(data.TrainingRows, BatchSize, steps), steps, null, cancel);
        var losses = training.History.Losses;
        if (losses.Count < steps)
            return null; // stopped

        var test = Enumerable.Range(data.TrainingRows, data.Count - data.TrainingRows).ToArray();
        var tolerance = Tolerance.Of(run);
        var accuracy = model.CountRight(test) / (double)test.Length;
        var loss = losses.Zip(run.Losses, Difference).DefaultIfEmpty().Max();
        var first = Difference(Checksum(model, "layer1.weight"), run.FirstLayerChecksum);
        var second = Difference(Checksum(model, "layer2.weight"), run.SecondLayerChecksum);
        var failures = new List<string>();
        Check("losses", loss, tolerance.Loss);
        Check("test accuracy", Difference(accuracy, run.TestAccuracy), Math.Max(tolerance.Accuracy, 1.0 / test.Length + 1e-9));
        Check("layer1 checksum", first, tolerance.Checksum * (1 + Math.Abs(run.FirstLayerChecksum)));
        Check("layer2 checksum", second, tolerance.Checksum * (1 + Math.Abs(run.SecondLayerChecksum)));
        if (steps > 0 && !(Difference(losses[0], run.Losses[0]) <= tolerance.Loss))
            failures.Add("the loss before the first update differs already, as if these runs were recorded on other data");
        return new LikeRow(run, losses, loss, accuracy, first, second, failures);

        void Check(string what, double difference, double allowed)
        {
            if (!(difference <= allowed))
                failures.Add(FormattableString.Invariant($"{what} off by {difference:g3} (allowed: {allowed:g3})"));
        }
    }

    /// <summary>Of two rules, such as Muon+AdamW, the one that the other goes beside.</summary>
    private static string FirstRule(RecordedRun run) => run.Optimizer.Split('+')[0];

    /// <summary>The options of a run; of two rules those of the other begin with its name. Muon was recorded with its iteration in bfloat16.</summary>
    private static IEnumerable<(string, OptionValue)> Options(RecordedRun run)
    {
        if (FirstRule(run) == Muon)
            yield return ("precision", "bfloat16");
        foreach (var option in run.Options.EnumerateObject())
            if (option.Value.ValueKind != JsonValueKind.Object)
                yield return (option.Name, OptionJson.Read(option.Name, option.Value));
            else
                foreach (var own in option.Value.EnumerateObject())
                    yield return (
                        option.Name.Equals(FirstRule(run), StringComparison.OrdinalIgnoreCase) ? own.Name : $"{option.Name}.{own.Name}",
                        OptionJson.Read(own.Name, own.Value)
                    );
    }

    private static double Checksum(IModel model, string name) =>
        model.Parameters.Single(parameter => parameter.Name == name).Data.ToDoubles().Sum();

    /// <summary>NaN equals NaN and an infinity itself; against anything else they differ by infinity.</summary>
    private static double Difference(double a, double b) =>
        a.Equals(b) ? 0
        : double.IsFinite(a) && double.IsFinite(b) ? Math.Abs(a - b)
        : double.PositiveInfinity;

    /// <summary>How far losses may be from the recorded ones, and checksums relative to 1 + their value.</summary>
    private readonly record struct Tolerance(double Loss, double Checksum, double Accuracy = 0)
    {
        public static Tolerance Of(RecordedRun run) =>
            FirstRule(run) == Muon ? new(5e-3, double.PositiveInfinity, 0.01) // single flips of bfloat16 in its iteration
            : run.DType == "float32" ? new(1e-3, 1e-3)
            : run.Optimizer is "ASGD" or "NAdam" ? new(1e-7, 1e-7) // PyTorch works out scalars of these in float32
            : new(1e-9, 1e-7);
    }
}
