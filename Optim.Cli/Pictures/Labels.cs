using System.Globalization;

namespace Optim.Cli.Pictures;

/// <summary>Numbers at the axes of pictures.</summary>
internal static class Labels
{
    /// <summary>A number as short as it goes: 0, 0.05, 1200, 1e-6.</summary>
    public static string Tick(double value)
    {
        var size = Math.Abs(value);
        if (size == 0)
            return "0";
        if (size is >= 1e-4 and < 1e6)
            return value.ToString("0.######", CultureInfo.InvariantCulture);
        return value.ToString("0.###e0", CultureInfo.InvariantCulture);
    }
}
