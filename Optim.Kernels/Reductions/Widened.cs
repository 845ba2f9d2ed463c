using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>Elements of any floating point type, loaded as doubles, which hold each of them exactly.</summary>
internal static unsafe class Widened
{
    /// <summary>As many neighbouring elements as a lane of doubles takes.</summary>
    /// <typeparam name="V">A lane of doubles.</typeparam>
    /// <typeparam name="S">float or double.</typeparam>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static V Load<V, S>(S* source)
        where V : struct, IVector<V>
        where S : unmanaged
    {
        if (typeof(S) == typeof(double))
            return V.Load(source);
        if (typeof(V) == typeof(Lane512<double>))
            return (V)(object)new Lane512<double>(Vector512.WidenLower(Vector256.Load((float*)source).ToVector512Unsafe()));
        if (typeof(V) == typeof(Lane256<double>))
            return (V)(object)new Lane256<double>(Vector256.WidenLower(Vector128.Load((float*)source).ToVector256Unsafe()));
        if (typeof(V) == typeof(Lane128<double>))
            return (V)(object)new Lane128<double>(Vector128.WidenLower(Vector64.Load((float*)source).ToVector128Unsafe()));
        return (V)(object)new Lane1<double>(*(float*)source);
    }

    /// <summary>Neighbouring elements one by one; of complex ones the magnitudes.</summary>
    public static void Copy(nint source, DType dtype, nint first, int count, double* target)
    {
        switch (dtype)
        {
            case DType.Float16:
                for (var i = 0; i < count; i++)
                    target[i] = (double)((Half*)source)[first + i];
                break;
            case DType.BFloat16:
                for (var i = 0; i < count; i++)
                    target[i] = BitConverter.UInt32BitsToSingle((uint)((ushort*)source)[first + i] << 16);
                break;
            case DType.Float32:
                for (var i = 0; i < count; i++)
                    target[i] = ((float*)source)[first + i];
                break;
            case DType.Float64:
                for (var i = 0; i < count; i++)
                    target[i] = ((double*)source)[first + i];
                break;
            case DType.Complex64:
                for (var i = 0; i < count; i++)
                    target[i] = double.Hypot(((float*)source)[2 * (first + i)], ((float*)source)[2 * (first + i) + 1]);
                break;
            default:
                for (var i = 0; i < count; i++)
                    target[i] = double.Hypot(((double*)source)[2 * (first + i)], ((double*)source)[2 * (first + i) + 1]);
                break;
        }
    }
}
