using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>Between an optimizer's groups and state dicts.</summary>
internal static class StateDicts
{
    /// <summary>The entries of a group in the order of PyTorch's keys: its own options, the rest, what schedulers wrote.</summary>
    public static IEnumerable<KeyValuePair<string, OptionValue>> Entries(Algorithm algorithm, ParameterGroup group) =>
        group
            .OwnOptions.Concat(algorithm.OptionNames.Except(group.OwnOptions))
            .Where(option => !algorithm.IsBeyondPyTorch(option) || !group[option].Equals(algorithm.Read(algorithm.Defaults, option)))
            .Select(option => KeyValuePair.Create(option, group[option]))
            .Concat(group.Extras);

    /// <summary>What a group takes over.</summary>
    private sealed record Loaded(
        object Options,
        OrderedDictionary<string, OptionValue> Extras,
        GroupMemory Memory,
        Dictionary<int, ParameterState> Added
    );

    public static StateDict Write(Algorithm algorithm, IReadOnlyList<ParameterGroup> groups)
    {
        var dict = new StateDict();
        var id = 0;
        foreach (var group in groups)
        {
            var entry = new GroupState
            {
                OwnOptions = group.OwnOptions.Count(),
                ParamNames = group.Parameters is [{ Name: not null }, ..] ? [.. group.List.Names] : null,
            };
            foreach (var (option, value) in Entries(algorithm, group))
                entry[option] = value;
            for (var row = 0; row < group.Parameters.Count; row++, id++)
            {
                entry.Params.Add(id);
                var state = ParameterState.Of(group, row).ToHost();
                if (state.Count > 0)
                    dict.State[id] = state;
            }
            dict.ParamGroups.Add(entry);
        }
        return dict;
    }

    /// <summary>Works everything out; what is returned hands it to the groups.</summary>
    public static PreparedLoad Prepare(
        Algorithm algorithm,
        IReadOnlyList<ParameterGroup> groups,
        AccumulationWindow window,
        StateDict dict,
        bool strict,
        MatchBy matchBy
    )
    {
        if (dict.ParamGroups.Count != groups.Count)
            throw new ArgumentException(
                $"loaded state dict has a different number of parameter groups: {dict.ParamGroups.Count}, and the optimizer has {groups.Count}"
            );
        var findings = new Findings([], [], [], []);
        var source = Match(groups, dict, strict, matchBy, findings);
        var loaded = new List<Loaded>();
        for (var (i, first) = (0, 0); i < groups.Count; first += groups[i++].Parameters.Count)
        {
            var (options, extras) = Options(algorithm, dict.ParamGroups[i], strict, findings);
            var rows = new ArraySegment<int?>(source, first, groups[i].Parameters.Count);
            var group = new LoadedGroup(groups[i], rows, dict, dict.ParamGroups[i], strict, findings);
            loaded.Add(new(options, extras, groups[i].Memory.Loaded(group), group.Added));
        }
        var accumulate = window.Load(dict.Accumulation, groups, source);
        return new(
            new(findings.Matched, findings.Missing, findings.Unexpected, findings.Converted),
            () =>
            {
                accumulate();
                for (var i = 0; i < groups.Count; i++)
                {
                    (groups[i].Options, groups[i].Extras, groups[i].Memory, groups[i].Added) = loaded[i];
                    groups[i].ConstructorWrites.Loaded(groups[i].Options);
                }
            }
        );
    }

    /// <summary>For each parameter over all groups the number of its state in the dict; null to keep what it has.</summary>
    private static int?[] Match(IReadOnlyList<ParameterGroup> groups, StateDict dict, bool strict, MatchBy matchBy, Findings findings)
    {
        var parameters = groups.SelectMany(group => group.Parameters).ToList();
        foreach (var (group, i) in dict.ParamGroups.Select((group, i) => (group, i)))
            if (group.ParamNames is { } names && names.Count != group.Params.Count)
                throw new ArgumentException(
                    $"parameter group {Text(i)} of the loaded state dict has {Text(group.Params.Count)} params and {Text(names.Count)} param_names"
                );
        var named =
            parameters.All(parameter => parameter.Name is not null)
            && dict.ParamGroups.All(group => group.ParamNames is not null || group.Params.Count == 0);
        if (matchBy == MatchBy.Name && !named)
            throw new ArgumentException(
                "state cannot be matched by name: the optimizer or the loaded state dict has parameters without names"
            );
        if (matchBy == MatchBy.Order || !named)
        {
            for (var i = 0; i < groups.Count; i++)
                if (groups[i].Parameters.Count != dict.ParamGroups[i].Params.Count)
                    throw new ArgumentException(
                        $"loaded state dict contains a parameter group that doesn't match the size of optimizer's group: group {Text(i)} has "
                            + $"{Text(dict.ParamGroups[i].Params.Count)} parameters, and the optimizer's {Text(groups[i].Parameters.Count)}"
                    );
            findings.Matched.AddRange(parameters.Select((parameter, i) => parameter.Name ?? Text(i)));
            return [.. dict.ParamGroups.SelectMany(group => group.Params).Select(id => (int?)id)];
        }
        var ids = new Dictionary<string, int>(StringComparer.Ordinal);
        foreach (var group in dict.ParamGroups)
            for (var i = 0; i < group.Params.Count; i++)
                if (!ids.TryAdd(group.ParamNames![i], group.Params[i]))
                    throw new ArgumentException(
                        $"the loaded state dict has two parameters called '{group.ParamNames[i]}'; use matchBy: Order"
                    );
        var source = new int?[parameters.Count];
        for (var i = 0; i < source.Length; i++)
        {
            source[i] = ids.Remove(parameters[i].Name!, out var id) ? id : null;
            (source[i] is null ? findings.Missing : findings.Matched).Add(parameters[i].Name!);
        }
        findings.Unexpected.AddRange(ids.Keys);
        if (strict && findings.Missing.Count + findings.Unexpected.Count > 0)
            throw new ArgumentException(
                $"the loaded state dict does not have the optimizer's parameters; missing: {List(findings.Missing)}; left over: {List(findings.Unexpected)}. "
                    + "strict: false loads what matches, matchBy: Order goes by order as PyTorch does"
            );
        return source;
    }

    /// <summary>The options of a group of the dict; what it lacks, as older ones do, is at its default.</summary>
    private static (object, OrderedDictionary<string, OptionValue>) Options(
        Algorithm algorithm,
        GroupState group,
        bool strict,
        Findings findings
    )
    {
        var extras = new OrderedDictionary<string, OptionValue>();
        var options = new List<KeyValuePair<string, OptionValue>>();
        foreach (var (key, value) in group)
            if (algorithm.Has(key))
                options.AddRange(algorithm.IsFixed(key) ? [] : [KeyValuePair.Create(key, value)]);
            else if (ParameterGroup.IsSchedulerKey(key))
                extras[key] = value;
            else if (strict)
                algorithm.Read(algorithm.Defaults, key);
            else
                findings.Unexpected.Add(key);
        return (algorithm.Replace(algorithm.Defaults, options), extras);
    }

    /// <summary>The rows of a rule.</summary>
    public static State Rows(Rule rule, LoadedGroup group)
    {
        var source = group.Source;
        var counts = new long[source.Count];
        var scalars = rule.ScalarNames.ToDictionary(name => name, _ => Enumerable.Repeat(double.NaN, source.Count).ToArray());
        var columns = rule.ColumnNames.ToDictionary(name => name, _ => new TensorView[source.Count]);
        for (var row = 0; row < source.Count; row++)
        {
            var (parameter, label) = (group.Parameters[row], Optimizer.Label(group.Parameters[row]));
            if (source[row] is not { } id)
            {
                counts[row] = group.Before.State.Count(row);
                foreach (var (name, values) in scalars)
                    values[row] = group.Before.State.Scalar(name, row);
                foreach (var column in group.Before.State.Columns)
                    columns[column.Name][row] = column[row];
                group.KeepAdded(row);
                continue;
            }
            if (!group.Dict.State.TryGetValue(id, out var state))
                continue;
            foreach (var (name, value) in state)
                if (name == "step" && rule.KeepsStep)
                    counts[row] = value.IsNone ? 0 : Steps(value, label);
                else if (scalars.TryGetValue(name, out var numbers))
                    numbers[row] = value.IsNone ? double.NaN : Single(value, name, label);
                else if (columns.TryGetValue(name, out var rows))
                {
                    rows[row] = Tensor(value, name, label);
                    if (!rows[row].IsAbsent && rows[row].DType != parameter.Data.DType.ToStateDType())
                        group.Converted(name, row);
                }
                else
                    group.TakeForeign(row, name, value, rule.Name, rule.ColumnNames);
            var at = row;
            if (!rule.KeepsStep && columns.Values.Any(rows => !rows[at].IsAbsent))
                counts[row] = 1;
        }
        return rule.Restore(group.List, counts, scalars, columns);
    }

    private static TensorView Tensor(Tree value, string name, string label) =>
        value.Kind switch
        {
            TreeKind.Tensor => value.AsTensor(),
            TreeKind.None => default,
            _ => throw new ArgumentException($"'{name}' of {label} is {value.Described}; it must be a tensor"),
        };

    private static long Steps(Tree step, string label)
    {
        var number = Single(step, "step", label);
        return number >= 0 && number < 1L << 53 && Math.Floor(number) == number
            ? (long)number
            : throw new ArgumentException(
                $"the step of {label} is {number.ToString(CultureInfo.InvariantCulture)}; it must be a whole number of at least 0"
            );
    }

    /// <summary>A number, or a tensor of one.</summary>
    private static double Single(Tree value, string name, string label) =>
        value switch
        {
            Tree.Tensor { Item.Count: 1 } or Tree.Int or Tree.Float => value.ToDoubles()[0],
            _ => throw new ArgumentException($"the {name} of {label} is {value.Described}; it must be a single number"),
        };

    private static string Text(int number) => number.ToString(CultureInfo.InvariantCulture);

    internal static string List(IEnumerable<string> names) => names.Any() ? string.Join(", ", names) : "none";
}
