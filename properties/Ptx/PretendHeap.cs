using System.Runtime.InteropServices;
using Optim.Cuda;

namespace Optim.Ptx;

/// <summary>The memory of a device that is none: of this process, and lent to kernels.</summary>
internal sealed unsafe class PretendHeap
{
    /// <summary>What kernels may use.</summary>
    public HostMemory Memory { get; } = new();

    /// <summary>Bytes beyond which there is no more; none by default.</summary>
    public nint Most { get; set; } = nint.MaxValue;

    /// <summary>Bytes that are in use.</summary>
    public nint Used { get; private set; }

    public GpuMemory Allocate(nint bytes)
    {
        if (Used + bytes > Most)
            throw new CudaException($"an interpreter: {bytes} bytes, and there are no more");
        Used += bytes;
        var address = (nint)NativeMemory.AlignedAlloc((nuint)Math.Max(bytes, 1), 256);
        // What was never written is no kernel's business: NaN of either type.
        new Span<byte>((void*)address, (int)bytes).Fill(0xFF);
        Memory.Lend(address, bytes);
        return new(address, bytes, new Block(this, address, bytes));
    }

    private sealed class Block(PretendHeap heap, nint address, nint bytes) : IDisposable
    {
        private bool isFree;

        ~Block() => Free();

        public void Dispose()
        {
            Free();
            GC.SuppressFinalize(this);
        }

        private void Free()
        {
            if (isFree)
                return;
            isFree = true;
            heap.Used -= bytes;
            heap.Memory.Return(address);
            NativeMemory.AlignedFree((void*)address);
        }
    }
}
