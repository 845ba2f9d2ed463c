using System.Text;
using Optim.Core;

namespace Optim;

/// <summary>Which parameter is in which group, with what, and why.</summary>
internal sealed class GroupTable
{
    private readonly List<Row> rows;

    private GroupTable(List<Row> rows, List<ParameterGroup> groups) => (this.rows, Groups) = (rows, groups);

    public IReadOnlyList<ParameterGroup> Groups { get; }

    public static GroupTable Of(IParameter[] parameters, GroupRule[] rules, GroupPrecedence precedence, GroupLayers? layers)
    {
        var rows = new List<Row>();
        for (var i = 0; i < parameters.Length; i++)
            rows.Add(RowOf(parameters[i], rules, precedence, layers, i));
        // Without layers groups stand in the order of their rules, and the rest comes last.
        var grouped = rows.Where(row => !row.IsLeftOut)
            .GroupBy(row => row.Key, StringComparer.Ordinal)
            .OrderBy(group => layers is null ? group.Min(row => row.FirstRule) : 0)
            .ToList();
        if (grouped.Count == 0)
            throw new ArgumentException("every parameter is left out, so that no group is left");
        var groups = new List<ParameterGroup>();
        foreach (var group in grouped)
        {
            foreach (var row in group)
                row.Group = groups.Count;
            groups.Add(Make(group.Select(row => row.Parameter), group.First().Settings));
        }
        return new(rows, groups);
    }

    /// <summary>The table as text.</summary>
    public override string ToString()
    {
        string[][] cells =
        [
            ["parameter", "shape", "group", "sets", "by"],
            .. rows.Select(row =>
                new[]
                {
                    row.Parameter.Name ?? "(no name)",
                    $"[{string.Join(", ", row.Parameter.Data.Shape)}]",
                    row.IsLeftOut ? "-" : FormattableString.Invariant($"{row.Group}"),
                    row.IsLeftOut ? "left out" : string.Join(", ", row.Settings.Select(setting => $"{setting.Option}={setting.Value}")),
                    row.By,
                }
            ),
        ];
        var widths = Enumerable.Range(0, cells[0].Length).Select(column => cells.Max(row => row[column].Length)).ToArray();
        var text = new StringBuilder();
        foreach (var row in cells)
            text.Append(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd()).Append('\n');
        return text.ToString().TrimEnd();
    }

    private static Row RowOf(IParameter parameter, GroupRule[] rules, GroupPrecedence precedence, GroupLayers? layers, int place)
    {
        var matched = rules
            .Select((rule, number) => (Rule: rule, Number: number, Match: rule.Match(parameter)))
            .Where(each => each.Match is not null)
            .ToList();
        if (
            precedence == GroupPrecedence.Refuse
            && matched.FirstOrDefault(each => !each.Rule.Agrees(matched[0].Rule)) is { Rule: not null } other
        )
            throw new ArgumentException(
                $"{Optimizer.Label(parameter)} is matched by {matched[0].Match} and by {other.Match}, which set different things; give an order (FirstWins or LastWins), or patterns that do not overlap"
            );
        var settings = new List<(string Option, OptionValue Value)>();
        var by = new List<string>();
        foreach (var (rule, _, match) in precedence == GroupPrecedence.Last ? Enumerable.Reverse(matched) : matched)
        {
            var won = rule.Options.Where(option => settings.All(set => set.Option != option.Option)).ToList();
            settings.AddRange(won);
            by.Add(
                won.Count == 0 ? $"({match} lost)"
                : won.Count == rule.Options.Count ? match!
                : $"{match} ({string.Join(", ", won.Select(option => option.Option))})"
            );
        }
        var isLeftOut = false;
        if (layers is not null)
        {
            isLeftOut = layers.Scales[place] is null;
            if (settings.Any(setting => setting.Option == "lr_scale"))
                throw new OptionException(
                    $"{Optimizer.Label(parameter)}: {matched[0].Match} sets lr_scale, which layer decay sets, too; it must be one of them",
                    "lr_scale"
                );
            settings.Add(("lr_scale", layers.Scales[place] ?? 0));
            by.Add(FormattableString.Invariant($"layer {layers.Layers[place]}"));
        }
        return new(
            parameter,
            settings,
            string.Join(", ", by),
            matched.Count == 0 ? int.MaxValue : matched.Min(each => each.Number),
            isLeftOut
        );
    }

    private static ParameterGroup Make(IEnumerable<IParameter> parameters, IReadOnlyList<(string Option, OptionValue Value)> settings)
    {
        var group = new ParameterGroup(parameters);
        foreach (var (option, value) in settings)
            if (option == "lr_scale")
                group.Custom[option] = value;
            else
                group[option] = value;
        return group;
    }

    private sealed record Row(
        IParameter Parameter,
        IReadOnlyList<(string Option, OptionValue Value)> Settings,
        string By,
        int FirstRule,
        bool IsLeftOut
    )
    {
        public int Group { get; set; }

        /// <summary>Equal for rows of one group.</summary>
        public string Key { get; } =
            string.Join("\n", Settings.Select(setting => $"{setting.Option}={setting.Value}").Order(StringComparer.Ordinal));
    }
}
