using System.Diagnostics;
using Optim.Core;

namespace Optim;

/// <summary>
/// The base of all schedulers, as torch.optim.lr_scheduler.LRScheduler. It writes rates into the groups of an optimizer: the first when it is made,
/// and the next at each <see cref="Step()"/>, which belongs behind the optimizer's. Schedulers that are called one after another act on the current rate.
/// A step that throws has changed nothing. Rates of a group that has a custom key <c>lr_scale</c> (<see cref="ParameterGroup.Custom"/>), as layer-wise
/// decay gives it, are this number times what they would be otherwise, from construction on; <c>initial_lr</c> is the rate without it.
/// </summary>
/// <remarks>
/// A scheduler of one's own overrides <see cref="GetLr"/>, and <see cref="GetClosedFormLr"/> where there is one. The constructor makes the first
/// step and so calls them: what they read must be there before, as parameters of a primary constructor and initialised fields are.
/// </remarks>
public abstract partial class LRScheduler
{
    private readonly List<double> baseLrs = [];
    private double[] lastLr = [];
    private LoadedOrder? order;
    private bool stepped;

    /// <summary>Makes the first step.</summary>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <param name="lastEpoch">The last epoch that is over, for going on with a run; its groups must have an initial_lr then. -1: from the start.</param>
    /// <exception cref="OptionException">To go on, and a group has no initial_lr; or the optimizer refuses a rate.</exception>
    protected LRScheduler(Optimizer optimizer, int lastEpoch = -1)
        : this(optimizer, null) => Initialize(lastEpoch);

    /// <summary>Without the first step, which the derived class makes when it is ready.</summary>
    private protected LRScheduler(Optimizer optimizer, SchedulerSettings? settings)
    {
        ArgumentNullException.ThrowIfNull(optimizer);
        (Optimizer, Settings) = (optimizer, settings);
        lastLr = Rates();
    }

    /// <summary>Told when the first <see cref="Step()"/> comes before the optimizer's; once for an optimizer. The text is also traced as a warning.</summary>
    public event Action<LRScheduler, string>? Warning;

    /// <summary>Whose rates it writes.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>How many steps were made since the first one, or the epoch of the last <see cref="Step(double)"/>.</summary>
    public double LastEpoch { get; internal set; } = -1;

    /// <summary>The rate of each group without a schedule, with its lr_scale.</summary>
    public IReadOnlyList<double> BaseLrs => baseLrs;

    /// <summary>What the constructor was given; null for a class of one's own.</summary>
    internal SchedulerSettings? Settings { get; private protected set; }

    /// <summary>Whether it is the constructor's step that asks for rates.</summary>
    protected bool IsInitial { get; private set; }

    /// <summary>PyTorch's _step_count: 1 after the constructor.</summary>
    private protected long StepCount { get; set; }

    /// <summary>The rates of the last step.</summary>
    public IReadOnlyList<double> GetLastLr() => lastLr;

    /// <summary>The next step. To be called after the optimizer's step.</summary>
    /// <exception cref="OptionException">The optimizer refuses a rate, such as NaN.</exception>
    public void Step() => Step(null);

    /// <summary>
    /// The step to an epoch, by the closed form where there is one. For ReduceLROnPlateau, and for SequentialLR and ChainedScheduler, which hand it on
    /// to one: the next step, with this metric.
    /// </summary>
    public void Step(double epoch) => Step((double?)epoch);

    /// <summary>The rates at <see cref="LastEpoch"/>, from those in the groups, which are one step older.</summary>
    protected abstract IReadOnlyList<double> GetLr();

    /// <summary>The rates at <see cref="LastEpoch"/>, from <see cref="BaseLrs"/>; null when there is no such form.</summary>
    protected virtual IReadOnlyList<double>? GetClosedFormLr() => null;

    /// <summary>What a step writes into a group.</summary>
    private protected virtual IEnumerable<KeyValuePair<string, OptionValue>> Changes(int group, double lr) =>
        [KeyValuePair.Create<string, OptionValue>("lr", lr)];

    /// <summary>The value of a new group without a schedule: its rate when the first scheduler came.</summary>
    private protected virtual double BaseOf(ParameterGroup group) => InitialLr(group) * Scale(group);

    /// <summary>The rate of a group when the first scheduler came, without its lr_scale, which that scheduler brings into its rate.</summary>
    private protected static double InitialLr(ParameterGroup group)
    {
        if (group.Extras.TryGetValue("initial_lr", out var known))
            return (double)known;
        var initial = (double)group["lr"];
        group.Extras["initial_lr"] = initial;
        if (Scale(group) is not 1 and var scale)
            group["lr"] = initial * scale;
        return initial;
    }

    /// <summary>What all rates of a group are multiplied with: its lr_scale, or 1.</summary>
    /// <exception cref="OptionException">It is no number, or below 0.</exception>
    private protected static double Scale(ParameterGroup group) =>
        !group.Custom.TryGetValue("lr_scale", out var value) ? 1
        : value is OptionValue.Int or OptionValue.Float && (double)value is >= 0 and < double.PositiveInfinity ? (double)value
        : throw new OptionException($"lr_scale of a parameter group is {value}; schedulers need a number of at least 0", "lr_scale");

    /// <summary>The same of the group of that number.</summary>
    private protected double Scale(int group) => Scale(Optimizer.ParamGroups[group]);

    /// <summary>Prepares for a group that is new: at construction, or added to the optimizer later.</summary>
    private protected virtual void TakeIn(int group, bool later) { }

    /// <summary>Counts on, to an epoch; closed when it is not the next one, or need not be.</summary>
    private protected virtual void MoveTo(double epoch, bool closed) => LastEpoch = epoch;

    /// <summary>What a step counts up to.</summary>
    private protected virtual long NextStepCount => StepCount + 1;

    /// <summary>A step, to an epoch or with a metric where there is one.</summary>
    internal virtual void Advance(double? epoch)
    {
        if (epoch is { } given)
            CheckEpoch(given);
        TakeInGroups();
        Update(epoch ?? LastEpoch + 1, closed: epoch is not null);
        StepCount = NextStepCount;
    }

    /// <summary>The constructor's step, once more: to the epoch after the last one, from the rates that are there.</summary>
    internal virtual void Start()
    {
        IsInitial = true;
        try
        {
            Update(LastEpoch + 1, closed: false);
        }
        finally
        {
            IsInitial = false;
        }
        StepCount = 0;
        StepCount = NextStepCount;
    }

    /// <summary>Begins at an epoch inside of a container: as the first to write it goes by its closed form, otherwise on top of the current rates.</summary>
    internal virtual void JumpTo(double epoch, bool first)
    {
        TakeInGroups();
        if (first || epoch > 0)
            Update(epoch, closed: true);
        else
        {
            LastEpoch = epoch - 1;
            Start();
        }
    }

    /// <summary>Takes back the count of the constructor's step.</summary>
    internal virtual void Unwind() => LastEpoch = Math.Max(LastEpoch - 1, -1);

    /// <summary>Whether a value that is given to a step is a metric.</summary>
    internal virtual bool TakesMetric => false;

    /// <summary>Whether the next step cannot do without a metric.</summary>
    internal virtual bool NeedsMetric => false;

    /// <summary>Everything that a step changes here, and how to change it back.</summary>
    internal virtual Action Snapshot()
    {
        var (epoch, count, rates, bases) = (LastEpoch, StepCount, lastLr, baseLrs.ToArray());
        return () =>
        {
            (LastEpoch, StepCount, lastLr) = (epoch, count, rates);
            SetBaseLrs(bases);
        };
    }

    private protected void Initialize(int lastEpoch, Action? before = null)
    {
        CheckLastEpoch(lastEpoch);
        Construct(() =>
        {
            before?.Invoke();
            TakeInGroups();
            LastEpoch = lastEpoch;
            Start();
        });
    }

    /// <summary>What a constructor does with the groups; loading a state takes it back when the optimizer's was loaded before.</summary>
    private protected void Construct(Action change)
    {
        foreach (var (group, options, extras) in AllOrNothing(change))
            group.ConstructorWrites.Add(this, options, extras, group.Options);
    }

    /// <summary>Does something with the groups, or changes nothing in them.</summary>
    private protected IReadOnlyList<(
        ParameterGroup Group,
        IOptimizerOptions Options,
        OrderedDictionary<string, OptionValue> Extras
    )> AllOrNothing(Action change)
    {
        var before = Optimizer.ParamGroups.Select(group =>
            (group, group.Options, Extras: new OrderedDictionary<string, OptionValue>(group.Extras))
        );
        var groups = before.ToList();
        var restore = Snapshot();
        try
        {
            change();
        }
        catch
        {
            foreach (var (group, options, extras) in groups)
                (group.Options, group.Extras) = (options, extras);
            restore();
            throw;
        }
        return groups;
    }

    /// <summary>This scheduler, and those inside of it.</summary>
    private protected virtual IEnumerable<LRScheduler> WithInside() => [this];

    /// <summary>An array with a value at a place, which may be just behind its end.</summary>
    private protected static double[] Put(double[] values, int index, double value) =>
        [.. values.Take(index), value, .. values.Skip(index + 1)];

    private protected double[] Rates() => [.. Optimizer.ParamGroups.Select(group => (double)group["lr"])];

    private protected void RememberRates() => lastLr = Rates();

    private protected void SetBaseLrs(IEnumerable<double> values)
    {
        var given = values.ToArray();
        baseLrs.Clear();
        baseLrs.AddRange(given);
    }

    /// <summary>Writes rates, and what else belongs to them, into all groups or into none.</summary>
    private protected void Write(IReadOnlyList<double> rates)
    {
        var groups = Optimizer.ParamGroups;
        if (rates.Count != groups.Count)
            throw new InvalidOperationException(
                FormattableString.Invariant($"{GetType().Name} gave {rates.Count} rates for {groups.Count} parameter groups")
            );
        var options = new List<IOptimizerOptions>();
        try
        {
            for (var i = 0; i < groups.Count; i++)
                options.Add(groups[i].Replaced(Changes(i, rates[i])));
        }
        catch (OptionException error)
        {
            throw new OptionException(
                FormattableString.Invariant($"{GetType().Name} in epoch {LastEpoch}, parameter group {options.Count}: {error.Message}"),
                error.Option
            );
        }
        for (var i = 0; i < groups.Count; i++)
            groups[i].Options = options[i];
        RememberRates();
    }

    private protected void CheckEpoch(double epoch)
    {
        if (!(epoch >= 0 && double.IsFinite(epoch)))
            throw new OptionException(
                FormattableString.Invariant($"{GetType().Name}: epoch is {epoch}; it must be a number of at least 0"),
                "epoch"
            );
    }

    /// <summary>Groups that are new begin with their current rate as base.</summary>
    private protected void TakeInGroups()
    {
        for (var later = baseLrs.Count > 0; baseLrs.Count < Optimizer.ParamGroups.Count; )
        {
            baseLrs.Add(BaseOf(Optimizer.ParamGroups[baseLrs.Count]));
            TakeIn(baseLrs.Count - 1, later);
        }
    }

    private void Update(double epoch, bool closed)
    {
        var restore = Snapshot();
        try
        {
            MoveTo(epoch, closed);
            Write((closed ? GetClosedFormLr() : null) ?? GetLr());
        }
        catch
        {
            restore();
            throw;
        }
    }

    private void Step(double? epoch)
    {
        foreach (var scheduler in WithInside())
            if (scheduler.order?.Problem(Optimizer.GroupOrigins) is { } problem)
                throw new InvalidOperationException(problem);
        Advance(epoch);
        if (!stepped)
            WarnOfOrder();
        stepped = true;
    }

    private void WarnOfOrder()
    {
        if (Optimizer.HasStepped || Optimizer.HasWarnedOfOrder)
            return;
        Optimizer.HasWarnedOfOrder = true;
        var text =
            $"{GetType().Name}.Step() was called before {Optimizer.Algorithm.Name}.Step(), so that the first rate of the schedule was never used; call the optimizer's Step() first";
        Trace.TraceWarning(text);
        Warning?.Invoke(this, text);
    }

    private protected void CheckLastEpoch(int lastEpoch)
    {
        if (lastEpoch < -1)
            throw new OptionException(
                FormattableString.Invariant($"{GetType().Name}: last_epoch is {lastEpoch}; it must be at least -1"),
                "last_epoch"
            );
        for (var i = 0; lastEpoch >= 0 && i < Optimizer.ParamGroups.Count; i++)
            if (!Optimizer.ParamGroups[i].Extras.ContainsKey("initial_lr"))
                throw new OptionException(
                    FormattableString.Invariant(
                        $"{GetType().Name}: last_epoch is {lastEpoch}, and 'initial_lr' is not there in parameter group {i} to go on from; load the optimizer's state first, or leave last_epoch at -1"
                    ),
                    "last_epoch"
                );
    }
}
