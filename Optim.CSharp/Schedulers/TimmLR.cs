using Optim.Core;

namespace Optim;

/// <summary>
/// The schedules of timm: <c>TimmLR.Cosine(optimizer, 90, warmupT: 5)</c>, or <c>Schedulers.Timm("cosine", optimizer, ("t_initial", 90))</c>. The rate is a
/// function of a count of epochs, or of updates where t_in_epochs is false, times the lr_scale of the group; it does not look at the current rate.
/// The formulas are in <see cref="Timm"/>. <see cref="LRScheduler.BaseLrs"/> are without lr_scale here, as timm's base_values. timm's noise on rates is
/// not offered.
/// <code>
/// for (var epoch = 0; epoch &lt; epochs; epoch++)
/// {
///     foreach (var batch in batches)
///     {
///         Train(batch);
///         schedule.StepUpdate(++updates);                   // does nothing where the schedule counts epochs
///     }
///     schedule.StepEpoch(epoch + 1);                        // does nothing where it counts updates
/// }
/// </code>
/// </summary>
/// <remarks>
/// After construction the rate is the group's, or warmup_lr_init where there is a warm-up, as in timm; for tanh, and for multistep with a milestone of 1,
/// that is not the rate of count 0. <see cref="LRScheduler.Step()"/> goes to the next count, and Step(count) to any.
/// </remarks>
public sealed class TimmLR : LRScheduler
{
    private readonly Func<SchedulerSettings, Schedule> make;
    private readonly bool hasFunction;

    internal TimmLR(Optimizer optimizer, SchedulerSettings settings, Func<SchedulerSettings, Schedule> make, bool hasFunction = false)
        : base(optimizer, settings)
    {
        (this.make, this.hasFunction, Schedule) = (make, hasFunction, make(settings));
        Initialize(-1);
    }

    /// <summary>The name in timm's create_scheduler, such as multistep.</summary>
    public string Name => Settings!.Kind.Name[Schedulers.TimmPrefix.Length..];

    /// <summary>Whether it counts epochs, and not updates.</summary>
    public bool TInEpochs => Settings!.Flag("t_in_epochs");

    /// <summary>The function itself, of the count and of the rate, without lr_scale.</summary>
    public Schedule Schedule { get; private set; }

    /// <summary>timm's step(epoch): to so many epochs that are over. It does nothing where the schedule counts updates.</summary>
    /// <exception cref="OptionException">The count is below 0.</exception>
    public void StepEpoch(double epoch) => StepTo(epoch, TInEpochs);

    /// <summary>timm's step_update(num_updates): to so many updates that are over. It does nothing where the schedule counts epochs.</summary>
    /// <exception cref="OptionException">The count is below 0.</exception>
    public void StepUpdate(double updates) => StepTo(updates, !TInEpochs);

    /// <summary>Half a cosine in each cycle, as timm's CosineLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="tInitial">Length of the first cycle, above 0.</param>
    /// <param name="lrMin">The least rate, at least 0.</param>
    /// <param name="cycleMul">How many times as long each cycle is as the one before, above 0.</param>
    /// <param name="cycleDecay">What the highest rate is multiplied with from cycle to cycle, at least 0.</param>
    /// <param name="cycleLimit">How many cycles there are, at least 0; lrMin follows.</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="warmupPrefix">Whether the schedule begins behind the warm-up; otherwise it runs under it, and the rate jumps where that ends.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <param name="kDecay">Power of the way within a cycle, above 0; below 1 it falls sooner.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR Cosine(
        Optimizer optimizer,
        double tInitial,
        double lrMin = 0,
        double cycleMul = 1,
        double cycleDecay = 1,
        int cycleLimit = 1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool warmupPrefix = false,
        bool tInEpochs = true,
        double kDecay = 1
    ) => Of("cosine", optimizer, tInitial, lrMin, cycleMul, cycleDecay, cycleLimit, warmupT, warmupLrInit, warmupPrefix, tInEpochs, kDecay);

    /// <summary>A hyperbolic tangent in each cycle, as timm's TanhLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="tInitial">Length of the first cycle, above 0.</param>
    /// <param name="lb">Where the tangent begins.</param>
    /// <param name="ub">Where it ends, above <paramref name="lb"/>.</param>
    /// <param name="lrMin">The least rate, at least 0.</param>
    /// <param name="cycleMul">How many times as long each cycle is as the one before, above 0.</param>
    /// <param name="cycleDecay">What the highest rate is multiplied with from cycle to cycle, at least 0.</param>
    /// <param name="cycleLimit">How many cycles there are, at least 0; lrMin follows.</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="warmupPrefix">Whether the schedule begins behind the warm-up; otherwise it runs under it, and the rate jumps where that ends.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR Tanh(
        Optimizer optimizer,
        double tInitial,
        double lb = -7,
        double ub = 3,
        double lrMin = 0,
        double cycleMul = 1,
        double cycleDecay = 1,
        int cycleLimit = 1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool warmupPrefix = false,
        bool tInEpochs = true
    ) => Of("tanh", optimizer, tInitial, lb, ub, lrMin, cycleMul, cycleDecay, cycleLimit, warmupT, warmupLrInit, warmupPrefix, tInEpochs);

    /// <summary>A power of the way that is left in each cycle, as timm's PolyLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="tInitial">Length of the first cycle, above 0.</param>
    /// <param name="power">The power, at least 0.</param>
    /// <param name="lrMin">The least rate, at least 0.</param>
    /// <param name="cycleMul">How many times as long each cycle is as the one before, above 0.</param>
    /// <param name="cycleDecay">What the highest rate is multiplied with from cycle to cycle, at least 0.</param>
    /// <param name="cycleLimit">How many cycles there are, at least 0; lrMin follows.</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="warmupPrefix">Whether the schedule begins behind the warm-up; otherwise it runs under it, and the rate jumps where that ends.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <param name="kDecay">Power of the way within a cycle, above 0; below 1 it falls sooner.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR Poly(
        Optimizer optimizer,
        double tInitial,
        double power = 0.5,
        double lrMin = 0,
        double cycleMul = 1,
        double cycleDecay = 1,
        int cycleLimit = 1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool warmupPrefix = false,
        bool tInEpochs = true,
        double kDecay = 1
    ) =>
        Of(
            "poly",
            optimizer,
            tInitial,
            power,
            lrMin,
            cycleMul,
            cycleDecay,
            cycleLimit,
            warmupT,
            warmupLrInit,
            warmupPrefix,
            tInEpochs,
            kDecay
        );

    /// <summary>The rate times a factor after every so many counts, as timm's StepLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="decayT">From one reduction to the next, above 0; may be a fraction.</param>
    /// <param name="decayRate">What the rate is multiplied with, at least 0.</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="warmupPrefix">Whether the schedule begins behind the warm-up; otherwise it runs under it, and the rate jumps where that ends.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR Step(
        Optimizer optimizer,
        double decayT,
        double decayRate = 1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool warmupPrefix = true,
        bool tInEpochs = true
    ) => Of("step", optimizer, decayT, decayRate, warmupT, warmupLrInit, warmupPrefix, tInEpochs);

    /// <summary>The rate times a factor at each milestone, one count before it, as timm's MultiStepLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="decayT">The milestones, at least 0.</param>
    /// <param name="decayRate">What the rate is multiplied with, at least 0.</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="warmupPrefix">Whether the schedule begins behind the warm-up; otherwise it runs under it, and the rate jumps where that ends.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR MultiStep(
        Optimizer optimizer,
        IEnumerable<int> decayT,
        double decayRate = 1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool warmupPrefix = true,
        bool tInEpochs = true
    )
    {
        ArgumentNullException.ThrowIfNull(decayT);
        return Of(
            "multistep",
            optimizer,
            SchedulerSetting.Many(decayT.Select(milestone => (OptionValue)milestone)),
            decayRate,
            warmupT,
            warmupLrInit,
            warmupPrefix,
            tInEpochs
        );
    }

    /// <summary>Warm-up, stable, decay, as timm's WSDLRScheduler.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="tInitial">Length of stable and decay together, above 0.</param>
    /// <param name="decayT">Length of the decay, above 0 and at most <paramref name="tInitial"/>.</param>
    /// <param name="lrMin">The least rate, at least 0.</param>
    /// <param name="stable">What the rate does before the decay.</param>
    /// <param name="stableTimescale">Of the stable part, above 0; null: <paramref name="warmupT"/>.</param>
    /// <param name="stablePower">Of <see cref="TimmStable.Power"/>, above 0.</param>
    /// <param name="decay">The curve of the decay.</param>
    /// <param name="decayPower">Of <see cref="Descent.Power"/>, above 0.</param>
    /// <param name="decayRatio">Of <see cref="Descent.Exponential"/>, in (0, 1).</param>
    /// <param name="warmupT">Length of the way up in a straight line, at least 0.</param>
    /// <param name="warmupLrInit">The rate that it begins with, at least 0.</param>
    /// <param name="tInEpochs">Whether it counts epochs; otherwise updates.</param>
    /// <param name="decayFunction">A curve of one's own, from 1 at 0 to 0 at 1, in place of <paramref name="decay"/>. Functions are not saved.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public static TimmLR WarmupStableDecay(
        Optimizer optimizer,
        double tInitial,
        double decayT,
        double lrMin = 0,
        TimmStable stable = TimmStable.Constant,
        double? stableTimescale = null,
        double stablePower = 0.5,
        Descent decay = Descent.OneMinusSqrt,
        double decayPower = 0.5,
        double decayRatio = 0.1,
        double warmupT = 0,
        double warmupLrInit = 0,
        bool tInEpochs = true,
        Func<double, double>? decayFunction = null
    )
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        var settings = Schedulers
            .Find(Schedulers.TimmPrefix + "wsd")
            .With(
                tInitial,
                decayT,
                lrMin,
                SchedulerSetting.TextOf(stable),
                SchedulerSetting.OrNone(stableTimescale),
                stablePower,
                SchedulerSetting.TextOf(decay),
                decayPower,
                decayRatio,
                warmupT,
                warmupLrInit,
                tInEpochs
            );
        return new(optimizer, settings, s => TimmKinds.WarmupStableDecay(s, decayFunction), decayFunction is not null);
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr() =>
        IsInitial && LastEpoch == 0
            ?
            [
                .. BaseLrs.Select(
                    (start, group) => Scale(group) * (Settings!.Number("warmup_t") > 0 ? Settings.Number("warmup_lr_init") : start)
                ),
            ]
            : GetClosedFormLr();

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetClosedFormLr() =>
        [.. BaseLrs.Select((start, group) => Scale(group) * Schedule.At(LastEpoch, start))];

    private protected override double BaseOf(ParameterGroup group) => InitialLr(group);

    private protected override Action Load(StateReader state)
    {
        if (hasFunction)
            state.Missing.Add("decay_fn: functions are not saved; the scheduler goes on with its own");
        var load = base.Load(state);
        return () =>
        {
            load();
            Schedule = make(Settings!);
        };
    }

    private void StepTo(double count, bool counts)
    {
        CheckEpoch(count);
        if (counts)
            Step(count);
    }

    private static TimmLR Of(string name, Optimizer optimizer, params OptionValue[] values) =>
        (TimmLR)Schedulers.Of(Schedulers.TimmPrefix + name, optimizer, values);
}
