namespace Optim.Kernels;

/// <summary>
/// Arithmetic of whole vectors: contiguous tensors of one length, of float32 or float64. It runs through the driver, so it gives the
/// same bits for every width, number of threads and executor. Each returns how many threads took part.
/// </summary>
internal static class Vectors
{
    [ThreadStatic]
    private static SliceTable? ofThisThread;

    /// <summary>target = a x; both may be the same.</summary>
    public static int Scale(TensorView target, double a, TensorView x, Executor executor)
    {
        var table = Table(columns: 1, x.Count, x.Address, x.Address);
        table.SetColumn(0, target.Address);
        return Run(Driver<ScaledFormula>.Instance, table, a, target, executor);
    }

    /// <summary>target = target + a x.</summary>
    public static int Add(TensorView target, double a, TensorView x, Executor executor) =>
        Run(Driver<AddedFormula>.Instance, Table(columns: 0, x.Count, target.Address, x.Address), a, target, executor);

    /// <summary>target = a x + y; any of them may be the same.</summary>
    public static int Combine(TensorView target, double a, TensorView x, TensorView y, Executor executor)
    {
        var table = Table(columns: 2, x.Count, target.Address, x.Address);
        table.SetColumn(0, x.Address);
        table.SetColumn(1, y.Address);
        return Run(Driver<CombinedFormula>.Instance, table, a, target, executor);
    }

    private static SliceTable Table(int columns, nint length, nint param, nint grad)
    {
        var table = ofThisThread ??= new();
        table.Reset(1, columns);
        table.Add(length, param, grad);
        return table;
    }

    private static int Run(Driver driver, SliceTable table, double a, TensorView target, Executor executor)
    {
        if (table.Length == 0)
            return 1;
        var coefficients = new Coefficients<Real>(new Real(a));
        return driver.Run(table, 0, 1, target.DType, 0, in coefficients, executor);
    }
}
