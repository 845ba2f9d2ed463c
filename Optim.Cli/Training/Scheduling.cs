using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>A schedule of the learning rate, as it was asked for.</summary>
/// <param name="Kind">The class.</param>
/// <param name="Settings">Settings that are not at their defaults.</param>
public sealed record Scheduling(SchedulerKind Kind, IReadOnlyList<(string Name, OptionValue Value)> Settings)
{
    // Which settings stand for the length of the run where they are given, so that it needs no saying.
    private static readonly Dictionary<string, string[]> otherLengths = new(StringComparer.Ordinal)
    {
        ["total_steps"] = ["epochs", "steps_per_epoch"],
        ["num_training_steps"] = ["num_stable_steps"],
    };

    /// <summary>Names of settings that say how long a warm-up is.</summary>
    internal static readonly string[] Warmups = ["num_warmup_steps", "warmup_t", "warmup_iters"];

    /// <summary>Whether it goes by a metric, and not by steps alone.</summary>
    public bool NeedsMetric => Kind.NeedsMetric;

    /// <summary>Where it goes by a metric: after how many steps it is given the mean loss of these. Greedy takes the loss of each.</summary>
    public int StepsOfMetric(int stepsPerEpoch) =>
        !NeedsMetric ? 0
        : Kind.Name == "hf:greedy" ? 1
        : stepsPerEpoch;

    /// <summary>The settings in a run of so many steps.</summary>
    public IReadOnlyList<(string Name, OptionValue Value)> For(int steps)
    {
        var given = Settings.Select(setting => setting.Name).ToList();
        var missing = Kind.Settings.Where(setting =>
            !given.Contains(setting.Name) && !otherLengths.GetValueOrDefault(setting.Name, []).Any(given.Contains)
        );
        return
        [
            .. Settings,
            .. missing
                .Select(setting => (setting.Name, Value: Suggested(setting, Math.Max(1, steps))))
                .Where(setting => setting.Value is not null)
                .Select(setting => (setting.Name, setting.Value!)),
        ];
    }

    /// <summary>What a run of so many steps suggests for a setting that is not given: timm's parts are those of its own script.</summary>
    private OptionValue? Suggested(SchedulerSetting setting, int steps)
    {
        OptionValue Part(double part) => Math.Max(1, (int)Math.Round(part * steps));
        return (Kind.Name, setting.Name) switch
        {
            (_, "t_initial") => Math.Max(1, steps - BehindWarmup()),
            (_, "T_max" or "total_steps" or "num_training_steps") => setting.Default is null or { IsNone: true } ? steps : null,
            (_, "num_warmup_steps") => 0,
            (_, "num_decay_steps") => Part(0.2),
            ("timm:step", "decay_t") => Part(0.3),
            ("timm:multistep", "decay_t") => SchedulerSetting.Many([Part(0.3), Part(0.6), Part(0.9)]),
            ("timm:wsd", "decay_t") => Settings.FirstOrDefault(given => given.Name == "t_initial").Value is { } length
                ? 0.2 * (double)length
                : Part(0.2),
            ("timm:step" or "timm:multistep", "decay_rate") => 0.1,
            _ => null,
        };
    }

    /// <summary>How long the warm-up of a schedule of timm is that begins behind it.</summary>
    private int BehindWarmup()
    {
        OptionValue? Given(string name) => Settings.FirstOrDefault(given => given.Name == name).Value;
        var isBehind = Kind.Name == "timm:wsd" || Given("warmup_prefix") is OptionValue.Bool { Item: true };
        return isBehind && Given("warmup_t") is OptionValue.Int or OptionValue.Float ? (int)(double)Given("warmup_t")! : 0;
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
