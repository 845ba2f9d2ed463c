using Microsoft.Win32.SafeHandles;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>A file that is open for reading at any place.</summary>
internal sealed class FileBytes : IDisposable
{
    private readonly SafeFileHandle handle;

    public FileBytes(string path)
    {
        Path = path;
        handle = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, FileOptions.RandomAccess);
        Length = RandomAccess.GetLength(handle);
    }

    public string Path { get; }

    public long Length { get; }

    /// <summary>Fills a span from a place of the file.</summary>
    public void Read(long place, Span<byte> bytes)
    {
        if (handle.IsClosed)
            throw new CheckpointException($"{Path} is closed: its tensors can be read only while it is loaded; keep a copy of them");
        while (bytes.Length > 0)
        {
            var read = RandomAccess.Read(handle, bytes, place);
            if (read == 0)
                throw new CheckpointException($"{Path} has ended at byte {place}: it became shorter while it was read");
            place += read;
            bytes = bytes[read..];
        }
    }

    public byte[] Read(long place, int count)
    {
        var bytes = new byte[count];
        Read(place, bytes);
        return bytes;
    }

    public void Dispose() => handle.Dispose();
}

/// <summary>Some bytes of a file, as the memory of tensors.</summary>
internal sealed class FileSlice(FileBytes file, long place, long length) : DeferredMemory
{
    public long Length => length;

    public override void Read(long at, Span<byte> bytes)
    {
        if (at < 0 || at + bytes.Length > length)
            throw new CheckpointException($"{file.Path}: bytes {at} to {at + bytes.Length} are outside of a storage of {length}");
        file.Read(place + at, bytes);
    }
}
