using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Rules by their names.</summary>
internal static class RuleNames
{
    /// <summary>Whether there is a rule of that name, in any case.</summary>
    public static bool Has(string name) => Rules.all.Any(rule => rule.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>All of them, for messages.</summary>
    public static string Known => string.Join(", ", Rules.all.Select(rule => rule.Name));
}
