using System.Buffers.Binary;
using System.Text;

namespace Optim.Checkpoints;

/// <summary>
/// Archives of stored entries, as torch.save writes them (PKWARE APPNOTE 6.3, with zip64). Whatever is encrypted, twice there,
/// overlapping, or told differently by directory and local header is refused; compressed entries are never read.
/// </summary>
internal static class ZipReader
{
    private const uint LocalSignature = 0x04034b50,
        CentralSignature = 0x02014b50,
        EndSignature = 0x06054b50,
        End64Signature = 0x06064b50,
        Locator64Signature = 0x07064b50;

    private const int EndSize = 22,
        LocalSize = 30,
        CentralSize = 46,
        MostDirectory = 64 << 20;

    /// <summary>Bytes of memory beside those of the directory; reading its own header takes time as well.</summary>
    private const int CostOfEntry = 400;

    private static readonly UTF8Encoding utf8 = new(false, throwOnInvalidBytes: true);

    /// <summary>The entries by name, checked against their local headers, not yet against their checksums.</summary>
    public static Dictionary<string, ZipEntry> Read(FileBytes file, Budget budget)
    {
        var (count, size, place) = Directory(file);
        if (size > MostDirectory || place < 0 || size < 0 || place > file.Length - size)
            throw Broken(file, "its directory lies outside of it");
        budget.Memory(size);
        var bytes = file.Read(place, (int)size);
        var entries = new Dictionary<string, ZipEntry>(StringComparer.Ordinal);
        var at = 0;
        for (var i = 0L; i < count; i++)
        {
            budget.Node();
            budget.Memory(CostOfEntry);
            var entry = Entry(file, bytes, ref at, place, budget);
            budget.Hash(entry.Name.Length);
            if (!entries.TryAdd(entry.Name, entry))
                throw Broken(file, $"the entry '{PickleNames.Shown(entry.Name)}' is there twice");
        }
        if (at != bytes.Length)
            throw Broken(file, "its directory holds more than it says");
        var end = 0L;
        foreach (var entry in entries.Values.OrderBy(entry => entry.Header))
        {
            if (entry.Header < end)
                throw Broken(file, $"the entry '{PickleNames.Shown(entry.Name)}' overlaps another");
            end = entry.Place + entry.Size;
        }
        return entries;
    }

    /// <summary>Reads all entries through once, on all processors, and compares their checksums.</summary>
    public static void Verify(FileBytes file, IEnumerable<ZipEntry> entries)
    {
        foreach (var entry in entries.Where(entry => entry.IsStored))
        {
            var sums = new uint[(entry.Size + FileBytes.Piece - 1) / FileBytes.Piece];
            file.ReadPieces(entry.Place, entry.Size, (at, bytes) => sums[at / FileBytes.Piece] = Crc32.Append(0, bytes));
            var crc = 0u;
            for (var i = 0; i < sums.Length; i++)
                crc = Crc32.Combine(crc, sums[i], Math.Min(FileBytes.Piece, entry.Size - i * (long)FileBytes.Piece));
            if (crc != entry.Crc)
                throw Broken(file, $"the checksum of '{PickleNames.Shown(entry.Name)}' does not fit its bytes");
        }
    }

    public static CheckpointException Broken(FileBytes file, string why) => new($"{file.Path} cannot be read: {why}");

    private static (long Count, long Size, long Place) Directory(FileBytes file)
    {
        if (file.Length < EndSize)
            throw Broken(file, $"it has {file.Length} bytes, too few for an archive");
        var tail = file.Read(
            file.Length - Math.Min(file.Length, EndSize + ushort.MaxValue),
            (int)Math.Min(file.Length, EndSize + ushort.MaxValue)
        );
        var at = tail.Length - EndSize;
        while (at >= 0 && !(U32(tail, at) == EndSignature && at + EndSize + U16(tail, at + 20) == tail.Length))
            at--;
        if (at < 0)
            throw Broken(file, "it has no end of an archive: it is cut off, or no checkpoint");
        if (U16(tail, at + 4) != 0 && U16(tail, at + 4) != 0xffff || U16(tail, at + 8) != U16(tail, at + 10))
            throw Broken(file, "it is a part of an archive of several files");
        var (count, size, place) = ((long)U16(tail, at + 10), (long)U32(tail, at + 12), (long)U32(tail, at + 16));
        var locator = file.Length - tail.Length + at - 20;
        if (locator < 0)
            return (count, size, place);
        var found = file.Read(locator, 20);
        if (U32(found, 0) != Locator64Signature)
            return (count, size, place);
        var end64 = I64(found, 8);
        if (end64 < 0 || end64 > locator - 56)
            throw Broken(file, "the end of its archive lies outside of it");
        var record = file.Read(end64, 56);
        if (U32(record, 0) != End64Signature || I64(record, 24) != I64(record, 32))
            throw Broken(file, "the end of its archive is damaged");
        return (I64(record, 32), I64(record, 40), I64(record, 48));
    }

    private static ZipEntry Entry(FileBytes file, byte[] directory, ref int at, long limit, Budget budget)
    {
        if (at > directory.Length - CentralSize || U32(directory, at) != CentralSignature)
            throw Broken(file, "its directory is damaged");
        var (nameLength, extraLength, commentLength) = (U16(directory, at + 28), U16(directory, at + 30), U16(directory, at + 32));
        if (at + CentralSize + nameLength + extraLength + commentLength > directory.Length)
            throw Broken(file, "its directory is damaged");
        var name = Name(file, directory.AsSpan(at + CentralSize, nameLength));
        var (flags, method, crc) = (U16(directory, at + 8), U16(directory, at + 10), U32(directory, at + 16));
        var (packed, size, header) = ((long)U32(directory, at + 20), (long)U32(directory, at + 24), (long)U32(directory, at + 42));
        Widen(directory.AsSpan(at + CentralSize + nameLength, extraLength), ref size, ref packed, ref header);
        at += CentralSize + nameLength + extraLength + commentLength;
        if ((flags & 0x2041) != 0)
            throw Broken(file, $"the entry '{PickleNames.Shown(name)}' is encrypted");
        var isStored = method == 0;
        if (
            size < 0
            || packed < 0
            || isStored && packed != size
            || header < 0
            || header > limit - LocalSize
            || packed > limit - LocalSize - header
        )
            throw Broken(file, $"the entry '{PickleNames.Shown(name)}' lies outside of it");
        var local = file.Read(header, LocalSize);
        if (U32(local, 0) != LocalSignature)
            throw Broken(file, $"the entry '{PickleNames.Shown(name)}' has no header of its own");
        var place = header + LocalSize + U16(local, 26) + U16(local, 28);
        if (place > limit - packed)
            throw Broken(file, $"the entry '{PickleNames.Shown(name)}' lies outside of it");
        budget.Node((place - header) / 64);
        var entry = new ZipEntry(name, header, place, packed, crc, isStored);
        CheckLocal(file, local, entry, size, flags, method);
        return entry;
    }

    /// <summary>The local header must say what the directory says, or leave it to a descriptor behind the bytes.</summary>
    private static void CheckLocal(FileBytes file, byte[] local, ZipEntry entry, long unpacked, int flags, int method)
    {
        var rest = file.Read(entry.Header + LocalSize, U16(local, 26) + U16(local, 28));
        var name = Name(file, rest.AsSpan(0, U16(local, 26)));
        var (packed, size, unused) = ((long)U32(local, 18), (long)U32(local, 22), 0L);
        Widen(rest.AsSpan(U16(local, 26)), ref size, ref packed, ref unused);
        var described = (flags & 8) != 0 && U32(local, 14) == 0 && size == 0 && packed == 0;
        if (
            name != entry.Name
            || U16(local, 8) != method
            || (U16(local, 6) & 8) != (flags & 8)
            || !described && (size != unpacked || packed != entry.Size || U32(local, 14) != entry.Crc)
        )
            throw Broken(file, $"the directory and the header of the entry '{PickleNames.Shown(entry.Name)}' disagree");
    }

    /// <summary>The zip64 extra field holds those of the numbers that do not fit into 32 bits, in this order.</summary>
    private static void Widen(ReadOnlySpan<byte> extra, ref long size, ref long packed, ref long header)
    {
        while (extra.Length >= 4)
        {
            var (id, length) = (BinaryPrimitives.ReadUInt16LittleEndian(extra), BinaryPrimitives.ReadUInt16LittleEndian(extra[2..]));
            if (length > extra.Length - 4)
                return;
            if (id == 1)
            {
                var field = extra.Slice(4, length);
                Take(ref field, ref size);
                Take(ref field, ref packed);
                Take(ref field, ref header);
                return;
            }
            extra = extra[(4 + length)..];
        }

        static void Take(ref ReadOnlySpan<byte> field, ref long value)
        {
            if (value != uint.MaxValue || field.Length < 8)
                return;
            value = BinaryPrimitives.ReadInt64LittleEndian(field);
            field = field[8..];
        }
    }

    private static string Name(FileBytes file, ReadOnlySpan<byte> bytes)
    {
        try
        {
            return utf8.GetString(bytes);
        }
        catch (ArgumentException)
        {
            throw Broken(file, "the name of an entry is not UTF-8");
        }
    }

    private static int U16(byte[] bytes, int at) => BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(at));

    private static uint U32(byte[] bytes, int at) => BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(at));

    private static long I64(byte[] bytes, int at) => BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(at));
}
