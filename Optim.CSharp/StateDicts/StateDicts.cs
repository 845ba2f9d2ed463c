using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim;

/// <summary>Between an optimizer's groups and state dicts.</summary>
internal static class StateDicts
{
    /// <summary>The entries of a group in the order of PyTorch's keys: its own options and keys, the rest, what schedulers wrote.</summary>
    public static IEnumerable<KeyValuePair<string, OptionValue>> Entries(Algorithm algorithm, ParameterGroup group) =>
        [
            .. Options(algorithm, group, group.OwnOptions),
            .. group.Custom,
            .. Options(algorithm, group, algorithm.OptionNames.Except(group.OwnOptions)),
            .. group.Extras,
        ];

    private static IEnumerable<KeyValuePair<string, OptionValue>> Options(
        Algorithm algorithm,
        ParameterGroup group,
        IEnumerable<string> names
    ) =>
        names
            .Where(option => !algorithm.IsBeyondPyTorch(option) || !group[option].Equals(algorithm.Read(algorithm.Defaults, option)))
            .Select(option => KeyValuePair.Create(option, group[option]));

    /// <summary>What a group takes over; it keeps its own options where there are none.</summary>
    private sealed record Loaded(LoadedOptions? Options, GroupMemory Memory, Dictionary<int, ParameterState> Added);

    public static StateDict Write(Algorithm algorithm, IReadOnlyList<ParameterGroup> groups, bool widen)
    {
        var dict = new StateDict();
        var id = 0;
        foreach (var group in groups)
        {
            var entry = new GroupState
            {
                OwnOptions = group.OwnOptions.Count() + group.Custom.Count,
                ParamNames = group.Parameters is [{ Name: not null }, ..] ? [.. group.List.Names] : null,
            };
            foreach (var (option, value) in Entries(algorithm, group))
                entry[option] = value;
            for (var row = 0; row < group.Parameters.Count; row++, id++)
            {
                entry.Params.Add(id);
                var state = ParameterState.Of(group, row).ToHost();
                if (widen && algorithm is Rule rule)
                    state = state.Widen(rule);
                if (state.Count > 0)
                    dict.State[id] = state;
            }
            dict.ParamGroups.Add(entry);
        }
        return dict;
    }

    /// <summary>Works everything out; what is returned hands it to the groups.</summary>
    /// <param name="algorithm">Whose groups they are.</param>
    /// <param name="groups">The groups, as they are when it is run.</param>
    /// <param name="accumulation">Works out a load of what was added up for a step to come, by where each parameter is in the dict.</param>
    /// <param name="dict">The state dict.</param>
    /// <param name="strict">Whether what is missing or left over is an error.</param>
    /// <param name="matchBy">How state finds its parameter.</param>
    /// <param name="noteOrigins">Told, when it is run, for each group the saved group whose options it has; null for none.</param>
    public static PreparedLoad Prepare(
        Algorithm algorithm,
        IReadOnlyList<ParameterGroup> groups,
        Func<IReadOnlyList<int?>, Action> accumulation,
        StateDict dict,
        bool strict,
        MatchBy matchBy,
        Action<int?[]> noteOrigins
    )
    {
        var findings = new LoadedNames([], [], [], []);
        var match = StateDictMatch.Of(groups, dict, strict, matchBy, findings);
        var loaded = new List<Loaded>();
        var reports = new List<GroupReport>();
        for (var (i, first) = (0, 0); i < groups.Count; first += groups[i++].Parameters.Count)
        {
            var count = groups[i].Parameters.Count;
            var (options, saved) = (LoadedOptions.Of(algorithm, groups, i, dict, match.Saved[i], strict, findings), match.Saved[i]);
            var group = new LoadedGroup(groups[i], new(match.Source, first, count), dict, strict, findings);
            loaded.Add(new(options, groups[i].Memory.Loaded(group, options?.Options ?? groups[i].Options), group.Added));
            var start = first;
            reports.Add(new(i, [.. groups[i].Parameters.Select((p, row) => p.Name ?? Text(start + row))], saved, options is not null));
        }
        var accumulate = accumulation(match.Source);
        var before = groups.Select(group => group.Memory.Stamp).ToList();
        int?[] origins = [.. loaded.Select((group, i) => group.Options is null ? (int?)null : match.Saved[i][0])];
        return new(
            new(findings.Matched, findings.Missing, [.. findings.Unexpected.Distinct()], findings.Converted) { Groups = reports },
            () =>
            {
                RefuseLate(groups, match.Source, before);
                accumulate();
                for (var i = 0; i < groups.Count; i++)
                {
                    (groups[i].Memory, groups[i].Added) = (loaded[i].Memory, loaded[i].Added);
                    if (loaded[i].Options is not { } options)
                        continue;
                    (groups[i].Options, groups[i].Extras) = (options.Options, options.Extras);
                    groups[i].Custom.Replace(options.Custom);
                    groups[i].ConstructorWrites.Loaded(groups[i].Options);
                }
                noteOrigins(origins);
            }
        );
    }

    /// <summary>Refuses a load that was prepared for other groups, or from states of which it keeps some and which have gone on.</summary>
    public static void RefuseLate(IReadOnlyList<ParameterGroup> groups, IReadOnlyList<int?> source, List<object> before)
    {
        if (groups.Count != before.Count)
            throw new InvalidOperationException(
                $"the load was prepared for {Text(before.Count)} parameter groups, and there are {Text(groups.Count)} now; prepare it again"
            );
        if (source.Contains(null) && !groups.Select(group => group.Memory.Stamp).SequenceEqual(before, ReferenceEqualityComparer.Instance))
            throw new InvalidOperationException(
                "the load keeps the state of parameters that the state dict does not have, and they have stepped since it was prepared; prepare it again"
            );
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
                // Narrow rows are kept as they are: widened and narrowed again they do not change.
                foreach (var column in group.Before.State.Columns)
                    columns[column.Name][row] = column.Widen(row);
                group.KeepAdded(row);
                continue;
            }
            if (!group.Dict.State.TryGetValue(id, out var state))
                continue;
            // Of a slice it is told what the whole has.
            IEnumerable<KeyValuePair<string, Tree>> entries = parameter is ISlice part
                ? NarrowTrees.cut(rule.ColumnNames, (codes, scales) => part.OfNarrow(codes, scales), state)
                : state;
            foreach (var (name, value) in NarrowTrees.widened(rule, label, group.List.WholeLayout(row).Shape, entries))
                if (name == NarrowTrees.Step || name == "step" && rule.KeepsStep)
                    counts[row] = value.IsNone ? 0 : Counting.ofTree($"the step of {label}", value);
                else if (scalars.TryGetValue(name, out var numbers))
                    numbers[row] = value.IsNone ? double.NaN : Single(value, name, label);
                else if (columns.TryGetValue(name, out var rows))
                {
                    rows[row] = Tensor(value, name, label);
                    if (parameter is ISlice slice && !rows[row].IsAbsent)
                        rows[row] = slice.OfRow(rows[row]);
                    if (!rows[row].IsAbsent && rows[row].DType != parameter.Data.DType.ToStateDType())
                        group.Converted(name, row);
                }
                else
                    group.TakeForeign(row, name, value, rule.Name, rule.ColumnNames);
            var at = row;
            if (!rule.KeepsStep && columns.Values.Any(rows => !rows[at].IsAbsent))
                counts[row] = Math.Max(1, counts[row]);
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
