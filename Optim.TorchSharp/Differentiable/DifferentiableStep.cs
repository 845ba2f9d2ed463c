using System.Collections.Immutable;
using Optim.Core;
using Optim.Kernels;
using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// A rule's step as a function of tensors: parameters, gradients and state go in, new ones come out, and the graph of all of it is
/// kept. Nothing that went in changes. Made by <see cref="Differentiable.Step(Rule, IOptimizerOptions, ValueTuple{string, Tensor}[])"/>.
/// </summary>
/// <remarks>
/// On any device that libtorch computes on; float16 and bfloat16 are stepped in float32, complex numbers as pairs of reals.
/// The results belong to the dispose scope in force, and are the caller's to dispose where there is none; what a step makes on the way is disposed.
/// </remarks>
public sealed class DifferentiableStep
{
    private readonly TracedOptions options;

    internal DifferentiableStep(Rule rule, IOptimizerOptions options, (string Option, Tensor Value)[] tensors)
    {
        if (!rule.IsDifferentiable)
            throw new NotSupportedException($"{rule.Name} does not support differentiable steps");
        Rule = rule;
        this.options = new(rule, options, tensors);
    }

    /// <summary>The algorithm.</summary>
    public Rule Rule { get; }

    /// <summary>The state before the first step.</summary>
    /// <exception cref="ArgumentException">A parameter is not of a floating point dtype.</exception>
    /// <exception cref="NotSupportedException">A parameter is not strided.</exception>
    public DifferentiableState Init(params Tensor[] parameters)
    {
        ArgumentNullException.ThrowIfNull(parameters);
        for (var i = 0; i < parameters.Length; i++)
            Check(parameters[i], $"parameter {i}");
        return new(Rule, [.. parameters.Select(_ => DifferentiableRow.Empty)]);
    }

    /// <summary>One step of one parameter.</summary>
    /// <inheritdoc cref="Run(IReadOnlyList{Tensor}, IReadOnlyList{Tensor?}, DifferentiableState)"/>
    public (Tensor Parameter, DifferentiableState State) Run(Tensor parameter, Tensor? gradient, DifferentiableState state)
    {
        var (parameters, next) = Run([parameter], [gradient], state);
        return (parameters[0], next);
    }

    /// <summary>One step. A parameter without a gradient (null) stays as it is, its state and its step count, too.</summary>
    /// <exception cref="OptionException">The tensor of an option holds a value outside of its range by now, or eps is not 0 but rounds to 0 in the dtype of a parameter.</exception>
    /// <exception cref="ArgumentException">Numbers of tensors, shapes or dtypes do not fit.</exception>
    /// <exception cref="NotSupportedException">A gradient is sparse, or of another dtype or device than its parameter.</exception>
    public (ImmutableArray<Tensor> Parameters, DifferentiableState State) Run(
        IReadOnlyList<Tensor> parameters,
        IReadOnlyList<Tensor?> gradients,
        DifferentiableState state
    )
    {
        ArgumentNullException.ThrowIfNull(parameters);
        ArgumentNullException.ThrowIfNull(gradients);
        ArgumentNullException.ThrowIfNull(state);
        Check(parameters, gradients, state);
        using var scope = NewDisposeScope();
        var (record, reader) = (options.Switching(), options.Reader());
        for (var i = 0; i < parameters.Count; i++)
            if (gradients[i] is not null)
                Rule.CheckDivisors(record, (DType)(sbyte)parameters[i].dtype, $"parameter {i}");
        var moved = ImmutableArray.CreateBuilder<Tensor>(parameters.Count);
        var rows = ImmutableArray.CreateBuilder<DifferentiableRow>(parameters.Count);
        for (var i = 0; i < parameters.Count; i++)
        {
            var (parameter, row) = gradients[i] is { } gradient
                ? Update(parameters[i], gradient, state.Rows[i], record, reader)
                : (parameters[i], state.Rows[i]);
            moved.Add(Keep(parameter));
            rows.Add(row with { Columns = row.Columns.ToImmutableDictionary(c => c.Key, c => Keep(c.Value), StringComparer.Ordinal) });
        }
        return (moved.MoveToImmutable(), new(Rule, rows.MoveToImmutable()));
    }

    private (Tensor, DifferentiableRow) Update(
        Tensor parameter,
        Tensor gradient,
        DifferentiableRow row,
        IOptimizerOptions record,
        Reader<TorchLane> reader
    )
    {
        var lanes = new TorchLane[2 + Math.Max(6, Rule.ColumnNames.Length)];
        var form = LaneForm.In(parameter);
        (lanes[0], lanes[1]) = (new(form), new(LaneForm.In(gradient)));
        var (names, kept) = (Rule.ColumnNames, Rule.ColumnsUnder(record));
        for (var column = 0; column < names.Length; column++)
            if (kept.Contains(names[column]))
                lanes[column + 2] = row.Columns.TryGetValue(names[column], out var known)
                    ? new(LaneForm.In(known))
                    : new(Full(Rule.Start(record, column, reader), form));
        var scalars = row.Step == 0 ? Rule.StartScalars(record, reader) : Scalars(row);
        scalars = Rule.Update<TorchLane, TorchLane>(record, reader, new(row.Step + 1), scalars, lanes);
        var columns = row.Columns.ToBuilder();
        for (var column = 0; column < names.Length; column++)
            if (kept.Contains(names[column]))
                columns[names[column]] = LaneForm.Out(lanes[column + 2].ToTensor(form), parameter, wide: true);
        for (var i = 0; i < Rule.ScalarNames.Length; i++)
            columns[Rule.ScalarNames[i]] = scalars[i].ToNumber();
        return (LaneForm.Out(lanes[0].ToTensor(form), parameter, wide: false), new(row.Step + 1, columns.ToImmutable()));
    }

    private Scalars<TorchLane> Scalars(DifferentiableRow row)
    {
        var kept = Rule.ScalarNames.Select(name => new TorchLane(row.Columns[name])).ToArray();
        return new(kept);
    }

    // A number in every element, with its graph.
    private static Tensor Full(TorchLane number, Tensor form) => (new TorchLane(zeros_like(form)) + number).ToTensor(form);

    // A wrapper of its own, in the caller's scope: what went in may be disposed, and what comes out lives on.
    private static Tensor Keep(Tensor tensor) => tensor.alias().MoveToOuterDisposeScope();

    private void Check(IReadOnlyList<Tensor> parameters, IReadOnlyList<Tensor?> gradients, DifferentiableState state)
    {
        if (state.Rule != Rule)
            throw new ArgumentException($"{Rule.Name} was given a state of {state.Rule.Name}", nameof(state));
        if (parameters.Count != gradients.Count || parameters.Count != state.Rows.Length)
            throw new ArgumentException(
                $"{Rule.Name} was given {parameters.Count} parameters, {gradients.Count} gradients and a state of {state.Rows.Length} rows; the numbers must agree"
            );
        for (var i = 0; i < parameters.Count; i++)
        {
            var (parameter, label) = (parameters[i], $"parameter {i}");
            Check(parameter, label);
            foreach (var (name, column) in state.Rows[i].Columns)
                if (!Rule.ScalarNames.Contains(name) && !column.shape.AsSpan().SequenceEqual(parameter.shape))
                    throw new ArgumentException(
                        $"{Rule.Name}: {name} of {label} is {Describe(column)}, and the parameter {Describe(parameter)}"
                    );
            if (gradients[i] is not { } gradient)
                continue;
            if (gradient.is_sparse)
                throw new NotSupportedException($"{Rule.Name}: differentiable steps do not support sparse gradients, and {label} has one");
            if (gradient.dtype != parameter.dtype || gradient.device.ToString() != parameter.device.ToString())
                throw new NotSupportedException(
                    $"{Rule.Name}: the gradient of {label} is {Describe(gradient)} on {gradient.device}; it must be as the parameter, {Describe(parameter)} on {parameter.device}"
                );
            if (!gradient.shape.AsSpan().SequenceEqual(parameter.shape))
                throw new ArgumentException(
                    $"{Rule.Name}: the gradient of {label} is {Describe(gradient)}; its shape must be that of the parameter, {Describe(parameter)}"
                );
        }
    }

    private void Check(Tensor parameter, string label)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        if (parameter.is_sparse)
            throw new NotSupportedException($"{Rule.Name}: {label} is sparse; differentiable steps need strided tensors");
        if (!parameter.is_floating_point() && !parameter.is_complex())
            throw new ArgumentException(
                $"{Rule.Name}: {label} is of dtype {parameter.dtype}; only floating point tensors can be optimized"
            );
    }

    private static string Describe(Tensor tensor) => $"{tensor.dtype}[{string.Join(", ", tensor.shape)}]";
}
