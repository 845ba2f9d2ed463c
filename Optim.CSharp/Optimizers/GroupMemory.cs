using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>What an optimizer keeps for the parameters of a group from step to step.</summary>
internal abstract class GroupMemory
{
    public static GroupMemory Of(Algorithm algorithm, IOptimizerOptions options, Parameters parameters) =>
        algorithm switch
        {
            Rule rule => new RowMemory(rule, rule.Init(options, parameters)),
            LBFGSAlgorithm lbfgs => new CurvatureMemory(lbfgs, lbfgs.Init((LBFGSOptions)options, parameters)),
            _ => throw new NotSupportedException($"{algorithm.Name} has no state that an optimizer knows"),
        };

    /// <summary>Another object after each step and load.</summary>
    public abstract object Stamp { get; }

    /// <summary>Whether an entry of a parameter's state is the optimizer's own, and not its user's.</summary>
    public abstract bool Keeps(string key);

    /// <summary>The entries of a parameter in state dicts.</summary>
    public abstract ParameterState Entries(int row);

    /// <summary>What a state dict tells of a group, copied, for its options; this one is left as it is.</summary>
    public abstract GroupMemory Loaded(LoadedGroup group, IOptimizerOptions options);
}

/// <summary>Rows of state, of a rule.</summary>
internal sealed class RowMemory(Rule rule, State state) : GroupMemory
{
    public State State { get; set; } = state;

    public override object Stamp => State;

    public override bool Keeps(string key) =>
        rule.ColumnNames.Contains(key)
        || rule.ScalarNames.Contains(key)
        || (key == "step" && rule.KeepsStep)
        || key == NarrowTrees.Step
        || NarrowTrees.columnOf(rule.ColumnNames, key) is not null;

    public override ParameterState Entries(int row) => ParameterState.Of(rule, State, row);

    public override GroupMemory Loaded(LoadedGroup group, IOptimizerOptions options) =>
        new RowMemory(rule, rule.Stored(options, group.List, StateDicts.Rows(rule, group)));
}

/// <summary>The curvature that LBFGS remembers, over all parameters together: it stands on the first one's entry.</summary>
internal sealed class CurvatureMemory(LBFGSAlgorithm algorithm, LBFGSState state) : GroupMemory
{
    public LBFGSState State { get; set; } = state;

    public override object Stamp => State;

    public override bool Keeps(string key) => algorithm.StateNames.Contains(key);

    public override ParameterState Entries(int row)
    {
        var found = new ParameterState();
        if (row == 0)
            foreach (var (key, value) in algorithm.Save(State))
                found[key] = value;
        return found;
    }

    public override GroupMemory Loaded(LoadedGroup group, IOptimizerOptions options)
    {
        var entries = new ParameterState();
        var saved = group.Dict.ParamGroups.SelectMany(given => given.Params).ToList();
        if (saved.Count != group.Source.Count || group.Source.Any(id => id is null))
            throw new ArgumentException(
                "the state of LBFGS is over all parameters together: the loaded state dict must have just the optimizer's parameters"
            );
        for (var row = 0; row < group.Source.Count; row++)
            if (group.Dict.State.TryGetValue(group.Source[row]!.Value, out var state))
                foreach (var (key, value) in state)
                    if (!Keeps(key))
                        group.TakeForeign(row, key, value, algorithm.Name, algorithm.StateNames);
                    else if (group.Source[row] == saved[0])
                        entries[key] = OfSlice(group.Parameters[0], value);
        var rows = group.Source.ToList();
        var restored = algorithm.Restore(group.List, saved.ConvertAll(id => rows.IndexOf(id)), entries);
        foreach (var (key, value) in entries)
            if (value is Tree.Tensor { Item: var tensor } && tensor.DType != restored.D.DType)
                group.Converted(key, rows.IndexOf(saved[0]));
        return new CurvatureMemory(algorithm, restored);
    }

    /// <summary>What of vectors over all parameters is here.</summary>
    private static Tree OfSlice(IParameter parameter, Tree value) =>
        parameter is not ISlice slice ? value
        : value is Tree.Tensor { Item: var vector } ? Tree.NewTensor(slice.OfVector(vector))
        : value is Tree.List { Item: var items } ? Tree.ListOf(items.Select(item => OfSlice(parameter, item)))
        : value;
}
