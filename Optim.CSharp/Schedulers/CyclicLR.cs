using Optim.Core;

namespace Optim;

/// <summary>
/// Triangles between base_lr and max_lr, as torch.optim.lr_scheduler.CyclicLR (Smith, arXiv 1506.01186), and momentum, or the first of betas, the
/// other way round: base + (max - base) height(t) scale. It does not look at the current rate. A scale function is not saved.
/// </summary>
public sealed class CyclicLR : CyclingLR
{
    internal static readonly SchedulerKind Kind = new(
        "CyclicLR",
        "cyclic",
        "triangles between base_lr and max_lr",
        [
            SchedulerSetting.PerGroup("base_lr", Interval.AtLeast(0), null, "the least rate"),
            SchedulerSetting.PerGroup("max_lr", Interval.AtLeast(0), null, "the highest rate"),
            SchedulerSetting.Whole("step_size_up", 1, 2000, "steps of the way up"),
            SchedulerSetting.Whole("step_size_down", 1, null, "steps of the way down; None: as many as up").OrNone(),
            SchedulerSetting.Choice(
                "mode",
                ["triangular", "triangular2", "exp_range"],
                "triangular",
                "whether triangles stay as high, are half as high each, or shrink by gamma"
            ),
            SchedulerSetting.Number("gamma", Interval.AtLeast(0), 1.0, "for exp_range: what the height is multiplied with at each step"),
            SchedulerSetting.Choice("scale_mode", ["cycle", "iterations"], "cycle", "what a scale function is given"),
            SchedulerSetting.Flag("cycle_momentum", true, "whether momentum, or the first of betas, goes the other way"),
            SchedulerSetting.PerGroup("base_momentum", Interval.AtLeast(0), 0.8, "the least momentum"),
            SchedulerSetting.PerGroup("max_momentum", Interval.AtLeast(0), 0.9, "the highest momentum"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new CyclicLR(optimizer, settings, null)
    );

    private readonly Func<double, double>? scale;
    private double period;
    private double ratio;
    private double[] tops;

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="baseLr">The least rate, or one for each group.</param>
    /// <param name="maxLr">The highest rate, or one for each group.</param>
    /// <param name="stepSizeUp">Steps of the way up, at least 1.</param>
    /// <param name="stepSizeDown">Steps of the way down, at least 1; null: as many as up.</param>
    /// <param name="mode">How the triangles change.</param>
    /// <param name="gamma">For ExpRange: what the height is multiplied with at each step.</param>
    /// <param name="scaleFn">What the height is multiplied with, in place of mode.</param>
    /// <param name="scaleMode">What scaleFn is given.</param>
    /// <param name="cycleMomentum">Whether momentum, or the first of betas, goes the other way.</param>
    /// <param name="baseMomentum">The least momentum; null: 0.8.</param>
    /// <param name="maxMomentum">The highest momentum; null: 0.9.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed, or the optimizer has no momentum to cycle.</exception>
    public CyclicLR(
        Optimizer optimizer,
        PerGroup baseLr,
        PerGroup maxLr,
        int stepSizeUp = 2000,
        int? stepSizeDown = null,
        CyclicMode mode = CyclicMode.Triangular,
        double gamma = 1.0,
        Func<double, double>? scaleFn = null,
        CyclicScaleMode scaleMode = CyclicScaleMode.Cycle,
        bool cycleMomentum = true,
        PerGroup? baseMomentum = null,
        PerGroup? maxMomentum = null,
        int lastEpoch = -1
    )
        : this(
            optimizer,
            Kind.With(
                baseLr.Value,
                maxLr.Value,
                stepSizeUp,
                stepSizeDown is { } down ? down : OptionValue.None,
                mode switch
                {
                    CyclicMode.Triangular => "triangular",
                    CyclicMode.Triangular2 => "triangular2",
                    CyclicMode.ExpRange => "exp_range",
                    _ => mode.ToString(),
                },
                gamma,
                scaleMode == CyclicScaleMode.Cycle ? "cycle" : "iterations",
                cycleMomentum,
                baseMomentum?.Value ?? 0.8,
                maxMomentum?.Value ?? 0.9,
                lastEpoch
            ),
            scaleFn
        ) { }

    private CyclicLR(Optimizer optimizer, SchedulerSettings settings, Func<double, double>? scaleFn)
        : base(optimizer, settings)
    {
        var groups = optimizer.ParamGroups.Count;
        scale = scaleFn;
        var bases = settings.PerGroup("base_lr", groups);
        tops = settings.PerGroup("max_lr", groups);
        var up = settings.Number("step_size_up");
        period = up + (settings["step_size_down"].IsNone ? up : settings.Number("step_size_down"));
        ratio = up / period;
        var lastEpoch = settings.Whole("last_epoch");
        Initialize(
            lastEpoch,
            () =>
            {
                if (lastEpoch == -1)
                    for (var i = 0; i < groups; i++)
                        optimizer.ParamGroups[i]["lr"] = bases[i];
                BeginMomentum(lastEpoch);
            }
        );
        // As in PyTorch, where the first rate is an initial_lr that was there before.
        SetBaseLrs(bases.Select((low, group) => low * Scale(group)));
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr()
    {
        var height = Height();
        return [.. BaseLrs.Select((low, group) => low + (tops[group] * Scale(group) - low) * height.Rate * height.Scale)];
    }

    private protected override double Momentum(int group)
    {
        var height = Height();
        var (low, high) = (BaseMomentums[group], MaxMomentums[group]);
        return high - (high - low) * height.Rate * height.Scale;
    }

    private protected override void TakeIn(int group, bool later)
    {
        base.TakeIn(group, later);
        if (!later)
            return;
        var low = Scale(group) is 1 ? (double)Optimizer.ParamGroups[group]["lr"] : InitialLr(Optimizer.ParamGroups[group]);
        tops = Put(tops, group, Math.Max(low, tops[group - 1]));
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [
            ("max_lrs", Numbers(tops)),
            ("total_size", period),
            ("step_ratio", ratio),
            ("mode", Settings!["mode"]),
            ("gamma", Settings["gamma"]),
            ("scale_mode", scale is null && Settings.Text("mode") == "exp_range" ? "iterations" : Settings["scale_mode"]),
            ("cycle_momentum", Settings["cycle_momentum"]),
            .. Slot is null
                ? Array.Empty<(string, Tree)>()
                :
                [
                    ("use_beta1", Slot.Index is not null),
                    ("base_momentums", Numbers(BaseMomentums)),
                    ("max_momentums", Numbers(MaxMomentums)),
                ],
            .. SaveCommon(),
            ("_scale_fn_custom", Tree.None),
        ];

    private protected override Action Load(StateReader state)
    {
        CheckMomentum(state);
        var settings = state.Settings(Settings!, ("mode", "mode"), ("gamma", "gamma"), ("scale_mode", "scale_mode"));
        var (loadedTops, length, part) = (state.Numbers("max_lrs"), state.Number("total_size"), state.Number("step_ratio"));
        if (!(length > 0 && double.IsFinite(length)))
            throw state.Wrong("total_size", "a number above 0");
        if (!(part is > 0 and <= 1))
            throw state.Wrong("step_ratio", "in (0, 1]");
        var count = state.Numbers("base_lrs").Length;
        var (low, high) = Slot is null ? ([], []) : (state.Numbers("base_momentums"), state.Numbers("max_momentums"));
        foreach (var (key, values) in new[] { ("max_lrs", loadedTops), ("base_momentums", low), ("max_momentums", high) })
            if (values.Length != count && (key == "max_lrs" || Slot is not null))
                throw state.Wrong(key, "a list as long as base_lrs");
        state.Find("_scale_fn_custom");
        if (scale is not null)
            state.Missing.Add("scale_fn: functions are not saved; the scheduler goes on with its own");
        var load = LoadCommon(state);
        return () =>
        {
            load();
            Settings = settings;
            (tops, period, ratio, BaseMomentums, MaxMomentums) = (loadedTops, length, part, low, high);
        };
    }

    private (double Rate, double Scale) Height()
    {
        var (height, cycle) = Core.Curve.triangle(period, ratio, LastEpoch);
        var factor = scale is not null
            ? scale(Settings!.Text("scale_mode") == "cycle" ? cycle : LastEpoch)
            : Settings!.Text("mode") switch
            {
                "triangular2" => 1 / Math.Pow(2, cycle - 1),
                "exp_range" => Math.Pow(Settings.Number("gamma"), LastEpoch),
                _ => 1,
            };
        return (height, factor);
    }
}
