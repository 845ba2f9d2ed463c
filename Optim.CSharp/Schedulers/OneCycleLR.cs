using Optim.Core;

namespace Optim;

/// <summary>
/// One cycle (Smith, arXiv 1708.07120), as torch.optim.lr_scheduler.OneCycleLR: from max_lr / div_factor up to max_lr, and down to max_lr / (div_factor final_div_factor);
/// momentum, or the first of betas, the other way round. It does not look at the current rate. One step more than total_steps - 1 stays at the end, further ones are refused.
/// The rates are kept in the groups as initial_lr, max_lr and min_lr.
/// </summary>
public sealed class OneCycleLR : CyclingLR
{
    internal static readonly SchedulerKind Kind = new(
        "OneCycleLR",
        "onecycle",
        "one cycle: up to max_lr and far down, momentum the other way round",
        [
            SchedulerSetting.PerGroup("max_lr", Interval.AtLeast(0), null, "the highest rate"),
            SchedulerSetting.Whole("total_steps", 1, null, "steps of the cycle; None: epochs times steps_per_epoch").OrNone(),
            SchedulerSetting.Whole("epochs", 1, null, "epochs of the cycle").OrNone(),
            SchedulerSetting.Whole("steps_per_epoch", 1, null, "steps of an epoch").OrNone(),
            SchedulerSetting.Number("pct_start", Interval.Within(0, 1), 0.3, "part of the cycle that goes up"),
            SchedulerSetting.Choice("anneal_strategy", ["cos", "linear"], "cos", "the curve"),
            SchedulerSetting.Flag("cycle_momentum", true, "whether momentum, or the first of betas, goes the other way"),
            SchedulerSetting.PerGroup("base_momentum", Interval.AtLeast(0), 0.85, "the least momentum"),
            SchedulerSetting.PerGroup("max_momentum", Interval.AtLeast(0), 0.95, "the highest momentum"),
            SchedulerSetting.Number("div_factor", Interval.Above(0), 25.0, "max_lr over the first rate"),
            SchedulerSetting.Number("final_div_factor", Interval.Above(0), 1e4, "the first rate over the last"),
            SchedulerSetting.Flag("three_phase", false, "whether it goes down in two phases"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new OneCycleLR(optimizer, settings)
    );

    private double[] ends;
    private double[] tops;

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="maxLr">The highest rate, or one for each group.</param>
    /// <param name="totalSteps">Steps of the cycle; null: epochs times stepsPerEpoch.</param>
    /// <param name="epochs">Epochs of the cycle.</param>
    /// <param name="stepsPerEpoch">Steps of an epoch.</param>
    /// <param name="pctStart">Part of the cycle that goes up, in [0, 1].</param>
    /// <param name="annealStrategy">The curve.</param>
    /// <param name="cycleMomentum">Whether momentum, or the first of betas, goes the other way.</param>
    /// <param name="baseMomentum">The least momentum; null: 0.85.</param>
    /// <param name="maxMomentum">The highest momentum; null: 0.95.</param>
    /// <param name="divFactor">max_lr over the first rate, above 0.</param>
    /// <param name="finalDivFactor">The first rate over the last, above 0.</param>
    /// <param name="threePhase">Whether it goes down in two phases: to the first rate as it went up, and from there to the last.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed, there is no length, or the optimizer has no momentum to cycle.</exception>
    public OneCycleLR(
        Optimizer optimizer,
        PerGroup maxLr,
        int? totalSteps = null,
        int? epochs = null,
        int? stepsPerEpoch = null,
        double pctStart = 0.3,
        Anneal annealStrategy = Anneal.Cosine,
        bool cycleMomentum = true,
        PerGroup? baseMomentum = null,
        PerGroup? maxMomentum = null,
        double divFactor = 25.0,
        double finalDivFactor = 1e4,
        bool threePhase = false,
        int lastEpoch = -1
    )
        : this(
            optimizer,
            Kind.With(
                maxLr.Value,
                SchedulerSetting.OrNone(totalSteps),
                SchedulerSetting.OrNone(epochs),
                SchedulerSetting.OrNone(stepsPerEpoch),
                pctStart,
                SchedulerSetting.TextOf(annealStrategy),
                cycleMomentum,
                baseMomentum?.Value ?? 0.85,
                maxMomentum?.Value ?? 0.95,
                divFactor,
                finalDivFactor,
                threePhase,
                lastEpoch
            )
        ) { }

    private OneCycleLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings)
    {
        TotalSteps =
            !settings["total_steps"].IsNone ? settings.Whole("total_steps")
            : settings["epochs"].IsNone || settings["steps_per_epoch"].IsNone
                ? throw new OptionException(
                    $"OneCycleLR: total_steps is None, epochs is {settings["epochs"]} and steps_per_epoch is {settings["steps_per_epoch"]}; either total_steps or both of the others must be given",
                    "total_steps"
                )
            : (long)settings.Whole("epochs") * settings.Whole("steps_per_epoch");
        var (up, last) = (settings.Number("pct_start") * TotalSteps, TotalSteps - 1);
        ends = settings.Flag("three_phase") ? [up - 1, 2 * up - 2, last] : [up - 1, last];
        tops = settings.PerGroup("max_lr", optimizer.ParamGroups.Count);
        var lastEpoch = settings.Whole("last_epoch");
        Initialize(
            lastEpoch,
            () =>
            {
                for (var i = 0; lastEpoch == -1 && i < tops.Length; i++)
                    MarkRates(optimizer.ParamGroups[i], tops[i] / settings.Number("div_factor"), tops[i]);
                BeginMomentum(lastEpoch);
            }
        );
    }

    /// <summary>Steps of the cycle.</summary>
    public long TotalSteps { get; private set; }

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr()
    {
        if (LastEpoch > TotalSteps)
            throw new OptionException(
                FormattableString.Invariant(
                    $"OneCycleLR: total_steps is {TotalSteps}, and step {LastEpoch} was asked for; the cycle is over, so it must be at most {TotalSteps}"
                ),
                "total_steps"
            );
        return
        [
            .. Optimizer.ParamGroups.Select(
                (group, i) =>
                {
                    var (low, high, least) = (Own(group, "initial_lr", i), Own(group, "max_lr", i), Own(group, "min_lr", i));
                    return Scale(group) * At(ends.Length == 3 ? [low, high, low, least] : [low, high, least]);
                }
            ),
        ];
    }

    private protected override double Momentum(int group)
    {
        var extras = Optimizer.ParamGroups[group].Extras;
        var low = extras.TryGetValue("base_momentum", out var given) ? (double)given : BaseMomentums[group];
        var high = extras.TryGetValue("max_momentum", out given) ? (double)given : MaxMomentums[group];
        return At(ends.Length == 3 ? [high, low, high, high] : [high, low, high]);
    }

    private protected override void TakeIn(int group, bool later)
    {
        base.TakeIn(group, later);
        if (!later)
            return;
        var first = Scale(group) is 1 ? (double)Optimizer.ParamGroups[group]["lr"] : InitialLr(Optimizer.ParamGroups[group]);
        tops = Put(tops, group, first * Settings!.Number("div_factor"));
        MarkRates(Optimizer.ParamGroups[group], first, tops[group]);
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [
            ("total_steps", TotalSteps),
            ("_schedule_phases", Tree.ListOf(ends.Select((_, i) => Phase(i)))),
            ("_anneal_func_type", Settings!["anneal_strategy"]),
            ("cycle_momentum", Settings["cycle_momentum"]),
            .. Slot is null ? Array.Empty<(string, Tree)>() : [("use_beta1", Slot.Index is not null)],
            .. SaveCommon(),
        ];

    private protected override Action Load(StateReader state)
    {
        CheckMomentum(state);
        var settings = state.Settings(Settings!, ("_anneal_func_type", "anneal_strategy"));
        var total = state.Whole("total_steps");
        if (total < 1)
            throw state.Wrong("total_steps", "a whole number of at least 1");
        var phases = state.Items("_schedule_phases");
        if (phases.Count is not (2 or 3))
            throw state.Wrong("_schedule_phases", "a list of two or three phases");
        var loadedEnds = new double[phases.Count];
        for (var i = 0; i < phases.Count; i++)
        {
            var phase = new StateReader($"OneCycleLR, phase {i.ToString(System.Globalization.CultureInfo.InvariantCulture)}", phases[i]);
            loadedEnds[i] = phase.Number("end_step");
            foreach (var (key, name) in PhaseNames(i, phases.Count))
                if (phase[key] is not Tree.Text { Item: var found } || found != name)
                    throw phase.Wrong(key, $"'{name}'");
        }
        var load = LoadCommon(state);
        return () =>
        {
            load();
            (Settings, TotalSteps, ends) = (settings, total, loadedEnds);
        };
    }

    private Tree Phase(int i) =>
        Tree.Dict([
            ("end_step", i == ends.Length - 1 ? WholeOrNot(ends[i]) : ends[i]),
            .. PhaseNames(i, ends.Length).Select(entry => (entry.Key, (Tree)entry.Name)),
        ]);

    /// <summary>What PyTorch writes of a phase: where it looks its ends up.</summary>
    private static (string Key, string Name)[] PhaseNames(int i, int count)
    {
        string[] rates = count == 3 ? ["initial_lr", "max_lr", "initial_lr", "min_lr"] : ["initial_lr", "max_lr", "min_lr"];
        string[] momentums = ["max_momentum", "base_momentum", "max_momentum", "max_momentum"];
        return [("start_lr", rates[i]), ("end_lr", rates[i + 1]), ("start_momentum", momentums[i]), ("end_momentum", momentums[i + 1])];
    }

    private void MarkRates(ParameterGroup group, double initial, double top)
    {
        group.Extras["initial_lr"] = initial;
        group.Extras["max_lr"] = top;
        group.Extras["min_lr"] = initial / Settings!.Number("final_div_factor");
    }

    /// <summary>A rate from the group, or where a loaded optimizer knew nothing of this scheduler, as it was given.</summary>
    private double Own(ParameterGroup group, string key, int i)
    {
        if (group.Extras.TryGetValue(key, out var value))
            return (double)value;
        var initial = tops[i] / Settings!.Number("div_factor");
        return key switch
        {
            "max_lr" => tops[i],
            "initial_lr" => initial,
            _ => initial / Settings.Number("final_div_factor"),
        };
    }

    /// <summary>Where the phases through these values are now.</summary>
    private double At(double[] values)
    {
        var phases = ends.Select((end, i) => new Core.Curve.Phase(end, values[i], values[i + 1])).ToArray();
        return Core.Curve.phases(Settings!.Text("anneal_strategy") == "cos", phases, Math.Min(LastEpoch, TotalSteps - 1));
    }
}
