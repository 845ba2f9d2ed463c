using Optim.Core;

namespace Optim;

/// <summary>Schedulers of schedulers. They nest in any order, and hand a metric on to a ReduceLROnPlateau.</summary>
public abstract class ContainerLR : LRScheduler
{
    private protected ContainerLR(Optimizer optimizer, LRScheduler[] schedulers)
        : base(optimizer, settings: null) => Schedulers = schedulers;

    /// <summary>The schedulers inside.</summary>
    public IReadOnlyList<LRScheduler> Schedulers { get; }

    internal override bool TakesMetric => Schedulers.Any(scheduler => scheduler.TakesMetric);

    /// <summary>The rates as they are: the schedulers inside change them.</summary>
    protected override IReadOnlyList<double> GetLr() => Rates();

    internal override void Advance(double? metric)
    {
        var name = GetType().Name;
        if (metric is not null && !TakesMetric)
            throw new OptionException($"{name}: a metric is given, and there is no ReduceLROnPlateau to take it; it must be Step()", "metric");
        if (metric is null && NeedsMetric)
            throw new InvalidOperationException($"{name} has come to a ReduceLROnPlateau, which needs a metric: Step(metric)");
        AllOrNothing(() =>
        {
            TakeInGroups();
            AdvanceInside(metric);
            RememberRates();
        });
        StepCount++;
    }

    /// <summary>The next step of whatever is next.</summary>
    private protected abstract void AdvanceInside(double? metric);

    private protected static void Advance(LRScheduler scheduler, double? metric) => scheduler.Advance(scheduler.TakesMetric ? metric : null);

    internal override void Unwind()
    {
        foreach (var scheduler in Schedulers)
            scheduler.Unwind();
    }

    internal override Action Snapshot()
    {
        var restore = base.Snapshot();
        var inside = Schedulers?.Select(scheduler => scheduler.Snapshot()).ToList() ?? [];
        return () =>
        {
            restore();
            inside.ForEach(restoreOne => restoreOne());
        };
    }

    /// <exception cref="OptionException">There are none, one is null, or one belongs to another optimizer.</exception>
    private protected static LRScheduler[] Check(string name, IEnumerable<LRScheduler> schedulers, Optimizer? optimizer)
    {
        ArgumentNullException.ThrowIfNull(schedulers);
        LRScheduler[] inside = [.. schedulers];
        if (inside.Length == 0)
            throw new OptionException($"{name}: schedulers is empty; it must have at least one scheduler", "schedulers");
        for (var i = 0; i < inside.Length; i++)
        {
            if (inside[i] is null)
                throw new OptionException(FormattableString.Invariant($"{name}: schedulers[{i}] is null; it must be a scheduler"), "schedulers");
            if (inside[i].Optimizer != (optimizer ?? inside[0].Optimizer))
                throw new OptionException(
                    FormattableString.Invariant(
                        $"{name}: schedulers[{i}] is the {inside[i].GetType().Name} of another optimizer; all must belong to the same optimizer"
                    ),
                    "schedulers"
                );
            if (Array.IndexOf(inside, inside[i]) != i)
                throw new OptionException(
                    FormattableString.Invariant($"{name}: schedulers[{i}] is there already; each must be a scheduler of its own"),
                    "schedulers"
                );
        }
        return inside;
    }
}
