using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>
/// An optimizer's state and options in the layout of PyTorch's state_dict: the state of parameters by number, counted over all
/// groups, and the groups with their options and the numbers of their parameters. Hooks may change it.
/// </summary>
public sealed class StateDict
{
    /// <summary>The state of each parameter that has any, by its number.</summary>
    public SortedDictionary<int, ParameterState> State { get; } = [];

    /// <summary>The groups.</summary>
    public List<GroupState> ParamGroups { get; } = [];

    /// <summary>A copy that shares nothing with this one.</summary>
    public StateDict Clone()
    {
        var clone = new StateDict();
        foreach (var (id, state) in State)
            clone.State[id] = state.Clone();
        clone.ParamGroups.AddRange(ParamGroups.Select(group => group.Clone()));
        return clone;
    }

    /// <summary>A dict of its own with the same contents.</summary>
    internal StateDict ShallowCopy()
    {
        var copy = new StateDict();
        foreach (var (id, state) in State)
            copy.State[id] = state;
        copy.ParamGroups.AddRange(ParamGroups);
        return copy;
    }
}

/// <summary>The state of one parameter: tensors by PyTorch's names; <c>step</c> is a single number.</summary>
public sealed class ParameterState : OrderedDictionary<string, TensorView>
{
    /// <summary>Steps that a float32 can count, as PyTorch does; beyond it is a float64.</summary>
    private const long MostFloat32Steps = 1 << 24;

    /// <summary>A copy that shares nothing with this one.</summary>
    public ParameterState Clone()
    {
        var clone = new ParameterState();
        foreach (var (name, tensor) in this)
            clone[name] = tensor.Copy();
        return clone;
    }

    internal static ParameterState Of(Rule rule, State state, int row)
    {
        var found = new ParameterState();
        foreach (var column in state.Columns)
            if (!column[row].IsAbsent)
                found[column.Name] = column[row];
        var steps = state.Count(row);
        if (rule.KeepsStep && (steps > 0 || found.Count > 0))
            found.Insert(0, "step", steps <= MostFloat32Steps ? TensorView.Of<float>([steps]) : TensorView.Of<double>([steps]));
        return found;
    }
}

/// <summary>The options of a group by PyTorch's names, and the numbers of its parameters.</summary>
public sealed class GroupState : OrderedDictionary<string, OptionValue>
{
    /// <summary>The numbers of the parameters, in order.</summary>
    public List<int> Params { get; init; } = [];

    /// <summary>The names of the parameters, in the same order; null when they have none.</summary>
    public List<string>? ParamNames { get; set; }

    /// <summary>Options that come before <c>param_names</c> in the order of PyTorch's keys: those given to the group itself.</summary>
    public int OwnOptions { get; init; }

    /// <summary>A copy that shares nothing with this one.</summary>
    public GroupState Clone()
    {
        var clone = new GroupState
        {
            Params = [.. Params],
            ParamNames = ParamNames?.ToList(),
            OwnOptions = OwnOptions,
        };
        foreach (var (name, value) in this)
            clone[name] = value;
        return clone;
    }
}

/// <summary>How a loaded state finds its parameter.</summary>
public enum MatchBy
{
    /// <summary>By name where both sides have names, by order otherwise.</summary>
    Automatic,

    /// <summary>By name; both sides must have names.</summary>
    Name,

    /// <summary>By order, as PyTorch does; names are not looked at.</summary>
    Order,
}

/// <summary>What a load did. Parameters are named, or numbered where they have no names.</summary>
/// <param name="Matched">Parameters that took over a state or its absence.</param>
/// <param name="Missing">Parameters that the dict does not have; they keep the state that they had.</param>
/// <param name="Unexpected">Parameters and keys of the dict that the optimizer does not have; they were left out.</param>
/// <param name="Converted">Tensors that were converted to their parameter's dtype.</param>
public sealed record LoadReport(
    IReadOnlyList<string> Matched,
    IReadOnlyList<string> Missing,
    IReadOnlyList<string> Unexpected,
    IReadOnlyList<string> Converted
);
