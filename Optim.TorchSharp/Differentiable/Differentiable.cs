using Optim.Core;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// Steps with a graph: a loss after k steps has gradients with respect to where they started, to the gradients that they took,
/// and to every option that is a number. The formulas are those of the ordinary steps.
/// </summary>
/// <example>
/// Learning a learning rate:
/// <code>
/// var lr = tensor(0.1, requires_grad: true);
/// var step = Differentiable.Step(Rules.Adam, Rules.Adam.Defaults, ("lr", lr));
/// var (x, state) = (start, step.Init(start));
/// for (var i = 0; i &lt; 5; i++)
///     (x, state) = step.Run(x, Gradient(x), state);
/// Loss(x).backward();                                 // lr.grad
/// </code>
/// </example>
public static class Differentiable
{
    /// <summary>The differentiable step of a rule, with some options given as tensors of one element.</summary>
    /// <param name="rule">Any rule that works element by element.</param>
    /// <param name="options">The rule's record of options, such as <c>Rules.Adam.Defaults</c>.</param>
    /// <param name="tensors">
    /// Options by PyTorch's names, and <c>beta1</c>, <c>beta2</c> and the like for the parts of a pair: they take the places of those in
    /// <paramref name="options"/>, value and graph.
    /// </param>
    /// <exception cref="OptionException">An option is unknown, does not enter a step as a number, or is outside of its range.</exception>
    /// <exception cref="ArgumentException">A tensor has more or less than one element.</exception>
    /// <exception cref="NotSupportedException">The rule is not differentiable: LBFGS, Muon, Adafactor, SparseAdam.</exception>
    public static DifferentiableStep Step(Rule rule, IOptimizerOptions options, params (string Option, Tensor Value)[] tensors)
    {
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(tensors);
        return new(rule, options, tensors);
    }

    /// <summary>The same, with options by name: <c>Differentiable.Step(Rules.Find("adam"), [("amsgrad", true)], ("lr", lr))</c>.</summary>
    /// <inheritdoc cref="Step(Rule, IOptimizerOptions, ValueTuple{string, Tensor}[])"/>
    public static DifferentiableStep Step(
        Rule rule,
        (string Option, OptionValue Value)[] options,
        params (string Option, Tensor Value)[] tensors
    )
    {
        ArgumentNullException.ThrowIfNull(rule);
        ArgumentNullException.ThrowIfNull(options);
        return Step(rule, rule.Replace(rule.Defaults, options.Select(o => KeyValuePair.Create(o.Option, o.Value))), tensors);
    }
}
