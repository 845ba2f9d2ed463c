using System.Globalization;

namespace Optim;

/// <summary>Which states and groups of a state dict belong to which parameters and groups of an optimizer.</summary>
/// <param name="Source">For each parameter over all groups the number of its state in the dict; null to keep what it has.</param>
/// <param name="Saved">For each group the numbers of the saved groups that hold its parameters, in order.</param>
internal sealed record StateDictMatch(int?[] Source, IReadOnlyList<int>[] Saved)
{
    /// <exception cref="ArgumentException">What cannot be matched, or may not be where it is strict.</exception>
    public static StateDictMatch Of(
        IReadOnlyList<ParameterGroup> groups,
        StateDict dict,
        bool strict,
        MatchBy matchBy,
        LoadedNames findings
    )
    {
        for (var i = 0; i < dict.ParamGroups.Count; i++)
            if (dict.ParamGroups[i] is { ParamNames: { } names, Params: var ids } && names.Count != ids.Count)
                throw new ArgumentException(
                    $"parameter group {Text(i)} of the loaded state dict has {Text(ids.Count)} params and {Text(names.Count)} param_names"
                );
        var isNamed =
            groups.All(group => group.Parameters.All(parameter => parameter.Name is not null))
            && dict.ParamGroups.All(group => group.ParamNames is not null || group.Params.Count == 0);
        if (matchBy == MatchBy.Name && !isNamed)
            throw new ArgumentException(
                "state cannot be matched by name: the optimizer or the loaded state dict has parameters without names"
            );
        var isByName = isNamed && matchBy != MatchBy.Order;
        if (dict.ParamGroups.Count != groups.Count && (strict || !isByName))
            throw new ArgumentException(
                $"loaded state dict has a different number of parameter groups: {Text(dict.ParamGroups.Count)}, and the optimizer has {Text(groups.Count)}. "
                    + "strict: false loads what matches where all parameters have names"
            );
        return isByName ? ByName(groups, dict, strict, findings) : ByOrder(groups, dict, findings);
    }

    private static StateDictMatch ByOrder(IReadOnlyList<ParameterGroup> groups, StateDict dict, LoadedNames findings)
    {
        for (var i = 0; i < groups.Count; i++)
            if (groups[i].Parameters.Count != dict.ParamGroups[i].Params.Count)
                throw new ArgumentException(
                    $"loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group {Text(i)} has "
                        + $"{Text(dict.ParamGroups[i].Params.Count)} parameters, and the optimizer's {Text(groups[i].Parameters.Count)}"
                );
        findings.Matched.AddRange(groups.SelectMany(group => group.Parameters).Select((parameter, i) => parameter.Name ?? Text(i)));
        return new(
            [.. dict.ParamGroups.SelectMany(group => group.Params).Select(id => (int?)id)],
            [.. groups.Select((_, i) => new[] { i })]
        );
    }

    private static StateDictMatch ByName(IReadOnlyList<ParameterGroup> groups, StateDict dict, bool strict, LoadedNames findings)
    {
        var places = new Dictionary<string, (int Group, int Id)>(StringComparer.Ordinal);
        for (var i = 0; i < dict.ParamGroups.Count; i++)
        for (var row = 0; row < dict.ParamGroups[i].Params.Count; row++)
            if (!places.TryAdd(dict.ParamGroups[i].ParamNames![row], (i, dict.ParamGroups[i].Params[row])))
                throw new ArgumentException(
                    $"the loaded state dict has two parameters called '{dict.ParamGroups[i].ParamNames![row]}'; use matchBy: Order"
                );
        var source = new List<int?>();
        var saved = new List<IReadOnlyList<int>>();
        // Groups without parameters have no names to go by: the first one is the first one.
        var empty = new Queue<int>(Enumerable.Range(0, dict.ParamGroups.Count).Where(i => dict.ParamGroups[i].Params.Count == 0));
        foreach (var group in groups)
        {
            var found = new SortedSet<int>();
            foreach (var parameter in group.Parameters)
            {
                var isFound = places.Remove(parameter.Name!, out var place);
                source.Add(isFound ? place.Id : null);
                (isFound ? findings.Matched : findings.Missing).Add(parameter.Name!);
                if (isFound)
                    found.Add(place.Group);
            }
            if (group.Parameters.Count == 0 && empty.TryDequeue(out var number))
                found.Add(number);
            saved.Add([.. found]);
        }
        findings.Unexpected.AddRange(places.Keys);
        if (strict && findings.Missing.Count + findings.Unexpected.Count > 0)
            throw new ArgumentException(
                $"the loaded state dict does not have the optimizer's parameters; missing: {StateDicts.List(findings.Missing)}; left over: {StateDicts.List(findings.Unexpected)}. "
                    + "strict: false loads what matches, matchBy: Order goes by order as PyTorch does"
            );
        return new([.. source], [.. saved]);
    }

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
}
