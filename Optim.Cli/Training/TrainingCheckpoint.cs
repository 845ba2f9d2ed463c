using System.Globalization;
using Optim.Cli.Data;
using Optim.Core;
using Optim.Distributed;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>
/// The file from which a training run goes on with the same bits: its parameters, its optimizers, whatever else takes part in it, and what
/// was seen so far. The order of the rows follows from the seed and the steps taken.
/// </summary>
internal static class TrainingCheckpoint
{
    private const string Settings = "settings";

    public static void Save(string path, TrainingRun run, TrainingSettings settings)
    {
        (string, object?)[] parts = [.. Parts(run).Select(part => (part.Name, (object?)part.State)), (Settings, Describe(settings))];
        if (run.Ranks is { } ranks)
            ShardedCheckpoint.Save(ranks.World, path, parts);
        else
            Checkpoint.Save(path, parts);
    }

    /// <summary>Goes on from the file; on any error nothing has changed.</summary>
    /// <exception cref="InvalidDataException">The file is of a run with other settings.</exception>
    public static void Load(string path, TrainingRun run, TrainingSettings settings)
    {
        if (Checkpoint.Read(path) is not Tree.Map { Item: var map } || !map.TryGetValue(Settings, out var recorded))
            throw new InvalidDataException($"{path} is no checkpoint of a training run of this program");
        var own = Describe(settings).AsMap();
        foreach (var (key, value) in own.Entries)
            if (
                recorded is not Tree.Map { Item: var theirs }
                || !(theirs.TryGetValue(key, out var other) ? other : Tree.None).Equals(value)
            )
                throw new InvalidDataException(
                    $"{path} is of a run with another {key.text}; --resume goes on with the settings that it was begun with, and only --epochs may differ"
                );
        (string, object)[] parts = [.. Parts(run).Select(part => (part.Name, (object)part.State))];
        if (run.Ranks is { } ranks)
            ShardedCheckpoint.Load(ranks.World, path, parts);
        else
            Checkpoint.Load(path, parts);
    }

    private static IEnumerable<(string Name, IStateful State)> Parts(TrainingRun run) =>
        [
            ("model", new ParametersState(run.Model.Parameters)),
            .. run.Optimizers.Select(
                (optimizer, i) =>
                    (
                        i == 0 ? "optimizer" : string.Create(CultureInfo.InvariantCulture, $"optimizer{i + 1}"),
                        run.Ranks?.Optimizers[i] ?? (IStateful)optimizer
                    )
            ),
            .. run.Schedulers.Select(
                (scheduler, i) =>
                    (i == 0 ? "scheduler" : string.Create(CultureInfo.InvariantCulture, $"scheduler{i + 1}"), (IStateful)scheduler)
            ),
            .. run.Parts,
            ("history", new HistoryState(run.History)),
        ];

    /// <summary>What must not change from one part of a run to the next.</summary>
    private static Tree Describe(TrainingSettings settings) =>
        Tree.Dict(
            ("optimizer", settings.Rule.Name),
            (
                "options",
                string.Join(", ", settings.Options.Select(option => $"{option.Name}={option.Value}").Order(StringComparer.Ordinal))
            ),
            ("schedule", settings.Schedule is { } schedule ? $"{schedule.Kind.Name}({string.Join(", ", schedule.Settings)})" : "none"),
            (
                "groups",
                string.Join("; ", settings.Groups.Select(group => group.ToString()).Append(settings.GroupOrder ?? ""))
                    is var groups
                        and not ""
                    ? groups
                    : Tree.None
            ),
            ("ema", settings.Ema is { } ema ? (Tree)ema : Tree.None),
            ("clip", settings.Clip is { } clip ? (Tree)clip : Tree.None),
            ("backend", settings.Backend.ToString()),
            ("dtype", settings.DType.Name()),
            ("seed", (long)settings.Seed),
            ("batch", settings.BatchSize),
            ("leaves", settings.Leaves is { } leaves ? (Tree)leaves : Tree.None),
            ("hidden", Tree.ListOf(settings.Hidden.Select(width => (Tree)width))),
            ("data", Tree.ListOf([(Tree)settings.Data.Count, settings.Data.TrainingRows, settings.Data.Features, settings.Data.Classes]))
        );

    private sealed class HistoryState(TrainingHistory history) : IStateful
    {
        public Tree SaveState() =>
            Tree.Dict(
                ("losses", Numbers(history.Losses)),
                ("rates", Tree.ListOf(history.Rates.Select(Numbers))),
                ("accuracy_steps", Tree.ListOf(history.Accuracies.Select(point => (Tree)point.Steps))),
                ("accuracies", Numbers(history.Accuracies.Select(point => point.Accuracy)))
            );

        public PreparedLoad PrepareLoad(Tree state, bool strict)
        {
            var losses = Doubles(state["losses"]);
            var rates = state["rates"].AsItems().Select(Doubles).ToArray();
            var steps = state["accuracy_steps"].AsItems().Select(step => (int)step);
            var accuracies = steps.Zip(Doubles(state["accuracies"]), (step, accuracy) => new AccuracyPoint(step, accuracy)).ToArray();
            if (rates.Length != history.Rates.Count || rates.Any(rate => rate.Length != losses.Length))
                throw new ArgumentException("the history is not that of these optimizers");
            return new(LoadReport.Empty, () => history.Restore(losses, rates, accuracies));
        }

        private static Tree Numbers(IEnumerable<double> numbers) => Tree.ListOf(numbers.Select(number => (Tree)number));

        private static double[] Doubles(Tree tree) => [.. tree.AsItems().Select(number => (double)number)];
    }
}
