using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// The arithmetic of Adafactor (Shazeer and Stern, arXiv:1804.04235) on one element, as PyTorch has it: means of squares of rows R and columns C
/// (or of the elements, V), u = g / sqrt(max(R C / max(mean R, eps1), eps1^2)), and x = x (1 - lr weight_decay) - rate u.
/// </summary>
internal readonly struct AdafactorFormula
{
    /// <summary>The gradient over the root of its mean square, of which the smallest is eps1^2.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Update<V>(V grad, V variance, V smallest)
        where V : struct, ILane<V> => grad / V.Sqrt(V.Max(variance, smallest));
}
