namespace Optim.Kernels;

/// <summary>
/// The owner of memory that can be given back while views of it are still held, such as an array that is pinned until it is disposed:
/// the views refuse to be read and written from then on.
/// </summary>
public abstract class ReleasableMemory
{
    /// <summary>Whether the memory has been given back.</summary>
    public abstract bool IsReleased { get; }
}
