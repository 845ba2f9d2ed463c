namespace Optim.Kernels;

/// <summary>
/// The owner of tensors whose elements do not lie in memory but, say, in a file: copying one reads them. The address of such a
/// tensor is the place of its first element, in bytes from the beginning of what its owner reads.
/// </summary>
public abstract class DeferredMemory
{
    /// <summary>Reads the bytes from a place on, as many as fit.</summary>
    /// <exception cref="IOException">They cannot be read.</exception>
    public abstract void Read(long place, Span<byte> bytes);

    /// <summary>Reads the bytes from a place on into memory.</summary>
    /// <exception cref="IOException">They cannot be read.</exception>
    public virtual unsafe void Read(long place, nint target, nint bytes)
    {
        const int chunk = 1 << 30;
        for (nint at = 0; at < bytes; at += chunk)
            Read(place + at, new Span<byte>((void*)(target + at), (int)Math.Min(chunk, bytes - at)));
    }

    /// <summary>Copies a tensor of this owner into memory of the same shape.</summary>
    internal unsafe void CopyTo(TensorView source, TensorView target)
    {
        if (source.Count == 0)
            return;
        if (
            source.Layout.IsDense
            && (source.Layout.IsContiguous && target.Layout.IsContiguous || source.Strides.SequenceEqual(target.Strides))
        )
        {
            Read(source.Address, target.Address, source.Count * source.DType.Size());
            return;
        }
        var last = 0L;
        for (var i = 0; i < source.Shape.Length; i++)
            last += (source.Shape[i] - 1) * source.Strides[i];
        var block = new NativeBlock(checked((nint)(last + 1) * source.DType.Size()));
        Read(source.Address, block.Address, (nint)(last + 1) * source.DType.Size());
        StridedCopy.Run(new(block.Address, source.Layout, block), target);
    }
}
