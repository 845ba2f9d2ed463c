using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What carries out the parts of a step of Muon: our kernels, or whole tensors as lanes.</summary>
/// <typeparam name="N">Numbers about a matrix as a whole.</typeparam>
internal interface IMuonEngine<N>
    where N : struct, ILane<N>
{
    /// <summary>The buffer moves, and the direction is made: <see cref="MuonFormula.Momentum"/> of each element.</summary>
    void Momentum();

    /// <summary>The sum of the squares of the direction, rounded as X is.</summary>
    N SumOfSquares();

    /// <summary>A number, rounded as X is.</summary>
    N Rounded(N value);

    /// <summary>X = direction / norm, with no more rows than columns (transposed when it has).</summary>
    void Begin(N norm);

    /// <summary>A = X X'.</summary>
    void Square();

    /// <summary>P = b A + c A A, of which A is its own transpose.</summary>
    void Polynomial();

    /// <summary>X = a X + P X.</summary>
    void Multiply();

    /// <summary>The parameter moves against X, as it lay before it was transposed: <see cref="TensorMath.Against"/> of each element.</summary>
    void Move();
}

/// <summary>
/// Muon (Jordan and others, 2024; Liu and others, arXiv:2502.16982), as PyTorch has it: the momentum, the direction made orthogonal by Newton and
/// Schulz's iteration, and the move.
/// </summary>
internal readonly struct MuonFormula
{
    /// <summary>The step of a matrix.</summary>
    public static void Step<E, N>(ref E engine, in MuonNumbers numbers)
        where E : struct, IMuonEngine<N>
        where N : struct, ILane<N>
    {
        engine.Momentum();
        var norm = engine.Rounded(N.Sqrt(engine.SumOfSquares()));
        engine.Begin(N.Max(norm, engine.Rounded(N.Of(numbers.Eps))));
        for (var step = 0; step < numbers.Steps; step++)
        {
            engine.Square();
            engine.Polynomial();
            engine.Multiply();
        }
        engine.Move();
    }

    /// <summary>One element: B = B + (1 - momentum) (g - B), and g + momentum (B - g) with Nesterov's look ahead or B without it.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Momentum<V>(ref V buffer, V grad, double momentum, V weight, V rest, bool nesterov)
        where V : struct, ILane<V>
    {
        buffer = TensorMath.Between(buffer, grad, weight, rest, 1 - momentum < 0.5);
        return nesterov ? TensorMath.Between(grad, buffer, rest, weight, momentum < 0.5) : buffer;
    }
}
