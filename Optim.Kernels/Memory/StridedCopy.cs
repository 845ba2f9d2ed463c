using System.Runtime.InteropServices;

namespace Optim.Kernels;

/// <summary>Copies between any two layouts of one shape and element size; allocates nothing.</summary>
internal static unsafe class StridedCopy
{
    public static void Run(TensorView source, TensorView target)
    {
        if (!source.Layout.IsOnCpu || !target.Layout.IsOnCpu)
        {
            DeviceMemory.Of(source.Layout.IsOnCpu ? target.Device : source.Device).Copy(source, target);
            return;
        }
        var size = source.DType.Size();
        if (source.Owner is DeferredMemory deferred)
        {
            deferred.CopyTo(source, target);
            GC.KeepAlive(target.Owner);
            return;
        }
        if (source.Layout.IsDense && source.Strides.AsSpan().SequenceEqual(target.Strides.AsSpan()))
            NativeMemory.Copy((void*)source.Address, (void*)target.Address, (nuint)(source.Count * size));
        else if (source.Count > 0)
            Run(source.Address, target.Address, source.Shape.AsSpan(), source.Strides.AsSpan(), target.Strides.AsSpan(), size);
        GC.KeepAlive(source.Owner);
        GC.KeepAlive(target.Owner);
    }

    private static void Run(
        nint source,
        nint target,
        ReadOnlySpan<long> shape,
        ReadOnlySpan<long> sourceStrides,
        ReadOnlySpan<long> targetStrides,
        int size
    )
    {
        switch (size)
        {
            case 1:
                Copy((byte*)source, (byte*)target, shape, sourceStrides, targetStrides);
                break;
            case 2:
                Copy((ushort*)source, (ushort*)target, shape, sourceStrides, targetStrides);
                break;
            case 4:
                Copy((uint*)source, (uint*)target, shape, sourceStrides, targetStrides);
                break;
            case 8:
                Copy((ulong*)source, (ulong*)target, shape, sourceStrides, targetStrides);
                break;
            default:
                Copy((UInt128*)source, (UInt128*)target, shape, sourceStrides, targetStrides);
                break;
        }
    }

    private static void Copy<T>(
        T* source,
        T* target,
        ReadOnlySpan<long> shape,
        ReadOnlySpan<long> sourceStrides,
        ReadOnlySpan<long> targetStrides
    )
        where T : unmanaged
    {
        if (shape.IsEmpty)
        {
            *target = *source;
            return;
        }
        for (var (i, from, to) = (0L, sourceStrides[0], targetStrides[0]); i < shape[0]; i++)
            if (shape.Length == 1)
                target[i * to] = source[i * from];
            else
                Copy(source + i * from, target + i * to, shape[1..], sourceStrides[1..], targetStrides[1..]);
    }
}
