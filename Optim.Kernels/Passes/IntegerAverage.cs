using System.Numerics;

namespace Optim.Kernels;

/// <summary>
/// The average of whole numbers, such as a batch normalization's count of batches: moved in double and cut off to a whole
/// number, as PyTorch does. Flags are copied.
/// </summary>
internal static unsafe class IntegerAverage
{
    /// <summary>Moves each element towards that of a tensor of the same shape and dtype.</summary>
    public static void Run(TensorView average, TensorView value, double weight)
    {
        var (target, source) = (average.Copy(), value.Copy());
        switch (average.DType)
        {
            case DType.UInt8:
                Move((byte*)target.Address, (byte*)source.Address, target.Count, weight);
                break;
            case DType.Int8:
                Move((sbyte*)target.Address, (sbyte*)source.Address, target.Count, weight);
                break;
            case DType.Int16:
                Move((short*)target.Address, (short*)source.Address, target.Count, weight);
                break;
            case DType.Int32:
                Move((int*)target.Address, (int*)source.Address, target.Count, weight);
                break;
            case DType.Int64:
                Move((long*)target.Address, (long*)source.Address, target.Count, weight);
                break;
            default:
                target = source;
                break;
        }
        average.CopyFrom(target);
        GC.KeepAlive(source.Owner);
    }

    private static void Move<T>(T* average, T* value, nint count, double weight)
        where T : unmanaged, IBinaryInteger<T>
    {
        for (nint i = 0; i < count; i++)
        {
            var before = double.CreateTruncating(average[i]);
            average[i] = T.CreateTruncating(before + weight * (double.CreateTruncating(value[i]) - before));
        }
    }
}
