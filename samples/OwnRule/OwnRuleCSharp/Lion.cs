using Optim;
using Optim.Core;
using static Optim.Kernels.Expression;

namespace OwnRuleCSharp;

/// <summary>
/// A rule of one's own in C#: Lion (Chen et al., arXiv:2302.06675), used like the product's own optimizers. The product makes kernels,
/// state, checks and state dicts of its definition.
/// </summary>
public sealed class Lion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0
) : Optimizer(TheRule, TheRule.With(("lr", lr), ("betas", betas ?? (0.9, 0.99)), ("weight_decay", weightDecay)), parameters)
{
    /// <summary>x = x (1 - lr wd) - lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g.</summary>
    public static DefinedRule TheRule { get; } =
        DefinedRule.Define(
            "Lion",
            r =>
            {
                var lr = r.Number("lr", 1e-4, Interval.AtLeast(0));
                var decay = r.Number("weight_decay", 0, Interval.AtLeast(0));
                var (beta1, beta2) = r.Pair("betas", 0.9, Interval.UpTo(0, 1), 0.99, Interval.UpTo(0, 1));
                var (x, g, m) = (r.Parameter, r.Gradient, r.Column("exp_avg"));
                r.OptOut("U5", "a step is lr times a sign, which jumps");
                r.Set(m, beta2 * m + (1 - beta2) * g);
                return x * (1 - lr * decay) - lr * Sign(beta1 * m + (1 - beta1) * g);
            }
        );
}
