using Optim.Core;

namespace Optim;

/// <summary>
/// Several schedulers at each step, one after another, as torch.optim.lr_scheduler.ChainedScheduler: chainable ones multiply, and those that do not look at the
/// current rate overwrite it. Unlike PyTorch's it may hold a ReduceLROnPlateau, which takes its metric from <c>Step(metric)</c>.
/// </summary>
/// <remarks>
/// Where schedulers that add to the rate and others that shrink it come to a rate below 0 together, the step is refused, and nothing has changed;
/// PyTorch goes on with negative rates. The <see cref="OptionException"/> names the schedulers and the epoch.
/// </remarks>
public sealed class ChainedScheduler : ContainerLR
{
    /// <param name="schedulers">At least one, all of one optimizer.</param>
    /// <param name="optimizer">Theirs, when it is to be checked.</param>
    /// <exception cref="OptionException">There are none, or one belongs to another optimizer.</exception>
    public ChainedScheduler(IEnumerable<LRScheduler> schedulers, Optimizer? optimizer = null)
        : this(Check(nameof(ChainedScheduler), schedulers, optimizer)) { }

    private ChainedScheduler(LRScheduler[] schedulers)
        : base(schedulers[0].Optimizer, schedulers)
    {
        TakeInGroups();
        LastEpoch = schedulers[0].LastEpoch;
        StepCount = 1;
    }

    internal override bool NeedsMetric => Schedulers.Any(scheduler => scheduler.NeedsMetric);

    private protected override void AdvanceInside(double? metric)
    {
        for (var i = 0; i < Schedulers.Count; i++)
            try
            {
                Advance(Schedulers[i], metric);
            }
            catch (OptionException error)
            {
                throw new OptionException(FormattableString.Invariant($"ChainedScheduler, schedulers[{i}]: {error.Message}"), error.Option);
            }
        LastEpoch = Schedulers[0].LastEpoch;
    }

    private protected override IEnumerable<(string, Tree)> Save() => [("_last_lr", Numbers(GetLastLr())), SaveInside()];

    private protected override Action Load(StateReader state)
    {
        var (rates, inside) = (LoadRates(state), LoadInside(state));
        return () =>
        {
            inside();
            rates();
            LastEpoch = Schedulers[0].LastEpoch;
        };
    }

    internal override void Start()
    {
        foreach (var scheduler in Schedulers)
            scheduler.Start();
        LastEpoch = Schedulers[0].LastEpoch;
        RememberRates();
    }

    internal override void JumpTo(double epoch, bool first)
    {
        for (var i = 0; i < Schedulers.Count; i++)
            Schedulers[i].JumpTo(epoch, first && i == 0);
        LastEpoch = epoch;
        RememberRates();
    }
}
