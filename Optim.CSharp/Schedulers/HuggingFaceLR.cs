using System.Diagnostics;
using Optim.Core;

namespace Optim;

/// <summary>
/// The schedules of Hugging Face's transformers, by the names of get_scheduler: <c>HuggingFaceLR.Cosine(optimizer, 100, 1000)</c>, or
/// <c>Schedulers.HuggingFace("cosine", optimizer, 100, 1000)</c>. A step is one of the optimizer; the rate is the group's times a factor, which rises
/// from 0 over the warm-up, so that the first step of the optimizer has a rate of 0. A schedule goes on after its last step.
/// The formulas are in <see cref="HuggingFace"/>. States are in the keys of PyTorch's LambdaLR, which transformers uses, and load there.
/// </summary>
/// <remarks>As in transformers min_lr and lr_end are compared with the lr that the optimizer was made with; a group of another rate ends at the same part of its own.</remarks>
public sealed class HuggingFaceLR : ChainableLR
{
    private static readonly SchedulerSetting warmup = SchedulerSetting.Whole("num_warmup_steps", 0, null, "steps of the way up");
    private static readonly SchedulerSetting training = SchedulerSetting.Whole("num_training_steps", 0, null, "steps in all");
    private static readonly SchedulerSetting cycles = Cycles(0.5);
    private static readonly SchedulerSetting minLr = SchedulerSetting
        .Number("min_lr", Interval.AtLeast(0), null, "the least rate; this or min_lr_rate")
        .OrNone();
    private static readonly SchedulerSetting minLrRate = SchedulerSetting
        .Number("min_lr_rate", Interval.AtLeast(0), null, "the least rate as a part of the rate")
        .OrNone();
    private static readonly string[] curves = ["linear", "cosine", "1-sqrt"];

    /// <summary>Those of them that go by steps alone.</summary>
    internal static readonly SchedulerKind[] Kinds =
    [
        Make(
            "linear",
            "up from 0, and down to 0 in a straight line",
            [warmup, training],
            (s, _) => HuggingFace.Linear(s.Number("num_warmup_steps"), s.Number("num_training_steps"))
        ),
        Make(
            "cosine",
            "up from 0, and along num_cycles periods of a cosine (0.5: down to 0)",
            [warmup, training, cycles],
            (s, _) => HuggingFace.Cosine(s.Number("num_cycles"), s.Number("num_warmup_steps"), s.Number("num_training_steps"))
        ),
        Make(
            "cosine_with_restarts",
            "up from 0, and num_cycles times along half a cosine down to 0",
            [warmup, training, Cycles(1)],
            (s, _) => HuggingFace.CosineWithRestarts(s.Number("num_cycles"), s.Number("num_warmup_steps"), s.Number("num_training_steps"))
        ),
        Make(
            "polynomial",
            "up from 0, and down to lr_end along a power of the way that is left",
            [
                warmup,
                training,
                SchedulerSetting.Number("lr_end", Interval.AtLeast(0), 1e-7, "the last rate, below that of the optimizer"),
                SchedulerSetting.Number("power", Interval.AtLeast(0), 1.0, "the power"),
            ],
            Polynomial
        ),
        Make("constant", "the rate as it is", [], (_, _) => HuggingFace.Constant),
        Make(
            "constant_with_warmup",
            "up from 0, and then the rate",
            [warmup],
            (s, _) => HuggingFace.ConstantWithWarmup(s.Number("num_warmup_steps"))
        ),
        Make(
            "inverse_sqrt",
            "up from 0, and down with the root of the step",
            [
                warmup,
                SchedulerSetting
                    .Number("timescale", Interval.Above(0), null, "of the way down; None: num_warmup_steps, or 10000 without a warm-up")
                    .OrNone(),
            ],
            InverseSqrt
        ),
        Make(
            "cosine_with_min_lr",
            "up from 0, and along num_cycles periods of a cosine (0.5: down to min_lr)",
            [warmup, training, cycles, minLr, minLrRate],
            (s, lr) =>
                HuggingFace.CosineWithMinLr(
                    Least(s, lr),
                    s.Number("num_cycles"),
                    s.Number("num_warmup_steps"),
                    s.Number("num_training_steps")
                )
        ),
        Make(
            "cosine_warmup_with_min_lr",
            "the same up from warmup_lr_rate, each value one step earlier",
            [
                warmup,
                training,
                cycles,
                minLr,
                minLrRate,
                SchedulerSetting
                    .Number("warmup_lr_rate", Interval.AtLeast(0), null, "the first rate as a part of the rate; None: 1 / num_warmup_steps")
                    .OrNone(),
            ],
            CosineWarmupWithMinLr
        ),
        Make(
            "warmup_stable_decay",
            "up from a part of the rate, the rate for a while, and down to that part",
            [
                warmup,
                SchedulerSetting.Whole("num_decay_steps", 0, null, "steps of the way down"),
                SchedulerSetting.Whole("num_training_steps", 0, null, "steps in all; this or num_stable_steps").OrNone(),
                SchedulerSetting.Whole("num_stable_steps", 0, null, "steps at the rate; None: those that are left").OrNone(),
                SchedulerSetting.Choice("warmup_type", curves, "linear", "the curve of the way up"),
                SchedulerSetting.Choice("decay_type", curves, "cosine", "the curve of the way down"),
                SchedulerSetting.Number("min_lr_ratio", Interval.Within(0, 1), 0.0, "the first and the last rate as a part of the rate"),
                Cycles(0.5),
            ],
            WarmupStableDecay
        ),
    ];

    private HuggingFaceLR(Optimizer optimizer, SchedulerSettings settings, Func<SchedulerSettings, double, Schedule> schedule)
        : base(optimizer, settings, s => Chainable.OfSchedule(schedule(s, optimizer.DefaultRate))) { }

    /// <summary>The name in transformers, such as cosine_with_restarts.</summary>
    public string Name => Settings!.Kind.Name[Schedulers.HuggingFacePrefix.Length..];

    /// <summary>Up from 0, and down to 0 in a straight line.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR Linear(Optimizer optimizer, int warmupSteps, int trainingSteps, int lastEpoch = -1) =>
        Of("linear", optimizer, warmupSteps, trainingSteps, lastEpoch);

    /// <summary>Up from 0, and along so many periods of a cosine; 0.5 is once down to 0. After the last step it rises again.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="numCycles">Periods of the cosine, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR Cosine(
        Optimizer optimizer,
        int warmupSteps,
        int trainingSteps,
        double numCycles = 0.5,
        int lastEpoch = -1
    ) => Of("cosine", optimizer, warmupSteps, trainingSteps, numCycles, lastEpoch);

    /// <summary>Up from 0, and so many times along half a cosine down to 0, back at the rate each time.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="numCycles">How many times, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR CosineWithRestarts(
        Optimizer optimizer,
        int warmupSteps,
        int trainingSteps,
        double numCycles = 1,
        int lastEpoch = -1
    ) => Of("cosine_with_restarts", optimizer, warmupSteps, trainingSteps, numCycles, lastEpoch);

    /// <summary>Up from 0, and down along a power of the way that is left.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="lrEnd">The last rate, at least 0 and below the optimizer's lr.</param>
    /// <param name="power">The power, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR Polynomial(
        Optimizer optimizer,
        int warmupSteps,
        int trainingSteps,
        double lrEnd = 1e-7,
        double power = 1.0,
        int lastEpoch = -1
    ) => Of("polynomial", optimizer, warmupSteps, trainingSteps, lrEnd, power, lastEpoch);

    /// <summary>The rate as it is, with the group's lr_scale.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR Constant(Optimizer optimizer, int lastEpoch = -1) => Of("constant", optimizer, lastEpoch);

    /// <summary>Up from 0, and then the rate.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR ConstantWithWarmup(Optimizer optimizer, int warmupSteps, int lastEpoch = -1) =>
        Of("constant_with_warmup", optimizer, warmupSteps, lastEpoch);

    /// <summary>Up from 0, and down with the root of the step.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="timescale">Of the way down, above 0; null: <paramref name="warmupSteps"/>, or 10000 without a warm-up.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR InverseSqrt(Optimizer optimizer, int warmupSteps, double? timescale = null, int lastEpoch = -1) =>
        Of("inverse_sqrt", optimizer, warmupSteps, SchedulerSetting.OrNone(timescale), lastEpoch);

    /// <summary>Up from 0, and along so many periods of a cosine; 0.5 is once down to the least rate. After the last step it rises again.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="numCycles">Periods of the cosine, at least 0.</param>
    /// <param name="minLr">The least rate, at least 0: this or <paramref name="minLrRate"/> must be given.</param>
    /// <param name="minLrRate">The least rate as a part of the rate, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR CosineWithMinLr(
        Optimizer optimizer,
        int warmupSteps,
        int trainingSteps,
        double numCycles = 0.5,
        double? minLr = null,
        double? minLrRate = null,
        int lastEpoch = -1
    ) =>
        Of(
            "cosine_with_min_lr",
            optimizer,
            warmupSteps,
            trainingSteps,
            numCycles,
            SchedulerSetting.OrNone(minLr),
            SchedulerSetting.OrNone(minLrRate),
            lastEpoch
        );

    /// <summary>The same up from a part of the rate, with each value one step earlier: the least rate is that of the last step but one.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="trainingSteps">Steps in all, at least 0.</param>
    /// <param name="numCycles">Periods of the cosine, at least 0.</param>
    /// <param name="minLr">The least rate, at least 0: this or <paramref name="minLrRate"/> must be given.</param>
    /// <param name="minLrRate">The least rate as a part of the rate, at least 0.</param>
    /// <param name="warmupLrRate">The first rate as a part of the rate, at least 0; null: 1 / <paramref name="warmupSteps"/>.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR CosineWarmupWithMinLr(
        Optimizer optimizer,
        int warmupSteps,
        int trainingSteps,
        double numCycles = 0.5,
        double? minLr = null,
        double? minLrRate = null,
        double? warmupLrRate = null,
        int lastEpoch = -1
    ) =>
        Of(
            "cosine_warmup_with_min_lr",
            optimizer,
            warmupSteps,
            trainingSteps,
            numCycles,
            SchedulerSetting.OrNone(minLr),
            SchedulerSetting.OrNone(minLrRate),
            SchedulerSetting.OrNone(warmupLrRate),
            lastEpoch
        );

    /// <summary>Up from a part of the rate, the rate for a while, and down to that part.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupSteps">Steps of the way up, at least 0.</param>
    /// <param name="decaySteps">Steps of the way down, at least 0.</param>
    /// <param name="trainingSteps">Steps in all: this or <paramref name="stableSteps"/> must be given. Where both are, a warning is traced and this is left aside.</param>
    /// <param name="stableSteps">Steps at the rate, at least 0; null: those that are left. Where none are, the way down is entered part-way.</param>
    /// <param name="warmupType">The curve of the way up: Linear, Cosine or OneMinusSqrt.</param>
    /// <param name="decayType">The curve of the way down: Linear, Cosine or OneMinusSqrt.</param>
    /// <param name="minLrRatio">The first and the last rate as a part of the rate, in [0, 1].</param>
    /// <param name="numCycles">Periods of the cosine of the way down, at least 0.</param>
    /// <param name="lastEpoch">The last step that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static HuggingFaceLR WarmupStableDecay(
        Optimizer optimizer,
        int warmupSteps,
        int decaySteps,
        int? trainingSteps = null,
        int? stableSteps = null,
        Descent warmupType = Descent.Linear,
        Descent decayType = Descent.Cosine,
        double minLrRatio = 0,
        double numCycles = 0.5,
        int lastEpoch = -1
    ) =>
        Of(
            "warmup_stable_decay",
            optimizer,
            warmupSteps,
            decaySteps,
            SchedulerSetting.OrNone(trainingSteps),
            SchedulerSetting.OrNone(stableSteps),
            SchedulerSetting.TextOf(warmupType),
            SchedulerSetting.TextOf(decayType),
            minLrRatio,
            numCycles,
            lastEpoch
        );

    private protected override IEnumerable<(string, Tree)> Save() =>
        [.. base.Save(), ("lr_lambdas", Tree.ListOf(Enumerable.Repeat(Tree.None, BaseLrs.Count)))];

    private protected override Action Load(StateReader state)
    {
        state.Find("lr_lambdas"); // what transformers saves of its functions: nothing
        return base.Load(state);
    }

    private static SchedulerKind Make(
        string name,
        string says,
        SchedulerSetting[] settings,
        Func<SchedulerSettings, double, Schedule> schedule
    ) =>
        new(
            Schedulers.HuggingFacePrefix + name,
            Schedulers.HuggingFacePrefix + name,
            says,
            [.. settings, SchedulerSetting.LastEpoch],
            (optimizer, given) => new HuggingFaceLR(optimizer, given, schedule)
        );

    private static HuggingFaceLR Of(string name, Optimizer optimizer, params OptionValue[] values)
    {
        var kind = Kinds.Single(kind => kind.Name == Schedulers.HuggingFacePrefix + name);
        ArgumentNullException.ThrowIfNull(optimizer);
        return (HuggingFaceLR)kind.Make(optimizer, kind.With(values));
    }

    private static SchedulerSetting Cycles(double standard) =>
        SchedulerSetting.Number("num_cycles", Interval.AtLeast(0), standard, "periods of the cosine");

    private static Schedule Polynomial(SchedulerSettings settings, double lr)
    {
        var end = settings.Number("lr_end");
        if (!(end < lr))
            throw new OptionException(
                FormattableString.Invariant($"{settings.Kind.Name}: lr_end is {end}; it must be below the optimizer's lr, which is {lr}"),
                "lr_end"
            );
        return HuggingFace.Polynomial(
            end / lr,
            settings.Number("power"),
            settings.Number("num_warmup_steps"),
            settings.Number("num_training_steps")
        );
    }

    private static Schedule InverseSqrt(SchedulerSettings settings, double lr)
    {
        var steps = settings.Number("num_warmup_steps");
        var timescale =
            !settings["timescale"].IsNone ? settings.Number("timescale")
            : steps > 0 ? steps
            : 10_000;
        return HuggingFace.InverseSqrt(timescale, steps);
    }

    private static Schedule CosineWarmupWithMinLr(SchedulerSettings settings, double lr)
    {
        var steps = settings.Number("num_warmup_steps");
        return HuggingFace.CosineWarmupWithMinLr(
            settings["warmup_lr_rate"].IsNone ? 1 / Math.Max(1, steps) : settings.Number("warmup_lr_rate"),
            Least(settings, lr),
            settings.Number("num_cycles"),
            steps,
            settings.Number("num_training_steps")
        );
    }

    /// <summary>The least rate as a part of the optimizer's.</summary>
    private static double Least(SchedulerSettings settings, double lr)
    {
        var (rate, part) = (settings["min_lr"], settings["min_lr_rate"]);
        if (rate.IsNone == part.IsNone)
            throw new OptionException(
                $"{settings.Kind.Name}: min_lr is {rate} and min_lr_rate is {part}; one of them must be given, and only one",
                "min_lr"
            );
        if (rate.IsNone)
            return (double)part;
        return lr > 0
            ? (double)rate / lr
            : throw new OptionException(
                FormattableString.Invariant(
                    $"{settings.Kind.Name}: min_lr is {rate}, and the optimizer's lr is {lr}, of which it can be no part; give min_lr_rate"
                ),
                "min_lr"
            );
    }

    private static Schedule WarmupStableDecay(SchedulerSettings settings, double lr)
    {
        var (all, stable) = (settings["num_training_steps"], settings["num_stable_steps"]);
        var (up, down) = (settings.Number("num_warmup_steps"), settings.Number("num_decay_steps"));
        if (all.IsNone && stable.IsNone)
            throw new OptionException(
                $"{settings.Kind.Name}: num_training_steps is None and num_stable_steps is None; one of them must be given",
                "num_training_steps"
            );
        if (!all.IsNone && !stable.IsNone)
            Trace.TraceWarning(
                $"{settings.Kind.Name}: num_training_steps is {all} and num_stable_steps is {stable}; num_stable_steps counts, and the other one does not"
            );
        return HuggingFace.WarmupStableDecay(
            settings.Descent("warmup_type"),
            settings.Descent("decay_type"),
            settings.Number("min_lr_ratio"),
            settings.Number("num_cycles"),
            up,
            stable.IsNone ? (double)all - up - down : (double)stable,
            down
        );
    }
}
