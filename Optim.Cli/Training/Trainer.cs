using System.Diagnostics;
using Optim.Cli.Data;
using Optim.Cli.Models;
using Optim.Core;
using Optim.Distributed;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>A step that was just taken: its number from 1, of how many; the loss before it; the rows seen so far and in how many seconds.</summary>
public readonly record struct TrainingProgress(int Step, int Steps, double Loss, long Rows, double Seconds);

/// <summary>Trains a classifier.</summary>
public static class Trainer
{
    /// <summary>
    /// Trains as the settings say and tests what came out. When <paramref name="cancel"/> is cancelled it stops after the step that is being
    /// taken, and the result tells of the steps so far.
    /// </summary>
    /// <param name="settings">What to train, and how.</param>
    /// <param name="report">Told of every step.</param>
    /// <param name="cancel">To stop early.</param>
    /// <exception cref="OptionException">The optimizer refuses its options; nothing was trained.</exception>
    /// <exception cref="NotSupportedException">libtorch could not be loaded.</exception>
    public static TrainingResult Run(
        TrainingSettings settings,
        Action<TrainingProgress>? report = null,
        CancellationToken cancel = default
    ) => WithThreads(settings.ThreadCount, () => Train(settings, report, cancel));

    private static TrainingResult Train(TrainingSettings settings, Action<TrainingProgress>? report, CancellationToken cancel)
    {
        var data = settings.Data;
        var random = new SplitMix(settings.Seed);
        var rows = Enumerable.Range(0, data.Count).ToArray();
        if (!data.IsSplit)
            random.Shuffle(rows);
        var (training, test) = (rows[..data.TrainingRows], rows[data.TrainingRows..]);
        var hidden = settings.Hidden.AsSpan();
        var weights = InitialWeights.Draw([data.Features, .. hidden, data.Classes], random.NextSigned);
        using var model = Model(settings.Backend, data, hidden, weights, settings.DType);
        var shares = OptimizerShare.Of(settings.Rule, settings.Options, model.Parameters);
        using var alone = settings is { Leaves: not null, World: null } ? World.Join() : null;
        // Where clipping looks at the gradients by itself, these must be whole.
        var isWhole = settings.Clip is not null && (shares.Count > 1 || settings.Rule is not Rule);
        var ranks = settings.Leaves is { } leaves
            ? new TrainingRanks(settings.World ?? alone!, leaves, isWhole ? Shard.None : Shard.State)
            : null;
        var (groups, optimizers) = GroupSetting.Optimizers(shares, model.Parameters, settings, ranks);
        var run = new TrainingRun(model, optimizers, ranks);
        OptimizerUsed[] used = [.. shares.Zip(run.Optimizers, Used)]; // before a schedule changes rates
        if (settings.Schedule is { } schedule)
            run.Follow(schedule, settings.Steps, settings.StepsPerEpoch);
        run.Surround(settings.Clip, settings.Ema);

        if (settings is { Resume: true, Checkpoint: { } begun } && File.Exists(begun))
            TrainingCheckpoint.Load(begun, run, settings);
        var (steps, perEpoch) = (settings.Steps, settings.StepsPerEpoch);
        var batches = Batches.Shuffled(training, settings.BatchSize, settings.Epochs, random).Skip(run.Steps);
        var between = StepsBetweenTests(steps, settings.Epochs * (long)training.Length, test.Length);
        run.Stepped += () =>
        {
            if (run.Steps % between == 0)
                run.History.AddAccuracy(Accuracy(test));
            if (run.Steps % perEpoch == 0)
                SaveCheckpoint();
        };
        if (run.Steps == 0)
            run.History.AddAccuracy(Accuracy(test));
        var seconds = Fit(run, batches, steps, report, cancel);
        if (run.Steps % perEpoch != 0)
            SaveCheckpoint();
        if (run.History.Accuracies[^1].Steps < run.Steps)
            run.History.AddAccuracy(Accuracy(test));
        return new TrainingResult(
            settings,
            used,
            run.History,
            run.History.Accuracies[^1].Accuracy,
            Accuracy(training),
            AveragedAccuracy(),
            seconds,
            Interrupted: run.Steps < steps
        )
        {
            Groups = groups?.ToString(),
        };

        void SaveCheckpoint()
        {
            if (settings.Checkpoint is { } path)
                TrainingCheckpoint.Save(path, run, settings);
        }

        double? AveragedAccuracy()
        {
            if (run.Average is not { NAveraged: > 0 } average)
                return null;
            using var applied = average.Applied();
            return Accuracy(test);
        }

        double Accuracy(int[] rows) =>
            (ranks is null ? model.CountRight(rows) : ranks.CountRight(rows, some => model.CountRight(some))) / rows.Length;
    }

    /// <summary>At most 50 tests on the way, and few enough that they cost little: a row to test for four rows to train on.</summary>
    private static int StepsBetweenTests(int steps, long rowsToTrain, int rowsToTest)
    {
        var tests = Math.Clamp(rowsToTrain / rowsToTest / 4, 1, 50);
        return (int)((steps + tests - 1) / tests);
    }

    private static OptimizerUsed Used(OptimizerShare share, Optimizer optimizer) =>
        new(share.Rule.Name, [.. share.Rule.OptionNames.Select(name => (name, optimizer.ParamGroups[0][name]))], share.Which);

    /// <summary>The model on that backend.</summary>
    internal static IModel Model(Backend backend, DataSet data, ReadOnlySpan<int> hidden, double[][] weights, DType dtype) =>
        (backend, dtype) switch
        {
            (Backend.TorchSharp, _) => TorchMlp.Create(data, hidden, weights, dtype),
            (_, DType.Float64) => new Mlp<double>(data, hidden, weights),
            _ => new Mlp<float>(data, hidden, weights),
        };

    /// <summary>The same, with another number of threads for the optimizers meanwhile (and for libtorch, if it is used).</summary>
    internal static T WithThreads<T>(int count, Func<T> work)
    {
        var before = Threads.Count;
        Threads.Count = count;
        try
        {
            return work();
        }
        finally
        {
            Threads.Count = before;
        }
    }

    /// <summary>One step for each batch, up to that many in all; how many seconds they took.</summary>
    internal static double Fit(
        TrainingRun run,
        IEnumerable<ArraySegment<int>> batches,
        int steps,
        Action<TrainingProgress>? report,
        CancellationToken cancel
    )
    {
        var rows = 0L;
        var clock = Stopwatch.StartNew();
        foreach (var batch in batches)
        {
            if (cancel.IsCancellationRequested)
                break;
            var loss = run.Step(batch);
            rows += batch.Count;
            report?.Invoke(new TrainingProgress(run.Steps, steps, loss, rows, clock.Elapsed.TotalSeconds));
        }
        return clock.Elapsed.TotalSeconds;
    }
}
