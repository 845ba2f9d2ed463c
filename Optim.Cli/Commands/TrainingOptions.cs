using System.CommandLine;
using System.CommandLine.Parsing;
using Optim.Cli.Data;
using Optim.Cli.Training;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Commands;

/// <summary>The options that all commands that train have: the data, the model, and how long and by what it is trained.</summary>
internal sealed class TrainingOptions
{
    private static readonly TrainingSettings Defaults = TrainingSettings.Defaults;

    private readonly Option<string?> data = new("--data")
    {
        HelpName = "NAME|FOLDER",
        Description =
            $"What to learn: {Digits.Name} (part of this program), {DataSets.FashionMnist} (Debian's dataset-fashion-mnist), or a folder of IDX files "
            + $"(default: {Digits.Name})",
    };

    private readonly Option<long?> epochs = Arguments.Whole(
        "--epochs",
        $"Times that every row is seen (default: {Defaults.Epochs}; 5 for 10000 rows and more)",
        1,
        100_000
    );

    private readonly Option<long?> batchSize = Arguments.Whole(
        "--batch-size",
        $"Rows of a batch (default: {Defaults.BatchSize})",
        1,
        int.MaxValue
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

    /// <summary>The option that says how many threads there are, over all ranks.</summary>
    public const string ThreadsOption = "--threads";

    private readonly Option<long?> threads = Arguments.Whole(
        ThreadsOption,
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

    private readonly Option<string?> scheduler = new("--scheduler")
    {
        HelpName = "NAME",
        Description = $"A schedule of the learning rate over the steps: {SchedulerNames.Known} (see below)",
    };

    private readonly Option<(string Name, OptionValue Value)[]?> setScheduler = Assignments(
        "--set-scheduler",
        "A setting of the schedule by PyTorch's name: T_max=500; can be repeated"
    );

    private readonly Option<long?> warmup = Arguments.Whole(
        "--warmup",
        "Steps of the schedule's warm-up: its num_warmup_steps, warmup_t or warmup_iters",
        0,
        int.MaxValue
    );

    private readonly Option<GroupSetting[]?> group = new("--group")
    {
        HelpName = "PATTERN:NAME=VALUE,...",
        Description =
            "Options of the rule for parameters whose names match, such as \"*.bias:weight_decay=0\" or \"layer1.*:lr=1e-4\"; can be repeated",
        Arity = ArgumentArity.OneOrMore,
        CustomParser = Groups,
    };

    private readonly Option<string?> groupOrder = Arguments.Word(
        "--group-order",
        "Which --group counts for a parameter that several match (default: that is refused)",
        "first",
        "last"
    );

    private readonly Option<double?> ema = Arguments.Number(
        "--ema",
        "DECAY",
        "Keep an exponential moving average of the parameters, and test it too: 0.99",
        0,
        1
    );

    private readonly Option<double?> clip = Arguments.Number(
        "--clip",
        "NORM",
        "Scale gradients down to this norm, all of them together, before each step: 1.0",
        double.Epsilon,
        double.MaxValue
    );

    /// <summary>Those that say what is trained and how: a recorded run says that itself.</summary>
    public IEnumerable<Option> OfTheRun =>
        [data, epochs, batchSize, hidden, seed, dtype, scheduler, setScheduler, warmup, group, groupOrder, ema, clip];

    public void AddTo(Command command)
    {
        foreach (var option in OfTheRun.Append(threads).Append(backend))
            command.Add(option);
    }

    /// <summary>What they say.</summary>
    /// <exception cref="CommandException">OPTIM_THREADS, or an option, makes no sense.</exception>
    public TrainingSettings Settings(ParseResult parsed)
    {
        CheckThreads();
        var settings = Defaults with
        {
            Data = parsed.GetValue(data) is { } text ? Load(text) : Defaults.Data,
            Schedule = Schedule(parsed),
            Groups = [.. parsed.GetValue(group) ?? []],
            GroupOrder = parsed.GetValue(groupOrder),
            Ema = parsed.GetValue(ema),
            Clip = parsed.GetValue(clip),
            Epochs = (int)(parsed.GetValue(epochs) ?? 0),
            BatchSize = (int)(parsed.GetValue(batchSize) ?? Defaults.BatchSize),
            Hidden = parsed.GetValue(hidden) is { Length: > 0 } sizes ? [.. sizes] : Defaults.Hidden,
            Seed = parsed.GetValue(seed) ?? Defaults.Seed,
            DType = parsed.GetValue(dtype) is { } name ? DTypes.Parse(name) : Defaults.DType,
            ThreadCount = (int)(parsed.GetValue(threads) ?? 0),
            Backend = parsed.GetValue(backend) == "torchsharp" ? Backend.TorchSharp : Backend.Host,
        };
        if (settings is { Groups: [], GroupOrder: { } order })
            throw new CommandException($"--group-order {order}: there is no --group that could have an order.");
        if ((long)settings.Epochs * settings.StepsPerEpoch > int.MaxValue)
            throw new CommandException(
                FormattableString.Invariant(
                    $"--epochs is '{settings.Epochs}'; with {settings.StepsPerEpoch} steps an epoch that is more than 2147483647 steps."
                )
            );
        if (settings.BatchSize > settings.Data.TrainingRows)
            throw new CommandException(
                FormattableString.Invariant(
                    $"--batch-size is '{settings.BatchSize}'; it must be a whole number from 1 to {settings.Data.TrainingRows}, the rows to train on."
                )
            );
        return settings;
    }

    /// <summary>An option that can be repeated, each time NAME=VALUE.</summary>
    public static Option<(string Name, OptionValue Value)[]?> Assignments(string name, string description) =>
        new(name)
        {
            HelpName = "NAME=VALUE",
            Description = description,
            Arity = ArgumentArity.OneOrMore,
            CustomParser = result => Assignments(result, name),
        };

    private Scheduling? Schedule(ParseResult parsed)
    {
        var settings = parsed.GetValue(setScheduler) ?? [];
        var steps = parsed.GetValue(warmup);
        if (parsed.GetValue(scheduler) is { } name)
        {
            var kind = Schedulers.Find(name);
            return new Scheduling(kind, steps is { } given ? [.. settings, (Warmup(kind, given, settings), given)] : settings);
        }
        if (steps is not null)
            throw new CommandException(FormattableString.Invariant($"--warmup {steps}: there is no --scheduler that it could belong to."));
        return settings.Length == 0
            ? null
            : throw new CommandException(
                $"--set-scheduler {settings[0].Name}={settings[0].Value}: there is no --scheduler that it could be a setting of."
            );
    }

    /// <summary>The setting of a schedule that says how long its warm-up is.</summary>
    private static string Warmup(SchedulerKind kind, long steps, (string Name, OptionValue Value)[] settings)
    {
        var name =
            Scheduling.Warmups.FirstOrDefault(name => kind.Settings.Any(setting => setting.Name == name))
            ?? throw new CommandException(
                FormattableString.Invariant($"--warmup {steps}: {kind.ShortName} has no warm-up, as hf:cosine or timm:cosine have.")
            );
        return settings.Any(setting => setting.Name == name)
            ? throw new CommandException(
                FormattableString.Invariant($"--warmup {steps}: --set-scheduler {name} says it, too; give one of them.")
            )
            : name;
    }

    private static DataSet Load(string text)
    {
        try
        {
            return DataSets.Load(text);
        }
        catch (InvalidDataException e)
        {
            throw new CommandException($"--data: {e.Message}");
        }
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

    private static (string, OptionValue)[] Assignments(ArgumentResult result, string option)
    {
        try
        {
            var given = result.Tokens.Select(token => NamedSettings.Assignment($"{option} {token.Value}", token.Value)).ToArray();
            foreach (var twice in given.GroupBy(each => each.Name).Where(group => group.Count() > 1))
                result.AddError($"{option} {twice.Key} is given {twice.Count()} times.");
            return given;
        }
        catch (CommandException e)
        {
            result.AddError(e.Message);
            return [];
        }
    }

    private static GroupSetting[] Groups(ArgumentResult result)
    {
        try
        {
            return [.. result.Tokens.Select(token => GroupSetting.Parse(token.Value))];
        }
        catch (CommandException e)
        {
            result.AddError(e.Message);
            return [];
        }
    }

    private static bool TrySizes(string text, out int[]? sizes)
    {
        var numbers = text.Split(',').Select(number => Arguments.Whole(number.Trim(), 1, 4096)).ToArray();
        sizes = [.. numbers.Select(number => (int)(number ?? 0))];
        return numbers.Length <= 16 && numbers.All(number => number is not null);
    }
}
