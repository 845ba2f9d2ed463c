using System.Text;
using System.Text.Unicode;

namespace Optim.Checkpoints;

/// <summary>The bytes of a pickle in a file, read a window at a time.</summary>
/// <param name="file">The file.</param>
/// <param name="place">Where the pickle begins.</param>
/// <param name="end">Where it ends at the latest.</param>
internal sealed class PickleInput(FileBytes file, long place, long end)
{
    private const int Window = 1 << 16;
    private const int LongestLine = 1 << 12;

    private readonly byte[] window = new byte[(int)Math.Min(Window, end - place)];
    private int at;
    private int filled;

    /// <summary>Where the next byte lies in the file.</summary>
    public long Place => place - filled + at;

    /// <summary>Whether all bytes are taken.</summary>
    public bool IsAtEnd => Place == end;

    public byte Byte() => at < filled ? window[at++] : Take(1)[0];

    /// <summary>The next bytes, at most a window of them; valid until the next call.</summary>
    public ReadOnlySpan<byte> Take(int count)
    {
        if (count > filled - at)
            Fill(count);
        at += count;
        return window.AsSpan(at - count, count);
    }

    /// <summary>Any number of bytes, in an array of their own; they are paid for.</summary>
    public byte[] Bytes(ulong count, Budget budget)
    {
        Check(count);
        budget.Memory((long)count);
        var bytes = new byte[(int)Math.Min(count, (ulong)Array.MaxLength)];
        var near = Math.Min(filled - at, bytes.Length);
        Take(near).CopyTo(bytes);
        if (near < bytes.Length)
        {
            file.Read(place, bytes.AsSpan(near));
            place += bytes.Length - near;
            at = filled = 0;
        }
        return bytes;
    }

    /// <summary>A text of UTF-8, in which halves of characters may stand alone, as Python writes them.</summary>
    public string Text(ulong length, Budget budget)
    {
        Check(length);
        budget.Memory(2 * (long)Math.Min(length, long.MaxValue / 4));
        return Decode(length <= (ulong)window.Length ? Take((int)length) : Bytes(length, budget));
    }

    /// <summary>The text up to the end of a line.</summary>
    public string Line()
    {
        var line = new List<byte>();
        for (var next = Byte(); next != (byte)'\n'; next = Byte())
            if (line.Count < LongestLine)
                line.Add(next);
            else
                throw new PickleException($"a name in it has more than {LongestLine} bytes");
        return Decode(line.ToArray());
    }

    private void Check(ulong count)
    {
        if (count > (ulong)(end - Place))
            throw new PickleException("it ends too early");
    }

    private void Fill(int count)
    {
        Check((ulong)count);
        window.AsSpan(at, filled - at).CopyTo(window);
        (at, filled) = (0, filled - at);
        var more = (int)Math.Min(window.Length - filled, end - place);
        file.Read(place, window.AsSpan(filled, more));
        place += more;
        filled += more;
    }

    private static string Decode(ReadOnlySpan<byte> bytes)
    {
        if (Utf8.IsValid(bytes))
            return Encoding.UTF8.GetString(bytes);
        var text = new StringBuilder(bytes.Length);
        while (!bytes.IsEmpty)
        {
            if (bytes is [0xed, >= 0xa0 and <= 0xbf, >= 0x80 and <= 0xbf, ..])
            {
                text.Append((char)(0xd000 | (bytes[1] & 0x3f) << 6 | bytes[2] & 0x3f));
                bytes = bytes[3..];
                continue;
            }
            if (Rune.DecodeFromUtf8(bytes, out var rune, out var used) != System.Buffers.OperationStatus.Done)
                throw new PickleException("a text in it is not UTF-8");
            text.Append(rune);
            bytes = bytes[used..];
        }
        return text.ToString();
    }
}
