namespace Optim.Kernels;

/// <summary>Memory that a step of whole tensors works in: kept between steps, and larger when it has to be.</summary>
internal sealed class Workspace
{
    private NativeBlock block = new(0);
    private nint room;
    private nint used;

    /// <summary>Forgets what was taken, and makes room for so many bytes.</summary>
    public void Reset(nint bytes)
    {
        used = 0;
        if (bytes <= room)
            return;
        (block, room) = (new(bytes), bytes);
    }

    /// <summary>The address of so many bytes, whatever they hold.</summary>
    public nint Take(nint bytes)
    {
        var address = block.Address + used;
        used += NativeBlock.Aligned(bytes);
        return used <= room ? address : throw new InvalidOperationException("the workspace is too small");
    }

    /// <summary>Who steps whole tensors in memory that is kept, too.</summary>
    public HostWhole Whole => field ??= new();

    /// <summary>Keeps the memory until here.</summary>
    public void KeepAlive() => GC.KeepAlive(block);
}
