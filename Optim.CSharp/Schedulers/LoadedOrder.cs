using Optim.Core;

namespace Optim;

/// <summary>
/// What a loaded state of a scheduler has for each parameter group, by the order of the groups. The optimizer's state goes by the names of parameters,
/// and so into groups that stand in another order; what a scheduler has for each group would then belong to others.
/// </summary>
internal sealed class LoadedOrder
{
    private static readonly string[] keys = ["base_lrs", "min_lrs", "max_lrs", "base_momentums", "max_momentums"];
    private readonly string scheduler;
    private readonly List<(string Key, IReadOnlyList<Tree> Values)> lists = [];

    private LoadedOrder(string scheduler) => this.scheduler = scheduler;

    /// <summary>The lists of a state that was checked.</summary>
    public static LoadedOrder Of(string scheduler, Tree state)
    {
        var order = new LoadedOrder(scheduler);
        foreach (var key in keys)
            if (state.AsMap().TryGetValue(key, out var values) && values.Kind is TreeKind.List or TreeKind.Tuple)
                order.lists.Add((key, values.AsItems()));
        return order;
    }

    /// <summary>Says which list belongs to other groups, by the saved group from which each group has its options; null when all is in order.</summary>
    public string? Problem(IReadOnlyList<int?> origins)
    {
        foreach (var (key, values) in lists)
            for (var i = 0; i < Math.Min(origins.Count, values.Count); i++)
                if (origins[i] is { } saved && saved < values.Count && !values[saved].Equals(values[i]))
                    return FormattableString.Invariant(
                        $"{scheduler}: {key} of the loaded state goes by the order of the saved parameter groups, and the optimizer's state was loaded by name: its group {i} was saved as group {saved}. Put the groups into the saved order, or make a new scheduler"
                    );
        return null;
    }
}
