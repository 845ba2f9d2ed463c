using System.Numerics;

namespace Optim.Kernels;

/// <summary>What a step of Adafactor needs to know of its options.</summary>
/// <param name="Weight">Of this step's squares in their means: t^beta2_decay.</param>
/// <param name="Eps1">The smallest mean of rows, and the smallest root mean square of a gradient.</param>
/// <param name="Eps2">The smallest root mean square of a parameter.</param>
/// <param name="Rate">min(lr, 1 / sqrt(t)), negative to maximize.</param>
/// <param name="Clip">The largest root mean square of an update.</param>
/// <param name="Keep">1 - lr weight_decay.</param>
internal readonly record struct AdafactorNumbers(double Weight, double Eps1, double Eps2, double Rate, double Clip, double Keep);

/// <summary>A parameter as matrices of rows and columns (none for a vector), its gradient and its state: contiguous float32 or float64.</summary>
internal readonly record struct AdafactorTensor(
    DType DType,
    nint Count,
    nint Rows,
    nint Columns,
    nint Param,
    nint Grad,
    nint RowVar,
    nint ColVar
);

/// <summary>What the passes of a step share.</summary>
internal unsafe struct AdafactorPass
{
    /// <summary>Rows that one sum of squares of columns goes over, before the sums are added up.</summary>
    public const int Chunk = 64;

    /// <summary>Elements of a row, or means of rows, that are summed one after the other; more are summed by the fixed tree.</summary>
    public const int Short = ReductionTable.Sums;

    public AdafactorTensor Tensor;
    public AdafactorNumbers Numbers;
    public Width Width;

    /// <summary>The update of each element.</summary>
    public void* Update;

    /// <summary>For each chunk of rows, a sum for each column.</summary>
    public double* Sums;

    /// <summary>For each matrix, one over its mean of rows.</summary>
    public double* Scales;

    /// <summary>What the update is multiplied by.</summary>
    public double Rate;
    public readonly nint Size => Tensor.Rows * Tensor.Columns;
    public readonly nint Matrices => Size == 0 ? 0 : Tensor.Count / Size;
    public readonly nint Chunks => (Tensor.Rows + Chunk - 1) / Chunk;
    public readonly bool IsVector => Tensor.ColVar == 0;

    /// <summary>Whether matrices are worked on as a whole, as everything is summed one after the other.</summary>
    public readonly bool IsSmall => Tensor.Rows <= Short && Tensor.Columns <= Short;

    /// <summary>Bytes that a step works in.</summary>
    public readonly nint Room =>
        NativeBlock.Aligned(Tensor.Count * Tensor.DType.Size())
        + (IsVector || IsSmall ? 0 : NativeBlock.Aligned(8 * Matrices * Chunks * Tensor.Columns) + NativeBlock.Aligned(8 * Matrices));

    /// <summary>A step: state and parameter change. Returns how many threads took part.</summary>
    public static int Run(AdafactorTensor tensor, AdafactorNumbers numbers, Workspace workspace, Executor executor)
    {
        if (tensor.Count == 0)
            return 1;
        var pass = new AdafactorPass
        {
            Tensor = tensor,
            Numbers = numbers,
            Width = Lanes.Width,
        };
        workspace.Reset(pass.Room);
        pass.Update = (void*)workspace.Take(tensor.Count * tensor.DType.Size());
        if (!pass.IsVector && !pass.IsSmall)
        {
            pass.Sums = (double*)workspace.Take(8 * pass.Matrices * pass.Chunks * tensor.Columns);
            pass.Scales = (double*)workspace.Take(8 * pass.Matrices);
        }
        var threads = tensor.DType == DType.Float32 ? Run<float>(&pass, executor) : Run<double>(&pass, executor);
        workspace.KeepAlive();
        return threads;
    }

    private static int Run<T>(AdafactorPass* pass, Executor executor)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
    {
        var engine = new AdafactorKernel<T>(pass, executor);
        AdafactorFormula.Step<AdafactorKernel<T>, Lane1<double>>(ref engine, pass->Numbers, pass->Tensor.Count);
        return engine.Threads;
    }
}
