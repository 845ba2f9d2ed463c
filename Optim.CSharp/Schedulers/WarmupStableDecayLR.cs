using Optim.Core;

namespace Optim;

/// <summary>
/// Warm-up, stable, decay (Hu et al., arXiv 2404.06395), which PyTorch lacks: from start_factor up to the rate, so many steps there, and down to end_factor.
/// </summary>
public sealed class WarmupStableDecayLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "WarmupStableDecayLR",
        "wsd",
        "up from start_factor to the rate, so many epochs there, and down to end_factor",
        [
            SchedulerSetting.Whole("warmup_iters", 0, null, "epochs of the way up"),
            SchedulerSetting.Whole("stable_iters", 0, null, "epochs at the rate"),
            SchedulerSetting.Whole("decay_iters", 0, null, "epochs of the way down"),
            SchedulerSetting.Number("start_factor", Interval.Within(0, 1), 0.0, "what the rate is multiplied with at first"),
            SchedulerSetting.Number("end_factor", Interval.Within(0, 1), 0.0, "what the rate is multiplied with at the end"),
            SchedulerSetting.Choice("anneal_strategy", ["cos", "linear"], "linear", "the curve of the way down"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new WarmupStableDecayLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupIters">Epochs of the way up, at least 0.</param>
    /// <param name="stableIters">Epochs at the rate, at least 0.</param>
    /// <param name="decayIters">Epochs of the way down, at least 0.</param>
    /// <param name="startFactor">What the rate is multiplied with at first, in [0, 1].</param>
    /// <param name="endFactor">What the rate is multiplied with at the end, in [0, 1].</param>
    /// <param name="annealStrategy">The curve of the way down.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public WarmupStableDecayLR(
        Optimizer optimizer,
        int warmupIters,
        int stableIters,
        int decayIters,
        double startFactor = 0.0,
        double endFactor = 0.0,
        Anneal annealStrategy = Anneal.Linear,
        int lastEpoch = -1
    )
        : this(
            optimizer,
            Kind.With(warmupIters, stableIters, decayIters, startFactor, endFactor, SchedulerSetting.TextOf(annealStrategy), lastEpoch)
        ) { }

    private WarmupStableDecayLR(Optimizer optimizer, SchedulerSettings settings)
        : base(
            optimizer,
            settings,
            s =>
                Chainable.WarmupStableDecay(
                    s.Anneal("anneal_strategy"),
                    s.Number("start_factor"),
                    s.Number("warmup_iters"),
                    s.Number("stable_iters"),
                    s.Number("end_factor"),
                    s.Number("decay_iters")
                )
        ) { }
}
