using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>What carries out the parts of a step of Adafactor: our kernels, or whole tensors as lanes.</summary>
/// <typeparam name="N">Numbers about a tensor as a whole.</typeparam>
internal interface IAdafactorEngine<N>
    where N : struct, ILane<N>
{
    /// <summary>The sum of the squares of the parameter.</summary>
    N SquaresOfParameter();

    /// <summary>
    /// The means of squares move (<see cref="TensorMath.Between"/>), and the update is made of each element: <see cref="AdafactorFormula.Update"/> by
    /// V, which is R C over the mean of R (<see cref="AdafactorFormula.Scale"/>), or is kept itself.
    /// </summary>
    void Update();

    /// <summary>The sum of the squares of the update.</summary>
    N SquaresOfUpdate();

    /// <summary>The parameter moves against the update: <see cref="TensorMath.Against"/> of each element.</summary>
    void Move(N rate);
}

/// <summary>
/// The arithmetic of Adafactor (Shazeer and Stern, arXiv:1804.04235), as PyTorch has it: means of squares of rows R and columns C
/// (or of the elements, V), u = g / max(sqrt(R C / max(mean R, eps1)), eps1), and x = x (1 - lr weight_decay) - rate u.
/// </summary>
internal readonly struct AdafactorFormula
{
    /// <summary>The step of a tensor of so many elements.</summary>
    public static void Step<E, N>(ref E engine, in AdafactorNumbers numbers, nint count)
        where E : struct, IAdafactorEngine<N>
        where N : struct, ILane<N>
    {
        var size = engine.SquaresOfParameter();
        engine.Update();
        engine.Move(Rate(size, engine.SquaresOfUpdate(), N.Of(count), N.Of(numbers.Eps2), N.Of(numbers.Rate), N.Of(numbers.Clip)));
    }

    /// <summary>The mean of a row as its elements take it: by <see cref="Scale"/>.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Scaled<V>(V row, V scale)
        where V : struct, ILane<V> => row * scale;

    /// <summary>The mean square that an element is expected to have, by the scaled mean of its row and that of its column.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Expected<V>(V scaledRow, V column)
        where V : struct, ILane<V> => scaledRow * column;

    /// <summary>The same of a matrix of one element, whose row is its column.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V OfOne<V>(V row, V column, V smallest)
        where V : struct, ILane<V> => row / V.Max(row, smallest) * column;

    /// <summary>The gradient over the root of its mean square, which is at least eps1. (PyTorch takes the root last: eps1^2 may round to 0.)</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Update<V>(V grad, V variance, V smallest)
        where V : struct, ILane<V> => grad / V.Max(V.Sqrt(variance), smallest);

    /// <summary>What the product of a row's mean and a column's is multiplied by.</summary>
    public static N Scale<N>(N meanOfRows, N smallest)
        where N : struct, ILane<N> => N.Of(1) / N.Max(meanOfRows, smallest);

    /// <summary>max(eps2, RMS x) rate / max(1, RMS u / d), from sums of squares.</summary>
    public static N Rate<N>(N parameter, N update, N count, N eps2, N rate, N clip)
        where N : struct, ILane<N> =>
        AtLeast(eps2, N.Sqrt(parameter / count)) * rate / AtLeast(N.Of(1), N.Sqrt(update) / (N.Sqrt(count) * clip));

    /// <summary>The larger one, and the bound for NaN: an element that is lost does not take the others with it.</summary>
    private static N AtLeast<N>(N bound, N value)
        where N : struct, ILane<N> => N.Select(N.Greater(value, bound), value, bound);
}
