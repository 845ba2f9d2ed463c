namespace Optim.Kernels;

/// <summary>The parts of a step of Adafactor on whole tensors as lanes.</summary>
/// <param name="row">Parameter, gradient, means of rows and of columns, mean squares of elements: they become those after the step.</param>
/// <param name="isVector">Whether the elements' mean squares are kept.</param>
/// <param name="numbers">What the options come to.</param>
internal readonly struct AdafactorWhole<V>(V[] row, bool isVector, AdafactorNumbers numbers) : IAdafactorEngine<V>
    where V : struct, IWhole<V>
{
    private const int Param = 0,
        Grad = 1,
        Rows = 2,
        Columns = 3,
        Variance = 4,
        Updated = 5;

    /// <summary>A step.</summary>
    public static void Run(V[] row, bool isVector, AdafactorNumbers numbers, nint count)
    {
        var engine = new AdafactorWhole<V>(row, isVector, numbers);
        AdafactorFormula.Step<AdafactorWhole<V>, V>(ref engine, numbers, count);
    }

    public V SquaresOfParameter() => V.SumOfSquares(row[Param]);

    public V SquaresOfUpdate() => V.SumOfSquares(row[Updated]);

    public void Update()
    {
        var grad = row[Grad];
        var squares = grad * grad;
        if (isVector)
            Moved(Variance, squares);
        else
        {
            Moved(Rows, V.Mean(squares, -1));
            Moved(Columns, V.Mean(squares, -2));
        }
        V.Free(squares);
        var smallest = V.Of(numbers.Eps1);
        var variance = isVector
            ? row[Variance]
            : AdafactorFormula.Expected(
                AdafactorFormula.Scaled(row[Rows], AdafactorFormula.Scale(V.Mean(row[Rows], -2), smallest)),
                row[Columns]
            );
        row[Updated] = AdafactorFormula.Update(grad, variance, smallest);
    }

    public void Move(V rate) => row[Param] = TensorMath.Against(row[Param], row[Updated], V.Of(numbers.Keep), rate);

    private void Moved(int column, V value)
    {
        var weight = numbers.Weight;
        row[column] = TensorMath.Between(row[column], value, V.Of(weight), V.Of(1 - weight), weight < 0.5);
    }
}
