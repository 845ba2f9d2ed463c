using Optim.Core;

namespace Optim;

/// <summary>The options of a group by PyTorch's names, and the numbers of its parameters.</summary>
public sealed class GroupState : OrderedDictionary<string, OptionValue>
{
    /// <summary>The numbers of the parameters, in order.</summary>
    public List<int> Params
    {
        get;
        init => field = value ?? throw new ArgumentNullException(nameof(value));
    } = [];

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

    /// <summary>As Python prints it.</summary>
    public override string ToString() => StateDictTrees.Write(this).ToString();
}
