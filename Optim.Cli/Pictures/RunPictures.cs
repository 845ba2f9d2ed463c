using Optim.Cli.Training;

namespace Optim.Cli.Pictures;

/// <summary>Pictures of training runs.</summary>
public static class RunPictures
{
    private const int LeastWindow = 10; // steps
    private const int WindowsInARun = 80;

    /// <summary>Loss, test accuracy and learning rate over the steps; a curve for each run, and for the rates one for each optimizer of it.</summary>
    /// <param name="settings">What the runs have in common.</param>
    /// <param name="runs">Runs with their names.</param>
    public static Picture Of(TrainingSettings settings, IReadOnlyList<(string Name, TrainingHistory History)> runs)
    {
        var window = Math.Max(LeastWindow, runs.Select(run => run.History.Losses.Count).DefaultIfEmpty().Max() / WindowsInARun);
        var losses = runs.Select((run, i) => new Curve(run.Name, OverSteps(Means(run.History.Losses, window)), i));
        var accuracies = runs.Select(
            (run, i) => new Curve(run.Name, [.. run.History.Accuracies.Select(point => ((double)point.Steps, point.Accuracy * 100))], i)
        );
        var rates = runs.SelectMany(
            (run, i) => run.History.Rates.Where(rate => rate.Any(double.IsFinite)).Select(rate => new Curve(run.Name, OverSteps(rate), i))
        );
        return new Picture(
            $"{(runs.Count == 1 ? runs[0].Name : $"{runs.Count} optimizers")} on {settings.Data.Name}",
            "step",
            [
                new Panel($"training loss (mean of {window} steps)", [.. losses], MayBeLogarithmic: true),
                new Panel("test accuracy (%)", [.. accuracies]),
                new Panel("learning rate", [.. rates], MayBeLogarithmic: runs.Count > 1, Range: runs.Count > 1 ? null : (0, 0)),
            ]
        );
    }

    /// <summary>At each step the mean of the last ones: single batches jump.</summary>
    private static double[] Means(IReadOnlyList<double> losses, int window)
    {
        var means = new double[losses.Count];
        for (var i = 0; i < means.Length; i++)
        {
            var (start, sum) = (Math.Max(0, i + 1 - window), 0.0);
            for (var k = start; k <= i; k++)
                sum += losses[k];
            means[i] = sum / (i + 1 - start);
        }
        return means;
    }

    private static (double, double)[] OverSteps(IReadOnlyList<double> values) => [.. values.Select((value, i) => (i + 1.0, value))];
}
