using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Rules, and LBFGS, by their names.</summary>
internal static class RuleNames
{
    /// <summary>Whether there is a rule of that name, in any case.</summary>
    public static bool Has(string name) => Algorithms.All.Any(rule => rule.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The rule of that name, in any case.</summary>
    /// <param name="name">The name.</param>
    /// <param name="place">What a complaint begins with.</param>
    /// <exception cref="OptionException">There is none; the message says which there are.</exception>
    public static Algorithm Find(string name, string place = "")
    {
        try
        {
            return Algorithms.Find(name);
        }
        catch (ArgumentException e)
        {
            throw new OptionException($"{place}{e.Message}.", "optimizer");
        }
    }

    /// <summary>All of them, for messages.</summary>
    public static string Known => string.Join(", ", Algorithms.All.Select(rule => rule.Name));
}
