using Optim.Core;

namespace Optim;

/// <summary>
/// Any option that is a number, by a schedule: <c>new OptionSchedule(optimizer, "weight_decay", Schedule.Cosine(100))</c>, and also
/// <c>"betas[0]"</c>. The base value is the one that the option has when the schedule is made (for lr: initial_lr, as for other schedulers);
/// <see cref="LRScheduler.BaseLrs"/> are these base values, without lr_scale. The schedule itself is a function, and is not saved.
/// </summary>
public sealed class OptionSchedule : LRScheduler
{
    private readonly Schedule schedule;
    private readonly OptionSlot slot;

    /// <summary>Writes the value of step 0.</summary>
    /// <param name="optimizer">Whose groups it writes to.</param>
    /// <param name="option">The option, as PyTorch spells it.</param>
    /// <param name="schedule">Its value as a function of the step number and the base value.</param>
    /// <exception cref="OptionException">The optimizer has no such option, it is no number, or it refuses the first value.</exception>
    public OptionSchedule(Optimizer optimizer, string option, Schedule schedule)
        : base(optimizer, settings: null)
    {
        ArgumentNullException.ThrowIfNull(option);
        ArgumentNullException.ThrowIfNull(schedule);
        (this.schedule, slot) = (schedule, OptionSlot.Parse(optimizer, option));
        Initialize(-1);
    }

    /// <summary>The option, as it was given.</summary>
    public string Option => slot.ToString();

    /// <summary>The values of the option in the groups.</summary>
    public IReadOnlyList<double> Values => [.. Optimizer.ParamGroups.Select(slot.Read)];

    /// <summary>The values of the option at the step.</summary>
    protected override IReadOnlyList<double> GetLr() =>
        [.. BaseLrs.Select((start, group) => schedule.At(LastEpoch, start) * (Option == "lr" ? Scale(group) : 1))];

    private protected override IEnumerable<(string, Tree)> Save() => [("option", Option), .. SaveCommon()];

    private protected override Action Load(StateReader state)
    {
        if (state["option"] is not Tree.Text { Item: var option } || option != Option)
            throw state.Wrong("option", $"'{Option}', as this schedule is of that option");
        state.Missing.Add("schedule: functions are not saved; the scheduler goes on with its own");
        return LoadCommon(state);
    }

    private protected override double BaseOf(ParameterGroup group) => Option == "lr" ? InitialLr(group) : slot.Read(group);

    private protected override IEnumerable<KeyValuePair<string, OptionValue>> Changes(int group, double value) =>
        [slot.With(Optimizer.ParamGroups[group], value)];
}
