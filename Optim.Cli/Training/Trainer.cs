using System.Diagnostics;
using Optim.Cli.Data;
using Optim.Cli.Models;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>A step that was just taken: its number from 1, of how many; the loss before it; the rows seen so far and in how many seconds.</summary>
public readonly record struct TrainingProgress(int Step, int Steps, double Loss, long Rows, double Seconds);

/// <summary>Trains a classifier on the embedded digits.</summary>
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
        var digits = Digits.Load();
        var random = new SplitMix(settings.Seed);
        var rows = Enumerable.Range(0, digits.Count).ToArray();
        random.Shuffle(rows);
        var (training, test) = (rows[..Digits.TrainingRows], rows[Digits.TrainingRows..]);
        var hidden = settings.Hidden.AsSpan();
        var weights = InitialWeights.Draw([Digits.Pixels, .. hidden, Digits.Classes], random.NextSigned);
        using var model = Model(settings.Backend, digits, hidden, weights, settings.DType);
        var optimizer = new RuleOptimizer(settings.Rule, [new ParameterGroup(model.Parameters)], [.. settings.Options]);

        var steps = settings.Epochs * Batches.PerEpoch(training.Length, settings.BatchSize);
        var batches = Batches.Shuffled(training, settings.BatchSize, settings.Epochs, random);
        var clock = Stopwatch.StartNew();
        var losses = Fit(model, optimizer, batches, steps, report, cancel);
        var seconds = clock.Elapsed.TotalSeconds;
        return new TrainingResult(
            settings,
            [.. settings.Rule.OptionNames.Select(name => (name, optimizer.ParamGroups[0][name]))],
            losses,
            model.CountRight(test) / (double)test.Length,
            model.CountRight(training) / (double)training.Length,
            seconds,
            Interrupted: losses.Count < steps
        );
    }

    /// <summary>The model on that backend.</summary>
    internal static IModel Model(Backend backend, Digits digits, ReadOnlySpan<int> hidden, double[][] weights, DType dtype) =>
        (backend, dtype) switch
        {
            (Backend.TorchSharp, _) => TorchMlp.Create(digits, hidden, weights, dtype),
            (_, DType.Float64) => new Mlp<double>(digits, hidden, weights),
            _ => new Mlp<float>(digits, hidden, weights),
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

    /// <summary>One step for each batch; the losses, each taken before the update.</summary>
    internal static IReadOnlyList<double> Fit(
        IModel model,
        Optimizer optimizer,
        IEnumerable<ArraySegment<int>> batches,
        int steps,
        Action<TrainingProgress>? report,
        CancellationToken cancel
    )
    {
        var losses = new List<double>();
        var rows = 0L;
        var clock = Stopwatch.StartNew();
        foreach (var batch in batches)
        {
            if (cancel.IsCancellationRequested)
                break;
            optimizer.ZeroGrad(setToNone: false); // the gradients stay where they are
            losses.Add(model.Backward(batch));
            optimizer.Step();
            rows += batch.Count;
            report?.Invoke(new TrainingProgress(losses.Count, steps, losses[^1], rows, clock.Elapsed.TotalSeconds));
        }
        return losses;
    }
}
