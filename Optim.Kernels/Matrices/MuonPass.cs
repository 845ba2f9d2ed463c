using System.Numerics;

namespace Optim.Kernels;

/// <summary>In which precision a matrix is made orthogonal.</summary>
public enum MuonPrecision
{
    /// <summary>float32, or float64 for parameters of float64.</summary>
    Float32 = 0,

    /// <summary>As PyTorch has it: every matrix is rounded to bfloat16, and sums are kept in float32.</summary>
    BFloat16 = 1,
}

/// <summary>What a step of Muon needs to know of its options.</summary>
internal readonly record struct MuonNumbers(
    double Momentum,
    bool Nesterov,
    double Keep,
    double Rate,
    double Eps,
    double A,
    double B,
    double C,
    int Steps,
    MuonPrecision Precision
);

/// <summary>A matrix, its gradient and its momentum: contiguous float32 or float64.</summary>
internal readonly record struct MuonTensor(DType DType, nint Rows, nint Columns, nint Param, nint Grad, nint Buffer)
{
    public nint Count => Rows * Columns;
}

/// <summary>
/// A step of Muon: the momentum, the direction made orthogonal, the move. Orthogonal by Newton and Schulz's iteration on X, the direction over
/// its Frobenius norm, with no more rows than columns (transposed when it has): A = X X', X = a X + (b A + c A A) X.
/// Its matrix products go through <see cref="MatrixProduct"/>, or those of a provider that was asked for.
/// </summary>
internal unsafe struct MuonPass
{
    public MuonTensor Tensor;
    public MuonNumbers Numbers;

    /// <summary>The direction, of the parameter's dtype.</summary>
    public void* Direction;

    /// <summary>Matrices of <see cref="Work"/>: the one that is made orthogonal, the next one, and two squares.</summary>
    public nint X,
        Next,
        Square,
        Polynomial,
        Panels;

    /// <summary>The dtype of the iteration.</summary>
    public DType Work;

    /// <summary>Rows and columns of X.</summary>
    public nint R,
        C;

    /// <summary>What the direction is divided by.</summary>
    public double Norm;

    public readonly bool IsTransposed => Tensor.Rows > Tensor.Columns;

    /// <summary>A step: momentum and parameter change. Returns how many threads took part.</summary>
    public static int Run(MuonTensor tensor, MuonNumbers numbers, IMatrixProducts? products, Workspace workspace, Executor executor)
    {
        if (tensor.Count == 0)
            return 1;
        var pass = new MuonPass
        {
            Tensor = tensor,
            Numbers = numbers,
            Work = numbers.Precision == MuonPrecision.BFloat16 ? DType.Float32 : tensor.DType,
            R = Math.Min(tensor.Rows, tensor.Columns),
            C = Math.Max(tensor.Rows, tensor.Columns),
        };
        var (size, r, c) = ((nint)pass.Work.Size(), pass.R, pass.C);
        var panels = Math.Max(MatrixProduct.Room(c, r), MatrixProduct.Room(r, c));
        nint whole = NativeBlock.Aligned(size * r * c),
            square = NativeBlock.Aligned(size * r * r);
        workspace.Reset(
            NativeBlock.Aligned(tensor.Count * tensor.DType.Size()) + 2 * whole + 2 * square + NativeBlock.Aligned(size * panels)
        );
        pass.Direction = (void*)workspace.Take(tensor.Count * tensor.DType.Size());
        (pass.X, pass.Next) = (workspace.Take(size * r * c), workspace.Take(size * r * c));
        (pass.Square, pass.Polynomial) = (workspace.Take(size * r * r), workspace.Take(size * r * r));
        pass.Panels = workspace.Take(size * panels);
        var threads =
            tensor.DType == DType.Float32 ? Run<float, float>(&pass, products, executor)
            : pass.Work == DType.Float32 ? Run<double, float>(&pass, products, executor)
            : Run<double, double>(&pass, products, executor);
        workspace.KeepAlive();
        return threads;
    }

    private static int Run<T, W>(MuonPass* pass, IMatrixProducts? products, Executor executor)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where W : unmanaged, IBinaryFloatingPointIeee754<W>
    {
        var engine = new MuonKernel<T, W>(pass, products, executor);
        MuonFormula.Step<MuonKernel<T, W>, Lane1<double>>(ref engine, pass->Numbers);
        return engine.Threads;
    }
}
