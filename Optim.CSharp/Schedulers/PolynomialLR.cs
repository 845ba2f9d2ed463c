using Optim.Core;

namespace Optim;

/// <summary>
/// Down to 0 along a power of the way that is left, as torch.optim.lr_scheduler.PolynomialLR: base (1 - t / total_iters)^power, and then 0.
/// With total_iters 0 it stays at the rate, as in PyTorch.
/// </summary>
public sealed class PolynomialLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "PolynomialLR",
        "polynomial",
        "down to 0 along a power of the way that is left",
        [
            SchedulerSetting.Whole("total_iters", 0, 5, "in how many epochs"),
            SchedulerSetting.Number("power", Interval.AtLeast(0), 1.0, "the power"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new PolynomialLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="totalIters">In how many epochs, at least 0.</param>
    /// <param name="power">The power, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public PolynomialLR(Optimizer optimizer, int totalIters = 5, double power = 1.0, int lastEpoch = -1)
        : this(optimizer, Kind.With(totalIters, power, lastEpoch)) { }

    private PolynomialLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Polynomial(s.Number("total_iters"), s.Number("power"))) { }
}
