namespace Optim.Checkpoints;

/// <summary>A file that is being written, at any place and in any order.</summary>
internal sealed class NewFile(FileOperations operations, FileStream stream) : IDisposable
{
    public string Path => stream.Name;

    /// <summary>Writes bytes at a place.</summary>
    public void Write(ReadOnlySpan<byte> bytes, long place) => operations.Write(stream, bytes, place);

    /// <inheritdoc cref="FileOperations.BeginFlush"/>
    public void BeginFlush(long place, long length) => operations.BeginFlush(stream, place, length);

    /// <summary>Gives it its rights, and returns when its bytes are on the disk.</summary>
    public void Finish(UnixFileMode? mode)
    {
        if (mode is { } rights)
            operations.SetMode(stream, rights);
        operations.Flush(stream);
    }

    public void Dispose() => stream.Dispose();
}
