using Optim.Cli.Data;
using Optim.Cli.Models;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>Repeats recorded runs, one by one, and compares.</summary>
/// <param name="backend">Who works out losses and gradients.</param>
/// <param name="cancel">To stop early.</param>
internal sealed class Repetition(Backend backend, CancellationToken cancel)
{
    private static readonly Setup onDigits = new(Digits.Name, Hidden: 32, BatchSize: 64);
    private static readonly Setup onFashionMnist = new(DataSets.FashionMnist, Hidden: 64, BatchSize: 128);

    private readonly Dictionary<string, DataSet> loaded = [];

    /// <summary>Repeats a run; null when it was stopped.</summary>
    /// <exception cref="Core.OptionException">A rule refuses the options recorded.</exception>
    public ReplayRow? Of(RecordedRun run)
    {
        var setup = SetupOf(run);
        var data = Data(setup);
        using var model = Model(run, setup);
        var shares = OptimizerShare.Of(RuleNames.Find(run.Rules[0]), [.. AsPyTorch(run), .. run.AllOptions], model.Parameters);
        var training = new TrainingRun(model, [.. shares.Select(share => share.Create())]);
        if (run.Scheduler is { } scheduler)
            training.Follow([
                .. training.Optimizers.Select(optimizer => RecordedSchedule.Create(scheduler, run.SchedulerArguments, optimizer)),
            ]);
        var steps = run.Losses.Count;
        Trainer.Fit(training, Batches.InOrder(data.TrainingRows, setup.BatchSize, steps), steps, null, cancel);
        return training.Steps < steps ? null : Compare(run, data, model, training.History);
    }

    private static ReplayRow Compare(RecordedRun run, DataSet data, IModel model, TrainingHistory history)
    {
        var test = Enumerable.Range(data.TrainingRows, data.Count - data.TrainingRows).ToArray();
        var tolerance = Tolerance.Of(run);
        var accuracy = model.CountRight(test) / (double)test.Length;
        var loss = history.Losses.Zip(run.Losses, Difference).Take(tolerance.Losses).DefaultIfEmpty().Max();
        var rate = history.Rates[0].Zip(run.Rates, (ours, theirs) => Difference(ours, theirs) / Math.Max(Math.Abs(theirs), double.Epsilon));
        var largestRate = run.Rates.Count == 0 ? double.NaN : rate.Max();
        var first = Difference(Checksum(model, "layer1.weight"), run.FirstLayerChecksum);
        var second = Difference(Checksum(model, "layer2.weight"), run.SecondLayerChecksum);
        var failures = new List<string>();
        Check("losses", loss, tolerance.Loss);
        if (run.Rates.Count > 0)
            Check("learning rates", largestRate, 1e-12);
        Check("test accuracy", Difference(accuracy, run.TestAccuracy), tolerance.Accuracy + 1.0 / test.Length + 1e-9);
        Check("layer1 checksum", first, tolerance.Checksum * (1 + Math.Abs(run.FirstLayerChecksum)));
        Check("layer2 checksum", second, tolerance.Checksum * (1 + Math.Abs(run.SecondLayerChecksum)));
        if (run.Losses.Count > 0 && !(Difference(history.Losses[0], run.Losses[0]) <= tolerance.Loss))
            failures.Add(
                "the loss before the first update differs already, as if these runs were recorded on other data"
                    + (
                        Directory.Exists(DataSets.FashionMnistFolder)
                            ? ""
                            : $" ({DataSets.FashionMnist} is not installed: apt-get install dataset-fashion-mnist)"
                    )
            );
        return new ReplayRow(run, history.Losses, loss, accuracy, largestRate, first, second, failures);

        void Check(string what, double difference, double allowed)
        {
            if (!(difference <= allowed))
                failures.Add(FormattableString.Invariant($"{what} off by {difference:g3} (allowed: {allowed:g3})"));
        }
    }

    /// <summary>What the run was recorded on: what it says, or where its first loss comes out; the digits when that is nowhere.</summary>
    private Setup SetupOf(RecordedRun run)
    {
        Setup[] all = Directory.Exists(DataSets.FashionMnistFolder) ? [onDigits, onFashionMnist] : [onDigits];
        return all.FirstOrDefault(setup =>
                run.Losses.Count > 0 && Difference(FirstLoss(run, setup), run.Losses[0]) <= Tolerance.Of(run).Loss
            ) ?? onDigits;
    }

    private double FirstLoss(RecordedRun run, Setup setup)
    {
        using var model = Model(run, setup);
        return model.Backward(Batches.InOrder(Data(setup).TrainingRows, setup.BatchSize, 1).Single());
    }

    private IModel Model(RecordedRun run, Setup setup)
    {
        var data = Data(setup);
        var weights = InitialWeights.Draw([data.Features, setup.Hidden, data.Classes], InitialWeights.Recorded(run.Start));
        return Trainer.Model(backend, data, [setup.Hidden], weights, DTypes.Parse(run.DType));
    }

    private DataSet Data(Setup setup) =>
        loaded.TryGetValue(setup.Data, out var data) ? data : loaded[setup.Data] = DataSets.Load(setup.Data);

    private static double Checksum(IModel model, string name) =>
        model.Parameters.Single(parameter => parameter.Name == name).Data.ToDoubles().Sum();

    /// <summary>NaN equals NaN and an infinity itself; against anything else they differ by infinity.</summary>
    private static double Difference(double a, double b) =>
        a.Equals(b) ? 0
        : double.IsFinite(a) && double.IsFinite(b) ? Math.Abs(a - b)
        : double.PositiveInfinity;

    /// <summary>What was trained how: data by name, the size of the hidden layer, and rows of a batch.</summary>
    private sealed record Setup(string Data, int Hidden, int BatchSize);

    /// <summary>Options that make a rule do what PyTorch does, where it does something better by itself: PyTorch's Muon iterates in bfloat16.</summary>
    private static IEnumerable<(string, OptionValue)> AsPyTorch(RecordedRun run) =>
        run.Rules[0] == "Muon" ? [("precision", "bfloat16")] : [];

    /// <summary>How far losses may be from the recorded ones, and how many of them count; checksums relative to 1 + their value; the accuracy.</summary>
    private readonly record struct Tolerance(double Loss, double Checksum, double Accuracy = 0, int Losses = int.MaxValue)
    {
        public static Tolerance Of(RecordedRun run) =>
            run.Rules[0] switch
            {
                // The matrices of Muon are in bfloat16 on the way.
                "Muon" => new(5e-3, double.PositiveInfinity, 0.01),
                // The last bit of a gradient grows to everything in fifty steps.
                "LBFGS" => new(run.DType == "float32" ? 1e-3 : 1e-7, double.PositiveInfinity, 1, 10),
                _ when run.DType == "float32" => new(1e-3, 1e-3),
                "ASGD" or "NAdam" => new(1e-7, 1e-7), // PyTorch works out scalars of these in float32
                _ => new(1e-9, 1e-7),
            };
    }
}
