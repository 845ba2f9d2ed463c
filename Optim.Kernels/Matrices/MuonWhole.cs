namespace Optim.Kernels;

/// <summary>The parts of a step of Muon on whole tensors as lanes.</summary>
internal struct MuonWhole<V>(V param, V grad, V buffer, bool isTransposed, MuonNumbers numbers) : IMuonEngine<V>
    where V : struct, IWhole<V>
{
    private readonly V grad = grad;
    private readonly MuonNumbers numbers = numbers;
    private V direction,
        x,
        square,
        polynomial;

    /// <summary>Whether somebody else has x, too.</summary>
    private bool isShared;

    /// <summary>The matrix.</summary>
    public V Param { get; private set; } = param;

    /// <summary>Its momentum.</summary>
    public V Buffer { get; private set; } = buffer;

    private readonly bool IsNarrow => numbers.Precision == MuonPrecision.BFloat16;

    /// <summary>A step of the lanes of a row: matrix, gradient and momentum, which become those after it.</summary>
    public static void Run(Span<V> row, bool isTransposed, MuonNumbers numbers)
    {
        var engine = new MuonWhole<V>(row[0], row[1], row[2], isTransposed, numbers);
        MuonFormula.Step<MuonWhole<V>, V>(ref engine, numbers);
        (row[0], row[2]) = (engine.Param, engine.Buffer);
    }

    /// <summary>A direction that was divided by its norm, made orthogonal.</summary>
    public static V Orthogonal(V direction, bool isTransposed, MuonNumbers numbers)
    {
        var engine = new MuonWhole<V>(default, default, default, isTransposed, numbers)
        {
            x = isTransposed ? V.Transposed(direction) : direction,
            isShared = true,
        };
        for (var step = 0; step < numbers.Steps; step++)
        {
            engine.Square();
            engine.Polynomial();
            engine.Multiply();
        }
        return isTransposed ? V.Transposed(engine.x) : engine.x;
    }

    public void Momentum()
    {
        var (next, momentum) = (Buffer, numbers.Momentum);
        direction = MuonFormula.Momentum(ref next, grad, momentum, V.Of(1 - momentum), V.Of(momentum), numbers.Nesterov);
        Buffer = next;
    }

    public readonly V SumOfSquares() => V.SumOfSquares(IsNarrow ? V.Narrow(direction) : direction);

    public readonly V Rounded(V value) => IsNarrow ? V.Widen(V.Narrow(value), value) : value;

    public void Begin(V norm)
    {
        var whole = isTransposed ? V.Transposed(direction) : direction;
        x = (IsNarrow ? V.Narrow(whole) : whole) / norm;
    }

    public void Square() => square = V.Product(x, V.Transposed(x));

    public void Polynomial() => polynomial = V.Product(square, square, numbers.C, square, numbers.B);

    public void Multiply()
    {
        var next = V.Product(polynomial, x, 1, x, numbers.A);
        // All of the iterations' matrices at once would be many times the parameter.
        if (!isShared)
            V.Free(x);
        isShared = false;
        V.Free(square);
        V.Free(polynomial);
        x = next;
    }

    public void Move()
    {
        var back = isTransposed ? V.Transposed(x) : x;
        Param = TensorMath.Against(Param, IsNarrow ? V.Widen(back, Param) : back, V.Of(numbers.Keep), V.Of(numbers.Rate));
    }
}
