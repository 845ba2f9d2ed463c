using System.CommandLine;
using System.Globalization;
using Optim.Cli.Pictures;
using Optim.Cli.Training;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary><c>optim schedule</c>: what schedules do, as numbers and as pictures.</summary>
internal sealed class ScheduleCommand
{
    public const string Name = "schedule";

    public const string Description = "Show the learning rates of schedules, as numbers and as curves";

    /// <summary>What its arguments are called.</summary>
    public const string Schedules = "SCHEDULE";

    private const int DefaultSteps = 100;
    private const int RowsInATerminal = 25;
    private const int Column = 16; // characters

    private readonly Argument<string[]> schedules = new(Schedules)
    {
        Description = "Schedules, each with settings of its own if need be: cosine step:step_size=30,gamma=0.5",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<(string Name, OptionValue Value)[]?> set = TrainingOptions.Assignments(
        "--set",
        "A setting for all schedules that have it, by PyTorch's name: T_max=50; can be repeated"
    );

    private readonly Option<long?> steps = Arguments.Whole("--steps", $"How many steps (default: {DefaultSteps})", 1, 1_000_000);

    private readonly Option<double?> lr = Arguments.Make<double?>(
        "--lr",
        "RATE",
        "The rate that the optimizer has (default: 1, so that most values are factors)",
        "a number of at least 0",
        TryRate
    );

    private readonly Option<long?> every = Arguments.Whole(
        "--every",
        $"Print every Nth value only (default: 1; in a terminal as many as make {RowsInATerminal} lines)",
        1,
        1_000_000
    );

    private readonly Pictured pictured = new();

    private readonly Option<string?> json = new("--json") { HelpName = "FILE", Description = "Write all values there as JSON" };

    private ScheduleCommand() { }

    public static Command Create(Screen screen)
    {
        var options = new ScheduleCommand();
        var command = new Command(Name, Description) { options.schedules, options.set, options.steps, options.lr, options.every };
        options.pictured.AddTo(command);
        command.Add(options.json);
        command.SetAction(parsed => options.Run(parsed, screen));
        return command;
    }

    /// <summary>What the help adds to the list of options.</summary>
    public static string Details =>
        $"""
            Examples:
              optim schedule cosine --set T_max=50 --steps 100
              optim schedule hf:cosine:num_warmup_steps=10 timm:step --chart
              optim schedule cosine linear:total_iters=20 step:step_size=30,gamma=0.5 --svg schedules.svg

            {SchedulerNames.Table}

            A rate below 0 is refused, also where schedulers add up to one in a ChainedScheduler; the error names the scheduler and
            the epoch. PyTorch goes on with negative rates.
            """;

    private int Run(ParseResult parsed, Screen screen)
    {
        var json = OutputFile.Checked("--json", parsed.GetValue(this.json));
        pictured.Check(parsed);
        var steps = (int)(parsed.GetValue(this.steps) ?? DefaultSteps);
        var lr = parsed.GetValue(this.lr) ?? 1;
        var curves = Asked(parsed).Select(each => ScheduleCurve.Of(each.Name, each.Schedule, lr, steps)).ToList();
        Print(screen, curves, (int)(parsed.GetValue(every) ?? (screen.IsLive ? (steps + RowsInATerminal - 1) / RowsInATerminal : 1)));
        pictured.Draw(parsed, SchedulePictures.Of(curves), screen);
        OutputFile.Write(json, () => ResultJson.Of(curves, lr, OptimCommand.Version), "values", screen);
        return 0;
    }

    private List<(string Name, Scheduling Schedule)> Asked(ParseResult parsed)
    {
        var given = parsed.GetValue(schedules)!.Select(NamedSettings.Parse).ToList();
        NamedSettings.RefuseTwice(given);
        var kinds = given.Select(each => (each.Label, Kind: Schedulers.Find(each.Name), each.Settings)).ToList();
        var forAll = parsed.GetValue(set) ?? [];
        NamedSettings.RefuseForNone(forAll, kinds.Select(each => each.Kind.Settings.Select(setting => setting.Name)));
        return
        [
            .. kinds.Select(each =>
                (
                    each.Label,
                    new Scheduling(
                        each.Kind,
                        NamedSettings.Merge(forAll, each.Settings, each.Kind.Settings.Select(setting => setting.Name))
                    )
                )
            ),
        ];
    }

    /// <summary>A line for a step, with a column for each schedule.</summary>
    private static void Print(Screen screen, List<ScheduleCurve> curves, int every)
    {
        var named = new List<(string Name, IReadOnlyList<double> Values)>();
        foreach (var curve in curves)
        {
            named.Add((curve.Name, curve.Rates));
            if (curve.MovesMomentum)
                named.Add(($"{curve.Name}, momentum", curve.Momenta));
        }
        var areShort = named.All(column => column.Name.Length < Column - 1);
        var columns = named
            .Select((column, i) => (column.Name, Head: areShort ? column.Name : FormattableString.Invariant($"[{i + 1}]"), column.Values))
            .ToList();
        foreach (var (name, letter, _) in columns.Where(column => column.Name != column.Head))
            screen.Say($"{letter}: {name}");
        screen.Say("  step" + string.Concat(columns.Select(column => column.Head.PadLeft(Column))));
        for (var step = 0; step < curves[0].Rates.Count; step += every)
            screen.Say(
                step.ToString(CultureInfo.InvariantCulture).PadLeft(6)
                    + string.Concat(columns.Select(column => Text.Rate(column.Values[step]).PadLeft(Column)))
            );
    }

    private static bool TryRate(string text, out double? rate)
    {
        var isOne = double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number);
        rate = number;
        return isOne && double.IsFinite(number) && number >= 0;
    }
}
