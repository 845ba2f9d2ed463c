using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>Sums of rows and of their means, in the order that they have on every device: few elements one after the other, more by the fixed tree.</summary>
internal static unsafe class AdafactorRows<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>What a short row comes to, which is taken into the sums of columns, too.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static double Short(T* g, double* sums, nint columns)
    {
        var sum = 0.0;
        for (nint j = 0; j < columns; j++)
        {
            var x = double.CreateTruncating(g[j]);
            if (typeof(T) == typeof(double))
            {
                sum = Math.FusedMultiplyAdd(x, x, sum);
                sums[j] = Math.FusedMultiplyAdd(x, x, sums[j]);
                continue;
            }
            // The same bits in less time: the square of a float is exact in double.
            sum += x * x;
            sums[j] += x * x;
        }
        return sum;
    }

    /// <summary>The sum of neighbouring means of rows.</summary>
    public static double Total(Width width, T* means, nint count)
    {
        var total = 0.0;
        if (count <= AdafactorPass.Short)
            for (nint i = 0; i < count; i++)
                total += double.CreateTruncating(means[i]);
        else
            for (nint first = 0; first < count; first += ReductionTable.Block)
                total += ReductionKernel<Sums>.OfBlock(
                    width,
                    (nint)(means + first),
                    (int)Math.Min(ReductionTable.Block, count - first),
                    typeof(T) == typeof(double)
                );
        return total;
    }
}
