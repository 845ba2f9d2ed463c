using System.Globalization;

namespace Optim;

/// <summary>How many threads a step may use.</summary>
public static class Threads
{
    /// <summary>The environment variable that sets <see cref="Count"/> at the start.</summary>
    public const string Variable = "OPTIM_THREADS";

    /// <summary>
    /// Threads of a step, the calling one included: at first OPTIM_THREADS, or else the number of processors. The result
    /// of a step does not depend on it.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">Not in 1 to 1024.</exception>
    /// <exception cref="InvalidOperationException">OPTIM_THREADS is something else, and the number was never set.</exception>
    public static int Count
    {
        get => count == 0 ? count = FromEnvironment() : count;
        set =>
            count = value is >= 1 and <= 1024
                ? value
                : throw new ArgumentOutOfRangeException(nameof(Count), value, "Threads.Count must be in 1 to 1024");
    }

    private static int count;

    private static int FromEnvironment()
    {
        var text = Environment.GetEnvironmentVariable(Variable);
        if (string.IsNullOrWhiteSpace(text))
            return Environment.ProcessorCount;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var count) && count is >= 1 and <= 1024
            ? count
            : throw new InvalidOperationException($"{Variable} is '{text}'; it must be a number in 1 to 1024");
    }
}
