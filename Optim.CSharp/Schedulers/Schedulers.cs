using Optim.Core;

namespace Optim;

/// <summary>The schedulers that can be made by name, with settings by PyTorch's names: those that need neither functions nor other schedulers.</summary>
public static class Schedulers
{
    /// <summary>All of them, with the tables of their settings.</summary>
    public static IReadOnlyList<SchedulerKind> All { get; } =
    [
        StepLR.Kind,
        MultiStepLR.Kind,
        ConstantLR.Kind,
        LinearLR.Kind,
        ExponentialLR.Kind,
        PolynomialLR.Kind,
        CosineAnnealingLR.Kind,
        CosineAnnealingWarmRestarts.Kind,
        CyclicLR.Kind,
        OneCycleLR.Kind,
        ReduceLROnPlateau.Kind,
        SWALR.Kind,
        WarmupStableDecayLR.Kind,
        InverseSqrtLR.Kind,
    ];

    /// <summary>The names of the classes.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(kind => kind.Name)];

    /// <summary>The class of a name: PyTorch's or the short one, in any case, with or without LR, - and _.</summary>
    /// <exception cref="OptionException">There is none; the message says which there are.</exception>
    public static SchedulerKind Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return All.FirstOrDefault(kind => Bare(kind.Name) == Bare(name) || Bare(kind.ShortName) == Bare(name))
            ?? throw new OptionException(
                $"scheduler is {name}, which is not known{Core.Names.didYouMean(name, All.SelectMany(kind => new[] { kind.ShortName, kind.Name }))} There are: {string.Join(", ", All.Select(kind => $"{kind.ShortName} ({kind.Name})"))}",
                "scheduler"
            );
    }

    /// <summary>A scheduler by name: <c>Schedulers.Create("cosine", optimizer, [("T_max", 50)])</c>.</summary>
    /// <exception cref="OptionException">The name or a setting is unknown, or a setting is missing or not allowed.</exception>
    public static LRScheduler Create(string name, Optimizer optimizer, IEnumerable<(string Name, OptionValue Value)> settings) =>
        Find(name).Create(optimizer, settings);

    private static string Bare(string name)
    {
        var bare = name.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToUpperInvariant();
        return bare.EndsWith("LR", StringComparison.Ordinal) ? bare[..^2] : bare;
    }
}
