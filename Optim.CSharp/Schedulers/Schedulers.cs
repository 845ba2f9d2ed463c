using Optim.Core;

namespace Optim;

/// <summary>
/// The schedulers that can be made by name: PyTorch's and our own by the settings of PyTorch, those of transformers as <c>hf:cosine</c> and those of timm as
/// <c>timm:cosine</c> by theirs. Schedulers that need functions or other schedulers have no name here.
/// </summary>
public static class Schedulers
{
    internal const string HuggingFacePrefix = "hf:";
    internal const string TimmPrefix = "timm:";

    /// <summary>What names of schedules of other libraries begin with.</summary>
    internal static readonly string[] Libraries = [HuggingFacePrefix, TimmPrefix];

    /// <summary>PyTorch's and our own, with the tables of their settings.</summary>
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

    /// <summary>The twelve of transformers' get_scheduler, as <c>hf:linear</c>.</summary>
    public static IReadOnlyList<SchedulerKind> OfHuggingFace { get; } =
    [.. HuggingFaceKinds.All, ReduceLROnPlateau.Kind.Named(HuggingFacePrefix + "reduce_lr_on_plateau"), GreedyLR.Kind];

    /// <summary>Those of timm, as <c>timm:cosine</c>.</summary>
    public static IReadOnlyList<SchedulerKind> OfTimm { get; } = [.. TimmKinds.All];

    /// <summary>The names of PyTorch's and our own classes.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. All.Select(kind => kind.Name)];

    /// <summary>The class of a name: PyTorch's or the short one, in any case, with or without LR, - and _; or one that begins with hf: or timm:.</summary>
    /// <exception cref="OptionException">There is none; the message says which there are.</exception>
    public static SchedulerKind Find(string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        return All.Concat(OfHuggingFace)
                .Concat(OfTimm)
                .FirstOrDefault(kind => Bare(kind.Name) == Bare(name) || Bare(kind.ShortName) == Bare(name))
            ?? throw Unknown(name);
    }

    /// <summary>A scheduler by name: <c>Schedulers.Create("cosine", optimizer, [("T_max", 50)])</c>.</summary>
    /// <exception cref="OptionException">The name or a setting is unknown, or a setting is missing or not allowed.</exception>
    public static LRScheduler Create(string name, Optimizer optimizer, IEnumerable<(string Name, OptionValue Value)> settings) =>
        Find(name).Create(optimizer, settings);

    /// <summary>
    /// A scheduler as transformers' get_scheduler makes it: <c>Schedulers.HuggingFace("cosine", optimizer, 100, 1000, ("num_cycles", 1.5))</c>. The names are
    /// linear, cosine, cosine_with_restarts, polynomial, constant, constant_with_warmup, inverse_sqrt, reduce_lr_on_plateau, cosine_with_min_lr,
    /// cosine_warmup_with_min_lr, warmup_stable_decay and greedy.
    /// </summary>
    /// <param name="name">The name in transformers.</param>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up. Schedules without one leave it aside, as in transformers: constant, reduce_lr_on_plateau and greedy.</param>
    /// <param name="trainingSteps">Steps in all. Schedules without an end leave it aside: those, constant_with_warmup and inverse_sqrt.</param>
    /// <param name="options">What the schedule has beside these, by the names of transformers.</param>
    /// <exception cref="OptionException">The name or an option is unknown, or one is missing or not allowed.</exception>
    public static LRScheduler HuggingFace(
        string name,
        Optimizer optimizer,
        int? warmupSteps = null,
        int? trainingSteps = null,
        params (string Name, OptionValue Value)[] options
    )
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(options);
        var kind = Find(HuggingFacePrefix + name);
        var counts = new[] { ("num_warmup_steps", warmupSteps), ("num_training_steps", trainingSteps) };
        return kind.Create(
            optimizer,
            [
                .. counts
                    .Where(count => count.Item2 is not null && kind.Settings.Any(setting => setting.Name == count.Item1))
                    .Select(count => (count.Item1, (OptionValue)count.Item2!.Value)),
                .. options,
            ]
        );
    }

    /// <summary>
    /// A scheduler of timm: <c>Schedulers.Timm("cosine", optimizer, ("t_initial", 90), ("warmup_t", 5))</c>. The names are cosine, tanh, poly, step, multistep
    /// and wsd.
    /// </summary>
    /// <exception cref="OptionException">The name or an option is unknown, or one is missing or not allowed.</exception>
    public static LRScheduler Timm(string name, Optimizer optimizer, params (string Name, OptionValue Value)[] options)
    {
        ArgumentNullException.ThrowIfNull(name);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(options);
        return Find(TimmPrefix + name).Create(optimizer, options);
    }

    /// <summary>A scheduler of that name with all its settings, in the order of their table.</summary>
    internal static LRScheduler Of(string name, Optimizer optimizer, OptionValue[] settings)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        var kind = Find(name);
        return kind.Make(optimizer, kind.With(settings));
    }

    private static OptionException Unknown(string name)
    {
        var all = All.SelectMany(kind => new[] { kind.ShortName, kind.Name }).Concat(Names(OfHuggingFace)).Concat(Names(OfTimm));
        return new(
            $"scheduler is {name}, which is not known{Core.Names.didYouMean(name, all)} There are: {string.Join(", ", All.Select(kind => $"{kind.ShortName} ({kind.Name})"))}; "
                + $"of transformers {string.Join(", ", Names(OfHuggingFace))}; of timm {string.Join(", ", Names(OfTimm))}",
            "scheduler"
        );

        static IEnumerable<string> Names(IEnumerable<SchedulerKind> kinds) => kinds.Select(kind => kind.Name);
    }

    private static string Bare(string name)
    {
        var bare = name.Replace("-", "", StringComparison.Ordinal).Replace("_", "", StringComparison.Ordinal).ToUpperInvariant();
        return bare.EndsWith("LR", StringComparison.Ordinal) && !bare.Contains(':', StringComparison.Ordinal) ? bare[..^2] : bare;
    }
}
