using Optim.Core;

namespace Optim;

// States of parameters, state dicts, and loading them.
public abstract partial class Optimizer
{
    /// <summary>The state of a parameter: <c>step</c> and the rule's columns by PyTorch's names. Empty before its first step, but for rules that make it at once (Adagrad).</summary>
    /// <exception cref="ArgumentException">The optimizer does not have that parameter.</exception>
    public ParameterState State(IParameter parameter)
    {
        var (group, row) = Place(parameter);
        return ParameterState.Of(group, row);
    }

    /// <summary>Keeps a value of one's own in a parameter's state; it is saved and loaded with it. None takes it away.</summary>
    /// <exception cref="ArgumentException">The rule keeps a state of that name itself; the value is a tensor; there is no such parameter.</exception>
    public void SetState(IParameter parameter, string key, Tree value)
    {
        ArgumentNullException.ThrowIfNull(key);
        ArgumentNullException.ThrowIfNull(value);
        var (group, row) = Place(parameter);
        if (group.Memory.Keeps(key))
            throw new ArgumentException($"'{key}' is what {Algorithm.Name} keeps itself; load it with a state dict", nameof(key));
        if (value.Kind == TreeKind.Tensor)
            throw new ArgumentException(
                $"'{key}' is {value.Described}; tensors are the rule's, keep numbers, texts or lists",
                nameof(value)
            );
        if (!group.Added.TryGetValue(row, out var added))
            group.Added[row] = added = [];
        if (value.Kind == TreeKind.None)
            added.Remove(key);
        else
            added[key] = value.Copy();
    }

    /// <summary>
    /// State and options in PyTorch's layout and keys. The tensors are the optimizer's own, not copies, and go on changing with
    /// its steps: <see cref="StateDict.Clone"/> keeps them as they are.
    /// </summary>
    /// <param name="widen">Whether narrow state (<see cref="StateStorage"/>) is written as float32 under PyTorch's keys, for PyTorch: copies then.</param>
    public StateDict StateDict(bool widen = false)
    {
        statePre.Run(hook => hook(this));
        var dict = WriteState(widen);
        dict.Accumulation = window.Save(groups);
        statePost.Run(hook => dict = hook(this, dict) ?? dict);
        return dict;
    }

    /// <summary>
    /// Takes over options and state from a state dict, copying them. State is matched by name where both sides have names, and by
    /// order otherwise; options follow: a group takes those of the saved group that holds the same names. On any error nothing has changed.
    /// </summary>
    /// <param name="stateDict">In PyTorch's layout; it is not changed.</param>
    /// <param name="strict">
    /// Whether names on one side only, another number of groups, a group whose names come from saved groups with other options, and unknown keys
    /// are an error; otherwise what matches is loaded, a group of which nothing or not one thing is told keeps its options, and the report says so.
    /// </param>
    /// <param name="matchBy">How state finds its parameter.</param>
    /// <exception cref="ArgumentException">The dict does not fit: groups, sizes, names, shapes.</exception>
    public LoadReport LoadStateDict(StateDict stateDict, bool strict = true, MatchBy matchBy = MatchBy.Automatic)
    {
        ArgumentNullException.ThrowIfNull(stateDict);
        return Prepare(stateDict, strict, matchBy).Run();
    }

    /// <summary>The first half of <see cref="LoadStateDict"/>: checks and works out everything, and changes nothing.</summary>
    public PreparedLoad Prepare(StateDict stateDict, bool strict = true, MatchBy matchBy = MatchBy.Automatic)
    {
        ArgumentNullException.ThrowIfNull(stateDict);
        var dict = loadPre.IsEmpty ? stateDict : stateDict.ShallowCopy();
        loadPre.Run(hook => dict = hook(this, dict) ?? dict);
        return PrepareState(dict, strict, matchBy) with { Completed = () => loadPost.Run(hook => hook(this)) };
    }

    /// <summary>The state and options of all groups.</summary>
    private protected virtual StateDict WriteState(bool widen) => StateDicts.Write(Algorithm, groups, widen);

    /// <summary>Works out a load; what is returned hands it to the groups.</summary>
    private protected virtual PreparedLoad PrepareState(StateDict dict, bool strict, MatchBy matchBy)
    {
        if (dict.Members.Count > 0)
            throw new ArgumentException(
                $"the loaded state dict is that of an optimizer of several rules: {string.Join(", ", dict.Members.Keys)}; load the one that belongs here, Members[\"{dict.Members.Keys.First()}\"]"
            );
        return StateDicts.Prepare(
            Algorithm,
            groups,
            source => LoadAccumulation(dict.Accumulation, source),
            PackageDicts.Adapted(Algorithm, dict),
            strict,
            matchBy,
            origins => GroupOrigins = origins
        );
    }

    /// <summary>Takes over the gradients that calls had added up.</summary>
    /// <param name="saved">What a state dict has of them.</param>
    /// <param name="source">For each parameter its number in the dict; null when the dict does not have it.</param>
    private protected Action LoadAccumulation(Tree saved, IReadOnlyList<int?> source) => window.Load(saved, groups, source);

    Tree IStateful.SaveState() => StateDict().ToTree();

    PreparedLoad IStateful.PrepareLoad(Tree state, bool strict) =>
        state is null ? throw new ArgumentNullException(nameof(state)) : Prepare(Optim.StateDict.FromTree(state), strict);
}
