namespace Optim.Kernels;

/// <summary>What makes one number of a whole tensor, where lanes are such.</summary>
/// <typeparam name="V">The lane.</typeparam>
internal abstract class LaneReductions<V>
    where V : struct, ILane<V>
{
    /// <summary>The number of a reduction.</summary>
    public abstract V Reduce(Operation operation, V value);

    /// <summary>The elements of the parameter.</summary>
    public abstract double Count { get; }

    /// <summary>The product of the lengths of its first dimensions.</summary>
    public abstract double LeadingCount(int dimensions);

    /// <summary>What many elements come to, in each of these.</summary>
    public abstract V Spread(Node node, V value);

    /// <summary>Noise for each element of the parameter, whose lane is given.</summary>
    public abstract V Noise(Node node, (double Seed, double Step) key, V parameter);

    /// <summary>A number as a double.</summary>
    public abstract double Read(V number);

    /// <summary>What a load would find after a store to the parameter.</summary>
    public abstract V Round(V value);
}

/// <summary>The reductions of lanes that are whole tensors.</summary>
/// <typeparam name="V">The lane.</typeparam>
/// <param name="layout">The layout of the parameter.</param>
/// <param name="stream">What tells its noise from that of other parameters.</param>
internal sealed class WholeReductions<V>(Layout layout, ulong stream = 0) : LaneReductions<V>
    where V : struct, IWhole<V>
{
    private readonly DType dtype = layout.DType;

    public override double Count => layout.Count;

    public override double LeadingCount(int dimensions) => new SpreadSlice(layout.Shape, 0, 0).LeadingCount(dimensions);

    public override V Spread(Node node, V value)
    {
        if (node.Operation is Operation.SumOfSquaresOfRow or Operation.SumOfSquaresOfColumn)
            value *= value;
        var rank = Math.Max(layout.Shape.Length, 1);
        var leading = Math.Min((int)node.Value, rank);
        var isRow = node.Operation is Operation.SumOfRow or Operation.SumOfSquaresOfRow;
        for (var dimension = isRow ? leading : 0; dimension < (isRow ? rank : leading); dimension++)
            value = V.Mean(value, dimension - rank);
        var rows = LeadingCount(leading);
        return value * V.Of(isRow ? Count / rows : rows);
    }

    // Drawn by the processor, and copied: the same bits wherever the parameter lies.
    public override V Noise(Node node, (double Seed, double Step) key, V parameter)
    {
        var noise = TensorView.Zeros(Layout.Contiguous(dtype.ToStateDType(), layout.Shape.AsSpan()));
        var isDouble = dtype is DType.Float64 or DType.Complex128;
        Kernels.Noise.Fill(
            Kernels.Noise.Key(stream, key.Seed, key.Step),
            noise.Address,
            noise.Count * dtype.Parts(),
            isDouble,
            Executor.Team
        );
        return V.CopyOf(noise, parameter);
    }

    public override double Read(V number) => V.Read(number);

    public override V Reduce(Operation operation, V value) =>
        operation switch
        {
            Operation.Sum => V.Sum(value),
            Operation.SumOfSquares => V.SumOfSquares(value),
            _ => V.LargestMagnitude(value),
        };

    public override V Round(V value) => dtype is DType.Float16 or DType.BFloat16 ? V.Round(value, dtype) : value;
}

/// <summary>What the leaves of a program are in a step on lanes.</summary>
/// <typeparam name="N">The number.</typeparam>
/// <param name="Read">Makes numbers of options.</param>
/// <param name="Options">The options' numbers, by their names.</param>
/// <param name="Step">The step, from 1.</param>
/// <param name="KeptNames">The names of the numbers that are kept.</param>
/// <param name="Kept">These numbers before the step.</param>
/// <param name="Given">The numbers that are handed in, by their names.</param>
internal readonly record struct LaneLeaves<N>(
    Reader<N> Read,
    IReadOnlyDictionary<string, double> Options,
    StepNumber<N> Step,
    IReadOnlyList<string> KeptNames,
    Scalars<N> Kept,
    Func<string, double>? Given = null
)
    where N : struct, IScalar<N>
{
    /// <summary>The place of a kept number.</summary>
    public int PlaceOf(string name)
    {
        for (var i = 0; i < KeptNames.Count; i++)
            if (KeptNames[i] == name)
                return i;
        throw new KeyNotFoundException(name);
    }
}

/// <summary>A program on lanes that the caller holds, such as whole tensors with a graph: one operation after the other.</summary>
/// <typeparam name="V">The lane.</typeparam>
/// <typeparam name="N">The numbers of the step.</typeparam>
internal readonly struct ProgramLanes<V, N>
    where V : struct, ILane<V>, ITakes<V, N>
    where N : struct, IScalar<N>
{
    /// <summary>A number, and what it amounts to where that is known, for questions.</summary>
    private readonly record struct Known(N Number, double? Value);

    private readonly StepProgram program;
    private readonly LaneReductions<V>? reductions;
    private readonly Func<int, double>? totals;
    private readonly Known[] numbers;
    private readonly V[] values;

    private ProgramLanes(StepProgram program, LaneReductions<V>? reductions, Func<int, double>? totals)
    {
        (this.program, this.reductions, this.totals) = (program, reductions, totals);
        numbers = new Known[program.Nodes.Length];
        values = new V[program.Nodes.Length];
    }

    /// <summary>One step: the row's arrays become those after it; the kept numbers after it are returned.</summary>
    /// <param name="program">The step.</param>
    /// <param name="leaves">Its numbers.</param>
    /// <param name="row">The arrays.</param>
    /// <param name="reductions">What makes numbers of whole tensors, where lanes are such.</param>
    /// <param name="totals">What reductions over all come to, by their places.</param>
    public static Scalars<N> Update(
        StepProgram program,
        LaneLeaves<N> leaves,
        Span<V> row,
        LaneReductions<V>? reductions,
        Func<int, double>? totals = null
    )
    {
        var lanes = new ProgramLanes<V, N>(program, reductions, totals);
        for (var i = 0; i < program.Nodes.Length; i++)
            lanes.Compute(i, in leaves, row);
        foreach (var (array, node) in program.Stores)
            row[array] = lanes.AsLane(node);
        foreach (var (array, node) in program.TensorNumbers)
            row[array] = lanes.AsLane(node);
        var kept = new N[leaves.KeptNames.Count];
        for (var i = 0; i < kept.Length; i++)
            kept[i] = leaves.Kept[i];
        foreach (var (name, node) in program.Kept)
            kept[leaves.PlaceOf(name)] = lanes.numbers[node].Number;
        return new(kept);
    }

    /// <summary>What a row adds to reductions over all, of which the ones that come out of earlier visits are known; no array changes.</summary>
    public static double[] Parts(
        StepProgram program,
        LaneLeaves<N> leaves,
        Span<V> row,
        LaneReductions<V> reductions,
        Func<int, double> totals,
        ReadOnlySpan<int> wanted
    )
    {
        var lanes = new ProgramLanes<V, N>(program, reductions, totals);
        var needed = new bool[program.Nodes.Length];
        foreach (var place in wanted)
            needed[program.Nodes[place].A] = true;
        for (var i = needed.Length - 1; i >= 0; i--)
        for (var k = 0; k < program.Nodes[i].Operands && needed[i] && !IsTotal(program, i); k++)
            needed[program.Nodes[i].Operand(k)] = true;
        for (var i = 0; i < needed.Length; i++)
            if (needed[i])
                lanes.Compute(i, in leaves, row);
        var parts = new double[wanted.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            var node = program.Nodes[wanted[i]];
            parts[i] = reductions.Read(reductions.Reduce(node.Operation, lanes.AsLane(node.A)));
        }
        return parts;
    }

    private static bool IsTotal(StepProgram program, int place) =>
        program.Scopes[place] == Scope.AllTensors && program.Nodes[place].Operation.IsReduction();

    private void Compute(int place, in LaneLeaves<N> leaves, Span<V> row)
    {
        var node = program.Nodes[place];
        switch (program.Scopes[place])
        {
            case Scope.Step or Scope.AllTensors:
                numbers[place] = IsTotal(program, place) ? Constant(TotalOf(place)) : NumberOf(node, in leaves);
                break;
            default:
                values[place] = node.Operation switch
                {
                    Operation.Input => row[program.PlaceOf(node.Name)],
                    // The sum of the only element is that, as a number.
                    Operation.TensorNumber => Reductions.Reduce(Operation.Sum, row[program.PlaceOf(node.Name)]),
                    Operation.Number => AsLane(node.A),
                    Operation.Rounded => reductions is null ? AsLane(node.A) : reductions.Round(AsLane(node.A)),
                    Operation.ElementCount => V.Of(Reductions.Count),
                    Operation.LeadingCount => V.Of(Reductions.LeadingCount((int)node.Value)),
                    Operation.Noise => Reductions.Noise(node, (Value(numbers[node.A]), Value(numbers[node.B])), row[0]),
                    var operation when operation.IsSum() => Reductions.Spread(node, AsLane(node.A)),
                    var operation when operation.IsReduction() => Reductions.Reduce(operation, AsLane(node.A)),
                    _ => Operate(
                        node.Operation,
                        AsLane(node.A),
                        node.B < 0 ? default : AsLane(node.B),
                        node.C < 0 ? default : AsLane(node.C)
                    ),
                };
                break;
        }
    }

    private LaneReductions<V> Reductions => reductions ?? throw new NotSupportedException("a reduction needs lanes that are whole tensors");

    private double TotalOf(int place) =>
        totals is null ? throw new NotSupportedException("a reduction over all parameters needs all of them") : totals(place);

    private V AsLane(int place) =>
        program.Scopes[place] > Scope.AllTensors ? values[place]
        : program.Nodes[place].Operation == Operation.Constant ? V.Of(program.Nodes[place].Constant)
        : V.From(numbers[place].Number);

    private static V Operate(Operation operation, V a, V b, V c) =>
        operation switch
        {
            Operation.Add => a + b,
            Operation.Subtract => a - b,
            Operation.Multiply => a * b,
            Operation.Divide => a / b,
            Operation.Negate => -a,
            Operation.Sqrt => V.Sqrt(a),
            Operation.Exp => V.Exp(a),
            Operation.Log => V.Log(a),
            Operation.Cbrt => V.Cbrt(a),
            Operation.Fma => V.Fma(a, b, c),
            // Of what is not negative where such a power is taken.
            Operation.Power => V.Pow(a, b),
            Operation.Abs => V.Abs(a),
            Operation.Max => V.Max(a, b),
            Operation.Min => V.Min(a, b),
            Operation.Sign => V.Select(V.Greater(a, V.Of(0)), V.Of(1), V.Select(V.Greater(V.Of(0), a), V.Of(-1), V.Of(0))),
            Operation.Greater => V.Greater(a, b),
            Operation.IsNaN => V.IsNaN(a),
            Operation.Select => V.Select(a, b, c),
            _ => throw new NotSupportedException($"{operation} on lanes"),
        };

    private Known NumberOf(Node node, in LaneLeaves<N> leaves)
    {
        var (a, b, c) = (At(node.A), At(node.B), At(node.C));
        switch (node.Operation)
        {
            case Operation.Constant:
                return Constant(node.Constant);
            case Operation.StepCount:
                return new(leaves.Step.Number, leaves.Step.KnownCount);
            case Operation.Option:
                return new(leaves.Read.Of(node.Name, leaves.Options[node.Name]), leaves.Options[node.Name]);
            case Operation.Given:
                var given = leaves.Given!(node.Name);
                return new(leaves.Read.Of(node.Name, given), given);
            case Operation.Kept:
                var kept = leaves.Kept[leaves.PlaceOf(node.Name)];
                return new(kept, kept is Real real ? real.Value : null);
            case Operation.Add:
                return new(a.Number + b.Number, a.Value + b.Value);
            case Operation.Subtract:
                return new(a.Number - b.Number, a.Value - b.Value);
            case Operation.Multiply:
                return new(a.Number * b.Number, a.Value * b.Value);
            case Operation.Divide:
                return new(a.Number / b.Number, a.Value / b.Value);
            case Operation.Fma:
                return new(a.Number * b.Number + c.Number, a.Value * b.Value + c.Value);
            case Operation.Negate:
                return new(-a.Number, -a.Value);
            case Operation.Sqrt:
                return new(N.Sqrt(a.Number), a.Value is { } root ? Math.Sqrt(root) : null);
            case Operation.Exp:
                return new(N.Exp(a.Number), a.Value is { } exponential ? Math.Exp(exponential) : null);
            case Operation.Log:
                return new(N.Log(a.Number), a.Value is { } logarithm ? Math.Log(logarithm) : null);
            case Operation.Cbrt:
                return new(N.Cbrt(a.Number), a.Value is { } cube ? Math.Cbrt(cube) : null);
            case Operation.Power:
                // A whole power has a derivative for any sign of the base.
                var power =
                    b.Value is { } exponent
                    && exponent == (long)exponent
                    && program.Nodes[node.B].Operation is Operation.Constant or Operation.StepCount
                        ? N.Pow(a.Number, (long)b.Value)
                        : N.Pow(a.Number, b.Number);
                return new(power, a.Value is { } x && b.Value is { } y ? Math.Pow(x, y) : null);
            case Operation.Floor:
                return Constant(Math.Floor(Value(a)));
            case Operation.Erfi:
                return Constant(SpecialFunctions.Erfi(Value(a)));
            case Operation.Abs:
                return Value(a) < 0 ? new(-a.Number, -a.Value) : a;
            case Operation.Max:
                return Value(a) > Value(b) || double.IsNaN(Value(a)) ? a : b;
            case Operation.Min:
                return Value(b) > Value(a) || double.IsNaN(Value(a)) ? a : b;
            case Operation.Sign:
                return Constant(
                    Value(a) > 0 ? 1
                    : Value(a) < 0 ? -1
                    : 0
                );
            case Operation.Greater:
                return Constant(Value(a) > Value(b) ? 1 : 0);
            case Operation.IsNaN:
                return Constant(double.IsNaN(Value(a)) ? 1 : 0);
            case Operation.Select:
                return Value(a) != 0 ? b : c;
            default:
                throw new NotSupportedException($"{node.Operation} of numbers");
        }
    }

    private Known At(int place) => place < 0 ? default : numbers[place];

    private static Known Constant(double value) => new(N.Of(value), value);

    private static double Value(Known number) =>
        number.Value ?? throw new NotSupportedException("a question about a kept number has no derivative");
}
