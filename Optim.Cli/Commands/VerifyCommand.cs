using System.CommandLine;
using System.Diagnostics;
using Optim.Cli.Training;
using Optim.Cli.Verification;
using Optim.Core;
using Optim.Laws;
using Command = System.CommandLine.Command;

namespace Optim.Cli.Commands;

/// <summary><c>optim verify</c>: laws of optimizers, tried on rules.</summary>
internal sealed class VerifyCommand
{
    public const string Name = "verify";

    public const string Description = "Try the laws of optimizers on rules, your own or Optim's: exit code 1 when one is broken";

    /// <summary>What its arguments are called.</summary>
    public const string Target = "TARGET";

    private readonly Argument<string[]> targets = new(Target)
    {
        Description = "Assemblies with rules of your own (my.dll), or rules of Optim by name (adamw)",
        Arity = ArgumentArity.OneOrMore,
    };

    private readonly Option<string[]> rules = new("--rule")
    {
        HelpName = "NAME",
        Description = "Only the rule of this name; can be repeated",
    };

    private readonly Option<string[]> laws = new("--law")
    {
        HelpName = "ID",
        Description = "Only the law of this id, such as U1; can be repeated",
    };

    private readonly Option<long?> cases = Arguments.Whole(
        "--cases",
        FormattableString.Invariant($"How many cases each law is tried on (default: {StatementModule.cases})"),
        1,
        1_000_000
    );

    private readonly Option<long?> seed = Arguments.Whole(
        "--seed",
        "From which seed cases are drawn: the same seed draws the same ones (default: another one each time)",
        0,
        long.MaxValue
    );

    private readonly Option<bool> json = new("--json") { Description = "Print what came of it as JSON" };

    private VerifyCommand() { }

    public static Command Create(Screen screen, CancellationToken cancel)
    {
        var options = new VerifyCommand();
        var command = new Command(Name, Description)
        {
            options.targets,
            options.rules,
            options.laws,
            options.cases,
            options.seed,
            options.json,
        };
        command.SetAction(parsed => options.Run(parsed, screen, cancel));
        return command;
    }

    /// <summary>What the help adds to the list of options.</summary>
    public static string Details =>
        """
            Examples:
              optim verify bin/Release/net10.0/MyRules.dll
              optim verify MyRules.dll --rule Lion --law U1 --seed 1
              optim verify adamw muon --cases 300

            Rules are found in public static properties and fields of public types, as modules of F# have them. A law is broken by a case,
            which is made as small as can be and printed with the command that repeats it; what a rule opts out of is printed with its reason.
            """;

    private int Run(ParseResult parsed, Screen screen, CancellationToken cancel)
    {
        var found = Only(
            Only([.. parsed.GetValue(targets)!.SelectMany(Find)], parsed.GetValue(rules) ?? [], "--rule", rule => [rule.Name]),
            parsed.GetValue(laws) ?? [],
            "--law",
            rule => rule.Laws.Select(law => law.Id)
        );
        if (parsed.GetValue(laws) is { Length: > 0 } ids)
            found = [.. found.Select(rule => rule with { Laws = [.. rule.Laws.Where(law => Contains(ids, law.Id))] })];
        var cases = (int)(parsed.GetValue(this.cases) ?? StatementModule.cases);
        var seed = (ulong?)parsed.GetValue(this.seed) ?? StatementModule.seed;

        var watch = Stopwatch.StartNew();
        var isJson = parsed.GetValue(json);
        var report = screen.Track(
            !isJson,
            (work, say) =>
            {
                var (done, count) = (0, found.Sum(rule => rule.Laws.Count));
                VerifiedRule? last = null;
                return VerificationReport.Of(
                    found,
                    cases,
                    seed,
                    (rule, law) =>
                    {
                        if (!ReferenceEquals(rule, last))
                            say($"{rule.Name}{(rule.Place.Length > 0 ? $" ({rule.Place})" : "")}: {rule.Laws.Count} laws");
                        last = rule;
                        work((double)done++ / count, $"{rule.Name}: {law.Id} {law.Says}");
                    },
                    tried =>
                    {
                        foreach (var line in Lines(tried))
                            say(line);
                    },
                    cancel
                );
            }
        );
        var broken = report.Count(Outcome.Broken);
        if (isJson)
            screen.Say(VerificationJson.Of(report, OptimCommand.Version));
        else
            screen.Say(
                FormattableString.Invariant(
                    $"{report.Count(Outcome.Held)} held, {broken} broken, {report.Count(Outcome.LeftOut)} left out ({cases} cases a law, seed {seed}, {watch.Elapsed.TotalSeconds:f1} s)"
                )
            );
        if (report.Interrupted)
            screen.Warn("stopped before all laws were tried; this is what came of the others.");
        return broken > 0 ? OptimCommand.Failed
            : report.Interrupted ? OptimCommand.Interrupted
            : 0;
    }

    private static IEnumerable<VerifiedRule> Find(string target)
    {
        var isFile =
            target.EndsWith(".dll", StringComparison.OrdinalIgnoreCase)
            || target.EndsWith(".exe", StringComparison.OrdinalIgnoreCase)
            || target.AsSpan().ContainsAny('/', '\\');
        if (isFile)
            return RuleAssembly.Rules(target).Select(found => Of(target, found.Place, found.Rule));
        return [RuleNames.Find(target) is Rule rule ? Of(target, "", rule) : new(target, "", "LBFGS", [.. Laws.Laws.ForLBFGS()])];
    }

    private static VerifiedRule Of(string target, string place, Rule rule)
    {
        try
        {
            return new(target, place, rule.Name, [.. Laws.Laws.ForRule(rule)]);
        }
        catch (ArgumentException e)
        {
            throw new CommandException($"{e.Message.TrimEnd('.')}.");
        }
    }

    /// <summary>Those of these names; all where none is given. A name that nobody has is refused.</summary>
    private static IReadOnlyList<VerifiedRule> Only(
        IReadOnlyList<VerifiedRule> all,
        string[] names,
        string option,
        Func<VerifiedRule, IEnumerable<string>> of
    )
    {
        var known = all.SelectMany(of).Distinct().ToList();
        foreach (var name in names)
            if (!Contains(known, name))
                throw new CommandException($"{option} is '{name}'; there are: {string.Join(", ", known)}.");
        return names.Length == 0 ? all : [.. all.Where(rule => of(rule).Any(name => Contains(names, name)))];
    }

    private static bool Contains(IEnumerable<string> names, string name) => names.Contains(name, StringComparer.OrdinalIgnoreCase);

    private static IEnumerable<string> Lines(TriedLaw tried)
    {
        var head = tried.Outcome switch
        {
            Outcome.Held => "held",
            Outcome.Broken => "BROKEN",
            _ => "left out",
        };
        yield return $"  {head, -8}  {tried.Law.Id, -3}  {tried.Law.Says}";
        if (tried.Outcome == Outcome.LeftOut)
            yield return Indented($"because {tried.Law.OptOut}");
        if (tried.Outcome != Outcome.Broken)
            yield break;
        yield return Indented(tried.Trial!.Problem);
        if (tried.Trial.Case.Length > 0)
            yield return Indented(tried.Trial.Case);
        foreach (var known in tried.LooksLike)
            yield return Indented($"looks like {known}");
        yield return Indented($"repeat: {tried.Repeat}");
    }

    private static string Indented(string text) => "                 " + text.ReplaceLineEndings("\n                 ");
}
