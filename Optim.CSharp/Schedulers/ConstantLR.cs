using Optim.Core;

namespace Optim;

/// <summary>
/// The rate times a factor for so many epochs, and then the rate, as torch.optim.lr_scheduler.ConstantLR. With total_iters 0 the factor
/// stays for ever, as in PyTorch; a factor of 0 gives 0 and then the rate, where PyTorch divides by zero.
/// </summary>
public sealed class ConstantLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "ConstantLR",
        "constant",
        "the rate times a factor for total_iters epochs, and then the rate",
        [
            SchedulerSetting.Number("factor", Interval.Within(0, 1), 1.0 / 3, "what the rate is multiplied with at first"),
            SchedulerSetting.Whole("total_iters", 0, 5, "for how many epochs"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new ConstantLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="factor">What the rate is multiplied with at first, in [0, 1].</param>
    /// <param name="totalIters">For how many epochs, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public ConstantLR(Optimizer optimizer, double factor = 1.0 / 3, int totalIters = 5, int lastEpoch = -1)
        : this(optimizer, Kind.With(factor, totalIters, lastEpoch)) { }

    private ConstantLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Constant(s.Number("factor"), s.Number("total_iters"))) { }
}
