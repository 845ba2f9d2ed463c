using Optim.Core;

namespace Optim;

/// <summary>
/// Along half a cosine down to eta_min in T_max epochs, and up and down again after them, as torch.optim.lr_scheduler.CosineAnnealingLR:
/// eta_min + (base - eta_min) (1 + cos(pi t / T_max)) / 2.
/// </summary>
public sealed class CosineAnnealingLR : ChainableLR
{
    internal static readonly SchedulerKind Kind = new(
        "CosineAnnealingLR",
        "cosine",
        "along half a cosine down to eta_min in T_max epochs, and up and down again after them",
        [
            SchedulerSetting.Whole("T_max", 1, null, "epochs from the rate down to eta_min"),
            SchedulerSetting.Number("eta_min", Interval.AtLeast(0), 0.0, "the least rate"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new CosineAnnealingLR(optimizer, settings)
    );

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="tMax">Epochs from the rate down to eta_min, at least 1.</param>
    /// <param name="etaMin">The least rate, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public CosineAnnealingLR(Optimizer optimizer, int tMax, double etaMin = 0.0, int lastEpoch = -1)
        : this(optimizer, Kind.With(tMax, etaMin, lastEpoch)) { }

    private CosineAnnealingLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings, s => Chainable.Cosine(s.Number("eta_min"), s.Number("T_max"))) { }

    /// <summary>A run that goes on (last_epoch) begins with the closed form, as in PyTorch.</summary>
    protected override IReadOnlyList<double> GetLr() => IsInitial && LastEpoch > 0 ? GetClosedFormLr()! : base.GetLr();
}
