using Optim.Core;

namespace Optim;

/// <summary>
/// From the current rate to swa_lr in so many epochs, where it stays, as torch.optim.swa_utils.SWALR: for stochastic weight averaging. Another scheduler may run
/// before it. swa_lr is kept in the groups.
/// </summary>
public sealed class SWALR : LRScheduler
{
    internal static readonly SchedulerKind Kind = new(
        "SWALR",
        "swa",
        "from the current rate to swa_lr, where it stays",
        [
            SchedulerSetting.PerGroup("swa_lr", Interval.AtLeast(0), null, "the rate at the end"),
            SchedulerSetting.Whole("anneal_epochs", 0, 10, "epochs until it is reached"),
            SchedulerSetting.Choice("anneal_strategy", ["cos", "linear"], "cos", "the curve"),
            SchedulerSetting.LastEpoch,
        ],
        (optimizer, settings) => new SWALR(optimizer, settings)
    );

    private Chainable curve;
    private double time;

    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="swaLr">The rate at the end, or one for each group.</param>
    /// <param name="annealEpochs">Epochs until it is reached; 0: at once.</param>
    /// <param name="annealStrategy">The curve.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public SWALR(Optimizer optimizer, PerGroup swaLr, int annealEpochs = 10, Anneal annealStrategy = Anneal.Cosine, int lastEpoch = -1)
        : this(optimizer, Kind.With(swaLr.Value, annealEpochs, SchedulerSetting.TextOf(annealStrategy), lastEpoch)) { }

    private SWALR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings)
    {
        curve = Curve(settings);
        var rates = settings.PerGroup("swa_lr", optimizer.ParamGroups.Count);
        Initialize(
            settings.Whole("last_epoch"),
            () =>
            {
                for (var i = 0; i < rates.Length; i++)
                    optimizer.ParamGroups[i].Extras["swa_lr"] = rates[i];
            }
        );
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<double> GetLr() =>
        [
            .. Optimizer.ParamGroups.Select(
                (group, i) =>
                {
                    var toward = curve.WithFloor((double)group["swa_lr"] * Scale(group));
                    var current = (double)group["lr"];
                    return time == 0 ? toward.Begin(BaseLrs[i], current) : toward.Next(time, BaseLrs[i], current);
                }
            ),
        ];

    private protected override void TakeIn(int group, bool later)
    {
        if (later)
            Optimizer.ParamGroups[group].Extras["swa_lr"] = Settings!["swa_lr"].IsTuple
                ? InitialLr(Optimizer.ParamGroups[group])
                : Settings["swa_lr"];
    }

    // PyTorch goes by the number of steps, and not by the epoch.
    private protected override void MoveTo(double epoch, bool closed)
    {
        base.MoveTo(epoch, closed);
        time = IsInitial ? 0 : StepCount;
    }

    private protected override IEnumerable<(string, Tree)> SaveSettings() =>
        [("_anneal_strategy", Settings!["anneal_strategy"]), ("anneal_epochs", Settings["anneal_epochs"])];

    private protected override Action Load(StateReader state)
    {
        var settings = state.Settings(Settings!, ("_anneal_strategy", "anneal_strategy"), ("anneal_epochs", "anneal_epochs"));
        var load = LoadCommon(state);
        return () =>
        {
            load();
            (Settings, curve) = (settings, Curve(settings));
        };
    }

    internal override void JumpTo(double epoch, bool first)
    {
        StepCount = (long)epoch;
        base.JumpTo(epoch, first);
        StepCount = (long)epoch + 1;
    }

    private static Chainable Curve(SchedulerSettings settings) =>
        Chainable.Settle(settings.Anneal("anneal_strategy"), settings.Number("anneal_epochs"));
}
