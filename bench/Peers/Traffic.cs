using System.Runtime.CompilerServices;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Bench.Peers;

/// <summary>The options of a rule that only moves memory: it has none.</summary>
internal sealed record NoOptions : IOptimizerOptions;

/// <summary>Loads and stores what a rule does, through the same driver, with an addition for each array that is stored.</summary>
internal readonly struct Traffic0 : IFormula0<Traffic0>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad)
        where V : struct, ILane<V>
        where Is : ISwitches => param += grad;
}

/// <summary>The same with one state column.</summary>
internal readonly struct Traffic1 : IFormula1<Traffic1>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0)
        where V : struct, ILane<V>
        where Is : ISwitches => (param, c0) = (param + grad, c0 + grad);
}

/// <summary>The same with two.</summary>
internal readonly struct Traffic2 : IFormula2<Traffic2>
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Update<V, Is>(in Coefficients<V> coefficients, ref V param, V grad, ref V c0, ref V c1)
        where V : struct, ILane<V>
        where Is : ISwitches => (param, c0, c1) = (param + grad, c0 + grad, c1 + grad);
}

/// <summary>Rules that only move memory, by how many state columns they have.</summary>
internal static class Traffic
{
    private static readonly Rule[] rules = [Make<Traffic0>(0), Make<Traffic1>(1), Make<Traffic2>(2)];

    /// <summary>An optimizer that moves as many bytes as another one.</summary>
    public static Optimizer Of(RuleCase rule, IEnumerable<IParameter> parameters) =>
        new RuleOptimizer(rule == RuleCase.Chain ? ChainedRules.Traffic : rules[Columns(rule)], parameters);

    /// <summary>State columns of a rule under the options that it is measured at.</summary>
    private static int Columns(RuleCase rule) =>
        rule == RuleCase.SGD ? 0
        : rule == RuleCase.SGDMomentum
        || rule == RuleCase.ASGD
        || rule == RuleCase.RMSprop
        || rule == RuleCase.Adagrad
        || rule == RuleCase.Lion
            ? 1
        : 2;

    private static Rule Make<F>(int columns)
        where F : struct, IFormula =>
        RuleOf<NoOptions>.ElementWise<F>(
            $"Traffic{columns}",
            new(),
            [],
            [.. Enumerable.Range(0, columns).Select(i => RuleOf<NoOptions>.Column($"c{i}"))],
            new Nothing()
        );

    private sealed class Nothing : Arithmetic<NoOptions>
    {
        public override int Switches(NoOptions options) => 0;

        public override Coefficients<N> Coefficients<N>(Reader<N> read, NoOptions options, StepNumber<N> step)
            where N : struct => new(N.Of(1));
    }
}
