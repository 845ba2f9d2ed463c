using Optim.Core;

namespace Optim;

/// <summary>The rate times gamma after every epoch, as torch.optim.lr_scheduler.ExponentialLR: base gamma^t.</summary>
public sealed class ExponentialLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "ExponentialLR",
        "exponential",
        "the rate times gamma after every epoch",
        [SchedulerSetting.Number("gamma", Interval.AtLeast(0), null, "what the rate is multiplied with"), SchedulerSetting.LastEpoch],
        (optimizer, settings) => new ExponentialLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="gamma">What the rate is multiplied with, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public ExponentialLR(Optimizer optimizer, double gamma, int lastEpoch = -1)
        : this(optimizer, Kind.With(gamma, lastEpoch)) { }

    private ExponentialLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Exponential(s.Number("gamma"))) { }
}
