namespace Optim;

/// <summary>
/// Schedulers that go by a metric: <c>scheduler.Step(metric)</c>. A metric changes the current rates or leaves them; they are no function of the epoch.
/// </summary>
public abstract class MetricLR : LRScheduler
{
    private protected MetricLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings) => Least = settings.PerGroup("min_lr", optimizer.ParamGroups.Count);

    /// <summary>The least rate of each group, without its lr_scale.</summary>
    private protected double[] Least { get; set; }

    internal override bool TakesMetric => true;

    internal override bool NeedsMetric => true;

    /// <summary>The rates as they are: a metric changes them.</summary>
    protected override IReadOnlyList<double> GetLr() => Rates();

    internal override void Advance(double? metric)
    {
        if (metric is not { } given)
            throw new InvalidOperationException($"{GetType().Name} needs a metric: Step(metric)");
        AllOrNothing(() =>
        {
            TakeInGroups();
            Follow(given);
            LastEpoch++;
        });
    }

    internal override void Start() => Begin();

    /// <summary>In a sequence it begins at the rate of the groups without a schedule, as the others do, and with no metric.</summary>
    internal override void JumpTo(double epoch, bool first)
    {
        if (first)
            Write([.. Optimizer.ParamGroups.Select(BaseOf)]);
        Begin();
    }

    internal override void Unwind() { }

    /// <summary>Begins at the rates as they are, with no metric.</summary>
    private protected void Begin()
    {
        TakeInGroups();
        Forget();
        LastEpoch = 0;
        RememberRates();
    }

    /// <summary>Forgets all metrics.</summary>
    private protected abstract void Forget();

    /// <summary>Takes a metric in, and writes the rates that follow from it.</summary>
    private protected abstract void Follow(double metric);

    /// <summary>A group that a list has no number for is not bounded.</summary>
    private protected override void TakeIn(int group, bool later)
    {
        if (later)
            Least = Put(Least, group, Settings!["min_lr"].IsTuple ? 0 : Settings.Number("min_lr"));
    }
}
