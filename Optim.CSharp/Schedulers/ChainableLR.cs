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
        [.. BaseLrs.Zip(Rates(), (start, current) => LastEpoch == 0 ? curve.Begin(start, current) : curve.Next(LastEpoch, start, current))];

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
    protected override IReadOnlyList<double>? GetClosedFormLr() => [.. BaseLrs.Select(start => curve.At(LastEpoch, start))];
}
