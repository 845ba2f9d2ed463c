using Optim.Core;

namespace Optim;

/// <summary>Reads the state of a scheduler, and knows what was not read.</summary>
internal sealed class StateReader
{
    private readonly HashSet<string> read = new(StringComparer.Ordinal);
    private readonly Dictionary<string, Tree> replaced = new(StringComparer.Ordinal);
    private readonly TreeMap map;
    private readonly string scheduler;

    /// <exception cref="ArgumentException">The tree is no map.</exception>
    public StateReader(string scheduler, Tree state, bool strict = true)
    {
        ArgumentNullException.ThrowIfNull(state);
        (this.scheduler, Strict) = (scheduler, strict);
        map = state is Tree.Map given
            ? given.Item
            : throw new ArgumentException($"the loaded state of {scheduler} is {state.Described}; it must be a dict", nameof(state));
    }

    /// <summary>Whether keys that are not known are an error.</summary>
    public bool Strict { get; }

    /// <summary>Unknown keys of states inside.</summary>
    public List<string> Inside { get; } = [];

    /// <summary>What the state does not have, or does not say.</summary>
    public List<string> Missing { get; } = [];

    /// <summary>The entry of a key, or null.</summary>
    public Tree? Find(string key)
    {
        read.Add(key);
        return replaced.TryGetValue(key, out var other) ? other
            : map.TryGetValue(key, out var value) ? value
            : null;
    }

    public Tree this[string key] =>
        Find(key)
        ?? throw new OptionException(
            $"the loaded state of {scheduler} has no '{key}'; it has: {string.Join(", ", map.Keys)}. Is it that of another scheduler?",
            key
        );

    public double Number(string key) => As<double>(key, this[key], "a number", value => (double)value);

    public long Whole(string key) => As<long>(key, this[key], "a whole number", value => (long)value);

    public bool Flag(string key) => As<bool>(key, this[key], "a flag", value => (bool)value);

    public double[] Numbers(string key) =>
        As<double[]>(key, this[key], "a list of numbers", value => [.. value.AsItems().Select(item => (double)item)]);

    /// <summary>A number for each of so many parameter groups; where not all must be there, groups that were added later may be missing.</summary>
    public double[] PerGroup(string key, int groups, bool all = false) =>
        Numbers(key) is var numbers && (all ? numbers.Length == groups : numbers.Length <= groups)
            ? numbers
            : throw Wrong(key, FormattableString.Invariant($"one number for each of the {groups} parameter groups"));

    public IReadOnlyList<Tree> Items(string key) => As<IReadOnlyList<Tree>>(key, this[key], "a list", value => value.AsItems());

    /// <summary>The settings with those that the state has.</summary>
    public SchedulerSettings Settings(SchedulerSettings settings, params (string Key, string Setting)[] keys) =>
        settings.With([
            .. keys.Where(pair => Find(pair.Key) is not null)
                .Select(pair =>
                    (pair.Setting, As<OptionValue>(pair.Key, this[pair.Key], "a value of a setting", value => (OptionValue)value))
                ),
        ]);

    public OptionException Wrong(string key, string allowed) =>
        new($"the loaded state of {scheduler}: {key} is {this[key].Described}; it must be {allowed}", key);

    /// <summary>The same with another value for a key.</summary>
    public StateReader With(string key, Tree value)
    {
        replaced[key] = value;
        return this;
    }

    /// <summary>The keys that were not read. An error when strict.</summary>
    public List<string> Leftover()
    {
        var left = map.Keys.Select(key => key.IsText ? key.text : key.ToString()).Where(key => !read.Contains(key)).ToList();
        return Strict && left.Count > 0
            ? throw new OptionException(
                $"the loaded state of {scheduler} has the unknown keys {string.Join(", ", left)}; it knows: {string.Join(", ", read)}. strict: false leaves them out",
                left[0]
            )
            : [.. left, .. Inside];
    }

    private T As<T>(string key, Tree value, string kind, Func<Tree, T> convert)
    {
        try
        {
            return convert(value);
        }
        catch (InvalidCastException)
        {
            throw Wrong(key, kind);
        }
    }
}
