using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>A schedule of the learning rate, as it was asked for.</summary>
/// <param name="Kind">The class.</param>
/// <param name="Settings">Settings that are not at their defaults.</param>
public sealed record Scheduling(SchedulerKind Kind, IReadOnlyList<(string Name, OptionValue Value)> Settings)
{
    // A schedule that must know its length takes that of the run.
    private static readonly string[] lengths = ["T_max", "total_steps"];
    private static readonly string[] otherLengths = ["epochs", "steps_per_epoch"]; // that stand for total_steps

    /// <summary>Whether it goes by a metric, and not by steps alone.</summary>
    public bool NeedsMetric => Kind.Name == "ReduceLROnPlateau";

    /// <summary>The settings in a run of so many steps.</summary>
    public IReadOnlyList<(string Name, OptionValue Value)> For(int steps)
    {
        var isSaid = Settings.Any(setting => otherLengths.Contains(setting.Name));
        var missing = Kind.Settings.Where(setting =>
            lengths.Contains(setting.Name)
            && setting.Default is null or OptionValue { IsNone: true }
            && !isSaid
            && Settings.All(given => given.Name != setting.Name)
        );
        return [.. Settings, .. missing.Select(setting => (setting.Name, (OptionValue)Math.Max(1, steps)))];
    }

    /// <summary>The scheduler of an optimizer, in a run of so many steps.</summary>
    /// <exception cref="OptionException">A setting is unknown, missing or not allowed.</exception>
    public LRScheduler Create(Optimizer optimizer, int steps) => Kind.Create(optimizer, For(steps));

    /// <summary>Refuses settings that are wrong, alone or together with the optimizers.</summary>
    /// <exception cref="OptionException">A setting is unknown, missing or not allowed.</exception>
    public void Check(Algorithm rule, IReadOnlyList<(string Name, OptionValue Value)> options, int steps)
    {
        using var parameter = Param.Zeros("w", Kernels.DType.Float32, 1, 1);
        foreach (var share in OptimizerShare.Of(rule, options, [parameter]))
        {
            var optimizer = (share with { Parameters = [parameter] }).Create();
            var scheduler = Create(optimizer, steps);
            optimizer.Step(() => 0.0);
            if (Kind.Settings.Any(setting => setting.Name == "total_steps")) // refuses to go further
                for (var step = 0; step < steps; step++)
                    scheduler.Step();
        }
    }
}
