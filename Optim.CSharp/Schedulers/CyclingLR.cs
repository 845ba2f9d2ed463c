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
                $"{settings.Kind.Name}: cycle_momentum is True, and {optimizer.Rule.Name} has neither momentum nor betas to cycle; it must be False",
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
        BaseMomentums = [.. BaseMomentums, BaseMomentums[^1]];
        MaxMomentums = [.. MaxMomentums, MaxMomentums[^1]];
        Mark(Optimizer.ParamGroups[group], slot, group);
    }

    private protected override IEnumerable<KeyValuePair<string, OptionValue>> Changes(int group, double lr) =>
        Slot is { } slot
            ? [.. base.Changes(group, lr), slot.With(Optimizer.ParamGroups[group], Momentum(group))]
            : base.Changes(group, lr);

    private void Mark(ParameterGroup group, OptionSlot slot, int i)
    {
        group.Options = group.Replaced([slot.With(group, MaxMomentums[i])]);
        group.Extras["max_momentum"] = MaxMomentums[i];
        group.Extras["base_momentum"] = BaseMomentums[i];
    }
}
