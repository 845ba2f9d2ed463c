using Optim.Core;

namespace Optim;

/// <summary>
/// Along half a cosine down to eta_min and back at once, in periods of T_0 epochs, T_0 T_mult, ..., as torch.optim.lr_scheduler.CosineAnnealingWarmRestarts
/// (Loshchilov and Hutter, arXiv 1608.03983): eta_min + (base - eta_min) (1 + cos(pi T_cur / T_i)) / 2. Epochs may be fractions: <c>Step(epoch + batch / (double)batches)</c>.
/// It does not look at the current rate.
/// </summary>
public sealed class CosineAnnealingWarmRestarts : LRScheduler
{
    internal static readonly SchedulerKind Kind = new(
        "CosineAnnealingWarmRestarts",
        "restarts",
        "along half a cosine down to eta_min, again and again, in periods that grow",
        [
            SchedulerSetting.Whole("T_0", 1, null, "epochs until the first restart"),
            SchedulerSetting.Whole("T_mult", 1, 1, "how many times as long each period is as the one before"),
            SchedulerSetting.Number("eta_min", Interval.AtLeast(0), 0.0, "the least rate"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new CosineAnnealingWarmRestarts(optimizer, settings)
    );

    // Where in the current period, and its length: what PyTorch saves.
    private double current;
    private double period;

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="t0">Epochs until the first restart, at least 1.</param>
    /// <param name="tMult">How many times as long each period is as the one before, at least 1.</param>
    /// <param name="etaMin">The least rate, at least 0.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public CosineAnnealingWarmRestarts(Optimizer optimizer, int t0, int tMult = 1, double etaMin = 0.0, int lastEpoch = -1)
        : this(optimizer, Kind.With(t0, tMult, etaMin, lastEpoch)) { }

    private CosineAnnealingWarmRestarts(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings) => Initialize(settings.Whole("last_epoch"));

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr()
    {
        var curve = Chainable.Cosine(Settings!.Number("eta_min"), period);
        return [.. BaseLrs.Select((start, group) => curve.WithFloor(curve.Floor * Scale(group)).At(current, start))];
    }

    private protected override void MoveTo(double epoch, bool closed)
    {
        var growth = Settings!.Number("T_mult");
        if (closed || epoch == 0 || IsInitial)
            (current, period) = Core.Curve.restart(Settings.Number("T_0"), growth, epoch);
        else
        {
            // PyTorch counts on from a fraction of an epoch.
            current++;
            while (current >= period)
                (current, period) = (current - period, period * growth);
        }
        LastEpoch = Math.Floor(epoch);
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [
            ("T_0", Settings!["T_0"]),
            ("T_i", WholeOrNot(period)),
            ("T_mult", Settings["T_mult"]),
            ("eta_min", Settings["eta_min"]),
            ("T_cur", WholeOrNot(current)),
            .. SaveCommon(),
        ];

    private protected override Action Load(StateReader state)
    {
        var (inside, length) = (state.Number("T_cur"), state.Number("T_i"));
        if (!(length > 0 && double.IsFinite(length)))
            throw state.Wrong("T_i", "a number above 0");
        if (!(inside >= 0 && inside < length))
            throw state.Wrong("T_cur", "at least 0 and below T_i");
        var load = base.Load(state);
        return () =>
        {
            load();
            (current, period) = (inside, length);
        };
    }

    internal override Action Snapshot()
    {
        var (restore, position) = (base.Snapshot(), (current, period));
        return () =>
        {
            restore();
            (current, period) = position;
        };
    }

    private protected override long NextStepCount => 0;
}
