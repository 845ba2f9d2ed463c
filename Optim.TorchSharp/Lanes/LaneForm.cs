using TorchSharp;
using static TorchSharp.torch;

namespace Optim;

/// <summary>
/// How a tensor goes into a formula and comes out: complex numbers as pairs of reals, half types in float32, a number without
/// dimensions with one. All of it keeps the graph.
/// </summary>
internal static class LaneForm
{
    /// <summary>The tensor as formulas see it.</summary>
    public static Tensor In(Tensor tensor)
    {
        var real = tensor.is_complex() ? tensor.view_as_real() : tensor;
        var wide = real.dtype is ScalarType.Float16 or ScalarType.BFloat16 ? real.to(ScalarType.Float32) : real;
        return wide.dim() == 0 ? wide.reshape(1) : wide;
    }

    /// <summary>What a formula made, in the form of a tensor that went in; in its dtype, or in that of the arithmetic.</summary>
    public static Tensor Out(Tensor made, Tensor like, bool wide)
    {
        if (like.is_complex())
            return made.reshape([.. like.shape, 2]).view_as_complex();
        var shaped = made.dim() == like.dim() ? made : made.reshape(like.shape);
        return wide || shaped.dtype == like.dtype ? shaped : shaped.to(like.dtype);
    }
}
