using Optim.Core;

namespace Optim;

/// <summary>
/// Up to the rate in so many steps, and then down with the root of the step number (Vaswani et al., arXiv 1706.03762), which PyTorch lacks:
/// base sqrt(warmup / t) for t at least warmup.
/// </summary>
public sealed class InverseSqrtLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "InverseSqrtLR",
        "inverse-sqrt",
        "up to the rate in warmup_iters epochs, and then down with the root of the epoch",
        [
            SchedulerSetting.Whole("warmup_iters", 1, null, "epochs of the way up"),
            SchedulerSetting.Number("start_factor", Interval.Within(0, 1), 0.0, "what the rate is multiplied with at first"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new InverseSqrtLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="warmupIters">Epochs of the way up, at least 1.</param>
    /// <param name="startFactor">What the rate is multiplied with at first, in [0, 1].</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public InverseSqrtLR(Optimizer optimizer, int warmupIters, double startFactor = 0.0, int lastEpoch = -1)
        : this(optimizer, Kind.With(warmupIters, startFactor, lastEpoch)) { }

    private InverseSqrtLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.InverseSqrt(s.Number("start_factor"), s.Number("warmup_iters"))) { }
}
