using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Takes bytes, one piece after the other.</summary>
internal delegate void Sink(ReadOnlySpan<byte> piece);

/// <summary>Tensors in pieces that fit into a cache.</summary>
internal static class TensorBytes
{
    private const int Size = 1 << 20;

    /// <summary>Hands over the bytes of a tensor without gaps, wherever it lies.</summary>
    public static void Of(TensorView view, Sink sink)
    {
        var bytes = view.Count * view.DType.Size();
        var buffer = view.Owner is DeferredMemory ? new byte[Math.Min(Size, bytes)] : [];
        for (nint at = 0; at < bytes; at += Size)
        {
            var length = (int)Math.Min(Size, bytes - at);
            if (view.Owner is DeferredMemory deferred)
            {
                deferred.Read(view.Address + at, buffer.AsSpan(0, length));
                sink(buffer.AsSpan(0, length));
            }
            else
                sink(Bytes(view.Address + at, length, view.Owner));
        }
        GC.KeepAlive(view.Owner);
    }

    /// <summary>Memory as bytes.</summary>
    public static Span<byte> Bytes(nint address, int length, object? owner) =>
        new TensorView(address, Layout.Contiguous(DType.UInt8, length), owner).AsSpan<byte>();
}
