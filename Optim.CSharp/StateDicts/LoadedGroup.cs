using Optim.Core;

namespace Optim;

/// <summary>What a <see cref="LoadReport"/> will tell.</summary>
internal sealed record LoadedNames(List<string> Matched, List<string> Missing, List<string> Unexpected, List<string> Converted);

/// <summary>A group of an optimizer, and what a state dict tells of it.</summary>
/// <param name="Before">The group as it is.</param>
/// <param name="Source">For each of its parameters the number of its state in the dict; null to keep what it has.</param>
/// <param name="Dict">The state dict.</param>
/// <param name="Strict">Whether what nobody knows is an error.</param>
/// <param name="LoadedNames">Where it is reported.</param>
internal sealed record LoadedGroup(ParameterGroup Before, ArraySegment<int?> Source, StateDict Dict, bool Strict, LoadedNames LoadedNames)
{
    public IReadOnlyList<IParameter> Parameters => Before.Parameters;

    public Parameters List => Before.List;

    /// <summary>What users keep beside the optimizer, by row.</summary>
    public Dictionary<int, ParameterState> Added { get; } = [];

    /// <summary>An entry was converted to its parameter's dtype.</summary>
    public void Converted(string name, int row) => LoadedNames.Converted.Add($"{name} of {Optimizer.Label(Parameters[row])}");

    /// <summary>What users keep with a parameter that the dict does not have.</summary>
    public void KeepAdded(int row)
    {
        if (Before.Added.TryGetValue(row, out var kept))
            Added[row] = kept;
    }

    /// <summary>An entry that is not the optimizer's: None, where PyTorch keeps the key of what is not there; else what someone keeps beside it.</summary>
    public void TakeForeign(int row, string name, Tree value, string optimizer, IEnumerable<string> known)
    {
        if (value.Kind != TreeKind.Tensor)
        {
            if (!value.IsNone)
                (Added.TryGetValue(row, out var given) ? given : Added[row] = [])[name] = value.Copy();
        }
        else if (Strict)
            throw new ArgumentException(
                $"the state of {Optimizer.Label(Parameters[row])} has '{name}', which {optimizer} does not keep; it keeps: {StateDicts.List(known)}. strict: false leaves it out"
            );
        else
            LoadedNames.Unexpected.Add($"{name} of {Optimizer.Label(Parameters[row])}");
    }
}
