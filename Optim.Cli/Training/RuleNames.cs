using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>Rules by their names.</summary>
internal static class RuleNames
{
    /// <summary>Whether there is a rule of that name, in any case.</summary>
    public static bool Has(string name) => Rules.all.Any(rule => rule.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    /// <summary>The rule of that name, in any case; when there is none, null, and <paramref name="wrong"/> is told.</summary>
    public static Rule? Find(string option, string name, Action<string> wrong)
    {
        try
        {
            return Rules.find(name);
        }
        catch (ArgumentException e)
        {
            wrong($"{option}: {e.Message}.");
            return null;
        }
    }

    /// <summary>All of them, for messages.</summary>
    public static string Known => string.Join(", ", Rules.all.Select(rule => rule.Name));
}
