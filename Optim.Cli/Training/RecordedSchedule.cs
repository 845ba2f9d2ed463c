using System.Text.Json;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Schedules of recorded runs: those of the catalogue, and a sequence of a warm-up and an exponential one.</summary>
internal static class RecordedSchedule
{
    private const string Sequence = "SequentialLR";

    /// <summary>Whether there is one of that name here.</summary>
    public static bool Has(string name) => name == Sequence || Schedulers.Names.Contains(name);

    /// <summary>The scheduler of an optimizer as it was recorded.</summary>
    /// <param name="name">The name of its class.</param>
    /// <param name="arguments">The arguments of its constructor, by name; of SequentialLR those of its two schedules, and the milestones.</param>
    /// <param name="optimizer">Whose rates it writes.</param>
    /// <exception cref="OptionException">An argument is unknown, missing or not allowed.</exception>
    public static LRScheduler Create(string name, JsonElement arguments, Optimizer optimizer) =>
        name == Sequence
            ? new SequentialLR(
                optimizer,
                [
                    Schedulers.Create("LinearLR", optimizer, OptionJson.ReadAll(Argument(arguments, "warmup"))),
                    Schedulers.Create("ExponentialLR", optimizer, OptionJson.ReadAll(Argument(arguments, "then"))),
                ],
                [.. Argument(arguments, "milestones").EnumerateArray().Select(milestone => milestone.GetInt32())]
            )
            : Schedulers.Create(name, optimizer, OptionJson.ReadAll(arguments));

    private static JsonElement Argument(JsonElement arguments, string name) =>
        arguments.TryGetProperty(name, out var value) && value.ValueKind is JsonValueKind.Object or JsonValueKind.Array
            ? value
            : throw new InvalidDataException($"A recorded {Sequence} has no {name} among its scheduler_args.");
}
