using System.CommandLine;
using Optim.Cli.Pictures;
using Optim.Cli.Training;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary><c>optim race</c>: several optimizers on the same data, from the same weights, over the same batches.</summary>
internal sealed class RaceCommand
{
    public const string Name = "race";

    public const string Description = "Train the same model by several optimizers, one after the other, and compare them";

    /// <summary>What its arguments are called.</summary>
    public const string Optimizers = "OPTIMIZER";

    private readonly Argument<string[]> optimizers = new(Optimizers)
    {
        Description = "Rules, each with options of its own if need be: adam sgd:lr=0.1,momentum=0.9",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<(string Name, OptionValue Value)[]?> set = TrainingOptions.Assignments(
        "--set",
        "An option for all rules that have it, by PyTorch's name: weight_decay=0; can be repeated"
    );

    private readonly TrainingOptions training = new();

    private readonly Pictured pictured = new();

    private readonly Option<string?> json = new("--json") { HelpName = "FILE", Description = "Write the results there as JSON" };

    private RaceCommand() { }

    public static Command Create(Screen screen, CancellationToken cancel)
    {
        var options = new RaceCommand();
        var command = new Command(Name, Description) { options.optimizers, options.set };
        options.training.AddTo(command);
        options.pictured.AddTo(command);
        command.Add(options.json);
        command.SetAction(parsed => options.Run(parsed, screen, cancel));
        return command;
    }

    /// <summary>What the help adds to the list of options.</summary>
    public static string Details =>
        $"""
            Examples:
              optim race adam sgd:lr=0.1,momentum=0.9 rmsprop
              optim race adamw:lr=1e-3 adamw:lr=1e-2 adamw:lr=0.1 --epochs 20 --svg race.svg

            The rules and their options: optim train --help

            {SchedulerNames.Table}
            """;

    private int Run(ParseResult parsed, Screen screen, CancellationToken cancel)
    {
        var common = training.Settings(parsed);
        var json = OutputFile.Checked("--json", parsed.GetValue(this.json));
        pictured.Check(parsed);
        var runs = Runs(parsed, common);
        var results = new List<(string Name, TrainingResult Result)>();
        foreach (var (name, settings) in runs)
        {
            if (cancel.IsCancellationRequested)
                break;
            var result = screen.Track(name, settings.Epochs, report => Trainer.Run(settings, report, cancel));
            results.Add((name, result));
        }
        pictured.Draw(parsed, RunPictures.Of(common, [.. results.Select(run => (run.Name, run.Result.History))]), screen);
        screen.Show(results);
        OutputFile.Write(json, () => ResultJson.Of(results, OptimCommand.Version), "results", screen);
        return cancel.IsCancellationRequested ? OptimCommand.Interrupted : 0;
    }

    /// <summary>One run for each optimizer; everything is checked before the first.</summary>
    private List<(string Name, TrainingSettings Settings)> Runs(ParseResult parsed, TrainingSettings common)
    {
        var given = parsed.GetValue(optimizers)!.Select(NamedSettings.Parse).ToList();
        NamedSettings.RefuseTwice(given);
        var runs = given.Select(each => (each.Label, Rule: RuleNames.Find(each.Name), each.Settings)).ToList();
        var forAll = parsed.GetValue(set) ?? [];
        NamedSettings.RefuseForNone(forAll, runs.Select(run => run.Rule.OptionNames.AsEnumerable()));
        return
        [
            .. runs.Select(run =>
            {
                var options = NamedSettings.Merge(forAll, run.Settings, run.Rule.OptionNames);
                var settings = common with { Rule = run.Rule, Options = [.. options] };
                settings.Check();
                return (run.Label, settings);
            }),
        ];
    }
}
