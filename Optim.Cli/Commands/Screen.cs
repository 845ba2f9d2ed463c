using Optim.Cli.Data;
using Optim.Cli.Pictures;
using Optim.Cli.Training;
using Optim.Kernels;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace Optim.Cli.Commands;

/// <summary>What the command shows: a bar and tables in a terminal, plain lines and tables elsewhere.</summary>
internal sealed class Screen
{
    private const int PlainLines = 10; // of a training run, where there is no bar

    private const int WideTable = 120; // columns of a terminal from which options stand beside each other

    private const int ChartHeight = 11; // lines

    private const int WideChart = 110; // columns: wider ones are harder to read

    private const int PlainWidth = 80; // columns, where there is no terminal

    private static readonly Color[] colors =
    [
        Color.DeepSkyBlue1,
        Color.DarkOrange,
        Color.Green3,
        Color.Violet,
        Color.Gold1,
        Color.Red1,
        Color.Grey,
    ];

    private readonly Lazy<IAnsiConsole> opened;
    private readonly TextWriter error;

    /// <param name="open">Opens the console when something is to be shown.</param>
    /// <param name="error">Where warnings go.</param>
    public Screen(Func<IAnsiConsole> open, TextWriter error)
    {
        this.error = error;
        opened = new(() =>
        {
            var console = open();
            if (!console.Profile.Out.IsTerminal)
                console.Profile.Width = 160;
            return console;
        });
    }

    private IAnsiConsole Shown => opened.Value;

    /// <summary>Whether someone looks at it while it goes on.</summary>
    public bool IsLive => Shown.Profile is { Out.IsTerminal: true, Capabilities: { Ansi: true, Interactive: true } };

    /// <summary>Where plain text goes.</summary>
    public TextWriter Output => Shown.Profile.Out.Writer;

    public void Say(string text) => Shown.Profile.Out.Writer.WriteLine(text); // not cut into lines

    public void Warn(string text) => error.WriteLine($"optim: {text}");

    /// <summary>Trains, and shows how it goes on.</summary>
    /// <param name="name">Which of several runs it is; null for the only one.</param>
    /// <param name="epochs">Of the run.</param>
    /// <param name="train">Trains.</param>
    public TrainingResult Track(string? name, int epochs, Func<Action<TrainingProgress>, TrainingResult> train)
    {
        var loss = 0.0; // smoothed
        if (!IsLive)
        {
            if (name is null)
                return train(PlainReport(epochs));
            Say($"training by {name}");
            return train(_ => { });
        }
        TrainingProgress now = default;
        return Bar(
            () =>
                now.Steps == 0
                    ? ""
                    : $"{(name is null ? "" : $"{name}  ")}epoch {Epoch(now, epochs)}/{epochs}  loss {Text.Loss(loss), -7} {Text.Speed(now)}",
            bar =>
                train(progress =>
                {
                    loss = progress.Step == 1 ? progress.Loss : 0.95 * loss + 0.05 * progress.Loss;
                    now = progress;
                    bar((double)progress.Step / progress.Steps);
                })
        );
    }

    /// <summary>Repeats recorded runs, and shows which one is under way.</summary>
    public ReplayReport Track(Func<Action<int, int, RecordedRun>?, ReplayReport> repeat)
    {
        if (!IsLive)
            return repeat(null);
        var now = "";
        return Bar(
            () => now,
            bar =>
            {
                var report = repeat(
                    (number, count, run) =>
                    {
                        now = $"run {number + 1}/{count}  {run.Optimizer} {run.DType}";
                        bar((double)number / count);
                    }
                );
                if (!report.Interrupted)
                    bar(1);
                return report;
            }
        );
    }

    /// <summary>
    /// Does work that says how far it is (a share, and what is under way) and what came of its parts. Where there is a bar, nothing else
    /// runs while it stands still: laws may measure the process.
    /// </summary>
    /// <param name="isShown">Whether any of it is shown.</param>
    /// <param name="work">The work.</param>
    public T Track<T>(bool isShown, Func<Action<double, string>, Action<string>, T> work)
    {
        if (!isShown || !IsLive)
            return work((_, _) => { }, isShown ? Say : _ => { });
        var now = "";
        var lines = new List<string>();
        var result = Bar(
            () => now,
            bar =>
                work(
                    (share, text) =>
                    {
                        now = text;
                        bar(share);
                    },
                    lines.Add
                ),
            refresh: false
        );
        foreach (var line in lines)
            Say(line);
        return result;
    }

    public void Show(TrainingResult result)
    {
        var settings = result.Settings;
        var (steps, data) = (result.Losses.Count, settings.Data);
        var perEpoch = Batches.PerEpoch(data.TrainingRows, settings.BatchSize);
        var summary = new Table { Border = TableBorder.Rounded, ShowHeaders = false };
        summary.AddColumns("", "");
        Add("test accuracy", $"[bold]{Text.Percent(result.TestAccuracy)}[/]");
        if (result.AveragedTestAccuracy is { } averaged)
            Add("test accuracy, averaged", $"[bold]{Text.Percent(averaged)}[/]");
        Add("train accuracy", Text.Percent(result.TrainAccuracy));
        Add("loss", steps == 0 ? "no step taken" : $"{Text.Loss(LastLoss(result))} (mean of the last {Math.Min(steps, perEpoch)} steps)");
        foreach (var optimizer in result.Optimizers)
        {
            Add("optimizer", optimizer.Which.Length == 0 ? optimizer.Name : $"{optimizer.Name}, for {optimizer.Which}");
            Add("options", Markup.Escape(Text.Options(optimizer.Options)));
        }
        if (settings.Schedule is { } schedule)
            Add("schedule", Markup.Escape($"{schedule.Kind.Name}: {Text.Options(schedule.For(settings.Steps))}"));
        if (settings.Clip is { } clip)
            Add("gradients", FormattableString.Invariant($"clipped at norm {clip}"));
        if (settings.Ema is { } ema)
            Add("average", FormattableString.Invariant($"exponential, decay {ema}"));
        Add("data", Markup.Escape($"{data.Name}, {data.TrainingRows} rows to train on, {data.Count - data.TrainingRows} to test"));
        Add("model", $"{data.Features}-{string.Join('-', settings.Hidden)}-{data.Classes}, {Name(settings)}");
        Add(
            "steps",
            $"{steps} of {perEpoch * settings.Epochs} ({settings.Epochs} epochs, batches of {settings.BatchSize}, seed {settings.Seed})"
        );
        Add(
            "seconds",
            FormattableString.Invariant(
                $"{result.Seconds:f2} ({settings.ThreadCount} {(settings.ThreadCount == 1 ? "thread" : "threads")})"
            )
        );
        Shown.Write(summary);
        if (result.Groups is { } groups)
            Say(groups);
        WarnOfLoss(result, "");
        if (result.Interrupted)
            Warn($"stopped after step {steps} of {perEpoch * settings.Epochs}; these are the results so far.");

        void Add(string name, string value) => summary.AddRow($"[grey]{name}[/]", value);
    }

    /// <summary>Compares runs, the best first.</summary>
    public void Show(IReadOnlyList<(string Name, TrainingResult Result)> runs)
    {
        var table = new Table { Border = TableBorder.Rounded };
        table.AddColumns("optimizer", "test accuracy", "train accuracy", "loss at the end", "seconds");
        foreach (var (name, result) in runs.OrderByDescending(run => run.Result.TestAccuracy))
            table.AddRow(
                Markup.Escape(name),
                $"[bold]{Text.Percent(result.TestAccuracy)}[/]",
                Text.Percent(result.TrainAccuracy),
                result.Losses.Count == 0 ? "no step taken" : Text.Loss(LastLoss(result)),
                FormattableString.Invariant($"{result.Seconds:f2}")
            );
        Shown.Write(table);
        foreach (var (name, result) in runs)
        {
            WarnOfLoss(result, $"{name}: ");
            if (result.Interrupted)
                Warn($"{name}: stopped after step {result.Losses.Count}; these are the results so far.");
        }
    }

    /// <summary>Draws a picture with characters.</summary>
    public void Show(Picture picture)
    {
        var legend = picture.Legend.ToList();
        var (unicode, colours) = (Shown.Profile.Capabilities.Unicode, IsLive);
        var braille = unicode && (colours || legend.Count < 2);
        var width = IsLive ? Math.Min(Shown.Profile.Width - 1, WideChart) : PlainWidth;
        Write([(picture.Title, -1)]);
        foreach (var line in TerminalChart.Draw(picture, width, ChartHeight, braille))
            Write(line);
        if (legend.Count > 1)
            foreach (var curve in legend)
                Write([($"{TerminalChart.Symbol(curve.Identity, braille)} ", curve.Identity), (curve.Name, -1)]);

        void Write(IReadOnlyList<(string Text, int Curve)> pieces)
        {
            if (!colours)
            {
                Say(string.Concat(pieces.Select(piece => piece.Text)).TrimEnd());
                return;
            }
            var line = new Paragraph();
            foreach (var (text, curve) in pieces)
                line.Append(text, curve < 0 ? Style.Plain : new Style(colors[curve % colors.Length]));
            Shown.Write(line);
            Shown.WriteLine();
        }
    }

    public void Show(ReplayReport report)
    {
        var table = new Table { Border = TableBorder.Simple };
        foreach (var header in new[] { "optimizer", "options", "dtype", "loss\noff by", "checksum\noff by", "accuracy,\nrecorded", "" })
            table.AddColumn(header, column => column.NoWrap().PadLeft(0));
        var separator = Shown.Profile.Width < WideTable ? ",\n" : ", ";
        foreach (var row in report.Rows)
            table.AddRow(
                Markup.Escape(row.Run.Optimizer),
                Markup.Escape(string.Join(separator, row.Run.OptionTexts)),
                row.Run.DType,
                Text.Difference(row.LargestLossDifference),
                Text.Difference(Math.Max(row.FirstChecksumDifference, row.SecondChecksumDifference)),
                Text.Percent(row.TestAccuracy) + separator + Text.Percent(row.Run.TestAccuracy),
                row.Passed ? "[green]passed[/]" : "[red]failed[/]"
            );
        if (report.Rows.Count > 0)
            Shown.Write(table);
        foreach (var row in report.Rows.Where(row => !row.Passed))
            Warn($"{row.Run.Optimizer} ({string.Join(", ", row.Run.OptionTexts)}) {row.Run.DType}: {string.Join("; ", row.Failures)}.");
        Say($"{report.Rows.Count(row => row.Passed)} of {report.Rows.Count} repeated runs are as recorded.");
        if (report.Skipped.Count > 0)
        {
            var reasons = report
                .Skipped.GroupBy(skipped => skipped.Reason, skipped => skipped.Run.Optimizer)
                .Select(group => $"{string.Join(", ", group.Distinct())} ({group.Key})");
            Say($"{report.Skipped.Count} were skipped: {string.Join("; ", reasons)}.");
        }
        if (report.Interrupted)
            Warn("stopped before all runs were repeated; these are the results so far.");
    }

    private void WarnOfLoss(TrainingResult result, string run)
    {
        if (result.FirstNonFinite > 0)
            Warn($"{run}the loss was not finite from step {result.FirstNonFinite} on.");
    }

    /// <summary>The mean over the last epoch.</summary>
    private static double LastLoss(TrainingResult result) =>
        result.Losses.TakeLast(Batches.PerEpoch(result.Settings.Data.TrainingRows, result.Settings.BatchSize)).Average();

    private static string Name(TrainingSettings settings) => $"{settings.DType.Name()}, {settings.Backend.ToString().ToLowerInvariant()}";

    private static int Epoch(TrainingProgress progress, int epochs) =>
        (int)(((long)progress.Step * epochs + progress.Steps - 1) / progress.Steps);

    /// <summary>A line for every tenth of the run, each with the mean loss since the line before.</summary>
    private Action<TrainingProgress> PlainReport(int epochs)
    {
        var (sum, count) = (0.0, 0);
        return progress =>
        {
            (sum, count) = (sum + progress.Loss, count + 1);
            var lines = (long)progress.Step * PlainLines / progress.Steps;
            if (lines == (progress.Step - 1L) * PlainLines / progress.Steps)
                return;
            Say(
                $"epoch {Epoch(progress, epochs), 3}/{epochs}  step {progress.Step, 6}/{progress.Steps}  loss {Text.Loss(sum / count), -9}  {Text.Speed(progress)}"
            );
            (sum, count) = (0, 0);
        };
    }

    /// <summary>A bar; it is drawn by a thread of its own, or only when the work says how far it is.</summary>
    private T Bar<T>(Func<string> text, Func<Action<double>, T> work, bool refresh = true) =>
        Shown
            .Progress()
            .AutoRefresh(refresh)
            .Columns(new ProgressBarColumn(), new PercentageColumn(), new TextColumn(text))
            .Start(context =>
            {
                var task = context.AddTask("run", maxValue: 1);
                return work(share =>
                {
                    task.Value = share;
                    if (!refresh)
                        context.Refresh();
                });
            });

    private sealed class TextColumn(Func<string> text) : ProgressColumn
    {
        protected override bool NoWrap => true;

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Spectre.Console.Text(text());
    }
}
