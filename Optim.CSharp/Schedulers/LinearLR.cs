using Optim.Core;

namespace Optim;

/// <summary>
/// In a straight line from one factor of the rate to another, as torch.optim.lr_scheduler.LinearLR. With total_iters 0 it is at
/// the end from the start, where PyTorch stays at the start.
/// </summary>
public sealed class LinearLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "LinearLR",
        "linear",
        "in a straight line from one factor of the rate to another",
        [
            SchedulerSetting.Number("start_factor", Interval.AboveUpTo(0, 1), 1.0 / 3, "what the rate is multiplied with at first"),
            SchedulerSetting.Number("end_factor", Interval.Within(0, 1), 1.0, "what the rate is multiplied with at the end"),
            SchedulerSetting.Whole("total_iters", 0, 5, "in how many epochs"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new LinearLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="startFactor">What the rate is multiplied with at first, in (0, 1].</param>
    /// <param name="endFactor">What the rate is multiplied with at the end, in [0, 1].</param>
    /// <param name="totalIters">In how many epochs, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public LinearLR(Optimizer optimizer, double startFactor = 1.0 / 3, double endFactor = 1.0, int totalIters = 5, int lastEpoch = -1)
        : this(optimizer, Kind.With(startFactor, endFactor, totalIters, lastEpoch)) { }

    private LinearLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Linear(s.Number("start_factor"), s.Number("end_factor"), s.Number("total_iters"))) { }
}
