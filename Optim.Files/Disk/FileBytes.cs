using System.Runtime.ExceptionServices;
using Microsoft.Win32.SafeHandles;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Looks at bytes from a place on; several at the same time.</summary>
internal delegate void PieceReader(long at, ReadOnlySpan<byte> bytes);

/// <summary>A file that is open for reading at any place.</summary>
internal sealed class FileBytes : IDisposable
{
    private readonly SafeFileHandle handle;

    public FileBytes(string path)
    {
        Path = path;
        if (Directory.Exists(path))
            throw new CheckpointException($"{path} cannot be read: it is a folder");
        if (SpecialFile.IsStream(path))
            throw new CheckpointException(
                $"{path} cannot be read: it is a pipe or a device, and checkpoints are read at any place, as only files can be; copy it into a file first"
            );
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

    /// <summary>Bytes that one processor reads at a time: they stay in its cache while they are looked at.</summary>
    public const int Piece = 1 << 20;

    /// <summary>Hands over a part of the file piece by piece, on all processors where there are several, each with its place in the part.</summary>
    public void ReadPieces(long place, long length, PieceReader read)
    {
        var pieces = (length + Piece - 1) / Piece;
        if (pieces <= 2)
            Read(0, pieces, new byte[(int)Math.Min(length, Piece)]);
        else
            Split(pieces, (from, to) => Read(from, to, new byte[Piece]));

        void Read(long from, long to, byte[] buffer)
        {
            for (var piece = from; piece < to; piece++)
            {
                var bytes = buffer.AsSpan(0, (int)Math.Min(Piece, length - piece * Piece));
                this.Read(place + piece * Piece, bytes);
                read(piece * Piece, bytes);
            }
        }
    }

    /// <summary>Fills memory from a place of the file, on all processors where there are several.</summary>
    public void Read(long place, nint target, nint length)
    {
        var pieces = (length + Piece - 1) / Piece;
        Split(
            pieces,
            (from, to) =>
            {
                for (var piece = from; piece < to; piece++)
                {
                    var at = (nint)(piece * Piece);
                    this.Read(place + at, TensorBytes.Bytes(target + at, (int)Math.Min(Piece, length - at), null));
                }
            }
        );
    }

    /// <summary>Halves, thirds ... of a range, one for each processor; what goes wrong in one is thrown as it is.</summary>
    private static void Split(long count, Action<long, long> part)
    {
        var parts = (int)Math.Min(Environment.ProcessorCount, count);
        if (parts < 2)
        {
            part(0, count);
            return;
        }
        try
        {
            Parallel.For(0, parts, i => part(count * i / parts, count * (i + 1) / parts));
        }
        catch (AggregateException errors)
        {
            ExceptionDispatchInfo.Throw(errors.Flatten().InnerExceptions[0]);
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

/// <summary>Bytes that are stored in a file, as the memory of tensors.</summary>
internal abstract class StoredBytes : DeferredMemory
{
    public abstract long Length { get; }
}

/// <summary>Some bytes of a file.</summary>
/// <param name="file">The file.</param>
/// <param name="length">How many.</param>
internal sealed class FileSlice(FileBytes file, long length) : StoredBytes
{
    public FileSlice(FileBytes file, long place, long length)
        : this(file, length) => Place = place;

    /// <summary>Where the first lies; in some formats it is known last.</summary>
    public long Place { get; set; }

    public override long Length => length;

    public override void Read(long at, Span<byte> bytes)
    {
        Check(at, bytes.Length);
        file.Read(Place + at, bytes);
    }

    public override void Read(long at, nint target, nint bytes)
    {
        Check(at, bytes);
        file.Read(Place + at, target, bytes);
    }

    private void Check(long at, nint bytes)
    {
        if (at < 0 || at + bytes > length)
            throw new CheckpointException($"{file.Path}: bytes {at} to {at + bytes} are outside of a storage of {length}");
    }
}

/// <summary>Numbers of a file that are read as other ones: with their bytes in the opposite order, or with another sign.</summary>
/// <param name="stored">As they are stored.</param>
/// <param name="part">Bytes of a number.</param>
/// <param name="parts">Numbers in an element: 2 for complex ones.</param>
/// <param name="swapped">Whether the bytes of each are stored in the opposite order.</param>
/// <param name="first">Whether the sign of the first of an element is turned.</param>
/// <param name="second">Whether that of the second is.</param>
internal sealed class ConvertedBytes(StoredBytes stored, int part, int parts, bool swapped, bool first, bool second) : StoredBytes
{
    private const int Piece = 1 << 18;

    public override long Length => stored.Length;

    public override void Read(long at, Span<byte> bytes)
    {
        var element = part * parts;
        var buffer = new byte[(int)Math.Min(Piece, bytes.Length + 2L * element)];
        while (bytes.Length > 0)
        {
            var (start, skipped) = (at / element * element, (int)(at % element));
            var whole = (bytes.Length + skipped + element - 1) / element * element;
            var elements = buffer.AsSpan(0, Math.Min(whole, Piece / element * element));
            // Of an element that the storage ends within only the bytes that are there.
            elements = elements[..(int)Math.Min(elements.Length, stored.Length - start)];
            stored.Read(start, elements);
            Convert(elements);
            var taken = elements[skipped..][..Math.Min(bytes.Length, elements.Length - skipped)];
            taken.CopyTo(bytes);
            bytes = bytes[taken.Length..];
            at += taken.Length;
        }
    }

    private void Convert(Span<byte> elements)
    {
        for (var at = 0; at + part <= elements.Length; at += part)
        {
            if (swapped)
                elements.Slice(at, part).Reverse();
            if (at / part % parts == 0 ? first : second)
                elements[at + part - 1] ^= 0x80;
        }
    }
}
