namespace Optim.Cuda;

/// <summary>
/// A device of NVIDIA's, or its driver, refused something: the message names the device and the driver's error. Where the device is lost, every later
/// step on it throws this, too; parameters and state in the memory of the processor, and saved checkpoints, are whole.
/// </summary>
public sealed class CudaException : Exception
{
    /// <summary>An error with nothing to say about it.</summary>
    public CudaException() { }

    /// <summary>An error in words.</summary>
    public CudaException(string message)
        : base(message) { }

    /// <summary>An error in words, and what it came from.</summary>
    public CudaException(string message, Exception inner)
        : base(message, inner) { }

    internal CudaException(string message, string error, bool isLost)
        : base(message) => (Error, IsLost) = (error, isLost);

    /// <summary>The driver's name of the error, such as CUDA_ERROR_OUT_OF_MEMORY; empty where it is none of the driver's.</summary>
    public string Error { get; } = "";

    /// <summary>Whether the device is lost to this process.</summary>
    public bool IsLost { get; }
}
