using System.Globalization;
using Optim.Core;

namespace Optim;

/// <summary>The options that a group takes over from a state dict.</summary>
/// <param name="Options">The rule's record.</param>
/// <param name="Extras">Entries of schedulers.</param>
/// <param name="Custom">Keys of the user's own.</param>
internal sealed record LoadedOptions(
    IOptimizerOptions Options,
    OrderedDictionary<string, OptionValue> Extras,
    OrderedDictionary<string, OptionValue> Custom
)
{
    /// <summary>What a group takes over from the saved groups that hold its parameters; null where it keeps its own.</summary>
    /// <exception cref="ArgumentException">It is strict, and the saved groups differ, or have keys that are not known.</exception>
    public static LoadedOptions? Of(
        Algorithm algorithm,
        IReadOnlyList<ParameterGroup> groups,
        int group,
        StateDict dict,
        IReadOnlyList<int> saved,
        bool strict,
        LoadedNames findings
    )
    {
        var read = saved.Select(number => Read(algorithm, groups[group], dict.ParamGroups[number], strict, findings)).ToList();
        for (var i = 1; i < read.Count; i++)
            if (Difference(algorithm, read[0], read[i]) is { } key)
                return strict
                    ? throw new ArgumentException(
                        string.Create(
                            CultureInfo.InvariantCulture,
                            $"the parameters of group {group} are in the groups {saved[0]} and {saved[i]} of the loaded state dict, which differ in {key}: {read[0].Of(algorithm, key)} and {read[i].Of(algorithm, key)}. "
                        ) + "strict: false leaves the group its own options, matchBy: Order goes by order as PyTorch does"
                    )
                    : null;
        return read.FirstOrDefault();
    }

    /// <summary>The options of a group of the dict; what it lacks, as older ones do, is at its default. Keys of one's own that it lacks stay.</summary>
    private static LoadedOptions Read(Algorithm algorithm, ParameterGroup before, GroupState saved, bool strict, LoadedNames findings)
    {
        var extras = new OrderedDictionary<string, OptionValue>();
        var custom = new OrderedDictionary<string, OptionValue>(before.Custom);
        var options = new List<KeyValuePair<string, OptionValue>>();
        foreach (var (key, value) in saved)
            if (StorageFields.has(key))
                continue;
            else if (algorithm.Has(key))
                options.AddRange(algorithm.IsFixed(key) ? [] : [KeyValuePair.Create(key, value)]);
            else if (ParameterGroup.IsSchedulerKey(key))
                extras[key] = value;
            else if (custom.ContainsKey(key))
                custom[key] = value;
            else if (strict)
                throw new OptionException(
                    $"{algorithm.Name} has no option '{key}', which a group of the loaded state dict has{Names.didYouMean(key, algorithm.OptionNames)} "
                        + $"It has: {string.Join(", ", algorithm.OptionNames)}. A key of one's own is loaded into groups that have it, "
                        + $"as by Custom = {{ [\"{key}\"] = ... }}; strict: false leaves it out",
                    key
                );
            else
                findings.Unexpected.Add(key);
        // How state is kept is the optimizer's choice: what is loaded is narrowed or widened.
        foreach (var key in StorageFields.names.Where(algorithm.Has))
            options.Add(KeyValuePair.Create(key, before[key]));
        return new(algorithm.Replace(algorithm.Defaults, options), extras, custom);
    }

    /// <summary>A key in which two differ; null when there is none.</summary>
    private static string? Difference(Algorithm algorithm, LoadedOptions a, LoadedOptions b) =>
        algorithm
            .OptionNames.Concat(a.Extras.Keys)
            .Concat(b.Extras.Keys)
            .Concat(a.Custom.Keys)
            .FirstOrDefault(key => !a.Of(algorithm, key).Equals(b.Of(algorithm, key)));

    private OptionValue Of(Algorithm algorithm, string key) =>
        algorithm.Has(key)
            ? algorithm.Read(Options, key)
            : Extras.GetValueOrDefault(key) ?? Custom.GetValueOrDefault(key) ?? OptionValue.None;
}
