using System.Globalization;
using Spectre.Console;

namespace Optim.Bench;

/// <summary>What is printed at the end: the rows, and what became of the goals.</summary>
internal static class Report
{
    private static readonly bool plain = Console.IsOutputRedirected;

    /// <param name="rows">The results.</param>
    /// <param name="left">What a quick run leaves to the full one.</param>
    public static void Print(IReadOnlyList<Row> rows, IReadOnlyList<Measurement> left)
    {
        if (plain)
            AnsiConsole.Profile.Width = 400; // no line is broken in a file
        var machine = Machine.Here;
        Line(
            $"{machine.Cpu}, {machine.Cores} cores, vectors of {machine.WidestBits} bits, {machine.Runtime}, libtorch 2.10 by TorchSharp 0.107."
        );
        Line(
            "25th percentiles of alternating blocks in one process. Before each block the process rests until no thread of it spins any more, ours or OpenMP's."
        );
        Line(
            "Ours is the whole Step(). libtorch fused is the bare operator, its lists built before; libtorch ops is PyTorch's for-loop; torchsharp is TorchSharp's own optimizer."
        );
        Line("ratio = peer us / ours us.");
        AnsiConsole.Write(Rows(rows));
        AnsiConsole.Write(Goals(rows, left));
    }

    public static string Short(Row row) =>
        FormattableString.Invariant($"{Number(row.OursUs)} us, {row.Peer} {Number(row.PeerUs)} us, {row.Ratio:0.00}x ({row.Executor})");

    private static Table Rows(IReadOnlyList<Row> rows)
    {
        var table = Table("rule", "list", "dtype", "threads", "parameters", "peer", "executor", "ours us", "peer us", "ratio", "bytes");
        foreach (var number in (int[])[3, 7, 8, 9, 10])
            table.Columns[number].RightAligned();
        foreach (var row in rows)
            Add(
                table,
                row.Rule,
                row.List,
                row.Dtype,
                row.Threads.ToString(CultureInfo.InvariantCulture),
                row.Parameters,
                row.Peer,
                row.Executor,
                Number(row.OursUs),
                Number(row.PeerUs),
                row.Ratio.ToString("0.00", CultureInfo.InvariantCulture) + "x",
                row.Bytes.ToString("0.#", CultureInfo.InvariantCulture)
            );
        return table;
    }

    private static Table Goals(IReadOnlyList<Row> rows, IReadOnlyList<Measurement> left)
    {
        var table = Table("goal (float32, 2 threads, host parameters where nothing else is said)", "to reach", "worst", "of", "verdict");
        foreach (var goal in Goal.All)
        {
            var measured = rows.Where(goal.Applies).ToArray();
            var (worst, verdict) = ("", "not measured");
            if (measured.Length > 0)
            {
                var row = goal.Aim == Aim.Ratio ? measured.MinBy(goal.Value)! : measured.MaxBy(goal.Value)!;
                worst = $"{goal.Format(goal.Value(row))} ({row.Rule}, {row.List})";
                var missed = measured.Where(row => !goal.Reached(row)).Select(row => $"{row.Rule} on {row.List}").Distinct().ToArray();
                verdict = missed.Length == 0 ? "reached" : $"not reached: {string.Join("; ", missed)}";
            }
            var later = goal.IsAboutAll
                ? []
                : left.Where(goal.Applies).Select(m => m.List.Name).Except(measured.Select(row => row.List)).ToArray();
            if (later.Length > 0)
                verdict = (measured.Length > 0 ? verdict + "; " : "") + $"only the full run measures {string.Join(", ", later)}";
            var bound = (goal.Aim == Aim.Ratio ? "at least " : "at most ") + goal.Format(goal.Needed);
            Add(table, goal.ToString(), bound, worst, measured.Length.ToString(CultureInfo.InvariantCulture), verdict);
        }
        return table;
    }

    private static Table Table(params string[] columns)
    {
        var table = new Table { Border = plain ? TableBorder.Markdown : TableBorder.Rounded };
        foreach (var column in columns)
            table.AddColumn(new TableColumn(Markup.Escape(column)));
        return table;
    }

    private static void Add(Table table, params string[] cells) => table.AddRow(cells.Select(cell => new Text(cell)));

    private static void Line(string text) => AnsiConsole.WriteLine(text);

    /// <summary>Three digits are all that a measurement has.</summary>
    private static string Number(double us) =>
        us.ToString(
            us < 10 ? "0.00"
                : us < 100 ? "0.0"
                : "#,0",
            CultureInfo.InvariantCulture
        );
}
