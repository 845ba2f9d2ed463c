using System.Buffers.Binary;
using System.Collections.Immutable;
using System.Globalization;
using System.Numerics;
using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>
/// Writes a tree as a pickle of protocol 2, with the instructions and names that torch.save uses and no others. A list, dict or other
/// value that is in several places of the tree is written once, and is one value again when it is read.
/// </summary>
internal sealed class PickleWriter(Storages storages)
{
    private readonly MemoryStream bytes = new();
    private readonly Dictionary<string, int> memo = new(StringComparer.Ordinal);
    private readonly SharedNodes shared = new();
    private readonly Dictionary<object, int> places = new(ReferenceEqualityComparer.Instance);
    private int remembered;

    public byte[] Write(Tree tree)
    {
        shared.Count(tree);
        Put(Opcode.Proto).WriteByte(2);
        Value(tree);
        Put(Opcode.Stop);
        return bytes.ToArray();
    }

    private void Value(Tree tree)
    {
        if (!shared.IsShared(tree))
        {
            Node(tree);
            return;
        }
        if (places.TryGetValue(tree, out var place))
        {
            Memo(Opcode.BinGet, Opcode.LongBinGet, place);
            return;
        }
        Node(tree);
        places[tree] = remembered;
        Memo(Opcode.BinPut, Opcode.LongBinPut, remembered++);
    }

    private void Node(Tree tree)
    {
        switch (tree)
        {
            case Tree.Bool flag:
                Put(flag.Item ? Opcode.NewTrue : Opcode.NewFalse);
                break;
            case Tree.Int number:
                Int(number.Item);
                break;
            case Tree.BigInt number:
                Long(number.Item);
                break;
            case Tree.Float number:
                Float(number.Item);
                break;
            case Tree.Complex { Item: var number }:
                Name(PickleNames.Complex);
                Float(number.Real);
                Float(number.Imaginary);
                Put(Opcode.Tuple2);
                Put(Opcode.Reduce);
                break;
            case Tree.Text text:
                Text(text.Item);
                break;
            case Tree.Bytes { Item: var content }:
                Name(PickleNames.Encode);
                Text(Encoding.Latin1.GetString(content.AsSpan()));
                Text("latin1");
                Put(Opcode.Tuple2);
                Put(Opcode.Reduce);
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
            case Tree.Tagged { Name: var name, Arguments: var arguments }:
                Tagged(name, arguments);
                break;
            default:
                Put(Opcode.None);
                break;
        }
    }

    /// <summary>A name alone, a storage, or the call that the value was read from.</summary>
    private void Tagged(string name, ImmutableArray<Tree> arguments)
    {
        if (PickleNames.IsStorage(name) && arguments is [Tree.Tensor { Item: var whole }])
            Storage(name, whole);
        else if (PickleNames.IsLayout(name))
            Call(PickleNames.GetLayout, [name]);
        else if (arguments.IsEmpty)
            Name(name);
        else if (name == PickleNames.RebuildQuantized && arguments is [Tree.Tagged { Name: var dtype }, Tree.Tensor { Item: var view }, _])
            Quantized(dtype, view, arguments[2]);
        else if (name == PickleNames.RebuildFromType && arguments is [Tree.Tagged { Name: var type }, Tree.Tensor { Item: var tensor }, _])
        {
            Name(name);
            Put(Opcode.Mark);
            Name(Rebuild(tensor));
            Name(type);
            TensorArguments(tensor);
            Value(arguments[2]);
            Put(Opcode.Tuple);
            Put(Opcode.Reduce);
        }
        else
            Call(name, arguments);
    }

    private void Call(string name, IReadOnlyList<Tree> arguments)
    {
        Name(name);
        Tuple(arguments.Count, i => Value(arguments[i]));
        Put(Opcode.Reduce);
    }

    /// <summary>torch._utils._rebuild_qtensor(storage, offset, size, stride, scheme, requires_grad, hooks).</summary>
    private void Quantized(string dtype, TensorView stored, Tree scheme)
    {
        var place = storages.Of(stored);
        Name(PickleNames.RebuildQuantized);
        Put(Opcode.Mark);
        PersistentId(
            PickleNames.QuantizedStorage(dtype) ?? throw new ArgumentException($"{dtype} is no dtype of quantized tensors"),
            place.Storage,
            storages.All[place.Storage].Bytes.Count / stored.DType.Size()
        );
        Place(stored, place);
        Value(scheme);
        Put(Opcode.NewFalse);
        EmptyOrderedDict();
        Put(Opcode.Tuple);
        Put(Opcode.Reduce);
    }

    /// <summary>A storage without a tensor.</summary>
    private void Storage(string name, TensorView whole)
    {
        var place = storages.Of(whole);
        var stored = storages.All[place.Storage].Bytes;
        if (place.Offset != 0 || stored.Count != whole.Count * whole.DType.Size())
            throw new ArgumentException($"a {name} is a part of the memory of other tensors, and cannot be saved as a storage of its own");
        PersistentId(name, place.Storage, whole.Count);
    }

    private void Map(TreeMap map)
    {
        if (map.Kind == MapKind.OrderedDict)
            EmptyOrderedDict();
        else
        {
            if (map.Kind == MapKind.Counter)
                Name(PickleNames.Counter);
            Put(Opcode.EmptyDict);
        }
        if (map.Count > 0)
        {
            Put(Opcode.Mark);
            foreach (var (key, value) in map.Entries)
            {
                Value(key.Tree);
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

    private void Tensor(TensorView view)
    {
        Name(Rebuild(view));
        TensorArguments(view);
        Put(Opcode.Reduce);
    }

    /// <summary>_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), or v3 with a dtype over bytes.</summary>
    private static string Rebuild(TensorView view) =>
        PickleNames.StorageName(view.DType) is null ? PickleNames.RebuildTensorV3 : PickleNames.RebuildTensor;

    private void TensorArguments(TensorView view)
    {
        var place = storages.Of(view);
        var typed = PickleNames.StorageName(view.DType);
        var (stored, _) = storages.All[place.Storage];
        Put(Opcode.Mark);
        PersistentId(typed ?? PickleNames.UntypedStorage, place.Storage, typed is null ? stored.Count : stored.Count / view.DType.Size());
        Place(view, place);
        Put(Opcode.NewFalse);
        EmptyOrderedDict();
        if (typed is null)
            Name($"torch.{view.DType.Name()}");
        Put(Opcode.Tuple);
    }

    private void PersistentId(string type, int storage, long count)
    {
        Put(Opcode.Mark);
        Text("storage");
        Name(type);
        Text(storage.ToString(CultureInfo.InvariantCulture));
        Text("cpu");
        Int(count);
        Put(Opcode.Tuple);
        Put(Opcode.BinPersId);
    }

    /// <summary>Offset, size and stride.</summary>
    private void Place(TensorView view, Placement place)
    {
        Int(place.Offset);
        Tuple(view.Shape.Length, i => Int(view.Shape[i]));
        Tuple(place.Strides.Length, i => Int(place.Strides[i]));
    }

    private void EmptyOrderedDict()
    {
        Name(PickleNames.OrderedDict);
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

    private void Long(BigInteger number)
    {
        var digits = number.ToByteArray();
        if (digits.Length > byte.MaxValue)
            throw new ArgumentException($"a whole number has {digits.Length} bytes; PyTorch reads at most {byte.MaxValue}");
        Put(Opcode.Long1).WriteByte((byte)digits.Length);
        bytes.Write(digits);
    }

    private void Float(double number)
    {
        Span<byte> digits = stackalloc byte[8];
        BinaryPrimitives.WriteDoubleBigEndian(digits, number);
        Put(Opcode.BinFloat).Write(digits);
    }

    private void Text(string text)
    {
        if (Recalled(text))
            return;
        var utf8 = Utf8(text);
        Span<byte> length = stackalloc byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(length, utf8.Length);
        Put(Opcode.BinUnicode).Write(length);
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
    private void Name(string full)
    {
        var dot = full.LastIndexOf('.');
        var (module, name) = (full[..dot], full[(dot + 1)..]);
        var text = $"{(module == "builtins" ? "__builtin__" : module)}\n{name}\n";
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
        memo[text] = remembered;
        Memo(Opcode.BinPut, Opcode.LongBinPut, remembered++);
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
