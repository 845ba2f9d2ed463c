using System.CommandLine;
using System.Globalization;
using Optim.Cli.Training;
using Optim.Cli.Verification;
using Optim.Core;

namespace Optim.Cli.Commands;

/// <summary><c>optim explain</c>: what a rule does, from its own formula.</summary>
internal static class ExplainCommand
{
    public const string Name = "explain";

    public const string Description = "Show a rule's options with their ranges, its formula, its state and what a step reads and writes";

    /// <summary>What its arguments are called.</summary>
    public const string Rules = "RULE";

    public static Command Create(Screen screen)
    {
        var rule = new Argument<string>("rule")
        {
            HelpName = Rules,
            Description =
                "Such as adamw, adam:weight_decay=0.1,amsgrad=True, or \"chain(clip_by_global_norm(1), scale_by_adam, scale(-1e-3))\"",
        };
        var assembly = new Option<string?>("--assembly") { HelpName = "FILE", Description = "An assembly with rules of your own" };
        var command = new Command(Name, Description) { rule, assembly };
        command.SetAction(parsed =>
        {
            var named = NamedSettings.Parse(parsed.GetRequiredValue(rule));
            var found = parsed.GetValue(assembly) is { } file
                ? Among([.. RuleAssembly.Rules(file).Select(found => found.Rule)], named.Name)
                : Known(named.Name);
            var options = found.Replace(found.Defaults, named.Settings.Select(each => KeyValuePair.Create(each.Name, each.Value)));
            _ = Catalogue.TryFind(found.Name, out var entry);
            foreach (var line in Lines(ExplanationModule.ofRule(found, options), entry))
                screen.Say(line);
            return 0;
        });
        return command;
    }

    /// <summary>A rule of this library, of the catalogue, or a chain or a wrapped rule as it is written.</summary>
    internal static Rule Known(string name)
    {
        try
        {
            return Optim.Core.Rules.Find(name);
        }
        catch (ArgumentException e)
        {
            throw new CommandException($"{e.Message}.");
        }
    }

    private static Rule Among(IReadOnlyList<Rule> known, string name)
    {
        var names = known.Select(rule => rule.Name).ToList();
        return known.FirstOrDefault(rule => string.Equals(rule.Name, name, StringComparison.OrdinalIgnoreCase))
            ?? throw new CommandException(
                $"there is no rule '{name}'{Names.didYouMean(name, names)} There are: {string.Join(", ", names)}."
            );
    }

    private static IEnumerable<string> Lines(Explanation explained, CatalogueEntry? entry)
    {
        yield return explained.Rule;
        if (entry is not null)
        {
            yield return $"  {entry.Summary}";
            if (entry.Paper.Length > 0)
                yield return $"  {entry.Paper}";
            if (entry.Differs.Length > 0)
                yield return $"  differs from the paper: {entry.Differs}";
            if (entry.Published.Count > 0)
                yield return $"  published as {string.Join(", ", entry.Published.Select(name => name.Name))}";
        }
        yield return "";
        yield return "options";
        var names = explained.Options.Select(option => option.Name.Length).Append(0).Max();
        var values = explained.Options.Select(option => option.Value.ToString().Length).Append(0).Max();
        foreach (var option in explained.Options)
            yield return $"  {option.Name.PadRight(names)}  {option.Value.ToString().PadRight(values)}  {option.Range}".TrimEnd();
        yield return "";
        yield return "state";
        foreach (var column in explained.Columns)
            yield return $"  {column}, for each element";
        foreach (var number in explained.Numbers)
            yield return $"  {number}, one number for each parameter";
        if (explained.Columns.IsEmpty && explained.Numbers.IsEmpty)
            yield return "  none";
        else if (explained.Formula.Length > 0)
        {
            yield return $"  in all {explained.Columns.Length * sizeof(float)} bytes for each element of a float32 parameter";
            foreach (var (format, bytes) in explained.StorageBytes)
                yield return string.Create(CultureInfo.InvariantCulture, $"  {bytes:0.##} with state_storage {format}");
        }
        if (explained.Formula.Length == 0)
        {
            yield return "";
            yield return "This rule works on whole tensors: it has no formula of single elements.";
            yield break;
        }
        if (explained.TellsParametersApart)
        {
            yield return "";
            yield return "Parameters are told apart: formula and memory are of those to which every mask applies, and of the first label.";
        }
        yield return "";
        yield return "formula (t is the step, counted from 1; fma(a, b, c) is a b + c, rounded once)";
        foreach (var line in explained.Formula.TrimEnd('\n').Split('\n'))
            yield return $"  {line}";
        yield return "";
        yield return "LaTeX";
        foreach (var line in explained.Latex.Split('\n'))
            yield return $"  {line}";
        yield return "";
        yield return "memory, for float32 parameters";
        for (var i = 0; i < explained.Visits.Length; i++)
        {
            var visit = explained.Visits[i];
            yield return $"  visit {i + 1}: {visit.Bytes} bytes for each element; reads {Listed(visit.Reads)}; writes {Listed(visit.Writes)}";
            yield return $"    kernel: {visit.Operations} operations on each element, {visit.Numbers} numbers worked out once, in double";
        }
        yield return $"  in all {explained.Visits.Sum(visit => visit.Bytes)} bytes for each element";
    }

    private static string Listed(IEnumerable<string> arrays) => arrays.Any() ? string.Join(", ", arrays) : "nothing";
}
