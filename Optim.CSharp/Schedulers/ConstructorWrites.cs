using Optim.Core;

namespace Optim;

/// <summary>
/// What constructors of schedulers wrote into a group after the optimizer's state was loaded. A scheduler that loads its state then takes back what its
/// own constructor wrote, so that it does not matter whether the scheduler or the optimizer is made, or restored, first.
/// </summary>
internal sealed class ConstructorWrites
{
    private readonly List<Entry> entries = [];
    private object? loaded;

    /// <summary>The optimizer's state was loaded: this is what stands in the group now.</summary>
    public void Loaded(IOptimizerOptions options)
    {
        loaded = options;
        entries.Clear();
    }

    /// <summary>A constructor has changed the options. Anything else that changed them in between, such as an edit by hand, ends the list.</summary>
    public void Add(LRScheduler scheduler, IOptimizerOptions before, OrderedDictionary<string, OptionValue> extras, IOptimizerOptions after)
    {
        if (entries.Count > 0 && entries[^1].After != before)
            entries.Clear();
        if (before == (entries.Count > 0 ? entries[^1].After : loaded))
            entries.Add(new(scheduler, before, extras, after));
    }

    /// <summary>Takes back what a constructor wrote, once those that came later are taken back, and unless something else came after it.</summary>
    public void TakeBack(LRScheduler scheduler, ParameterGroup group)
    {
        foreach (var entry in entries)
            entry.IsDone |= entry.Scheduler == scheduler;
        while (entries.Count > 0 && entries[^1] is { IsDone: true } last && last.After == group.Options)
        {
            entries.RemoveAt(entries.Count - 1);
            group.Options = last.Before;
            foreach (var (key, value) in last.Extras)
                group.Extras[key] = value;
        }
    }

    private sealed record Entry(
        LRScheduler Scheduler,
        IOptimizerOptions Before,
        OrderedDictionary<string, OptionValue> Extras,
        IOptimizerOptions After
    )
    {
        public bool IsDone { get; set; }
    }
}
