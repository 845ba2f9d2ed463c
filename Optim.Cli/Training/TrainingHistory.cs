namespace Optim.Cli.Training;

/// <summary>A test accuracy, 0 to 1, after so many steps.</summary>
public readonly record struct AccuracyPoint(int Steps, double Accuracy);

/// <summary>What was seen during a training run.</summary>
/// <param name="optimizers">How many optimizers it has.</param>
public sealed class TrainingHistory(int optimizers)
{
    private readonly List<double> losses = [];
    private readonly List<double>[] rates = [.. Enumerable.Range(0, optimizers).Select(_ => new List<double>())];
    private readonly List<AccuracyPoint> accuracies = [];

    /// <summary>The loss of each step, taken before the update.</summary>
    public IReadOnlyList<double> Losses => losses;

    /// <summary>For each optimizer, the learning rate (of its first group) that each step used; NaN where its rule has none.</summary>
    public IReadOnlyList<IReadOnlyList<double>> Rates => rates;

    /// <summary>The test accuracy now and then.</summary>
    public IReadOnlyList<AccuracyPoint> Accuracies => accuracies;

    /// <summary>A step was taken.</summary>
    public void Add(double loss, IReadOnlyList<double> ratesUsed)
    {
        losses.Add(loss);
        for (var i = 0; i < rates.Length; i++)
            rates[i].Add(ratesUsed[i]);
    }

    /// <summary>Goes on from another run's history, in place of this one.</summary>
    internal void Restore(double[] losses, double[][] rates, AccuracyPoint[] accuracies)
    {
        this.losses.Clear();
        this.losses.AddRange(losses);
        for (var i = 0; i < rates.Length; i++)
        {
            this.rates[i].Clear();
            this.rates[i].AddRange(rates[i]);
        }
        this.accuracies.Clear();
        this.accuracies.AddRange(accuracies);
    }

    /// <summary>The test accuracy was measured after the steps taken so far.</summary>
    public void AddAccuracy(double accuracy) => accuracies.Add(new AccuracyPoint(losses.Count, accuracy));
}
