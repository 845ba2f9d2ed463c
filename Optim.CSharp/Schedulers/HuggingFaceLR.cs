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
    internal HuggingFaceLR(Optimizer optimizer, SchedulerSettings settings, Func<SchedulerSettings, double, Schedule> schedule)
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

    private static HuggingFaceLR Of(string name, Optimizer optimizer, params OptionValue[] values) =>
        (HuggingFaceLR)Schedulers.Of(Schedulers.HuggingFacePrefix + name, optimizer, values);
}
