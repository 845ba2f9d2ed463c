using Optim.Core;

namespace Optim;

/// <summary>The schedules of timm, with their settings and what makes them of these.</summary>
internal static class TimmKinds
{
    private static readonly SchedulerSetting length = SchedulerSetting.Number(
        "t_initial",
        Interval.Above(0),
        null,
        "length of the first cycle"
    );
    private static readonly SchedulerSetting least = SchedulerSetting.Number("lr_min", Interval.AtLeast(0), 0.0, "the least rate");
    private static readonly SchedulerSetting rate = SchedulerSetting.Number(
        "decay_rate",
        Interval.AtLeast(0),
        1.0,
        "what the rate is multiplied with"
    );
    private static readonly SchedulerSetting[] warmup =
    [
        SchedulerSetting.Number("warmup_t", Interval.UpTo(0, double.PositiveInfinity), 0.0, "length of the way up"),
        SchedulerSetting.Number("warmup_lr_init", Interval.AtLeast(0), 0.0, "the rate that it begins with"),
    ];
    private static readonly SchedulerSetting inEpochs = SchedulerSetting.Flag(
        "t_in_epochs",
        true,
        "whether it counts epochs; otherwise updates"
    );
    private static readonly SchedulerSetting kDecay = SchedulerSetting.Number(
        "k_decay",
        Interval.Above(0),
        1.0,
        "power of the way within a cycle; below 1 it falls sooner"
    );
    private static readonly SchedulerSetting[] cycles =
    [
        least,
        SchedulerSetting.Number("cycle_mul", Interval.Above(0), 1.0, "how many times as long each cycle is as the one before"),
        SchedulerSetting.Number("cycle_decay", Interval.AtLeast(0), 1.0, "what the highest rate is multiplied with from cycle to cycle"),
        SchedulerSetting.Whole("cycle_limit", 0, 1, "how many cycles there are; lr_min follows"),
        .. Warmup(prefix: false),
    ];

    /// <summary>All of them.</summary>
    internal static readonly SchedulerKind[] All =
    [
        Make(
            "cosine",
            "along half a cosine to lr_min, in cycles",
            [length, .. cycles, kDecay],
            s => WarmedUp(s, Timm.Cosine(s.Number("lr_min"), s.Number("k_decay"), CyclesOf(s)))
        ),
        Make(
            "tanh",
            "along a hyperbolic tangent to lr_min, in cycles",
            [
                length,
                SchedulerSetting.Number("lb", Interval.Any, -7.0, "where the tangent begins"),
                SchedulerSetting.Number("ub", Interval.Any, 3.0, "where it ends; above lb"),
                .. cycles,
            ],
            Tanh
        ),
        Make(
            "poly",
            "to lr_min along a power of the way that is left, in cycles",
            [length, SchedulerSetting.Number("power", Interval.AtLeast(0), 0.5, "the power"), .. cycles, kDecay],
            s => WarmedUp(s, Timm.Polynomial(s.Number("lr_min"), s.Number("power"), s.Number("k_decay"), CyclesOf(s)))
        ),
        Make(
            "step",
            "the rate times decay_rate after every decay_t",
            [
                SchedulerSetting.Number("decay_t", Interval.Above(0), null, "from one reduction to the next; may be a fraction"),
                rate,
                .. Warmup(prefix: true),
            ],
            s => WarmedUp(s, Timm.Step(s.Number("decay_t"), s.Number("decay_rate")))
        ),
        Make(
            "multistep",
            "the rate times decay_rate at each milestone, one count before it",
            [SchedulerSetting.WholeNumbers("decay_t", "the milestones"), rate, .. Warmup(prefix: true)],
            s => WarmedUp(s, Timm.MultiStep(s.Numbers("decay_t"), s.Number("decay_rate")))
        ),
        Make(
            "wsd",
            "warm-up, stable, decay: the rate for a while, and down to lr_min within the last decay_t",
            [
                SchedulerSetting.Number("t_initial", Interval.Above(0), null, "length of stable and decay together"),
                SchedulerSetting.Number("decay_t", Interval.Above(0), null, "length of the decay, at most t_initial"),
                least,
                SchedulerSetting.Choice("stable_fn", ["constant", "rsqrt", "power"], "constant", "what the rate does before the decay"),
                SchedulerSetting
                    .Number("stable_timescale", Interval.Above(0), null, "of stable_fn rsqrt and power; None: warmup_t")
                    .OrNone(),
                SchedulerSetting.Number("stable_power", Interval.Above(0), 0.5, "of stable_fn power"),
                SchedulerSetting.Choice("decay_fn", ["linear", "1-sqrt", "cosine", "power", "exp"], "1-sqrt", "the curve of the decay"),
                SchedulerSetting.Number("decay_power", Interval.Above(0), 0.5, "of decay_fn power"),
                SchedulerSetting.Number("decay_ratio", Interval.Between(0, 1), 0.1, "of decay_fn exp"),
                .. warmup,
                inEpochs,
            ],
            s => WarmupStableDecay(s, null)
        ),
    ];

    /// <summary>The settings of a warm-up before or under a schedule.</summary>
    private static SchedulerSetting[] Warmup(bool prefix) =>
        [
            .. warmup,
            SchedulerSetting.Flag("warmup_prefix", prefix, "whether the schedule begins behind the warm-up; otherwise it runs under it"),
            inEpochs,
        ];

    private static SchedulerKind Make(string name, string says, SchedulerSetting[] settings, Func<SchedulerSettings, Schedule> make) =>
        new(
            Schedulers.TimmPrefix + name,
            Schedulers.TimmPrefix + name,
            says,
            settings,
            (optimizer, given) => new TimmLR(optimizer, given, make)
        );

    private static Cycles CyclesOf(SchedulerSettings s) =>
        new(s.Number("t_initial"), s.Number("cycle_mul"), s.Number("cycle_decay"), s.Whole("cycle_limit"));

    private static Schedule WarmedUp(SchedulerSettings s, Schedule schedule) =>
        s.Number("warmup_t") == 0 ? schedule
        : s.Flag("warmup_prefix") ? Timm.WarmUpFirst(s.Number("warmup_t"), s.Number("warmup_lr_init"), schedule)
        : Timm.WarmUp(s.Number("warmup_t"), s.Number("warmup_lr_init"), schedule);

    private static Schedule Tanh(SchedulerSettings s)
    {
        if (!(s.Number("lb") < s.Number("ub")))
            throw new OptionException($"{s.Kind.Name}: lb is {s["lb"]} and ub is {s["ub"]}; lb must be below ub", "lb");
        var curve = Timm.Tanh(s.Number("lr_min"), s.Number("lb"), s.Number("ub"), CyclesOf(s));
        return s.Number("warmup_t") > 0 && !s.Flag("warmup_prefix")
            ? Timm.WarmUpInto(s.Number("warmup_t"), s.Number("warmup_lr_init"), curve)
            : WarmedUp(s, curve);
    }

    internal static Schedule WarmupStableDecay(SchedulerSettings s, Func<double, double>? function)
    {
        var (whole, last, up) = (s.Number("t_initial"), s.Number("decay_t"), s.Number("warmup_t"));
        if (last > whole)
            throw new OptionException(
                $"{s.Kind.Name}: decay_t is {s["decay_t"]}; it must be above 0 and at most t_initial, which is {s["t_initial"]}",
                "decay_t"
            );
        var timescale = s["stable_timescale"].IsNone ? up : s.Number("stable_timescale");
        if (s.Text("stable_fn") != "constant" && timescale == 0)
            throw new OptionException(
                $"{s.Kind.Name}: stable_timescale is None and warmup_t is 0; stable_fn {s["stable_fn"]} needs a timescale above 0",
                "stable_timescale"
            );
        var power = s.Text("stable_fn") == "rsqrt" ? 0.5 : s.Number("stable_power");
        var stable = s.Text("stable_fn") == "constant" ? Schedule.Keep : Schedule.OfFactor(step => Math.Pow(1 + step / timescale, -power));
        var (curve, decayPower, ratio) = (s.Descent("decay_fn"), s.Number("decay_power"), s.Number("decay_ratio"));
        var fall = Schedule.OfFactor(function ?? (way => Timm.Descend(curve, decayPower, ratio, way)));
        var schedule = Timm.StableDecay(s.Number("lr_min"), stable, fall, last, whole);
        return up > 0 ? Timm.WarmUpFirst(up, s.Number("warmup_lr_init"), schedule) : schedule;
    }
}
