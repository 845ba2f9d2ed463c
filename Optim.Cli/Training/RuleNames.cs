using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Rules by their names.</summary>
internal static class RuleNames
{
    /// <summary>The rule of that name in any case, or null.</summary>
    public static Rule? Find(string name) => Rules.all.FirstOrDefault(rule => rule.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>All of them, for messages.</summary>
    public static string Known => string.Join(", ", Rules.all.Select(rule => rule.Name));
}
