using System.Diagnostics;
using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>Who runs programs on NVIDIA's devices: found at the first step there.</summary>
internal static class CudaKernels
{
    private static int hasWarned;

    /// <summary>Registers for a kind of device: kernels where there is a driver, and nobody, with one warning in a process, where there is none.</summary>
    /// <param name="kind">The kind, by PyTorch's name.</param>
    /// <param name="host">Whose streams and memory are used.</param>
    /// <param name="load">Finds the driver; null where there is none.</param>
    public static void Register(string kind, CudaHost host, Func<CudaDriver?> load)
    {
        var driver = new Lazy<CudaDriver?>(() => load() ?? Missing());
        var known = new Dictionary<int, CudaDevice?>();
        ProgramDevice.Register(
            kind,
            device =>
            {
                if (driver.Value is not { } found)
                    return null;
                lock (known)
                {
                    if (!known.TryGetValue(device.Index, out var kernels))
                        known.Add(device.Index, kernels = Open(found, host, device.Index));
                    return kernels;
                }
            }
        );
    }

    /// <summary>The device whose kernels step what lies there; null where there are none.</summary>
    public static DriverGpu? GpuOf(string kind, int index) => (ProgramDevice.Find(new(kind, index)) as CudaDevice)?.Gpu as DriverGpu;

    private static CudaDevice? Open(CudaDriver driver, CudaHost host, int index)
    {
        try
        {
            return new(new DriverGpu(driver, host, index));
        }
        catch (CudaException e)
        {
            Warn($"{e.Message}: libtorch's operators step what lies there");
            return null;
        }
    }

    private static CudaDriver? Missing()
    {
        Warn(
            "NVIDIA's driver (libcuda.so.1, nvcuda.dll) was not found: libtorch's operators step what lies on its devices, several times as slowly"
        );
        return null;
    }

    private static void Warn(string text)
    {
        if (Interlocked.Exchange(ref hasWarned, 1) == 0)
            Trace.TraceWarning(text);
    }
}
