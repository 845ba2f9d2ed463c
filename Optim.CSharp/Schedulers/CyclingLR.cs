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
        Slot =
            OptionSlot.Momentum(optimizer)
            ?? throw new OptionException(
                $"{settings.Kind.Name}: cycle_momentum is True, and {optimizer.Algorithm.Name} has neither momentum nor betas to cycle; it must be False",
                "cycle_momentum"
            );
        BaseMomentums = settings.PerGroup("base_momentum", optimizer.ParamGroups.Count);
        MaxMomentums = settings.PerGroup("max_momentum", optimizer.ParamGroups.Count);
    }

    /// <summary>What is cycled; null for nothing.</summary>
    private protected OptionSlot? Slot { get; private set; }

    private protected double[] BaseMomentums { get; set; }

    private protected double[] MaxMomentums { get; set; }

    /// <summary>The momentum of a group at the epoch.</summary>
    private protected abstract double Momentum(int group);

    /// <summary>Writes the first momentum, and its range, into the groups.</summary>
    private protected void BeginMomentum(int lastEpoch)
    {
        if (Slot is not { } slot || lastEpoch != -1)
            return;
        for (var i = 0; i < Optimizer.ParamGroups.Count; i++)
            Mark(Optimizer.ParamGroups[i], slot, i);
    }

    private protected override void TakeIn(int group, bool later)
    {
        if (!later || Slot is not { } slot)
            return;
        BaseMomentums = Put(BaseMomentums, group, BaseMomentums[group - 1]);
        MaxMomentums = Put(MaxMomentums, group, MaxMomentums[group - 1]);
        Mark(Optimizer.ParamGroups[group], slot, group);
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
        Slot is { } slot ? [.. base.Changes(group, lr), slot.With(Optimizer.ParamGroups[group], Momentum(group))] : base.Changes(group, lr);

    private void Mark(ParameterGroup group, OptionSlot slot, int i)
    {
        group.Options = group.Replaced([slot.With(group, MaxMomentums[i])]);
        group.Extras["max_momentum"] = MaxMomentums[i];
        group.Extras["base_momentum"] = BaseMomentums[i];
    }
}
