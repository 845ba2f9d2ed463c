using Optim.Core;

namespace Optim;

/// <summary>
/// Schedulers that alone follow a closed form, bit for bit, and act on the current rate as an affine map where something else
/// has changed it too: another scheduler before them, or the user.
/// </summary>
public abstract class ChainableLR : LRScheduler
{
    private readonly Func<SchedulerSettings, Chainable> make;
    private Chainable curve;

    private protected ChainableLR(Optimizer optimizer, SchedulerSettings settings, Func<SchedulerSettings, Chainable> curve)
        : base(optimizer, settings)
    {
        (make, this.curve) = (curve, curve(settings));
        Initialize(settings.Whole("last_epoch"));
    }

    /// <summary>The closed form, for other uses.</summary>
    public Schedule Schedule => curve.Schedule;

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr() =>
        [
            .. Rates()
                .Select(
                    (current, group) =>
                        LastEpoch == 0
                            ? CurveOf(group).Begin(BaseLrs[group], current)
                            : CurveOf(group).Next(LastEpoch, BaseLrs[group], current)
                ),
        ];

    private protected override Action Load(StateReader state)
    {
        var load = base.Load(state);
        return () =>
        {
            load();
            curve = make(Settings!);
        };
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<double>? GetClosedFormLr() =>
        [.. BaseLrs.Select((start, group) => CurveOf(group).At(LastEpoch, start))];

    /// <summary>The least rate is scaled as the others are.</summary>
    private Chainable CurveOf(int group) => curve.Floor == 0 ? curve : curve.WithFloor(curve.Floor * Scale(group));
}
