using Optim.Core;

namespace Optim;

/// <summary>
/// An optimizer of any rule, with options by PyTorch's names: for a rule of one's own, or one that is chosen by name,
/// <c>new RuleOptimizer(Rules.Find("adamw"), parameters, ("lr", 1e-3))</c>.
/// </summary>
/// <param name="rule">The algorithm.</param>
/// <param name="parameters">Parameters, or groups of them with options of their own.</param>
/// <param name="options">Options that are not at the rule's default.</param>
/// <exception cref="OptionException">An option is unknown, or outside of its range.</exception>
public class RuleOptimizer(Rule rule, IEnumerable<IParameterOrGroup> parameters, params (string Option, OptionValue Value)[] options)
    : Optimizer(rule, Replaced(rule, options), parameters)
{
    private static IOptimizerOptions Replaced(Rule rule, (string Option, OptionValue Value)[] options)
    {
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(options);
        return rule.Replace(rule.Defaults, options.Select(option => KeyValuePair.Create(option.Option, option.Value)));
    }
}
