using System.Diagnostics;
using Optim.Core;

namespace Optim;

/// <summary>The schedules of Hugging Face's transformers, with their settings and what makes them of these.</summary>
internal static class HuggingFaceKinds
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
    internal static readonly SchedulerKind[] All =
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
