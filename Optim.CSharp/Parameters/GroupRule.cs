using Optim.Core;

namespace Optim;

/// <summary>Which of several rules counts for a parameter.</summary>
internal enum GroupPrecedence
{
    Refuse,
    First,
    Last,
}

/// <summary>What is set for the parameters that a rule matches.</summary>
internal sealed class GroupRule
{
    private readonly Func<IParameter, string?> match;

    /// <param name="says">What it is called.</param>
    /// <param name="match">What of the rule matches a parameter; null for nothing.</param>
    /// <param name="options">What it sets.</param>
    public GroupRule(string says, Func<IParameter, string?> match, (string Option, OptionValue Value)[] options)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (options.Length == 0)
            throw new ArgumentException($"the rule of {says} sets no option", nameof(options));
        foreach (var (option, value) in options)
        {
            ArgumentException.ThrowIfNullOrEmpty(option, nameof(options));
            ArgumentNullException.ThrowIfNull(value, nameof(options));
        }
        if (options.GroupBy(option => option.Option).FirstOrDefault(same => same.Skip(1).Any()) is { } twice)
            throw new OptionException($"the rule of {says} sets {twice.Key} twice", twice.Key);
        (Says, this.match, Options) = (says, match, options);
    }

    public string Says { get; }

    public IReadOnlyList<(string Option, OptionValue Value)> Options { get; }

    public string? Match(IParameter parameter) => match(parameter);

    /// <summary>Whether both do the same to a parameter.</summary>
    public bool Agrees(GroupRule other) =>
        Options.Count == other.Options.Count
        && Options.All(mine => other.Options.Any(theirs => theirs.Option == mine.Option && theirs.Value.Equals(mine.Value)));

    /// <summary>By patterns over names, each of which must match one.</summary>
    public static GroupRule OfPatterns(IParameter[] parameters, string[] patterns, (string, OptionValue)[] options)
    {
        ArgumentNullException.ThrowIfNull(patterns);
        if (patterns.Length == 0)
            throw new ArgumentException("no pattern is given", nameof(patterns));
        var names = Names(parameters);
        var compiled = Array.ConvertAll(patterns, pattern => new NamePattern(pattern));
        foreach (var pattern in compiled)
            if (!Array.Exists(names, pattern.Matches))
                throw new ArgumentException(
                    $"the pattern '{pattern.Text}' matches no parameter{Core.Names.didYouMean(pattern.Text, names)} There are: {LoadReport.List(names)}",
                    nameof(patterns)
                );
        return new(
            string.Join(", ", patterns.Select(pattern => $"'{pattern}'")),
            parameter => Array.Find(compiled, pattern => pattern.Matches(parameter.Name!)) is { } found ? $"'{found.Text}'" : null,
            options
        );
    }

    /// <summary>The names of all parameters.</summary>
    public static string[] Names(IParameter[] parameters) =>
        Array.ConvertAll(
            parameters,
            parameter =>
                parameter.Name
                ?? throw new ArgumentException($"{Optimizer.Label(parameter)}: rules over names need parameters that have one")
        );
}

/// <summary>The factor of the rate of each parameter by its layer.</summary>
/// <param name="Layers">The layer of each.</param>
/// <param name="Scales">The factor of each; null where it is left out.</param>
internal sealed record GroupLayers(int[] Layers, double?[] Scales)
{
    public static GroupLayers Of(IParameter[] parameters, double decay, Func<string, int>? layerOf, double minScale, double? leaveOutBelow)
    {
        Check("decay", decay, Interval.AboveUpTo(0, 1));
        Check("minScale", minScale, Interval.Within(0, 1));
        if (leaveOutBelow is { } least)
            Check("leaveOutBelow", least, Interval.Within(0, 1));
        var names = GroupRule.Names(parameters);
        var layers = Array.ConvertAll(names, new Converter<string, int>(layerOf ?? LayerOrder.Of(names)));
        for (var i = 0; i < layers.Length; i++)
            if (layers[i] < 0)
                throw new ArgumentException(
                    FormattableString.Invariant($"the layer of '{names[i]}' is {layers[i]}; it must be at least 0"),
                    nameof(layerOf)
                );
        var last = layers.Max();
        return new(
            layers,
            Array.ConvertAll(
                layers,
                layer => Math.Max(minScale, Math.Pow(decay, last - layer)) is var scale && scale < leaveOutBelow ? (double?)null : scale
            )
        );
    }

    private static void Check(string name, double value, Interval range)
    {
        if (!range.Holds(value))
            throw new OptionException(FormattableString.Invariant($"LayerDecay: {name} is {value}; it must be {range.Words}"), name);
    }
}
