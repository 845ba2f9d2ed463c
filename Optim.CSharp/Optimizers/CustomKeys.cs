using System.Collections;
using Optim.Core;

namespace Optim;

/// <summary>
/// What users keep with a parameter group beside its options, such as a name: <c>group.Custom["name"] = "backbone"</c>. No step reads it; it is
/// saved with the group as PyTorch saves further keys of a group, and loaded into groups that have the key.
/// </summary>
public sealed class CustomKeys : IReadOnlyDictionary<string, OptionValue>
{
    private static readonly string[] reserved = ["params", "param_names"];
    private readonly OrderedDictionary<string, OptionValue> entries = [];
    private readonly ParameterGroup group;

    internal CustomKeys(ParameterGroup group) => this.group = group;

    /// <summary>The value of a key: a number, a flag, a text, None, or several of them.</summary>
    /// <exception cref="KeyNotFoundException">There is no such key.</exception>
    /// <exception cref="OptionException">The key to be set is that of an option or of a scheduler's entry, or state dicts use it otherwise.</exception>
    public OptionValue this[string key]
    {
        get =>
            entries.TryGetValue(key, out var value)
                ? value
                : throw new KeyNotFoundException(
                    $"the group has no key '{key}' of its user's; it has: {LoadReport.List([.. entries.Keys])}"
                );
        set
        {
            ArgumentException.ThrowIfNullOrEmpty(key);
            ArgumentNullException.ThrowIfNull(value);
            Refuse(group.Algorithm, key);
            entries[key] = value;
        }
    }

    /// <inheritdoc/>
    public int Count => entries.Count;

    /// <inheritdoc/>
    public IEnumerable<string> Keys => entries.Keys;

    /// <inheritdoc/>
    public IEnumerable<OptionValue> Values => entries.Values;

    /// <inheritdoc/>
    public bool ContainsKey(string key) => entries.ContainsKey(key);

    /// <inheritdoc/>
    public bool TryGetValue(string key, [System.Diagnostics.CodeAnalysis.MaybeNullWhen(false)] out OptionValue value) =>
        entries.TryGetValue(key, out value);

    /// <summary>Takes a key away; false when there is none.</summary>
    public bool Remove(string key) => entries.Remove(key);

    /// <inheritdoc/>
    public IEnumerator<KeyValuePair<string, OptionValue>> GetEnumerator() => entries.GetEnumerator();

    IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>The keys as Python prints a dict.</summary>
    public override string ToString() => "{" + string.Join(", ", entries.Select(entry => $"'{entry.Key}': {entry.Value}")) + "}";

    /// <summary>Other keys instead, which were checked.</summary>
    internal void Replace(IEnumerable<KeyValuePair<string, OptionValue>> others)
    {
        var given = others.ToList();
        entries.Clear();
        foreach (var (key, value) in given)
            entries[key] = value;
    }

    /// <summary>Refuses keys that are something else in a group of an algorithm.</summary>
    internal static void Refuse(Algorithm? algorithm, string key)
    {
        if (reserved.Contains(key))
            throw new OptionException($"'{key}' cannot be a key of one's own: state dicts keep a group's parameters there", key);
        if (ParameterGroup.IsSchedulerKey(key))
            throw new OptionException($"'{key}' cannot be a key of one's own: it is an entry of schedulers, group[\"{key}\"]", key);
        if (algorithm?.Has(key) == true)
            throw new OptionException($"'{key}' cannot be a key of one's own: it is an option of {algorithm.Name}, group[\"{key}\"]", key);
    }
}
