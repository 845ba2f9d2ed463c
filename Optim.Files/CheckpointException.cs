namespace Optim;

/// <summary>A checkpoint file that cannot be read, written or used: the message names the file and says why.</summary>
public sealed class CheckpointException : IOException
{
    /// <summary>With a message.</summary>
    public CheckpointException(string message)
        : base(message) { }

    /// <summary>With a message and what it came from.</summary>
    public CheckpointException(string message, Exception inner)
        : base(message, inner) { }
}
