using System.Runtime.CompilerServices;
using Optim;
using Optim.Core;
using Optim.Kernels;

namespace OwnRuleCSharp;

// A rule of one's own in C#: Lion (Chen et al., arXiv:2302.06675). One formula; the product makes kernels, state, checks and state dicts of it.

/// <summary>The options of Lion.</summary>
public sealed record LionOptions(double Lr = 1e-4, double Beta1 = 0.9, double Beta2 = 0.99, double WeightDecay = 0);

/// <summary>x = x (1 - lr wd) - lr sign(b1 m + (1 - b1) g), m = b2 m + (1 - b2) g.</summary>
public readonly struct LionFormula : IFormula1<LionFormula>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V momentum)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (lr, alpha1, alpha2, keep) = coefficients;
        var direction = V.Fma(alpha1, grad - momentum, momentum);
        var (zero, one) = (V.Of(0), V.Of(1));
        var sign = V.Select(V.Greater(direction, zero), one, V.Select(V.Greater(zero, direction), -one, zero));
        param = V.Fma(keep, param, -(lr * sign));
        momentum = V.Fma(alpha2, grad - momentum, momentum);
    }
}

/// <summary>Lion, used like the product's own optimizers.</summary>
public sealed class Lion(
    IEnumerable<IParameterOrGroup> parameters,
    double lr = 1e-4,
    (double, double)? betas = null,
    double weightDecay = 0
) : Optimizer(TheRule, new LionOptions(lr, (betas ?? (0.9, 0.99)).Item1, (betas ?? (0.9, 0.99)).Item2, weightDecay), parameters)
{
    /// <summary>The rule, as the product's own are made.</summary>
    public static Rule<LionOptions> TheRule { get; } =
        RuleOf<LionOptions>
            .ElementWise<LionFormula>(
                "Lion",
                new(),
                [
                    RuleOf<LionOptions>.Number("lr", IntervalModule.AtLeast(0), o => o.Lr, (o, v) => o with { Lr = v }),
                    RuleOf<LionOptions>.Pair(
                        "betas",
                        IntervalModule.UpTo(0, 1),
                        IntervalModule.UpTo(0, 1),
                        o => (o.Beta1, o.Beta2),
                        (o, v) => o with { Beta1 = v.Item1, Beta2 = v.Item2 }
                    ),
                    RuleOf<LionOptions>.Number(
                        "weight_decay",
                        IntervalModule.AtLeast(0),
                        o => o.WeightDecay,
                        (o, v) => o with { WeightDecay = v }
                    ),
                ],
                [RuleOf<LionOptions>.Column("exp_avg")],
                new Numbers()
            )
            .Declare(
                RuleOf<LionOptions>.StepBound((o, _) => o.Lr),
                RuleOf<LionOptions>.OptOut("U5", "a step is lr times a sign, which jumps")
            );

    private sealed class Numbers : Arithmetic<LionOptions>
    {
        public override int Switches(LionOptions options) => 0;

        public override Coefficients<N> Coefficients<N>(Reader<N> read, LionOptions options, long step)
            where N : struct
        {
            var (one, lr) = (N.Of(1), read.Of("lr", options.Lr));
            var (beta1, beta2) = (read.Of("beta1", options.Beta1), read.Of("beta2", options.Beta2));
            return new(lr, one - beta1, one - beta2, one - lr * read.Of("weight_decay", options.WeightDecay));
        }
    }
}
