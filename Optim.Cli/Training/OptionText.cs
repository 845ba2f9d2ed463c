using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Values of options as one writes them in Python: 1e-3, True, None, (0.9, 0.999); also true, none, 0.9,0.999 and [0.9, 0.999].</summary>
public static class OptionText
{
    /// <summary>The value written so, or false when it is none of these.</summary>
    public static bool TryParse(string text, [NotNullWhen(true)] out OptionValue? value)
    {
        var bare = text.Trim();
        if (bare is ['(', .., ')'] or ['[', .., ']'])
            bare = bare[1..^1];
        var parts = bare.Split(',', StringSplitOptions.TrimEntries);
        value = (parts.Length, bare.ToLowerInvariant()) switch
        {
            (2, _) => TryNumber(parts[0], out var first) && TryNumber(parts[1], out var second) ? (first, second) : null,
            (1, "none" or "null") => OptionValue.None,
            (1, "true") => true,
            (1, "false") => false,
            (1, _) when long.TryParse(bare, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var whole) => whole,
            (1, _) when TryNumber(bare, out var number) => number,
            _ => null,
        };
        return value is not null;
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
}
