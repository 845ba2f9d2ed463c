using Optim.Core;

namespace Optim;

/// <summary>A class of schedulers: its names and the table of its settings.</summary>
public sealed class SchedulerKind
{
    internal SchedulerKind(
        string name,
        string shortName,
        string says,
        SchedulerSetting[] settings,
        Func<Optimizer, SchedulerSettings, LRScheduler> create,
        bool needsMetric = false
    ) => (Name, ShortName, Says, Settings, this.create, NeedsMetric) = (name, shortName, says, settings, create, needsMetric);

    private readonly Func<Optimizer, SchedulerSettings, LRScheduler> create;

    /// <summary>The name of the class, PyTorch's where PyTorch has it: <c>CosineAnnealingLR</c>.</summary>
    public string Name { get; }

    /// <summary>A short one: <c>cosine</c>.</summary>
    public string ShortName { get; }

    /// <summary>What it does, in a few words.</summary>
    public string Says { get; }

    /// <summary>Whether it goes by a metric: <c>Step(metric)</c>.</summary>
    public bool NeedsMetric { get; }

    /// <summary>Its settings in the order of the constructor.</summary>
    public IReadOnlyList<SchedulerSetting> Settings { get; }

    /// <summary>A scheduler with settings by name; the others are at their defaults.</summary>
    /// <exception cref="OptionException">A setting is unknown, missing or not allowed; the message says which names or values are.</exception>
    public LRScheduler Create(Optimizer optimizer, IEnumerable<(string Name, OptionValue Value)> settings)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(settings);
        var given = new Dictionary<string, OptionValue>(StringComparer.Ordinal);
        foreach (var (name, value) in settings)
        {
            if (Settings.All(setting => setting.Name != name))
            {
                var names = Settings.Select(setting => setting.Name).ToList();
                throw new OptionException(
                    $"{Name} has no setting '{name}'{Names.didYouMean(name, names)} It has: {string.Join(", ", names)}",
                    name
                );
            }
            if (!given.TryAdd(name, value))
                throw new OptionException($"{Name}: {name} is given twice", name);
        }
        return Make(optimizer, new(this, [.. Settings.Select(setting => given.GetValueOrDefault(setting.Name) ?? Standard(setting))]));
    }

    /// <summary>A scheduler with all its settings.</summary>
    internal LRScheduler Make(Optimizer optimizer, SchedulerSettings settings) => create(optimizer, settings);

    /// <summary>The same class under another name.</summary>
    internal SchedulerKind Named(string name) => new(name, name, Says, [.. Settings], create, NeedsMetric);

    /// <summary>Settings in the order of the table, as a constructor gives them.</summary>
    internal SchedulerSettings With(params OptionValue[] values) => new(this, values);

    private OptionValue Standard(SchedulerSetting setting) =>
        setting.Default
        ?? throw new OptionException($"{Name} needs {setting.Name} ({setting.Says}); it must be {setting.Allowed}", setting.Name);
}
