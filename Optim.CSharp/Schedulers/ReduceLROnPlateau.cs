using Optim.Core;

namespace Optim;

/// <summary>
/// The rate times a factor when a metric has stopped to get better, as torch.optim.lr_scheduler.ReduceLROnPlateau: <c>scheduler.Step(loss)</c> after each validation.
/// NaN counts as a metric that is no better.
/// </summary>
public sealed class ReduceLROnPlateau : MetricLR
{
    internal static readonly SchedulerKind Kind = new(
        "ReduceLROnPlateau",
        "plateau",
        "the rate times a factor when a metric has stopped to get better",
        [
            SchedulerSetting.Choice("mode", ["min", "max"], "min", "whether less or more is better"),
            SchedulerSetting.Number("factor", Interval.UpTo(0, 1), 0.1, "what the rate is multiplied with"),
            SchedulerSetting.Whole("patience", 0, 10, "how many metrics in a row may be no better"),
            SchedulerSetting.Number("threshold", Interval.AtLeast(0), 1e-4, "what a metric must beat the best one by"),
            SchedulerSetting.Choice(
                "threshold_mode",
                ["rel", "abs", "rel_magnitude"],
                "rel",
                "whether the threshold is a part of the best metric, a number, or a part of its absolute value"
            ),
            SchedulerSetting.Whole("cooldown", 0, 0, "how many metrics after a reduction do not count as bad"),
            SchedulerSetting.PerGroup("min_lr", Interval.AtLeast(0), 0.0, "the least rate"),
            SchedulerSetting.Number("eps", Interval.AtLeast(0), 1e-8, "changes that are not above it are left out"),
        ],
        (optimizer, settings) => new ReduceLROnPlateau(optimizer, settings),
        needsMetric: true
    );

    private PlateauOptions options;
    private PlateauState state;

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="mode">Whether less or more is better.</param>
    /// <param name="factor">What the rate is multiplied with, in [0, 1).</param>
    /// <param name="patience">How many metrics in a row may be no better, at least 0.</param>
    /// <param name="threshold">What a metric must beat the best one by, at least 0.</param>
    /// <param name="thresholdMode">How that is measured. Relative is PyTorch's, wrong where metrics are negative; RelativeToMagnitude is right there.</param>
    /// <param name="cooldown">How many metrics after a reduction do not count as bad, at least 0.</param>
    /// <param name="minLr">The least rate, or one for each group; it is 0 for a group that is added later to a list.</param>
    /// <param name="eps">Changes that are not above it are left out; at least 0.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public ReduceLROnPlateau(
        Optimizer optimizer,
        PlateauMode mode = PlateauMode.Min,
        double factor = 0.1,
        int patience = 10,
        double threshold = 1e-4,
        ThresholdMode thresholdMode = ThresholdMode.Relative,
        int cooldown = 0,
        PerGroup minLr = default,
        double eps = 1e-8
    )
        : this(
            optimizer,
            Kind.With(
                SchedulerSetting.TextOf(mode),
                factor,
                patience,
                threshold,
                SchedulerSetting.TextOf(thresholdMode),
                cooldown,
                minLr.Value,
                eps
            )
        ) { }

    private ReduceLROnPlateau(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings)
    {
        options = Options(settings);
        state = PlateauModule.Init(options);
        Construct(Begin);
    }

    /// <summary>The best metric so far.</summary>
    public double Best => state.Best;

    /// <summary>How many metrics in a row were no better.</summary>
    public long NumBadEpochs => state.BadSteps;

    /// <summary>How many metrics still do not count as bad.</summary>
    public long CooldownCounter => state.CooldownLeft;

    internal override Action Snapshot()
    {
        var (restore, before) = (base.Snapshot(), (state, Least));
        return () =>
        {
            restore();
            (state, Least) = before;
        };
    }

    /// <summary>Without a scale it writes no initial_lr into the group, as PyTorch's.</summary>
    private protected override double BaseOf(ParameterGroup group) =>
        Scale(group) is 1 && !group.Extras.ContainsKey("initial_lr") ? (double)group["lr"] : base.BaseOf(group);

    private protected override void Forget() => state = PlateauModule.Init(options);

    private protected override void Follow(double metric)
    {
        (var reduce, state) = PlateauModule.Step(options, metric, state);
        if (reduce)
            Write([.. Rates().Select((rate, group) => PlateauModule.Reduce(options, Least[group] * Scale(group), rate))]);
        else
            RememberRates();
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [
            ("factor", Settings!["factor"]),
            ("default_min_lr", Settings["min_lr"].IsTuple ? Tree.None : Settings["min_lr"]),
            ("min_lrs", Numbers(Least)),
            ("patience", Settings["patience"]),
            ("cooldown", Settings["cooldown"]),
            ("eps", Settings["eps"]),
            ("last_epoch", WholeOrNot(LastEpoch)),
            ("_last_lr", Numbers(GetLastLr())),
            ("mode_worse", PlateauModule.Init(options).Best),
            ("mode", Settings["mode"]),
            ("threshold", Settings["threshold"]),
            ("threshold_mode", Settings["threshold_mode"]),
            ("best", state.Best),
            ("cooldown_counter", state.CooldownLeft),
            ("num_bad_epochs", state.BadSteps),
        ];

    private protected override Action Load(StateReader saved)
    {
        var given = saved.Settings(
            Settings!,
            [.. new[] { "factor", "patience", "cooldown", "eps", "mode", "threshold", "threshold_mode" }.Select(name => (name, name))]
        );
        var least = saved.PerGroup("min_lrs", Optimizer.ParamGroups.Count);
        given = given.With(
            (
                "min_lr",
                saved["default_min_lr"].IsNone
                    ? SchedulerSetting.Many(least.Select(rate => (OptionValue)rate))
                    : saved.Number("default_min_lr")
            )
        );
        var next = new PlateauState(saved.Number("best"), saved.Whole("num_bad_epochs"), saved.Whole("cooldown_counter"));
        saved.Find("mode_worse");
        saved.Find("verbose"); // of older versions
        var position = LoadPosition(saved);
        return () =>
        {
            position();
            SetBaseLrs(Rates().Take(least.Length));
            (Settings, options, state, Least) = (given, Options(given), next, least);
        };
    }

    private static PlateauOptions Options(SchedulerSettings settings) =>
        new(
            settings.PlateauMode(),
            settings.Number("factor"),
            settings.Whole("patience"),
            settings.Number("threshold"),
            settings.ThresholdMode(),
            settings.Whole("cooldown"),
            settings.Number("eps")
        );
}
