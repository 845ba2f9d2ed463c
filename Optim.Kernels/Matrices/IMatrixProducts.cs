namespace Optim.Kernels;

/// <summary>
/// A provider's matrix products, for those who choose them: row-major matrices without gaps, of float32 or float64. The bits of what is made
/// with them depend on the provider, its version, its threads and the machine.
/// </summary>
public interface IMatrixProducts
{
    /// <summary>result = left right, or left right' where that is asked for; result is another matrix than the others.</summary>
    void Multiply(TensorView left, TensorView right, bool isRightTransposed, TensorView result);
}

/// <summary>The matrix products of a provider, once one has registered: Optim.TorchSharp brings libtorch's.</summary>
public static class MatrixProducts
{
    /// <summary>The provider's; null while there is none.</summary>
    public static IMatrixProducts? Provider { get; set; }
}
