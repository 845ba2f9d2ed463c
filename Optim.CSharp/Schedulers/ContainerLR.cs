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
            throw new OptionException(
                $"{name}: a metric is given, and there is no ReduceLROnPlateau to take it; it must be Step()",
                "metric"
            );
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

    private protected static void Advance(LRScheduler scheduler, double? metric) =>
        scheduler.Advance(scheduler.TakesMetric ? metric : null);

    internal override void Unwind()
    {
        foreach (var scheduler in Schedulers)
            scheduler.Unwind();
    }

    /// <summary>The states of the schedulers inside.</summary>
    private protected (string, Tree) SaveInside() => ("_schedulers", Tree.ListOf(Schedulers.Select(scheduler => scheduler.StateDict())));

    private static IEnumerable<LRScheduler> Inside(LRScheduler scheduler) =>
        scheduler is ContainerLR container ? container.WithInside() : [scheduler];

    private protected Action LoadInside(StateReader state)
    {
        var states = state.Items("_schedulers");
        if (states.Count != Schedulers.Count)
            throw state.Wrong("_schedulers", FormattableString.Invariant($"a list of the states of {Schedulers.Count} schedulers"));
        var loads = Schedulers.Zip(states, (scheduler, inside) => scheduler.Prepare(inside, state.Strict, outermost: false)).ToList();
        for (var i = 0; i < loads.Count; i++)
        {
            state.Missing.AddRange(loads[i].Report.Missing.Select(text => FormattableString.Invariant($"_schedulers[{i}].{text}")));
            state.Inside.AddRange(loads[i].Report.Unexpected.Select(text => FormattableString.Invariant($"_schedulers[{i}].{text}")));
        }
        return () => loads.ForEach(load => load.Commit());
    }

    private protected override IEnumerable<LRScheduler> WithInside() => Schedulers.SelectMany(Inside).Prepend(this);

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
                throw new OptionException(
                    FormattableString.Invariant($"{name}: schedulers[{i}] is null; it must be a scheduler"),
                    "schedulers"
                );
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
