using System.Runtime.InteropServices;
using static Optim.Bench.RuleCase;
using static TorchSharp.torch;

namespace Optim.Bench.Peers;

/// <summary>
/// The training tail as PyTorch runs it: six passes, each one operator of libtorch over all tensors, their lists built once. Unscale
/// with the check for gradients that are not finite, norms, clip, fused AdamW, average, zero.
/// </summary>
internal sealed unsafe class LibtorchPasses : LibtorchFused
{
    private readonly Tensor[] averages,
        norms;
    private readonly ArrayRef average,
        norm;
    private readonly Tensor found,
        inverse;
    private readonly float*[] normValues;

    public LibtorchPasses(ParameterList list, ScalarType dtype)
        : base(RuleCase.AdamW, list, dtype)
    {
        averages = [.. parameters.Select(parameter => parameter.detach().clone())];
        norms = [.. parameters.Select(_ => zeros([], dtype))];
        (average, norm) = (new(averages), new(norms));
        (found, inverse) = (zeros([1]), tensor((float)(1 / Scale)));
        normValues = new float*[norms.Length];
        for (var i = 0; i < norms.Length; i++)
            fixed (byte* first = norms[i].bytes)
                normValues[i] = (float*)first;
    }

    public override void Step()
    {
        Unscale(grads, (void*)found.Handle, (void*)inverse.Handle);
        if (found.item<float>() != 0)
            throw new InvalidOperationException("a gradient is not finite");
        found.zero_();
        Number two = 2.0;
        Norm(grads, &two, 0, norm);
        var total = 0.0;
        foreach (var value in normValues)
            total += (double)*value * *value;
        Number factor = Math.Min(1, MaxNorm / (Math.Sqrt(total) + 1e-6));
        Multiply(grads, &factor);
        base.Step();
        Number weight = 1 - Decay;
        Lerp(average, self, &weight);
        Zero(grads);
    }

    public override void Dispose()
    {
        Tensors.Dispose(averages, norms, [found, inverse]);
        NativeMemory.Free(average.Items);
        NativeMemory.Free(norm.Items);
        base.Dispose();
    }

    /// <summary>c10::Scalar that holds a double.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 32)]
    private struct Number
    {
        [FieldOffset(0)]
        private int tag;

        [FieldOffset(16)]
        private double value;

        public static implicit operator Number(double value) => new() { tag = 0, value = value };
    }

    [DllImport(
        "torch_cpu",
        EntryPoint = "_ZN2at4_ops42_amp_foreach_non_finite_check_and_unscale_4callEN3c108ArrayRefINS_6TensorEEERS4_RKS4_"
    )]
    private static extern void Unscale(ArrayRef gradients, void* found, void* inverse);

    [DllImport(
        "torch_cpu",
        EntryPoint = "_ZN2at4_ops24_foreach_norm_Scalar_out4callEN3c108ArrayRefINS_6TensorEEERKNS2_6ScalarESt8optionalINS2_10ScalarTypeEES5_"
    )]
    private static extern void Norm(ArrayRef gradients, Number* order, ushort noDType, ArrayRef norms);

    [DllImport("torch_cpu", EntryPoint = "_ZN2at4_ops20_foreach_mul__Scalar4callEN3c108ArrayRefINS_6TensorEEERKNS2_6ScalarE")]
    private static extern void Multiply(ArrayRef gradients, Number* factor);

    [DllImport("torch_cpu", EntryPoint = "_ZN2at4_ops21_foreach_lerp__Scalar4callEN3c108ArrayRefINS_6TensorEEES5_RKNS2_6ScalarE")]
    private static extern void Lerp(ArrayRef averages, ArrayRef parameters, Number* weight);

    [DllImport("torch_cpu", EntryPoint = "_ZN2at4_ops14_foreach_zero_4callEN3c108ArrayRefINS_6TensorEEE")]
    private static extern void Zero(ArrayRef gradients);
}
