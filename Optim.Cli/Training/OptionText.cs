using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.RegularExpressions;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>
/// Values of options as one writes them in Python: 1e-3, True, None, (0.9, 0.999), [30, 80], (None, 1e-3), cos; also true, none, 'cos',
/// 0.9,0.999 and [0.9, 0.999].
/// </summary>
public static partial class OptionText
{
    /// <summary>What <see cref="TryParse"/> takes, for messages: after "must be".</summary>
    public const string Allowed = "a number, several with commas between them, True, False, None or a word";

    /// <summary>The value written so, or false when it is none of these.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out OptionValue? value)
    {
        var bare = text.Trim();
        var isList = bare is ['[', .., ']'];
        if (isList || bare is ['(', .., ')'])
            bare = bare[1..^1].Trim();
        if (bare.EndsWith(',') && bare.Length < text.Trim().Length) // (30,) is a list of one, as in Python; 30, is a slip
            (bare, isList) = (bare[..^1], true);
        var parts = bare.Split(',').Select(One).ToArray();
        value =
            parts.Contains(null) ? null
            : isList || parts.Length > 1 ? OptionValue.NewTuple([.. parts!])
            : parts[0];
        return value is not null;
    }

    private static OptionValue? One(string part)
    {
        part = part.Trim();
        return part.ToLowerInvariant() switch
        {
            "none" or "null" => OptionValue.None,
            "true" => true,
            "false" => false,
            _ when long.TryParse(part, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) => whole,
            _ when TryNumber(part, out var number) => number,
            _ when Word().Match(part) is { Success: true } word => word.Groups["word"].Value,
            _ => null,
        };
    }

    private static bool TryNumber(string text, out double number)
    {
        number = text.TrimStart('+', '-').ToLowerInvariant() switch
        {
            "inf" or "infinity" => double.PositiveInfinity,
            "nan" => double.NaN,
            _ => 0,
        };
        if (number == 0)
            return double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out number) && double.IsFinite(number);
        if (text.StartsWith('-'))
            number = -number;
        return true;
    }

    [GeneratedRegex("""^(?<quote>['"]?)(?<word>[A-Za-z_][A-Za-z0-9_-]*)\k<quote>$""")]
    private static partial Regex Word();
}
