using System.Text.Json;

namespace Optim.Cli.Training;

/// <summary>Schedules of recorded runs.</summary>
internal static class RecordedSchedule
{
    /// <summary>Whether there is one of that name here.</summary>
    public static bool Has(string name) => Schedulers.Names.Contains(name);

    /// <summary>The scheduler of an optimizer as it was recorded.</summary>
    /// <param name="name">The name of its class.</param>
    /// <param name="arguments">The arguments of its constructor, by name.</param>
    /// <param name="optimizer">Whose rates it writes.</param>
    public static LRScheduler Create(string name, JsonElement arguments, Optimizer optimizer) =>
        Schedulers.Create(name, optimizer, OptionJson.ReadAll(arguments));
}
