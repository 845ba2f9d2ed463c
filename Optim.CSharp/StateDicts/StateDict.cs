using Optim.Core;

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

    /// <summary>
    /// Of an optimizer of several rules: the state dict of each member under its name; state and groups are theirs then, and empty here. Of other
    /// optimizers there are none.
    /// </summary>
    public OrderedDictionary<string, StateDict> Members { get; } = new(StringComparer.Ordinal);

    /// <summary>
    /// Gradients that calls have added up and no step has taken: <c>calls</c>, their <c>loss_scale</c>, and under <c>gradients</c> by number
    /// the sums, tensors or <c>rows</c> and <c>values</c>. None when there are no calls, as in PyTorch's dicts, which do not have the key.
    /// </summary>
    public Tree Accumulation
    {
        get;
        set => field = value ?? throw new ArgumentNullException(nameof(value));
    } = Tree.None;

    /// <summary>A copy that shares nothing with this one.</summary>
    public StateDict Clone()
    {
        var clone = new StateDict { Accumulation = Accumulation.Copy() };
        foreach (var (id, state) in State)
            clone.State[id] = state.Clone();
        clone.ParamGroups.AddRange(ParamGroups.Select(group => group.Clone()));
        foreach (var (name, member) in Members)
            clone.Members[name] = member.Clone();
        return clone;
    }

    /// <summary>As a tree, with PyTorch's keys and order: <c>state</c>, a dict by number, and <c>param_groups</c>, a list of dicts; behind them <c>accumulation</c>, where there is one. With members it is a dict of their trees by name. It shares the tensors.</summary>
    public Tree ToTree() => StateDictTrees.Write(this);

    /// <summary>From a tree, such as a file holds it. It shares the tensors.</summary>
    /// <exception cref="ArgumentException">The tree is not in PyTorch's layout; the message says where.</exception>
    public static StateDict FromTree(Tree tree)
    {
        ArgumentNullException.ThrowIfNull(tree);
        return StateDictTrees.Read(tree);
    }

    /// <summary>As Python prints it; of tensors dtype and shape.</summary>
    public override string ToString() => ToTree().ToString();

    /// <summary>A dict of its own with the same contents.</summary>
    internal StateDict ShallowCopy()
    {
        var copy = new StateDict { Accumulation = Accumulation };
        foreach (var (id, state) in State)
            copy.State[id] = state;
        copy.ParamGroups.AddRange(ParamGroups);
        foreach (var (name, member) in Members)
            copy.Members[name] = member.ShallowCopy();
        return copy;
    }
}
