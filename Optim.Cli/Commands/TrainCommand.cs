using System.CommandLine;
using Optim.Checkpoints;
using Optim.Cli.Pictures;
using Optim.Cli.Training;
using Optim.Core;
using Optim.Distributed;
using Optim.Kernels;

namespace Optim.Cli.Commands;

/// <summary><c>optim train</c>: its options, and what is done with them.</summary>
internal sealed class TrainCommand
{
    public const string Name = "train";

    public const string Description =
        "Train a classifier, on the handwritten digits that are part of this program or on other data, and test it";

    private static readonly TrainingSettings Defaults = TrainingSettings.Defaults;

    private readonly Option<string?> optimizer = new("--optimizer")
    {
        HelpName = "NAME",
        Description =
            $"The rule: {RuleNames.Known}, in any case, or a chain of transforms or a wrapped rule as it is written, chain(...) (default: {Defaults.Rule.Name})",
    };

    private readonly Option<(string Name, OptionValue Value)[]?> set = TrainingOptions.Assignments(
        "--set",
        "An option of the rule by PyTorch's name: lr=1e-3, betas=0.9,0.99, amsgrad=true; can be repeated"
    );

    private readonly Option<string?> stateStorage = Arguments.Word(
        "--state-storage",
        "How the optimizer keeps its state for parameters of at least 4096 elements: the option state_storage of rules that go element by element; --set state_storage_minimum and state_storage_seed go with it (default: float32)",
        "float32",
        "bfloat16",
        "blockwise8"
    );

    private readonly TrainingOptions training = new();

    private readonly Pictured pictured = new();

    private readonly Option<string?> json = new("--json") { HelpName = "FILE", Description = "Write the results there as JSON" };

    private readonly Option<string?> like = new("--like")
    {
        HelpName = "FILE",
        Description = "Repeat the runs recorded in FILE (with PyTorch: see golden/training_digits.json) and compare them",
    };

    private readonly Option<string?> checkpoint = new("--checkpoint")
    {
        HelpName = "FILE",
        Description = "Save all of the run there after each epoch, as .pt",
    };

    private readonly Option<bool> resume = new("--resume")
    {
        Description = "Go on from --checkpoint, if it is there, with the same bits as a run that was never stopped",
    };

    private readonly Option<long?> ranks = Arguments.Whole(
        "--ranks",
        "Processes that train together; they are started by an MPI launcher, mpirun, which must be there",
        1,
        4096
    );

    private readonly Option<long?> leaves = Arguments.Whole(
        "--leaves",
        "Cut each batch into so many leaves, a power of two for each rank, and sum their gradients by one tree: the same losses on any number of ranks (default with --ranks: one for each)",
        1,
        1 << 20
    );

    private TrainCommand() { }

    public static Command Create(Screen screen, CancellationToken cancel)
    {
        var options = new TrainCommand();
        var command = new Command(Name, Description) { options.optimizer, options.set, options.stateStorage };
        options.training.AddTo(command);
        options.pictured.AddTo(command);
        command.Add(options.json);
        command.Add(options.checkpoint);
        command.Add(options.resume);
        command.Add(options.like);
        command.Add(options.ranks);
        command.Add(options.leaves);
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
              optim train --optimizer "chain(clip_by_global_norm(1), scale_by_adam, add_decayed_weights(0.1), scale(-1e-3))" --scheduler hf:cosine --warmup 100
              optim train --optimizer "lookahead(5, 0.5, adamw)" --set lookahead.k=10
              optim train --optimizer lbfgs --set line_search_fn=strong_wolfe --batch-size 1437
              optim train --scheduler cosine --svg curves.svg
              optim train --scheduler hf:cosine --warmup 50
              optim train --group "*.bias:weight_decay=0" --group "layer1.weight:lr=1e-4"
              optim train --ema 0.99 --clip 1.0 --scheduler cosine
              optim train --ranks 4 --leaves 8
              optim train --state-storage blockwise8

            Rules, and their options with the defaults:
            {string.Join('\n', Algorithms.All.Select(Describe))}

            {SchedulerNames.Table}
            """;

    private static string Describe(Algorithm rule) =>
        $"  {rule.Name}: {Text.Options(rule.OptionNames.Select(name => (name, rule.Read(rule.Defaults, name))))}";

    private (string, OptionValue)[] Storage(ParseResult parsed) =>
        parsed.GetValue(stateStorage) is { } format ? [("state_storage", format)] : [];

    private int Run(ParseResult parsed, Screen screen, CancellationToken cancel)
    {
        var settings = training.Settings(parsed) with
        {
            Rule = parsed.GetValue(optimizer) is { } name ? RuleNames.Find(name, "--optimizer: ") : Defaults.Rule,
            Options = [.. parsed.GetValue(set) ?? [], .. Storage(parsed)],
            Checkpoint = OutputFile.Checked("--checkpoint", parsed.GetValue(checkpoint)),
            Resume = parsed.GetValue(resume),
        };
        var json = OutputFile.Checked("--json", parsed.GetValue(this.json));
        pictured.Check(parsed);
        if (settings is { Resume: true, Checkpoint: null })
            throw new CommandException("--resume needs --checkpoint FILE, from which to go on.");
        if (CheckpointFile.IsSafetensors(settings.Checkpoint ?? ""))
            throw new CommandException($"--checkpoint {settings.Checkpoint}: .safetensors files hold tensors only; name it .pt.");
        if (parsed.GetValue(this.like) is not { } like)
            return Train(parsed, settings, json, screen, cancel);
        if (!File.Exists(like))
            throw new CommandException($"--like {like}: there is no such file.");
        if (json is not null && Path.GetFullPath(json) == Path.GetFullPath(like))
            throw new CommandException($"--json {json} would overwrite the recording that --like reads.");
        foreach (
            var option in training
                .OfTheRun.Prepend(stateStorage)
                .Prepend(set)
                .Prepend(optimizer)
                .Append(checkpoint)
                .Append(resume)
                .Append(ranks)
                .Append(leaves)
        )
            if (parsed.GetResult(option) is { Implicit: false })
                throw new CommandException($"{option.Name} cannot be given with --like: the recorded runs say what it is.");
        foreach (var option in pictured.Options)
            if (parsed.GetResult(option) is { Implicit: false })
                throw new CommandException($"{option.Name} cannot be given with --like, which draws nothing.");
        return Repeat(like, settings, json, screen, cancel);
    }

    private int Train(ParseResult parsed, TrainingSettings settings, string? json, Screen screen, CancellationToken cancel)
    {
        settings.Check();
        if (parsed.GetValue(leaves) is null && parsed.GetValue(ranks) is null)
            return Train(parsed, settings, json, screen, Trained);
        var count = (int)(parsed.GetValue(ranks) ?? 1);
        var cut = (int)(parsed.GetValue(leaves) ?? count);
        if (count > 1)
        {
            CheckLeaves(cut, count, settings);
            return RankLauncher.Run(
                count,
                WithoutRanks(parsed, cut, Math.Max(1, settings.ThreadCount / count)),
                Math.Max(1, settings.ThreadCount / count),
                parsed.InvocationConfiguration.Output,
                parsed.InvocationConfiguration.Error,
                cancel
            );
        }
        using var world = World.Join();
        CheckLeaves(cut, world.Size, settings);
        settings = settings with { Leaves = cut, World = world };
        // One rank speaks and writes for all.
        if (world.Rank == 0)
            return Train(parsed, settings, json, screen, Trained);
        Trainer.Run(settings);
        return 0;

        // Ranks that stop by themselves would leave the others waiting.
        TrainingResult Trained(TrainingSettings settings, Action<TrainingProgress> report) =>
            Trainer.Run(settings, report, settings.World is { Size: > 1 } ? CancellationToken.None : cancel);
    }

    /// <summary>Leaves of which each rank has a power of two, and every batch a row for each.</summary>
    private static void CheckLeaves(int leaves, int ranks, TrainingSettings settings)
    {
        if (leaves % ranks != 0 || !int.IsPow2(leaves / ranks))
            throw new CommandException(
                FormattableString.Invariant(
                    $"--leaves is '{leaves}'; on {ranks} ranks it must be {ranks} times a power of two: {ranks}, {2 * ranks}, {4 * ranks}, ..."
                )
            );
        var last = settings.Data.TrainingRows % settings.BatchSize;
        var fewest = last == 0 ? settings.BatchSize : Math.Min(settings.BatchSize, last);
        if (leaves > fewest)
            throw new CommandException(
                FormattableString.Invariant(
                    $"--leaves is '{leaves}'; it must be at most {fewest}, the rows of {(fewest == settings.BatchSize ? "a batch" : "the last batch of an epoch")}, of which each leaf needs one."
                )
            );
    }

    /// <summary>The same command for one of its ranks, with its share of the threads.</summary>
    private IEnumerable<string> WithoutRanks(ParseResult parsed, int leaves, int threads)
    {
        var words = parsed.Tokens.Select(token => token.Value).ToList();
        foreach (var name in (string[])[ranks.Name, this.leaves.Name, TrainingOptions.ThreadsOption])
            if (words.LastIndexOf(name) is >= 0 and var at)
                words.RemoveRange(at, 2);
        return
        [
            .. words,
            this.leaves.Name,
            leaves.ToString(System.Globalization.CultureInfo.InvariantCulture),
            TrainingOptions.ThreadsOption,
            threads.ToString(System.Globalization.CultureInfo.InvariantCulture),
        ];
    }

    private int Train(
        ParseResult parsed,
        TrainingSettings settings,
        string? json,
        Screen screen,
        Func<TrainingSettings, Action<TrainingProgress>, TrainingResult> train
    )
    {
        var result = screen.Track(null, settings.Epochs, report => train(settings, report));
        pictured.Draw(parsed, RunPictures.Of(settings, [(settings.Rule.Name, result.History)]), screen);
        screen.Show(result);
        OutputFile.Write(json, () => ResultJson.Of(result, OptimCommand.Version), "results", screen);
        return result.Interrupted ? OptimCommand.Interrupted : 0;
    }

    private static int Repeat(string path, TrainingSettings settings, string? json, Screen screen, CancellationToken cancel)
    {
        var runs = RecordedRun.ReadAll(path);
        var report = screen.Track(tell => Replay.Run(runs, settings.Backend, settings.ThreadCount, tell, cancel));
        screen.Show(report);
        OutputFile.Write(json, () => ResultJson.Of(report, path, settings, OptimCommand.Version), "results", screen);
        return report.Interrupted ? OptimCommand.Interrupted
            : report.Passed ? 0
            : OptimCommand.Failed;
    }
}
