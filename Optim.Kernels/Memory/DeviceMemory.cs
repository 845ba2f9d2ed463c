using System.Collections.Concurrent;

namespace Optim.Kernels;

/// <summary>
/// Memory of a kind of device that the processor does not reach: whoever knows the device registers for it, and tensors there are
/// made, filled and copied as those of the processor are.
/// </summary>
public abstract class DeviceMemory
{
    private static readonly ConcurrentDictionary<string, DeviceMemory> kinds = new(StringComparer.Ordinal);

    /// <summary>Whoever is registered last for a kind of device, such as <c>cuda</c>, has it.</summary>
    public static void Register(string kind, DeviceMemory memory)
    {
        ArgumentNullException.ThrowIfNull(kind);
        ArgumentNullException.ThrowIfNull(memory);
        if (kind == Device.Cpu.Kind)
            throw new ArgumentException("the memory of the processor is not a device's", nameof(kind));
        kinds[kind] = memory;
    }

    /// <summary>Who knows the device; null when nobody does.</summary>
    public static DeviceMemory? Find(Device device) => device.Kind is null ? null : kinds.GetValueOrDefault(device.Kind);

    /// <summary>Zeroed memory for a layout without gaps.</summary>
    public abstract TensorView Zeros(Layout layout);

    /// <summary>Copies all elements; both sides have the same dtype and shape, and one of them lies on this kind of device.</summary>
    public abstract void Copy(TensorView source, TensorView target);

    /// <summary>Sets every element, and both parts of complex ones.</summary>
    public abstract void Fill(TensorView target, double value);

    internal static DeviceMemory Of(Device device) =>
        Find(device) ?? throw new NotSupportedException($"nobody is registered for tensors on {device}; Optim.TorchSharp is for its own");
}
