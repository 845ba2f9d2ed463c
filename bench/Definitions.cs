using Optim.Core;
using static Optim.Kernels.Expression;

namespace Optim.Bench;

/// <summary>Rules by definition, which run as recorded programs.</summary>
internal static class Definitions
{
    public static readonly DefinedRule Lion = DefinedRule.Define(
        "Lion",
        r =>
        {
            var lr = r.Number("lr", 1e-4, Interval.AtLeast(0));
            var (beta1, beta2) = r.Pair("betas", 0.9, Interval.UpTo(0, 1), 0.99, Interval.UpTo(0, 1));
            var (x, g, m) = (r.Parameter, r.Gradient, r.Column("exp_avg"));
            r.Set(m, beta2 * m + (1 - beta2) * g);
            return x - lr * Sign(beta1 * m + (1 - beta1) * g);
        }
    );

    public static readonly DefinedRule AdaBelief = DefinedRule.Define(
        "AdaBelief",
        r =>
        {
            var lr = r.Number("lr", 1e-3, Interval.AtLeast(0));
            var (beta1, beta2) = r.Pair("betas", 0.9, Interval.UpTo(0, 1), 0.999, Interval.UpTo(0, 1));
            var eps = r.Number("eps", 1e-16, Interval.AtLeast(0));
            var (x, g, m, s) = (r.Parameter, r.Gradient, r.Column("exp_avg"), r.Column("exp_avg_var"));
            var mean = beta1 * m + (1 - beta1) * g;
            var variance = beta2 * s + (1 - beta2) * (g - mean) * (g - mean) + eps;
            r.Set(m, mean);
            r.Set(s, variance);
            return x - lr / (1 - Pow(beta1, r.Step)) * mean / (Sqrt(variance) / Sqrt(1 - Pow(beta2, r.Step)) + eps);
        }
    );
}

/// <summary>A chain around which an average moves: all of it one program, in two visits of memory.</summary>
internal static class ChainedRules
{
    /// <summary>Clipped by global norm, Adam, decoupled decay, cautious, averaged.</summary>
    public static readonly Rule Chain = Wrappers.Average(
        Chains.Of(
            Transforms.ClipByGlobalNorm(RuleCase.MaxNorm),
            Transforms.ScaleByAdam(),
            Transforms.AddDecayedWeights(RuleCase.WeightDecay),
            Transforms.Cautious(rescale: false),
            Transforms.ScaleByLearningRate(RuleCase.Lr)
        ),
        RuleCase.Decay
    );

    /// <summary>Reads and writes what that does: the gradients once more for their norm.</summary>
    public static readonly DefinedRule Traffic = DefinedRule.Define(
        "Traffic of a chain",
        r =>
        {
            var move = 1 / (1 + r.NormOverAll(r.Gradient)) * r.Gradient;
            foreach (var name in (string[])["c0", "c1", "c2"])
            {
                var column = r.Column(name);
                r.Set(column, column + move);
            }
            return r.Parameter + move;
        }
    );
}

/// <summary>Our optimizer, all of it as recorded programs on an engine.</summary>
internal sealed class OnEngine(Ours ours, Kernels.Engine engine) : Side
{
    public override void Step()
    {
        var before = Kernels.ProgramEngine.Current;
        (Kernels.ProgramEngine.Current, Kernels.ProgramEngine.RunsFormulas) = (engine, engine == Kernels.Engine.Emitted);
        ours.Step();
        (Kernels.ProgramEngine.Current, Kernels.ProgramEngine.RunsFormulas) = (before, false);
    }

    public override void Rest() => ours.Rest();

    public override double[] Sample() => ours.Sample();

    public override void Dispose() => ours.Dispose();
}
