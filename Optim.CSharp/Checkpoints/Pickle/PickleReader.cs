using System.Buffers.Binary;
using System.Text;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>
/// Runs the instructions of a pickle that plain values and tensors need. It builds values and calls nothing: names come from a fixed
/// table, and what "calling" one of them means is written out in <see cref="PickleCalls"/>.
/// </summary>
internal sealed class PickleReader(byte[] bytes, PickleCalls calls)
{
    private static readonly object mark = new();
    private static readonly UTF8Encoding utf8 = new(false, throwOnInvalidBytes: true);
    private readonly List<object?> stack = [];
    private readonly Dictionary<uint, object?> memo = [];
    private int at;

    /// <summary>The value that the pickle makes.</summary>
    public object? Run()
    {
        if (bytes.Length < 2 || bytes[0] != (byte)Opcode.Proto)
            throw new PickleException("it does not begin as a pickle of protocol 2 or later");
        while (true)
        {
            var opcode = (Opcode)Take(1)[0];
            if (opcode == Opcode.Stop)
                return stack.Count == 1 && !ReferenceEquals(stack[0], mark) && at == bytes.Length
                    ? stack[0]
                    : throw new PickleException("its end is not where its value is complete");
            Step(opcode);
        }
    }

    private void Step(Opcode opcode)
    {
        switch (opcode)
        {
            case Opcode.Proto:
                if (Take(1)[0] is < 2 or > 5)
                    throw new PickleException($"protocol {bytes[at - 1]} is not known; it can be 2 to 5");
                break;
            case Opcode.Frame:
                Take(8);
                break;
            case Opcode.Mark:
                stack.Add(mark);
                break;
            case Opcode.Pop:
                Pop();
                break;
            case Opcode.None:
                stack.Add(null);
                break;
            case Opcode.NewTrue:
            case Opcode.NewFalse:
                stack.Add(opcode == Opcode.NewTrue);
                break;
            case Opcode.BinInt:
                stack.Add((long)BinaryPrimitives.ReadInt32LittleEndian(Take(4)));
                break;
            case Opcode.BinInt1:
                stack.Add((long)Take(1)[0]);
                break;
            case Opcode.BinInt2:
                stack.Add((long)BinaryPrimitives.ReadUInt16LittleEndian(Take(2)));
                break;
            case Opcode.Long1:
                stack.Add(Long(Take(Take(1)[0])));
                break;
            case Opcode.BinFloat:
                stack.Add(BinaryPrimitives.ReadDoubleBigEndian(Take(8)));
                break;
            case Opcode.ShortBinUnicode:
                stack.Add(Text(Take(1)[0]));
                break;
            case Opcode.BinUnicode:
                stack.Add(Text(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case Opcode.BinUnicode8:
                stack.Add(Text(BinaryPrimitives.ReadUInt64LittleEndian(Take(8))));
                break;
            case Opcode.BinPut:
                memo[Take(1)[0]] = Top();
                break;
            case Opcode.LongBinPut:
                memo[BinaryPrimitives.ReadUInt32LittleEndian(Take(4))] = Top();
                break;
            case Opcode.Memoize:
                memo[(uint)memo.Count] = Top();
                break;
            case Opcode.BinGet:
                stack.Add(Remembered(Take(1)[0]));
                break;
            case Opcode.LongBinGet:
                stack.Add(Remembered(BinaryPrimitives.ReadUInt32LittleEndian(Take(4))));
                break;
            case Opcode.Global:
                stack.Add(PickleNames.Find(Line(), Line()));
                break;
            case Opcode.StackGlobal:
                var (name, module) = (Pop(), Pop());
                stack.Add(
                    module is string m && name is string n ? PickleNames.Find(m, n) : throw new PickleException("a name is not a text")
                );
                break;
            default:
                Build(opcode);
                break;
        }
    }

    /// <summary>The instructions that put values together.</summary>
    private void Build(Opcode opcode)
    {
        switch (opcode)
        {
            case Opcode.EmptyList:
                stack.Add(new PickleList());
                break;
            case Opcode.EmptyDict:
                stack.Add(new PickleDict(MapKind.Dict));
                break;
            case Opcode.EmptyTuple:
                stack.Add(Array.Empty<object?>());
                break;
            case Opcode.Tuple:
                stack.Add(PopMarked());
                break;
            case Opcode.Tuple1:
            case Opcode.Tuple2:
            case Opcode.Tuple3:
                var items = new object?[opcode - Opcode.Tuple1 + 1];
                for (var i = items.Length - 1; i >= 0; i--)
                    items[i] = Pop();
                stack.Add(items);
                break;
            case Opcode.Append:
                var item = Pop();
                List().Add(item);
                break;
            case Opcode.Appends:
                var appended = PopMarked();
                List().AddRange(appended);
                break;
            case Opcode.SetItem:
                var (value, key) = (Pop(), Pop());
                Dict()[Key(key)] = value;
                break;
            case Opcode.SetItems:
                var entries = PopMarked();
                if (entries.Length % 2 != 0)
                    throw new PickleException("a key of a dict has no value");
                var dict = Dict();
                for (var i = 0; i < entries.Length; i += 2)
                    dict[Key(entries[i])] = entries[i + 1];
                break;
            case Opcode.Reduce:
                var (arguments, function) = (Pop(), Pop());
                stack.Add(calls.Call(function, arguments));
                break;
            case Opcode.Build:
                Pop();
                // PyTorch hangs _metadata onto the OrderedDict of a model: versions of its modules, which nothing here needs.
                if (Top() is not PickleDict { Kind: MapKind.OrderedDict })
                    throw new PickleException("it sets the attributes of an object, which only an OrderedDict may have");
                break;
            case Opcode.BinPersId:
                stack.Add(calls.Storage(Pop()));
                break;
            default:
                throw new PickleException(
                    $"its instruction 0x{(byte)opcode:x2} at byte {at - 1} is none that plain values and tensors need"
                );
        }
    }

    internal static TreeKey Key(object? key) =>
        key switch
        {
            string text => text,
            long number => number,
            _ => throw new PickleException("a key of a dict is neither a text nor a whole number"),
        };

    private ReadOnlySpan<byte> Take(ulong count)
    {
        if (count > (ulong)(bytes.Length - at))
            throw new PickleException("it ends too early");
        at += (int)count;
        return bytes.AsSpan(at - (int)count, (int)count);
    }

    private string Text(ulong length)
    {
        try
        {
            return utf8.GetString(Take(length));
        }
        catch (ArgumentException)
        {
            throw new PickleException("a text in it is not UTF-8");
        }
    }

    private string Line()
    {
        var length = bytes.AsSpan(at).IndexOf((byte)'\n');
        if (length < 0)
            throw new PickleException("it ends too early");
        var line = Text((ulong)length);
        at++;
        return line;
    }

    private static long Long(ReadOnlySpan<byte> digits)
    {
        if (digits.Length > 8)
            throw new PickleException("a whole number in it does not fit into 64 bits");
        var value = digits.Length > 0 && digits[^1] >= 128 ? -1L : 0L;
        for (var i = digits.Length - 1; i >= 0; i--)
            value = (value << 8) | digits[i];
        return value;
    }

    private object? Remembered(uint index) =>
        memo.TryGetValue(index, out var value) ? value : throw new PickleException($"it takes up entry {index}, which it never kept");

    private object? Top() =>
        stack.Count > 0 && !ReferenceEquals(stack[^1], mark)
            ? stack[^1]
            : throw new PickleException("it takes a value where there is none");

    private object? Pop()
    {
        var value = Top();
        stack.RemoveAt(stack.Count - 1);
        return value;
    }

    private object?[] PopMarked()
    {
        var start = stack.FindLastIndex(value => ReferenceEquals(value, mark));
        if (start < 0)
            throw new PickleException("it takes values up to a mark that is not there");
        var items = stack.GetRange(start + 1, stack.Count - start - 1).ToArray();
        stack.RemoveRange(start, stack.Count - start);
        return items;
    }

    private PickleList List() => Top() as PickleList ?? throw new PickleException("it appends to what is no list");

    private PickleDict Dict() => Top() as PickleDict ?? throw new PickleException("it sets an item of what is no dict");
}
