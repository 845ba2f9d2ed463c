using System.Runtime.CompilerServices;
using Optim.Core;
using Optim.Kernels;

namespace BrokenRules;

/// <summary>Options of rules with a defect.</summary>
public sealed record Options(double Lr = 0.01, double Beta = 0.9) : IOptimizerOptions;

/// <summary>m = b m + (1 - b) g; x = x - lr m.</summary>
public readonly struct MeanFormula : IFormula1<MeanFormula>
{
    /// <inheritdoc/>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V mean)
        where V : struct, ILane<V>
        where Is : ISwitches
    {
        var (lr, alpha) = coefficients;
        mean = V.Fma(alpha, grad - mean, mean);
        param -= lr * mean;
    }
}

/// <summary>Rules with a defect each, which the laws find.</summary>
public static class Rules
{
    /// <summary>It goes uphill.</summary>
    public static Rule<Options> Climber { get; } = Mean("Climber", -1);

    /// <summary>It declares bias correction, and has none.</summary>
    public static Rule<Options> Cold { get; } = Mean("Cold", 1).Declare(RuleOf<Options>.BiasCorrected());

    /// <summary>Several at once: the same again, and one that is sound.</summary>
    public static IReadOnlyList<Rule> All { get; } = [Climber, Cold, Mean("Sound", 1)];

    private static Rule<Options> Mean(string name, double direction) =>
        RuleOf<Options>.ElementWise<MeanFormula>(
            name,
            new(),
            [
                RuleOf<Options>.Number("lr", Interval.AtLeast(0), o => o.Lr, (o, v) => o with { Lr = v }),
                RuleOf<Options>.Number("beta", Interval.UpTo(0, 1), o => o.Beta, (o, v) => o with { Beta = v }),
            ],
            [RuleOf<Options>.Column("mean")],
            new Numbers(direction)
        );

    private sealed class Numbers(double direction) : Arithmetic<Options>
    {
        public override int Switches(Options options) => 0;

        public override Coefficients<N> Coefficients<N>(Reader<N> read, Options options, StepNumber<N> step)
            where N : struct => new(N.Of(direction) * read.Of("lr", options.Lr), N.Of(1) - read.Of("beta", options.Beta));
    }
}
