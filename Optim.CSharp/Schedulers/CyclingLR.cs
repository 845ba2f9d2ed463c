using Optim.Core;

namespace Optim;

/// <summary>Schedulers that cycle momentum, or the first of betas, against the rate.</summary>
public abstract class CyclingLR : LRScheduler
{
    private protected CyclingLR(Optimizer optimizer, SchedulerSettings settings)
        : base(optimizer, settings)
    {
        (BaseMomentums, MaxMomentums) = ([], []);
        if (!settings.Flag("cycle_momentum"))
            return;
        foreach (var algorithm in optimizer.ParamGroups.Select(group => group.Algorithm!).Prepend(optimizer.Algorithm))
            if (OptionSlot.Momentum(algorithm) is null)
                throw new OptionException(
                    $"{settings.Kind.Name}: cycle_momentum is True, and {algorithm.Name} has neither momentum nor betas to cycle; it must be False",
                    "cycle_momentum"
                );
        Slot = OptionSlot.Momentum(optimizer.Algorithm);
        BaseMomentums = settings.PerGroup("base_momentum", optimizer.ParamGroups.Count);
        MaxMomentums = settings.PerGroup("max_momentum", optimizer.ParamGroups.Count);
    }

    /// <summary>What is cycled in groups of the optimizer's (first) rule; null for nothing.</summary>
    private protected OptionSlot? Slot { get; private set; }

    private protected double[] BaseMomentums { get; set; }

    private protected double[] MaxMomentums { get; set; }

    /// <summary>The momentum of a group at the epoch.</summary>
    private protected abstract double Momentum(int group);

    /// <summary>Writes the first momentum, and its range, into the groups.</summary>
    private protected void BeginMomentum(int lastEpoch)
    {
        if (Slot is null || lastEpoch != -1)
            return;
        for (var i = 0; i < Optimizer.ParamGroups.Count; i++)
            Mark(Optimizer.ParamGroups[i], i);
    }

    private protected override void TakeIn(int group, bool later)
    {
        if (!later || Slot is null)
            return;
        BaseMomentums = Put(BaseMomentums, group, BaseMomentums[group - 1]);
        MaxMomentums = Put(MaxMomentums, group, MaxMomentums[group - 1]);
        Mark(Optimizer.ParamGroups[group], group);
    }

    /// <summary>cycle_momentum and use_beta1 of a state; both must be as here, since they say which options are written.</summary>
    private protected void CheckMomentum(StateReader state)
    {
        if (state.Flag("cycle_momentum") != Slot is not null)
            throw state.Wrong("cycle_momentum", Slot is null ? "False, as it is here" : "True, as it is here");
        if (state.Find("use_beta1") is not null && state.Flag("use_beta1") != (Slot?.Index is not null))
            throw state.Wrong("use_beta1", $"{(Slot?.Index is null ? "False" : "True")} for {Optimizer.Algorithm.Name}");
    }

    private protected override IEnumerable<KeyValuePair<string, OptionValue>> Changes(int group, double lr) =>
        Slot is null
            ? base.Changes(group, lr)
            : [.. base.Changes(group, lr), SlotOf(Optimizer.ParamGroups[group]).With(Optimizer.ParamGroups[group], Momentum(group))];

    private static OptionSlot SlotOf(ParameterGroup group) => OptionSlot.Momentum(group.Algorithm!)!;

    private void Mark(ParameterGroup group, int i)
    {
        group.Options = group.Replaced([SlotOf(group).With(group, MaxMomentums[i])]);
        group.Extras["max_momentum"] = MaxMomentums[i];
        group.Extras["base_momentum"] = BaseMomentums[i];
    }
}
