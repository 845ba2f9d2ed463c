using Optim.Core;

namespace Optim.Bench;

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
