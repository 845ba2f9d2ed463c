using System.CommandLine;
using Optim.Cli.Data;
using Optim.Cli.Training;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Commands;

/// <summary><c>optim train</c>: its options, and what is done with them.</summary>
internal sealed class TrainCommand
{
    public const string Name = "train";

    private static readonly TrainingSettings Defaults = TrainingSettings.Defaults;

    private readonly Option<Rule?> optimizer = new("--optimizer")
    {
        HelpName = "NAME",
        Description = $"The rule: {RuleNames.Known}, in any case (default: {Defaults.Rule.Name})",
        CustomParser = result => FindRule(result.Tokens[^1].Value, result.AddError),
    };

    private readonly Option<(string Name, OptionValue Value)[]?> set = new("--set")
    {
        HelpName = "NAME=VALUE",
        Description = "An option of the rule by PyTorch's name: lr=1e-3, betas=0.9,0.99, amsgrad=true; can be repeated",
        Arity = ArgumentArity.OneOrMore,
        CustomParser = result => [.. result.Tokens.Select(token => Assignment(token.Value, result.AddError))],
    };

    private readonly Option<long?> epochs = Arguments.Whole(
        "--epochs",
        $"Times that every row is seen (default: {Defaults.Epochs})",
        1,
        100_000
    );

    private readonly Option<long?> batchSize = Arguments.Whole(
        "--batch-size",
        $"Rows of a batch (default: {Defaults.BatchSize})",
        1,
        Digits.TrainingRows
    );

    private readonly Option<int[]?> hidden = Arguments.Make<int[]>(
        "--hidden",
        "N,N,...",
        $"Sizes of the hidden layers (default: {string.Join(',', Defaults.Hidden)})",
        "whole numbers from 1 to 4096 with commas between them, at most 16",
        TrySizes
    );

    private readonly Option<long?> seed = Arguments.Whole(
        "--seed",
        $"Decides split, weights and batches: the same seed, the same run (default: {Defaults.Seed})",
        0,
        long.MaxValue
    );

    private readonly Option<string?> dtype = Arguments.Word(
        "--dtype",
        "Type of parameters and arithmetic (default: float32)",
        "float32",
        "float64"
    );

    private readonly Option<long?> threads = Arguments.Whole(
        "--threads",
        "Threads of the optimizer; the result does not depend on it (default: OPTIM_THREADS, or all cores; with torchsharp 1)",
        1,
        1024
    );

    private readonly Option<string?> backend = Arguments.Word(
        "--backend",
        "Who works out the gradients: this program over host arrays, or TorchSharp's autograd (default: host)",
        "host",
        "torchsharp"
    );

    private readonly Option<string?> json = new("--json") { HelpName = "FILE", Description = "Write the results there as JSON" };

    private readonly Option<string?> like = new("--like")
    {
        HelpName = "FILE",
        Description = "Repeat the runs recorded in FILE (with PyTorch: see golden/training_digits.json) and compare them",
    };

    private TrainCommand() { }

    public static Command Create(Screen screen, CancellationToken cancel)
    {
        var options = new TrainCommand();
        var command = new Command(Name, "Train a classifier on the handwritten digits that are part of this program, and test it")
        {
            options.optimizer,
            options.set,
            options.epochs,
            options.batchSize,
            options.hidden,
            options.seed,
            options.dtype,
            options.threads,
            options.backend,
            options.json,
            options.like,
        };
        command.SetAction(parsed => options.Run(parsed, screen, cancel));
        return command;
    }

    /// <summary>What the help adds to the list of options.</summary>
    public static string Details =>
        $"""
            Examples:
              optim train
              optim train --optimizer sgd --set lr=0.1 --set momentum=0.9 --hidden 64,32
              optim train --optimizer adam --set betas=0.9,0.99 --epochs 20 --json results.json

            Rules, and their options with the defaults:
            {string.Join('\n', Rules.all.Select(Describe))}
            """;

    private static string Describe(Rule rule) =>
        $"  {rule.Name}: {Text.Options(rule.OptionNames.Select(name => (name, rule.Read(rule.Defaults, name))))}";

    private int Run(ParseResult parsed, Screen screen, CancellationToken cancel)
    {
        CheckThreads();
        var json = parsed.GetValue(this.json);
        var like = parsed.GetValue(this.like);
        if (json is not null)
            CheckFile("--json", json);
        if (like is null)
            return Train(Settings(parsed), json, screen, cancel);
        if (!File.Exists(like))
            throw new CommandException($"--like {like}: there is no such file.");
        if (json is not null && Path.GetFullPath(json) == Path.GetFullPath(like))
            throw new CommandException($"--json {json} would overwrite the recording that --like reads.");
        foreach (var option in new Option[] { this.optimizer, this.set, this.epochs, this.batchSize, this.hidden, this.seed, this.dtype })
            if (parsed.GetResult(option) is not null)
                throw new CommandException($"{option.Name} cannot be given with --like: the recorded runs say what it is.");
        return Repeat(like, Settings(parsed), json, screen, cancel);
    }

    /// <summary>Refuses a wrong OPTIM_THREADS before anything is trained.</summary>
    private static void CheckThreads()
    {
        try
        {
            _ = Threads.Count;
        }
        catch (InvalidOperationException wrong)
        {
            throw new CommandException($"{wrong.Message}.");
        }
    }

    private TrainingSettings Settings(ParseResult parsed) =>
        Defaults with
        {
            Rule = parsed.GetValue(this.optimizer) ?? Defaults.Rule,
            Options = [.. parsed.GetValue(this.set) ?? []],
            Epochs = (int)(parsed.GetValue(this.epochs) ?? Defaults.Epochs),
            BatchSize = (int)(parsed.GetValue(this.batchSize) ?? Defaults.BatchSize),
            Hidden = parsed.GetValue(this.hidden) is { Length: > 0 } hidden ? [.. hidden] : Defaults.Hidden,
            Seed = parsed.GetValue(this.seed) ?? Defaults.Seed,
            DType = parsed.GetValue(this.dtype) is { } dtype ? DTypes.Parse(dtype) : Defaults.DType,
            ThreadCount = (int)(parsed.GetValue(this.threads) ?? 0),
            Backend = parsed.GetValue(this.backend) == "torchsharp" ? Backend.TorchSharp : Backend.Host,
        };

    private static int Train(TrainingSettings settings, string? json, Screen screen, CancellationToken cancel)
    {
        foreach (var twice in settings.Options.GroupBy(option => option.Name).Where(group => group.Count() > 1))
            throw new CommandException($"--set {twice.Key} is given {twice.Count()} times.");
        settings.Rule.Replace(settings.Rule.Defaults, settings.Options.Select(option => KeyValuePair.Create(option.Name, option.Value))); // refuses wrong ones
        var result = screen.Track(settings.Epochs, report => Trainer.Run(settings, report, cancel));
        screen.Show(result);
        if (result.FirstNonFinite > 0)
            screen.Warn($"the loss was not finite from step {result.FirstNonFinite} on.");
        Save(json, () => ResultJson.Of(result, OptimCommand.Version), screen);
        return result.Interrupted ? OptimCommand.Interrupted : 0;
    }

    private static int Repeat(string path, TrainingSettings settings, string? json, Screen screen, CancellationToken cancel)
    {
        var runs = RecordedRun.ReadAll(path);
        var report = screen.Track(tell => Like.Run(runs, settings.Backend, settings.ThreadCount, tell, cancel));
        screen.Show(report);
        Save(json, () => ResultJson.Of(report, path, settings, OptimCommand.Version), screen);
        return report.Interrupted ? OptimCommand.Interrupted
            : report.Passed ? 0
            : OptimCommand.Failed;
    }

    private static void Save(string? path, Func<byte[]> content, Screen screen)
    {
        if (path is null)
            return;
        AtomicFile.Write(path, content());
        screen.Say($"results in {path}");
    }

    private static void CheckFile(string option, string path)
    {
        try
        {
            AtomicFile.Check(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new CommandException($"{option} {path}: {e.Message.TrimEnd('.')}.");
        }
    }

    private static Rule? FindRule(string name, Action<string> wrong)
    {
        try
        {
            return Rules.find(name);
        }
        catch (ArgumentException e)
        {
            wrong($"--optimizer: {e.Message}.");
            return null;
        }
    }

    private static (string, OptionValue) Assignment(string text, Action<string> wrong)
    {
        var name = text.Split('=')[0];
        if (name.Length == text.Length || name.Trim().Length == 0)
            wrong($"--set {text}: it must be NAME=VALUE, such as lr=1e-3.");
        else if (OptionText.TryParse(text[(name.Length + 1)..], out var value))
            return (name.Trim(), value);
        else
            wrong($"--set {text}: the value must be a number, two numbers with a comma between them, True, False or None.");
        return (name, OptionValue.None);
    }

    private static bool TrySizes(string text, out int[]? sizes)
    {
        var numbers = text.Split(',').Select(number => Arguments.Whole(number.Trim(), 1, 4096)).ToArray();
        sizes = [.. numbers.Select(number => (int)(number ?? 0))];
        return numbers.Length <= 16 && numbers.All(number => number is not null);
    }
}
