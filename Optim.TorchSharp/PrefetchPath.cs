using System.Runtime.Intrinsics.X86;

namespace Optim;

/// <summary>
/// The objects of libtorch that a look at a tensor and its gradient goes along. From one to the next it waits for memory where
/// thousands of parameters do not fit into the cache, so that they are fetched some parameters ahead, by where they lay in the step before.
/// A hint only: what lies there now is read anew.
/// </summary>
internal unsafe struct PrefetchPath
{
    private const int Line = 64;

    private nint tensor,
        implementation,
        storage,
        gradient,
        gradientImplementation,
        gradientStorage;

    /// <summary>Where a tensor and its gradient lie; 0 for no gradient.</summary>
    public void Keep(nint tensor, nint gradient)
    {
        (this.tensor, this.gradient) = (tensor, gradient);
        (implementation, storage) = Follow(tensor);
        if (gradient != 0)
            (gradientImplementation, gradientStorage) = Follow(gradient);
    }

    /// <summary>Asks the processor for all of it, and does not wait.</summary>
    public readonly void Fetch()
    {
        if (!Sse.IsSupported)
            return;
        Sse.Prefetch0((void*)tensor);
        Sse.Prefetch0((void*)gradient);
        Sse.Prefetch0((void*)storage);
        Sse.Prefetch0((void*)gradientStorage);
        for (var line = 0; line < 3 * Line; line += Line)
        {
            Sse.Prefetch0((void*)(implementation + line));
            Sse.Prefetch0((void*)(gradientImplementation + line));
        }
    }

    /// <summary>Asks the processor for what counting the version up needs.</summary>
    public readonly void FetchVersion()
    {
        if (!Sse.IsSupported)
            return;
        for (var line = 0; line < 3 * Line; line += Line)
            Sse.Prefetch0((void*)(implementation + line));
    }

    // An implementation begins with its table of methods, its reference counts and its storage; were that to change, the hint would be a wrong one.
    private static (nint Implementation, nint Storage) Follow(nint tensor)
    {
        var implementation = LibTorch.Implementation(tensor);
        return (implementation, ((nint*)implementation)[2]);
    }
}
