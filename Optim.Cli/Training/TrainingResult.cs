using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>An optimizer that took part in a run.</summary>
/// <param name="Name">Its rule.</param>
/// <param name="Options">All of its options, by PyTorch's names, in PyTorch's order.</param>
/// <param name="Which">Which parameters it had, in words; empty for all.</param>
public sealed record OptimizerUsed(string Name, IReadOnlyList<(string Name, OptionValue Value)> Options, string Which);

/// <summary>What came out of a training run, whether it ran to its end or was stopped.</summary>
/// <param name="Settings">What it was made from.</param>
/// <param name="Optimizers">Who took part.</param>
/// <param name="History">What was seen on the way.</param>
/// <param name="TestAccuracy">Share of the rows kept for testing that are classified rightly, 0 to 1.</param>
/// <param name="TrainAccuracy">The same of the rows trained on.</param>
/// <param name="AveragedTestAccuracy">The same of the averaged parameters on the rows kept for testing; null without an average.</param>
/// <param name="Seconds">Time from the first step to the last.</param>
/// <param name="Interrupted">It was stopped before its last step.</param>
public sealed record TrainingResult(
    TrainingSettings Settings,
    IReadOnlyList<OptimizerUsed> Optimizers,
    TrainingHistory History,
    double TestAccuracy,
    double TrainAccuracy,
    double? AveragedTestAccuracy,
    double Seconds,
    bool Interrupted
)
{
    /// <summary>Which parameter was in which group, and by which pattern; null where all were in one.</summary>
    public string? Groups { get; init; }

    /// <summary>The loss of each step, taken before the update.</summary>
    public IReadOnlyList<double> Losses => History.Losses;

    /// <summary>The number of the first step, from 1, whose loss was NaN or infinite; 0 when there was none.</summary>
    public int FirstNonFinite => Losses.TakeWhile(double.IsFinite).Count() is var finite && finite < Losses.Count ? finite + 1 : 0;
}
