using Optim.Core;

namespace Optim;

/// <summary>
/// One scheduler after another, as torch.optim.lr_scheduler.SequentialLR: each begins at its milestone, with the rate of its own epoch 0. Unlike PyTorch's
/// it may hold containers at any place, and a ReduceLROnPlateau, which takes its metric from <c>Step(metric)</c> once its time has come.
/// </summary>
public sealed class SequentialLR : ContainerLR
{
    private int[] milestones;

    /// <param name="optimizer">Whose rates they write.</param>
    /// <param name="schedulers">At least one, all of this optimizer.</param>
    /// <param name="milestones">The epochs at which the second, third, ... begin, in order: one less than there are schedulers.</param>
    /// <param name="lastEpoch">The last epoch that is over, to go on with a run; -1: from the start.</param>
    /// <exception cref="OptionException">An argument is not allowed.</exception>
    public SequentialLR(Optimizer optimizer, IEnumerable<LRScheduler> schedulers, IEnumerable<int> milestones, int lastEpoch = -1)
        : base(optimizer, Check(nameof(SequentialLR), schedulers, optimizer))
    {
        ArgumentNullException.ThrowIfNull(milestones);
        this.milestones = Check([.. milestones]);
        Construct(() =>
        {
            CheckLastEpoch(lastEpoch);
            TakeInGroups();
            Unwind();
            LastEpoch = lastEpoch + 1;
            var (active, start) = At(LastEpoch);
            if (lastEpoch >= 0)
                active.JumpTo(LastEpoch - start, first: true);
            else
            {
                // The constructors of all of them have changed the rates.
                Write([.. optimizer.ParamGroups.Select(group => InitialLr(group) * Scale(group))]);
                if (active == Schedulers[0])
                    active.Start();
                else
                    active.JumpTo(0, first: true);
            }
            RememberRates();
        });
        StepCount = 1;
    }

    internal override bool NeedsMetric => At(LastEpoch + 1) is var (next, start) && next.NeedsMetric && start < LastEpoch + 1;

    private protected override void AdvanceInside(double? metric)
    {
        LastEpoch++;
        var (active, start) = At(LastEpoch);
        try
        {
            if (active == Schedulers[0] || start < LastEpoch)
                Advance(active, metric);
            else
                active.JumpTo(0, first: true);
        }
        catch (OptionException error)
        {
            throw new OptionException(FormattableString.Invariant($"SequentialLR in epoch {LastEpoch}: {error.Message}"), error.Option);
        }
    }

    private protected override IEnumerable<(string, Tree)> Save() =>
        [
            ("_milestones", Tree.ListOf(milestones.Select(milestone => (Tree)milestone))),
            ("last_epoch", WholeOrNot(LastEpoch)),
            ("_last_lr", Numbers(GetLastLr())),
            SaveInside(),
        ];

    private protected override Action Load(StateReader state)
    {
        var numbers = state.Numbers("_milestones");
        if (numbers.Any(number => Math.Floor(number) != number || Math.Abs(number) > int.MaxValue))
            throw state.Wrong("_milestones", "a list of whole numbers");
        var loaded = Check([.. numbers.Select(number => (int)number)]);
        var (position, inside) = (LoadPosition(state), LoadInside(state));
        return () =>
        {
            inside();
            position();
            milestones = loaded;
        };
    }

    internal override void Start()
    {
        LastEpoch = 0;
        if (At(0).Active is var active && active == Schedulers[0])
            active.Start();
        else
            active.JumpTo(0, first: true);
        RememberRates();
    }

    internal override void JumpTo(double epoch, bool first)
    {
        LastEpoch = epoch;
        var (active, start) = At(epoch);
        active.JumpTo(epoch - start, first);
        RememberRates();
    }

    /// <summary>Which one is active at an epoch, and since when.</summary>
    private (LRScheduler Active, int Start) At(double epoch)
    {
        var i = milestones.Count(milestone => milestone <= epoch);
        return (Schedulers[i], i == 0 ? 0 : milestones[i - 1]);
    }

    private int[] Check(int[] given)
    {
        var all = "[" + string.Join(", ", given.Select(milestone => FormattableString.Invariant($"{milestone}"))) + "]";
        if (given.Length != Schedulers.Count - 1)
            throw new OptionException(
                FormattableString.Invariant(
                    $"SequentialLR: milestones is {all}, which are {given.Length}, and there are {Schedulers.Count} schedulers; it must have one less than there are schedulers"
                ),
                "milestones"
            );
        if (given.Any(milestone => milestone < 0) || given.Zip(given.Skip(1)).Any(pair => pair.Second < pair.First))
            throw new OptionException($"SequentialLR: milestones is {all}; it must be in order, and at least 0", "milestones");
        return given;
    }
}
