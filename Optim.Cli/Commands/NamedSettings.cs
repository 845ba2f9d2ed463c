using Optim.Cli.Training;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary>
/// A name with settings, as one writes it to compare several: <c>sgd</c>, <c>sgd:lr=0.1,momentum=0.9</c>, <c>adam:betas=(0.9,0.99)</c>,
/// <c>hf:cosine:num_cycles=1</c>.
/// </summary>
/// <param name="Label">All of it.</param>
/// <param name="Name">Before the colon; that of hf: and timm: belongs to the name.</param>
/// <param name="Settings">After it.</param>
internal sealed record NamedSettings(string Label, string Name, IReadOnlyList<(string Name, OptionValue Value)> Settings)
{
    /// <summary>Reads it.</summary>
    /// <exception cref="CommandException">A setting is not written so, or twice.</exception>
    public static NamedSettings Parse(string text)
    {
        var library = Schedulers.Libraries.FirstOrDefault(prefix => text.StartsWith(prefix, StringComparison.OrdinalIgnoreCase)) ?? "";
        var colon = text.IndexOf(':', library.Length);
        return colon < 0 ? new(text, text, []) : new(text, text[..colon], ReadSettings(text, text[(colon + 1)..]));
    }

    /// <summary>Settings with commas between them.</summary>
    /// <param name="place">Where they stand, for the message.</param>
    /// <param name="text">The settings.</param>
    /// <exception cref="CommandException">One is not written NAME=VALUE, or twice.</exception>
    public static IReadOnlyList<(string Name, OptionValue Value)> ReadSettings(string place, string text)
    {
        var settings = Split(text).Select(part => Assignment(place, part)).ToList();
        return settings.GroupBy(each => each.Name).FirstOrDefault(group => group.Count() > 1) is { } twice
            ? throw new CommandException($"{place}: {twice.Key} is given {twice.Count()} times.")
            : settings;
    }

    /// <summary>Refuses the same thing twice.</summary>
    public static void RefuseTwice(IEnumerable<NamedSettings> given)
    {
        if (given.GroupBy(each => each.Label).FirstOrDefault(group => group.Count() > 1) is { } twice)
            throw new CommandException($"'{twice.Key}' is there {twice.Count()} times.");
    }

    /// <summary>Settings that are meant for all who have them: refused when nobody has.</summary>
    public static void RefuseForNone(IEnumerable<(string Name, OptionValue Value)> forAll, IEnumerable<IEnumerable<string>> known)
    {
        var names = known.SelectMany(each => each).Distinct().ToList();
        foreach (var (name, value) in forAll)
            if (!names.Contains(name))
                throw new CommandException(
                    $"--set {name}={value}: there is no '{name}' here{Names.didYouMean(name, names)} There are: {string.Join(", ", names)}."
                );
    }

    /// <summary>Settings that are meant for all who have them, and one's own, which take their place.</summary>
    public static IReadOnlyList<(string Name, OptionValue Value)> Merge(
        IEnumerable<(string Name, OptionValue Value)> forAll,
        IReadOnlyList<(string Name, OptionValue Value)> own,
        IEnumerable<string> known
    ) => [.. forAll.Where(each => known.Contains(each.Name) && own.All(mine => mine.Name != each.Name)), .. own];

    /// <summary>A setting NAME=VALUE.</summary>
    /// <param name="place">Where it stands, for the message.</param>
    /// <param name="text">The setting.</param>
    /// <exception cref="CommandException">It is not written so.</exception>
    public static (string Name, OptionValue Value) Assignment(string place, string text)
    {
        var name = text.Split('=')[0];
        if (name.Length == text.Length || name.Trim().Length == 0)
            throw new CommandException($"{place}: it must be NAME=VALUE, such as lr=1e-3.");
        return OptionText.TryParse(text[(name.Length + 1)..], out var value)
            ? (name.Trim(), value)
            : throw new CommandException($"{place}: the value must be {OptionText.Allowed}.");
    }

    /// <summary>At the commas before a NAME=: others belong to a value, such as betas=0.9,0.99.</summary>
    private static IEnumerable<string> Split(string text)
    {
        var parts = new List<string>();
        foreach (var piece in text.Split(','))
            if (parts.Count > 0 && !piece.Contains('=', StringComparison.Ordinal))
                parts[^1] += $",{piece}";
            else
                parts.Add(piece);
        return parts;
    }
}
