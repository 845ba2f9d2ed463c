using Optim.Laws;

namespace Optim.Cli.Verification;

/// <summary>A rule, or LBFGS, and the laws that are tried on it.</summary>
/// <param name="Target">What was asked for: a name, or a file.</param>
/// <param name="Place">Where the rule was found in the file; empty for a name.</param>
/// <param name="Name">The rule's name.</param>
/// <param name="Laws">The laws.</param>
internal sealed record VerifiedRule(string Target, string Place, string Name, IReadOnlyList<Law> Laws);

/// <summary>How a law came out.</summary>
internal enum Outcome
{
    /// <summary>It held.</summary>
    Held,

    /// <summary>It does not hold, or its cases told nothing.</summary>
    Broken,

    /// <summary>The rule opts out of it.</summary>
    LeftOut,
}

/// <summary>A law that was tried.</summary>
/// <param name="Rule">On what.</param>
/// <param name="Law">The law.</param>
/// <param name="Trial">What came of it; null where the rule opts out.</param>
/// <param name="Repeat">The command that tries it on the same cases once more.</param>
internal sealed record TriedLaw(VerifiedRule Rule, Law Law, Trial? Trial, string Repeat)
{
    public Outcome Outcome =>
        Trial is null ? Outcome.LeftOut
        : Trial.Problem.Length == 0 ? Outcome.Held
        : Outcome.Broken;

    /// <summary>Published defects that the law finds, for one that is broken.</summary>
    public IEnumerable<KnownDefect> LooksLike => Outcome == Outcome.Broken ? KnownDefects.FoundBy(Law.Id) : [];
}

/// <summary>Laws tried on rules.</summary>
/// <param name="Tried">In order.</param>
/// <param name="Cases">How many cases each law was tried on.</param>
/// <param name="Seed">From which seed they were drawn.</param>
/// <param name="Interrupted">Whether it was stopped before all were tried.</param>
internal sealed record VerificationReport(IReadOnlyList<TriedLaw> Tried, int Cases, ulong Seed, bool Interrupted)
{
    public int Count(Outcome outcome) => Tried.Count(law => law.Outcome == outcome);

    /// <summary>Tries all laws of these rules; <paramref name="before"/> is told each one first, <paramref name="after"/> how it came out.</summary>
    public static VerificationReport Of(
        IReadOnlyList<VerifiedRule> rules,
        int cases,
        ulong seed,
        Action<VerifiedRule, Law> before,
        Action<TriedLaw> after,
        CancellationToken cancel
    )
    {
        var tried = new List<TriedLaw>();
        foreach (var rule in rules)
        foreach (var law in rule.Laws)
        {
            if (cancel.IsCancellationRequested)
                return new(tried, cases, seed, true);
            before(rule, law);
            tried.Add(new(rule, law, law.OptOut.Length > 0 ? null : Try(law, cases, seed), Repeat(rule, law, cases, seed)));
            after(tried[^1]);
        }
        return new(tried, cases, seed, false);
    }

    /// <summary>What throws outside of a case is a defect of the rule, too.</summary>
    private static Trial Try(Law law, int cases, ulong seed)
    {
        try
        {
            return law.Try(cases, seed);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            return new Trial(0, 0, seed, $"{e.GetType().Name}: {e.Message}", "no case could be made");
        }
    }

    private static string Repeat(VerifiedRule rule, Law law, int cases, ulong seed)
    {
        var target = rule.Target.Contains(' ') ? $"\"{rule.Target}\"" : rule.Target;
        var which = rule.Place.Length == 0 ? "" : $" --rule {rule.Name}";
        return FormattableString.Invariant($"optim verify {target}{which} --law {law.Id} --cases {cases} --seed {seed}");
    }
}
