using Optim.Core;

namespace Optim;

/// <summary>The rate times gamma after every so many epochs, as torch.optim.lr_scheduler.StepLR: base gamma^floor(t / step_size).</summary>
public sealed class StepLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "StepLR",
        "step",
        "the rate times gamma after every step_size epochs",
        [
            SchedulerSetting.Whole("step_size", 1, null, "epochs between two reductions"),
            SchedulerSetting.Number("gamma", Interval.AtLeast(0), 0.1, "what the rate is multiplied with"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new StepLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="stepSize">Epochs between two reductions, at least 1.</param>
    /// <param name="gamma">What the rate is multiplied with, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public StepLR(Optimizer optimizer, int stepSize, double gamma = 0.1, int lastEpoch = -1)
        : this(optimizer, Kind.With(stepSize, gamma, lastEpoch)) { }

    private StepLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Step(s.Number("step_size"), s.Number("gamma"))) { }
}
