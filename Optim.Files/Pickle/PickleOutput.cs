using System.Buffers.Binary;
using System.Numerics;
using System.Text;

namespace Optim.Checkpoints;

/// <summary>The instructions of a pickle of protocol 2. A text or a name is written once, and recalled from then on.</summary>
internal sealed class PickleOutput
{
    private readonly MemoryStream bytes = new();
    private readonly Dictionary<string, int> memo = new(StringComparer.Ordinal);
    private int remembered;

    public PickleOutput() => Begin(Opcode.Proto).WriteByte(2);

    /// <summary>All of it, complete.</summary>
    public byte[] End()
    {
        Put(Opcode.Stop);
        return bytes.ToArray();
    }

    public void Put(Opcode opcode) => bytes.WriteByte((byte)opcode);

    /// <summary>Keeps the last value, under the number that is returned.</summary>
    public int Remember()
    {
        Memo(Opcode.BinPut, Opcode.LongBinPut, remembered);
        return remembered++;
    }

    /// <summary>A value that was kept.</summary>
    public void Recall(int place) => Memo(Opcode.BinGet, Opcode.LongBinGet, place);

    /// <summary>What a name gives for so many arguments, each of which is written when it is its turn.</summary>
    public void Call(string name, int count, Action<int> argument)
    {
        Name(name);
        Tuple(count, argument);
        Put(Opcode.Reduce);
    }

    public void Tuple(int count, Action<int> item)
    {
        if (count > 3)
            Put(Opcode.Mark);
        for (var i = 0; i < count; i++)
            item(i);
        Put(
            count switch
            {
                0 => Opcode.EmptyTuple,
                1 => Opcode.Tuple1,
                2 => Opcode.Tuple2,
                3 => Opcode.Tuple3,
                _ => Opcode.Tuple,
            }
        );
    }

    public void Int(long number)
    {
        Span<byte> digits = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(digits, number);
        if (number is >= 0 and <= byte.MaxValue)
            Begin(Opcode.BinInt1).Write(digits[..1]);
        else if (number is >= 0 and <= ushort.MaxValue)
            Begin(Opcode.BinInt2).Write(digits[..2]);
        else if (number == (int)number)
            Begin(Opcode.BinInt).Write(digits[..4]);
        else
        {
            Begin(Opcode.Long1).WriteByte(8);
            bytes.Write(digits);
        }
    }

    public void Long(BigInteger number)
    {
        var digits = number.ToByteArray();
        if (digits.Length > byte.MaxValue)
            throw new ArgumentException($"a whole number has {digits.Length} bytes; PyTorch reads at most {byte.MaxValue}");
        Begin(Opcode.Long1).WriteByte((byte)digits.Length);
        bytes.Write(digits);
    }

    public void Float(double number)
    {
        Span<byte> digits = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleBigEndian(digits, number);
        Begin(Opcode.BinFloat).Write(digits);
    }

    public void Text(string text)
    {
        if (Recalled(text))
            return;
        var utf8 = Utf8(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        Begin(Opcode.BinUnicode).Write(length);
        bytes.Write(utf8);
        Remember(text);
    }

    /// <summary>UTF-8, in which halves of characters may stand alone, as Python writes them.</summary>
    private static byte[] Utf8(string text)
    {
        if (Ascii.IsValid(text))
            return Encoding.ASCII.GetBytes(text);
        var utf8 = new List<byte>(text.Length + 16);
        Span<byte> rune = stackalloc byte[4];
        for (var at = 0; at < text.Length; )
            if (Rune.TryGetRuneAt(text, at, out var whole))
            {
                utf8.AddRange(rune[..whole.EncodeToUtf8(rune)]);
                at += whole.Utf16SequenceLength;
            }
            else
            {
                var half = text[at++];
                utf8.AddRange([(byte)(0xe0 | half >> 12), (byte)(0x80 | half >> 6 & 0x3f), (byte)(0x80 | half & 0x3f)]);
            }
        return [.. utf8];
    }

    /// <summary>A name in full, as Python 2 spells it: pickles of this protocol do.</summary>
    public void Name(string full)
    {
        var dot = full.LastIndexOf('.');
        var (module, name) = (full[..dot], full[(dot + 1)..]);
        var text = $"{(module == "builtins" ? "__builtin__" : module)}\n{name}\n";
        if (Recalled("\0" + text))
            return;
        Begin(Opcode.Global).Write(Encoding.ASCII.GetBytes(text));
        Remember("\0" + text);
    }

    private bool Recalled(string text)
    {
        if (!memo.TryGetValue(text, out var index))
            return false;
        Recall(index);
        return true;
    }

    private void Remember(string text) => memo[text] = Remember();

    private void Memo(Opcode near, Opcode far, int index)
    {
        Span<byte> digits = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(digits, index);
        if (index <= byte.MaxValue)
            Begin(near).Write(digits[..1]);
        else
            Begin(far).Write(digits);
    }

    private MemoryStream Begin(Opcode opcode)
    {
        bytes.WriteByte((byte)opcode);
        return bytes;
    }
}
