using Optim.Core;

namespace Optim;

/// <summary>
/// The rate divided by a factor after metrics that got better, and times it after metrics that did not, as GreedyLR of transformers: <c>scheduler.Step(loss)</c>
/// after each step. More than <c>patience</c> metrics in a row change the rate. NaN counts as a metric that is no better.
/// </summary>
/// <remarks>The mean of a window is worked out anew each time: the running sum of transformers stays NaN once a metric was.</remarks>
public sealed class GreedyLR : MetricLR
{
    internal static readonly SchedulerKind Kind = new(
        Schedulers.HuggingFacePrefix + "greedy",
        Schedulers.HuggingFacePrefix + "greedy",
        "the rate up after metrics that got better, and down after metrics that did not",
        [
            SchedulerSetting.Choice("mode", ["min", "max"], "min", "whether less or more is better"),
            SchedulerSetting.Number("factor", Interval.Between(0, 1), 0.95, "what the rate is multiplied with, or divided by"),
            SchedulerSetting.Whole("patience", 0, 10, "how many metrics in a row do not change the rate yet"),
            SchedulerSetting.Number("threshold", Interval.AtLeast(0), 1e-6, "what a metric must beat the best one by"),
            SchedulerSetting.Choice(
                "threshold_mode",
                ["abs", "rel", "rel_magnitude"],
                "abs",
                "whether the threshold is a number, a part of the best metric, or a part of its absolute value"
            ),
            SchedulerSetting.Whole("cooldown", 0, 0, "how many metrics after a reduction are not looked at"),
            SchedulerSetting.Whole("warmup", 0, 0, "how many metrics after an increase are not looked at"),
            SchedulerSetting.PerGroup("min_lr", Interval.AtLeast(0), 1e-3, "the least rate"),
            SchedulerSetting.PerGroup("max_lr", Interval.AtLeast(0), 1.0, "the highest rate"),
            SchedulerSetting.Number("eps", Interval.AtLeast(0), 1e-8, "changes that are not above it are left out"),
            SchedulerSetting.Flag("smooth", false, "whether the mean of the last metrics stands for each"),
            SchedulerSetting.Whole("window_size", 1, 50, "of how many metrics"),
            SchedulerSetting.Whole("reset_start", 1, 500, "how many reductions that find all rates at their least begin anew"),
        ],
        (optimizer, settings) => new GreedyLR(optimizer, settings),
        needsMetric: true
    );

    /// <summary>The settings that a state has by the same name.</summary>
    private static readonly string[] kept =
    [
        "factor",
        "patience",
        "cooldown",
        "warmup",
        "mode",
        "threshold",
        "threshold_mode",
        "eps",
        "smooth",
        "window_size",
    ];

    private GreedyOptions options;
    private GreedyState state;
    private double[] most;
    private double[] first = [];

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="mode">Whether less or more is better.</param>
    /// <param name="factor">What the rate is multiplied with, or divided by, in (0, 1).</param>
    /// <param name="patience">How many metrics in a row, no better or better, do not change the rate yet; at least 0.</param>
    /// <param name="threshold">What a metric must beat the best one by, at least 0.</param>
    /// <param name="thresholdMode">How that is measured.</param>
    /// <param name="cooldown">How many metrics after a reduction are not looked at, at least 0.</param>
    /// <param name="warmup">How many metrics after an increase are not looked at, at least 0.</param>
    /// <param name="minLr">The least rate, or one for each group; null: 0.001.</param>
    /// <param name="maxLr">The highest rate, or one for each group; null: 1.</param>
    /// <param name="eps">Changes that are not above it are left out; at least 0.</param>
    /// <param name="smooth">Whether the mean of the last metrics stands for each.</param>
    /// <param name="windowSize">Of how many metrics, at least 1.</param>
    /// <param name="resetStart">How many reductions that find all rates at their least begin anew, from the first rates; at least 1.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public GreedyLR(
        Optimizer optimizer,
        PlateauMode mode = PlateauMode.Min,
        double factor = 0.95,
        int patience = 10,
        double threshold = 1e-6,
        ThresholdMode thresholdMode = ThresholdMode.Absolute,
        int cooldown = 0,
        int warmup = 0,
        PerGroup? minLr = null,
        PerGroup? maxLr = null,
        double eps = 1e-8,
        bool smooth = false,
        int windowSize = 50,
        int resetStart = 500
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
                warmup,
                minLr?.Value ?? 1e-3,
                maxLr?.Value ?? 1.0,
                eps,
                smooth,
                windowSize,
                resetStart
            )
        ) { }

    private GreedyLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings)
    {
        options = Options(settings);
        state = GreedyModule.Init(options);
        most = settings.PerGroup("max_lr", optimizer.ParamGroups.Count);
        if (Least.Zip(most).Any(pair => pair.First > pair.Second))
            throw new OptionException(
                $"{settings.Kind.Name}: min_lr is {settings["min_lr"]}; it must be at most max_lr, which is {settings["max_lr"]}",
                "min_lr"
            );
        Construct(Begin);
    }

    /// <summary>The best metric so far.</summary>
    public double Best => state.Best;

    /// <summary>How many metrics in a row were no better.</summary>
    public long NumBadEpochs => state.BadSteps;

    /// <summary>How many metrics in a row were better.</summary>
    public long NumGoodEpochs => state.GoodSteps;

    internal override Action Snapshot()
    {
        var (restore, before) = (base.Snapshot(), (state, Least, most, first));
        return () =>
        {
            restore();
            (state, Least, most, first) = before;
        };
    }

    private protected override void TakeIn(int group, bool later)
    {
        base.TakeIn(group, later);
        first = Put(first, group, (double)Optimizer.ParamGroups[group]["lr"]);
        if (later)
            most = Put(most, group, Settings!["max_lr"].IsTuple ? double.PositiveInfinity : Settings.Number("max_lr"));
    }

    private protected override void Forget() => (state, first) = (GreedyModule.Init(options), Rates());

    private protected override void Follow(double metric)
    {
        (var rates, state) = GreedyModule.Step(options, Scaled(Least), Scaled(most), first, metric, state, Rates());
        Write(rates);
    }

    private protected override IEnumerable<(string, Tree)> Save()
    {
        List<(string, Tree)> saved =
        [
            .. kept.Select(name => (name, (Tree)Settings![name])),
            ("min_lrs", Numbers(Least)),
            ("max_lrs", Numbers(most)),
            ("verbose", false),
            ("cooldown_counter", state.CooldownLeft),
            ("warmup_counter", state.WarmupLeft),
            ("best", state.Best),
            ("num_bad_epochs", state.BadSteps),
            ("num_good_epochs", state.GoodSteps),
            ("last_epoch", WholeOrNot(LastEpoch)),
            ("reset_start", state.ResetLeft),
            ("reset_start_original", Settings!["reset_start"]),
            ("_last_lr", Numbers(GetLastLr())),
            ("_init_lrs", Numbers(first)),
        ];
        if (Settings.Flag("smooth"))
            saved.Add(
                (
                    "_streaming_avg",
                    Tree.Dict(("window_size", Settings["window_size"]), ("values", Numbers(state.Window)), ("sum", state.Window.Sum()))
                )
            );
        return saved;
    }

    private protected override Action Load(StateReader saved)
    {
        var given = saved.Settings(Settings!, [.. kept.Select(name => (name, name)), ("reset_start_original", "reset_start")]);
        var initial = saved.PerGroup("_init_lrs", Optimizer.ParamGroups.Count);
        var (low, high) = (saved.PerGroup("min_lrs", initial.Length, all: true), saved.PerGroup("max_lrs", initial.Length, all: true));
        double[] window = [];
        if (saved.Find("_streaming_avg") is { } average)
            window = new StateReader("GreedyLR, _streaming_avg", average).Numbers("values");
        var next = new GreedyState(
            saved.Number("best"),
            saved.Whole("num_bad_epochs"),
            saved.Whole("num_good_epochs"),
            saved.Whole("cooldown_counter"),
            saved.Whole("warmup_counter"),
            saved.Whole("reset_start"),
            [.. window]
        );
        saved.Find("verbose"); // of printing, which is left to the caller
        var position = LoadPosition(saved);
        return () =>
        {
            position();
            SetBaseLrs(initial);
            (Settings, options, state, Least, most, first) = (given, Options(given), next, low, high, initial);
        };
    }

    private double[] Scaled(double[] values) =>
        [.. values.Select((value, group) => Scale(group) is not 1 and var scale ? value * scale : value)];

    private static GreedyOptions Options(SchedulerSettings settings) =>
        new(
            settings.PlateauMode(),
            settings.Number("factor"),
            settings.Whole("patience"),
            settings.Number("threshold"),
            settings.ThresholdMode(),
            settings.Whole("cooldown"),
            settings.Whole("warmup"),
            settings.Number("eps"),
            settings.Flag("smooth") ? settings.Whole("window_size") : 1,
            settings.Whole("reset_start")
        );
}
