using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Memory of a device that steps use one after the other, in the order of their stream. It grows.</summary>
internal sealed class Scratch(Gpu gpu) : DeviceRoom
{
    private GpuMemory? memory;
    private nint stream;

    /// <summary>Where it lies, since it was reserved.</summary>
    public override nint Address => memory!.Address;

    /// <summary>Makes sure that there are so many bytes.</summary>
    public override void Reserve(nint bytes)
    {
        var current = gpu.Stream;
        if (memory is not null && memory.Bytes >= bytes && stream == current)
        {
            gpu.Keep(memory);
            return;
        }
        // Half as much again, so that lists that grow do not ask each time.
        var larger = gpu.Allocate(Math.Max(bytes + bytes / 2, 4096));
        memory?.Dispose();
        (memory, stream) = (larger, current);
    }
}
