using System.Runtime.InteropServices;
using Optim.Kernels;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// libtorch's matrix products, for rules that are told to use a provider's: <c>TorchProducts.Register()</c> once, and then
/// <c>new Muon(matrices, product: MuonProduct.Provider)</c>. The bits then depend on libtorch, its version, its number of threads and the machine.
/// </summary>
public static unsafe class TorchProducts
{
    private const string Torch = "torch_cpu";

    /// <summary>Makes libtorch the provider of matrix products in this process.</summary>
    public static void Register()
    {
        Optim.Torch.Load();
        MatrixProducts.Provider = new Products();
    }

    private sealed class Products : IMatrixProducts
    {
        public void Multiply(TensorView left, TensorView right, bool isRightTransposed, TensorView result)
        {
            nint a = 0,
                b = 0,
                c = 0;
            try
            {
                a = Wrap(left, false);
                b = Wrap(right, isRightTransposed);
                c = Wrap(result, false);
                using var withoutGradients = no_grad();
                Check(aoti_torch_cpu_mm_out(c, a, b));
            }
            finally
            {
                foreach (var tensor in (ReadOnlySpan<nint>)[a, b, c])
                    if (tensor != 0)
                        aoti_torch_delete_tensor_object(tensor);
            }
        }

        private static nint Wrap(TensorView matrix, bool isTransposed)
        {
            var (rows, columns) = (matrix.Shape[0], matrix.Shape[1]);
            var sizes = stackalloc long[2] { isTransposed ? columns : rows, isTransposed ? rows : columns };
            var strides = stackalloc long[2] { isTransposed ? 1 : columns, isTransposed ? columns : 1 };
            nint tensor;
            Check(aoti_torch_create_tensor_from_blob((void*)matrix.Address, 2, sizes, strides, 0, (int)matrix.DType, 0, 0, &tensor));
            return tensor;
        }

        private static void Check(int error)
        {
            if (error != 0)
                throw new InvalidOperationException("a matrix product of libtorch failed; what it says about it stands on standard error");
        }
    }

    [DllImport(Torch)]
    private static extern int aoti_torch_create_tensor_from_blob(
        void* data,
        long dimensions,
        long* sizes,
        long* strides,
        long offset,
        int dtype,
        int deviceType,
        int deviceIndex,
        nint* tensor
    );

    [DllImport(Torch)]
    private static extern int aoti_torch_cpu_mm_out(nint result, nint left, nint right);

    [DllImport(Torch)]
    private static extern int aoti_torch_delete_tensor_object(nint tensor);
}
