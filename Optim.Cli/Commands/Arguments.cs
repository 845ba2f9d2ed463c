using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary>Options of commands, whose complaints name option, value and what is allowed.</summary>
internal static class Arguments
{
    /// <summary>A try at reading a text.</summary>
    public delegate bool TryParse<T>(string text, out T value);

    /// <summary>An option whose value is null when it is not given.</summary>
    public static Option<T?> Make<T>(string name, string helpName, string description, string allowed, TryParse<T?> parse) =>
        new(name)
        {
            HelpName = helpName,
            Arity = ArgumentArity.ExactlyOne,
            Description = description,
            CustomParser = result => Parse(result, name, allowed, parse),
        };

    /// <summary>A whole number in a range.</summary>
    public static Option<long?> Whole(string name, string description, long least, long most) =>
        Make<long?>(
            name,
            "N",
            description,
            FormattableString.Invariant($"a whole number from {least} to {most}"),
            (string text, out long? value) => (value = Whole(text, least, most)) is not null
        );

    /// <summary>A number in a range, both ends included; double.Epsilon stands for anything above 0.</summary>
    public static Option<double?> Number(string name, string helpName, string description, double least, double most) =>
        Make<double?>(
            name,
            helpName,
            description,
            least == double.Epsilon ? "a number above 0" : FormattableString.Invariant($"a number from {least} to {most}"),
            (string text, out double? value) =>
                (
                    value =
                        double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out var number)
                        && number >= least
                        && number <= most
                            ? number
                            : null
                )
                    is not null
        );

    /// <summary>One of several words.</summary>
    public static Option<string?> Word(string name, string description, params string[] words)
    {
        var option = Make<string>(
            name,
            string.Join("|", words),
            description,
            string.Join(" or ", words),
            (string text, out string? value) => words.Contains(value = text)
        );
        option.CompletionSources.Add(words);
        return option;
    }

    /// <summary>That number, or null.</summary>
    public static long? Whole(string text, long least, long most) =>
        long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
        && number >= least
        && number <= most
            ? number
            : null;

    public static T? Parse<T>(ArgumentResult result, string name, string allowed, TryParse<T?> parse)
    {
        var text = result.Tokens[^1].Value;
        if (parse(text, out var value))
            return value;
        result.AddError($"{name} is '{text}'; it must be {allowed}.");
        return default;
    }

    /// <summary>The first thing that is wrong, in one sentence.</summary>
    public static string Explain(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        if (parsed.UnmatchedTokens is not [var token, ..])
            return parsed.Errors[0].Message;
        var known = command.Options.Select(option => option.Name).Concat(command.Subcommands.Select(sub => sub.Name)).ToList();
        return $"there is no '{token}' here; 'optim {(command is RootCommand ? "" : command.Name + " ")}--help' shows what there is"
            + (Names.nearest(token.Split('=', ':')[0], known) is { } nearest ? $" (nearest: {nearest})." : ".");
    }
}
