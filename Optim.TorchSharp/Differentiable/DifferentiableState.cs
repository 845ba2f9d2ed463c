using System.Collections.Immutable;
using Optim.Core;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// The state of a rule as tensors with their graph. A step makes a new one and leaves this as it is, so that several runs can go
/// on from it.
/// </summary>
/// <param name="Rule">Whose state it is.</param>
/// <param name="Rows">One for each parameter, in their order.</param>
public sealed record DifferentiableState(Rule Rule, ImmutableArray<DifferentiableRow> Rows)
{
    /// <summary>Whose state it is.</summary>
    public Rule Rule { get; init; } = Rule ?? throw new ArgumentNullException(nameof(Rule));

    /// <summary>One for each parameter, in their order.</summary>
    public ImmutableArray<DifferentiableRow> Rows { get; init; } =
        Rows.IsDefault || Rows.Contains(null!) ? throw new ArgumentException("a row is missing", nameof(Rows)) : Rows;

    /// <summary>The rule, and for each parameter its steps and the shapes of its columns.</summary>
    public override string ToString() =>
        string.Join('\n', Rows.Select((row, i) => $"parameter {i}: {row}").Prepend($"state of {Rule.Name}"));
}

/// <summary>The state of one parameter.</summary>
/// <param name="Step">The steps that it has taken.</param>
/// <param name="Columns">Tensors of the parameter's shape by PyTorch's names, such as exp_avg, and numbers such as mu_product in float64; empty before its first step.</param>
public sealed record DifferentiableRow(long Step, ImmutableDictionary<string, Tensor> Columns)
{
    /// <summary>Tensors of the parameter's shape by PyTorch's names, and numbers in float64; empty before its first step.</summary>
    public ImmutableDictionary<string, Tensor> Columns { get; init; } = Columns ?? throw new ArgumentNullException(nameof(Columns));

    /// <summary>Before the first step.</summary>
    public static DifferentiableRow Empty { get; } = new(0, ImmutableDictionary.Create<string, Tensor>(StringComparer.Ordinal));

    /// <summary>Steps, and dtypes and shapes of the columns.</summary>
    public override string ToString() =>
        string.Join(
            ", ",
            Columns
                .OrderBy(column => column.Key, StringComparer.Ordinal)
                .Select(column => $"{column.Key} {column.Value.dtype}[{string.Join(", ", column.Value.shape)}]")
                .Prepend(FormattableString.Invariant($"{Step} steps"))
        );
}
