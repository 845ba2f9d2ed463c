using Optim.Core;

namespace Optim;

/// <summary>
/// A part of a <see cref="CompositeOptimizer"/>: a name, a rule, and the parameters that it steps. A tuple will do:
/// <c>("matrices", Rules.Muon, matrices)</c>, or with options <c>("matrices", Rules.Muon, matrices, [("lr", 0.02)])</c>.
/// </summary>
public sealed class CompositeMember
{
    private static readonly string[] reserved = ["state", "param_groups", "accumulation"];

    /// <summary>A member.</summary>
    /// <param name="name">Under which its state is saved.</param>
    /// <param name="rule">How its parameters are stepped.</param>
    /// <param name="parameters">Parameters, or groups of them with options of their own.</param>
    /// <param name="options">Options of the rule that are not at its defaults.</param>
    /// <exception cref="ArgumentException">The name is empty, or a key of state dicts.</exception>
    public CompositeMember(
        string name,
        Rule rule,
        IEnumerable<IParameterOrGroup> parameters,
        params (string Option, OptionValue Value)[] options
    )
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(options);
        if (reserved.Contains(name))
            throw new ArgumentException(
                $"a member of an optimizer cannot be called '{name}', which is a key of state dicts; others than {string.Join(", ", reserved)} can be names",
                nameof(name)
            );
        ParameterGroup.RefuseSet(parameters);
        (Name, Rule, Parameters, Options) = (name, rule, [.. parameters], [.. options]);
    }

    /// <summary>Under which its state is saved.</summary>
    public string Name { get; }

    /// <summary>How its parameters are stepped.</summary>
    public Rule Rule { get; }

    /// <summary>Parameters, or groups of them.</summary>
    public IReadOnlyList<IParameterOrGroup> Parameters { get; }

    /// <summary>Options of the rule that are not at its defaults.</summary>
    public IReadOnlyList<(string Option, OptionValue Value)> Options { get; }

    /// <summary>A member with the rule's options at their defaults.</summary>
    public static implicit operator CompositeMember((string Name, Rule Rule, IEnumerable<IParameterOrGroup> Parameters) member) =>
        new(member.Name, member.Rule, member.Parameters);

    /// <summary>A member with options.</summary>
    public static implicit operator CompositeMember(
        (string Name, Rule Rule, IEnumerable<IParameterOrGroup> Parameters, (string Option, OptionValue Value)[] Options) member
    ) => new(member.Name, member.Rule, member.Parameters, member.Options);
}
