using System.Buffers.Binary;
using System.Text;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>
/// Writes archives of stored entries whose bytes begin at multiples of 64, as torch.save does: the local header is filled up by an
/// extra field called FB. Sizes and places beyond 32 bits are in zip64 fields.
/// </summary>
internal sealed class ZipWriter(NewFile file)
{
    private const int Alignment = 64,
        LocalSize = 30;

    /// <summary>1 January 1980: the same content gives the same bytes.</summary>
    private const int Date = 0x21;

    /// <summary>Bytes after which the system is asked to begin with them: asked more often it is slower than not asked at all.</summary>
    private const long FlushAt = 32 << 20;

    private readonly List<ZipEntry> entries = [];
    private long end;
    private long begun;

    /// <summary>Bytes from which the checksum is worked out beside the writing.</summary>
    private const long WorthSharing = 4 << 20;

    /// <summary>Writes an entry: bytes of a tensor. What lies in memory is summed on another processor meanwhile.</summary>
    public void Add(string name, TensorView content)
    {
        if (content.Count < WorthSharing || content.Owner is DeferredMemory)
        {
            Add(name, content.Count, sink => TensorBytes.Of(content, sink));
            return;
        }
        var sum = Task.Run(() =>
        {
            var crc = 0u;
            TensorBytes.Of(content, piece => crc = Crc32.Append(crc, piece));
            return crc;
        });
        try
        {
            Add(name, content.Count, sink => TensorBytes.Of(content, sink), () => sum.Result);
        }
        finally
        {
            sum.Wait(); // the bytes are looked at no longer
        }
    }

    public void Add(string name, byte[] content) => Add(name, content.Length, sink => sink(content));

    private void Add(string name, long size, Action<Sink> content, Func<uint>? sum = null)
    {
        var wide = size >= uint.MaxValue;
        var bare = LocalSize + Encoding.UTF8.GetByteCount(name) + (wide ? 20 : 0) + 4;
        var place = (end + bare + Alignment - 1) / Alignment * Alignment;
        var (crc, at) = (0u, place);
        content(piece =>
        {
            if (sum is null)
                crc = Crc32.Append(crc, piece);
            file.Write(piece, at);
            at += piece.Length;
            if (at - begun < FlushAt)
                return;
            file.BeginFlush(begun, at - begun);
            begun = at;
        });
        crc = sum?.Invoke() ?? crc;
        var entry = new ZipEntry(name, end, place, size, crc);
        file.Write(Local(entry, wide, (int)(place - end - bare)), end);
        entries.Add(entry);
        end = at;
    }

    /// <summary>Writes the directory.</summary>
    public void Finish()
    {
        using var directory = new MemoryStream();
        foreach (var entry in entries)
            directory.Write(Central(entry));
        var (place, size) = (end, directory.Length);
        if (entries.Count >= ushort.MaxValue || place >= uint.MaxValue || size >= uint.MaxValue)
        {
            var record = new Bytes(76);
            record.U32(0x06064b50).I64(44).U16(45).U16(45).U32(0).U32(0).I64(entries.Count).I64(entries.Count).I64(size).I64(place);
            record.U32(0x07064b50).U32(0).I64(place + size).U32(1);
            directory.Write(record.Content);
        }
        var count = Math.Min(entries.Count, ushort.MaxValue);
        var tail = new Bytes(22).U32(0x06054b50).U16(0).U16(0).U16(count).U16(count);
        directory.Write(tail.U32(Narrow(size)).U32(Narrow(place)).U16(0).Content);
        file.Write(directory.ToArray(), end);
    }

    private static byte[] Local(ZipEntry entry, bool wide, int padding)
    {
        var name = Encoding.UTF8.GetBytes(entry.Name);
        var size = wide ? uint.MaxValue : (uint)entry.Size;
        var header = new Bytes(LocalSize + name.Length + (wide ? 20 : 0) + 4 + padding);
        header.U32(0x04034b50).U16(wide ? 45 : 20).U16(0x800).U16(0).U16(0).U16(Date).U32(entry.Crc).U32(size).U32(size);
        header.U16(name.Length).U16((wide ? 20 : 0) + 4 + padding).Raw(name);
        if (wide)
            header.U16(1).U16(16).I64(entry.Size).I64(entry.Size);
        return header.U16(0x4246).U16(padding).Content;
    }

    private static byte[] Central(ZipEntry entry)
    {
        var name = Encoding.UTF8.GetBytes(entry.Name);
        var (wide, far) = (entry.Size >= uint.MaxValue, entry.Header >= uint.MaxValue);
        var extra = (wide ? 16 : 0) + (far ? 8 : 0);
        var header = new Bytes(46 + name.Length + (extra > 0 ? 4 + extra : 0));
        header.U32(0x02014b50).U16(extra > 0 ? 45 : 20).U16(extra > 0 ? 45 : 20).U16(0x800).U16(0).U16(0).U16(Date).U32(entry.Crc);
        header.U32(Narrow(entry.Size)).U32(Narrow(entry.Size)).U16(name.Length).U16(extra > 0 ? 4 + extra : 0);
        header.U16(0).U16(0).U16(0).U32(0).U32(Narrow(entry.Header)).Raw(name);
        if (extra > 0)
            header.U16(1).U16(extra);
        if (wide)
            header.I64(entry.Size).I64(entry.Size);
        if (far)
            header.I64(entry.Header);
        return header.Content;
    }

    private static uint Narrow(long value) => (uint)Math.Min(value, uint.MaxValue);

    /// <summary>Little-endian numbers, one after the other.</summary>
    private sealed class Bytes(int length)
    {
        private int at;

        public byte[] Content { get; } = new byte[length];

        public Bytes U16(int value)
        {
            BinaryPrimitives.WriteUInt16LittleEndian(Content.AsSpan(at), (ushort)value);
            at += 2;
            return this;
        }

        public Bytes U32(uint value)
        {
            BinaryPrimitives.WriteUInt32LittleEndian(Content.AsSpan(at), value);
            at += 4;
            return this;
        }

        public Bytes I64(long value)
        {
            BinaryPrimitives.WriteInt64LittleEndian(Content.AsSpan(at), value);
            at += 8;
            return this;
        }

        public Bytes Raw(byte[] bytes)
        {
            bytes.CopyTo(Content, at);
            at += bytes.Length;
            return this;
        }
    }
}
