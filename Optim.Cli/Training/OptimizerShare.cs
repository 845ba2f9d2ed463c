using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Training;

/// <summary>A rule (or LBFGS), its options, and the parameters of a model that it is given.</summary>
/// <param name="Rule">The rule.</param>
/// <param name="Options">Options that are not at its defaults.</param>
/// <param name="Parameters">Its parameters.</param>
/// <param name="Which">Which these are, in words; empty for all.</param>
public sealed record OptimizerShare(
    Algorithm Rule,
    IReadOnlyList<(string Name, OptionValue Value)> Options,
    IReadOnlyList<IParameter> Parameters,
    string Which
)
{
    /// <summary>
    /// Who gets what. Most rules take all parameters. Muon is made for matrices: AdamW takes the others beside it, with the options that are
    /// written <c>adamw.lr</c>.
    /// </summary>
    /// <exception cref="OptionException">There is no such option.</exception>
    public static IReadOnlyList<OptimizerShare> Of(
        Algorithm rule,
        IReadOnlyList<(string Name, OptionValue Value)> options,
        IReadOnlyList<IParameter> parameters
    )
    {
        if (Companion(rule) is not { } companion)
            return [new(rule, options, parameters, "")];
        var prefix = $"{companion.Name.ToLowerInvariant()}.";
        var others = options.Where(option => option.Name.StartsWith(prefix, StringComparison.Ordinal)).ToList();
        var (matrices, rest) = ForMuon.Split(parameters);
        return
        [
            new(rule, [.. options.Except(others)], matrices, "matrices"),
            new(companion, [.. others.Select(option => (option.Name[prefix.Length..], option.Value))], rest, "biases"),
        ];
    }

    /// <summary>The rule that takes what this one does not; null when it takes all.</summary>
    public static Rule? Companion(Algorithm rule) => rule.Name == "Muon" ? Rules.Find("AdamW") : null;

    /// <summary>The optimizer.</summary>
    /// <param name="groups">Groups of all parameters of the model, of which it takes those that have some of its own; null for one group.</param>
    /// <param name="ranks">The ranks that step it together; null for none.</param>
    public Optimizer Create(ParameterGroups? groups = null, TrainingRanks? ranks = null)
    {
        IReadOnlyList<ParameterGroup> own = groups is null
            ? [new(Parameters)]
            : [.. groups.Select(Own).Where(group => group.Parameters.Count > 0)];
        return ranks is null ? Make(own) : ranks.Over(own, Make);
    }

    private Optimizer Make(IReadOnlyList<IParameterOrGroup> own) =>
        Rule is Rule rule
            ? new RuleOptimizer(rule, own, [.. Options])
            : new LBFGS(
                own,
                (LBFGSOptions)Rule.Replace(Rule.Defaults, Options.Select(option => KeyValuePair.Create(option.Name, option.Value)))
            );

    /// <summary>A group with those of its parameters that are here, and its options.</summary>
    private ParameterGroup Own(ParameterGroup group)
    {
        var own = new ParameterGroup(group.Parameters.Intersect(Parameters));
        foreach (var option in group.OptionNames)
            own[option] = group[option];
        return own;
    }
}
