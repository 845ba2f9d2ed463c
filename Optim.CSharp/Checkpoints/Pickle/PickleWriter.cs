using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Writes a tree as a pickle of protocol 2, with the instructions and names that torch.save uses and no others.</summary>
internal sealed class PickleWriter(Storages storages)
{
    private readonly MemoryStream bytes = new();
    private readonly Dictionary<string, int> memo = new(StringComparer.Ordinal);

    public byte[] Write(Tree tree)
    {
        Put(Opcode.Proto).WriteByte(2);
        Value(tree);
        Put(Opcode.Stop);
        return bytes.ToArray();
    }

    private void Value(Tree tree)
    {
        switch (tree)
        {
            case Tree.Bool flag:
                Put(flag.Item ? Opcode.NewTrue : Opcode.NewFalse);
                break;
            case Tree.Int number:
                Int(number.Item);
                break;
            case Tree.Float number:
                Span<byte> digits = stackalloc byte[8];
                BinaryPrimitives.WriteDoubleBigEndian(digits, number.Item);
                Put(Opcode.BinFloat).Write(digits);
                break;
            case Tree.Text text:
                Text(text.Item);
                break;
            case Tree.Tensor tensor:
                Tensor(tensor.Item);
                break;
            case Tree.List list:
                Put(Opcode.EmptyList);
                if (list.Item.IsEmpty)
                    break;
                Put(Opcode.Mark);
                foreach (var item in list.Item)
                    Value(item);
                Put(Opcode.Appends);
                break;
            case Tree.Tuple tuple:
                Tuple(tuple.Item.Length, i => Value(tuple.Item[i]));
                break;
            case Tree.Map map:
                Map(map.Item);
                break;
            default:
                Put(Opcode.None);
                break;
        }
    }

    private void Map(TreeMap map)
    {
        if (map.Kind == MapKind.OrderedDict)
            EmptyOrderedDict();
        else
        {
            if (map.Kind == MapKind.Counter)
                Name("collections", "Counter");
            Put(Opcode.EmptyDict);
        }
        if (map.Count > 0)
        {
            Put(Opcode.Mark);
            foreach (var (key, value) in map.Entries)
            {
                if (key.IsText)
                    Text(key.text);
                else
                    Int(key.number);
                Value(value);
            }
            Put(Opcode.SetItems);
        }
        if (map.Kind == MapKind.Counter)
        {
            Put(Opcode.Tuple1);
            Put(Opcode.Reduce);
        }
    }

    /// <summary>torch._utils._rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), or v3 with a dtype over bytes.</summary>
    private void Tensor(TensorView view)
    {
        var place = storages.Of(view);
        var typed = PickleNames.StorageName(view.DType);
        Name("torch._utils", typed is null ? "_rebuild_tensor_v3" : "_rebuild_tensor_v2");
        Put(Opcode.Mark);
        Put(Opcode.Mark);
        Text("storage");
        if (typed is null)
            Name("torch.storage", "UntypedStorage");
        else
            Name("torch", typed["torch.".Length..]);
        Text(place.Storage.ToString(CultureInfo.InvariantCulture));
        Text("cpu");
        var (stored, _) = storages.All[place.Storage];
        Int(typed is null ? stored.Count : stored.Count / view.DType.Size());
        Put(Opcode.Tuple);
        Put(Opcode.BinPersId);
        Int(place.Offset);
        Tuple(view.Shape.Length, i => Int(view.Shape[i]));
        Tuple(place.Strides.Length, i => Int(place.Strides[i]));
        Put(Opcode.NewFalse);
        EmptyOrderedDict();
        if (typed is null)
            Name("torch", view.DType.Name());
        Put(Opcode.Tuple);
        Put(Opcode.Reduce);
    }

    private void EmptyOrderedDict()
    {
        Name("collections", "OrderedDict");
        Put(Opcode.EmptyTuple);
        Put(Opcode.Reduce);
    }

    private void Tuple(int count, Action<int> item)
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

    private void Int(long number)
    {
        Span<byte> digits = stackalloc byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(digits, number);
        if (number is >= 0 and <= byte.MaxValue)
            Put(Opcode.BinInt1).Write(digits[..1]);
        else if (number is >= 0 and <= ushort.MaxValue)
            Put(Opcode.BinInt2).Write(digits[..2]);
        else if (number == (int)number)
            Put(Opcode.BinInt).Write(digits[..4]);
        else
        {
            Put(Opcode.Long1).WriteByte(8);
            bytes.Write(digits);
        }
    }

    private void Text(string text)
    {
        if (Recalled(text))
            return;
        byte[] utf8;
        try
        {
            utf8 = new UTF8Encoding(false, throwOnInvalidBytes: true).GetBytes(text);
        }
        catch (EncoderFallbackException error)
        {
            throw new ArgumentException($"a text holds half a character, which no file can: {PickleNames.Shown(text)}", error);
        }
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        Put(Opcode.BinUnicode).Write(length);
        bytes.Write(utf8);
        Remember(text);
    }

    private void Name(string module, string name)
    {
        var text = $"{module}\n{name}\n";
        if (Recalled("\0" + text))
            return;
        Put(Opcode.Global).Write(Encoding.ASCII.GetBytes(text));
        Remember("\0" + text);
    }

    private bool Recalled(string text)
    {
        if (!memo.TryGetValue(text, out var index))
            return false;
        Memo(Opcode.BinGet, Opcode.LongBinGet, index);
        return true;
    }

    private void Remember(string text)
    {
        memo[text] = memo.Count;
        Memo(Opcode.BinPut, Opcode.LongBinPut, memo.Count - 1);
    }

    private void Memo(Opcode near, Opcode far, int index)
    {
        Span<byte> digits = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(digits, index);
        if (index <= byte.MaxValue)
            Put(near).Write(digits[..1]);
        else
            Put(far).Write(digits);
    }

    private MemoryStream Put(Opcode opcode)
    {
        bytes.WriteByte((byte)opcode);
        return bytes;
    }
}
