using System.Collections.Immutable;
using System.Globalization;
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
    private readonly PickleOutput to = new();
    private readonly SharedNodes shared = new();
    private readonly Dictionary<object, int> places = new(ReferenceEqualityComparer.Instance);

    public byte[] Write(Tree tree)
    {
        shared.Count(tree);
        Value(tree);
        return to.End();
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
            to.Recall(place);
            return;
        }
        Node(tree);
        places[tree] = to.Remember();
    }

    private void Node(Tree tree)
    {
        switch (tree)
        {
            case Tree.Bool flag:
                to.Put(flag.Item ? Opcode.NewTrue : Opcode.NewFalse);
                break;
            case Tree.Int number:
                to.Int(number.Item);
                break;
            case Tree.BigInt number:
                to.Long(number.Item);
                break;
            case Tree.Float number:
                to.Float(number.Item);
                break;
            case Tree.Complex { Item: var number }:
                to.Call(PickleNames.Complex, 2, i => to.Float(i == 0 ? number.Real : number.Imaginary));
                break;
            case Tree.Text text:
                to.Text(text.Item);
                break;
            case Tree.Bytes { Item: var content }:
                to.Call(PickleNames.Encode, 2, i => to.Text(i == 0 ? Encoding.Latin1.GetString(content.AsSpan()) : "latin1"));
                break;
            case Tree.Tensor tensor:
                Tensor(tensor.Item);
                break;
            case Tree.List list:
                to.Put(Opcode.EmptyList);
                if (list.Item.IsEmpty)
                    break;
                to.Put(Opcode.Mark);
                foreach (var item in list.Item)
                    Value(item);
                to.Put(Opcode.Appends);
                break;
            case Tree.Tuple tuple:
                to.Tuple(tuple.Item.Length, i => Value(tuple.Item[i]));
                break;
            case Tree.Map map:
                Map(map.Item);
                break;
            case Tree.Tagged { Name: var name, Arguments: var arguments }:
                Tagged(name, arguments);
                break;
            default:
                to.Put(Opcode.None);
                break;
        }
    }

    /// <summary>A name alone, a storage, or the call that the value was read from.</summary>
    private void Tagged(string name, ImmutableArray<Tree> arguments)
    {
        if (PickleNames.IsStorage(name) && arguments is [Tree.Tensor { Item: var whole }])
            Storage(name, whole);
        else if (PickleNames.IsLayout(name))
            to.Call(PickleNames.GetLayout, 1, _ => to.Text(name));
        else if (arguments.IsEmpty)
            to.Name(name);
        else if (name == PickleNames.RebuildQuantized && arguments is [Tree.Tagged { Name: var dtype }, Tree.Tensor { Item: var view }, _])
            Quantized(dtype, view, arguments[2]);
        else if (name == PickleNames.RebuildFromType && arguments is [Tree.Tagged { Name: var type }, Tree.Tensor { Item: var tensor }, _])
        {
            to.Name(name);
            to.Put(Opcode.Mark);
            to.Name(Rebuild(tensor));
            to.Name(type);
            TensorArguments(tensor);
            Value(arguments[2]);
            to.Put(Opcode.Tuple);
            to.Put(Opcode.Reduce);
        }
        else
            to.Call(name, arguments.Length, i => Value(arguments[i]));
    }

    /// <summary>torch._utils._rebuild_qtensor(storage, offset, size, stride, scheme, requires_grad, hooks).</summary>
    private void Quantized(string dtype, TensorView stored, Tree scheme)
    {
        var place = storages.Of(stored);
        to.Name(PickleNames.RebuildQuantized);
        to.Put(Opcode.Mark);
        PersistentId(
            PickleNames.QuantizedStorage(dtype) ?? throw new ArgumentException($"{dtype} is no dtype of quantized tensors"),
            place.Storage,
            storages.All[place.Storage].Bytes.Count / stored.DType.Size()
        );
        Place(stored, place);
        Value(scheme);
        to.Put(Opcode.NewFalse);
        EmptyOrderedDict();
        to.Put(Opcode.Tuple);
        to.Put(Opcode.Reduce);
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
                to.Name(PickleNames.Counter);
            to.Put(Opcode.EmptyDict);
        }
        if (map.Count > 0)
        {
            to.Put(Opcode.Mark);
            foreach (var (key, value) in map.Entries)
            {
                Value(key.Tree);
                Value(value);
            }
            to.Put(Opcode.SetItems);
        }
        if (map.Kind == MapKind.Counter)
        {
            to.Put(Opcode.Tuple1);
            to.Put(Opcode.Reduce);
        }
    }

    private void Tensor(TensorView view)
    {
        to.Name(Rebuild(view));
        TensorArguments(view);
        to.Put(Opcode.Reduce);
    }

    /// <summary>_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks), or v3 with a dtype over bytes.</summary>
    private static string Rebuild(TensorView view) =>
        PickleNames.StorageName(view.DType) is null ? PickleNames.RebuildTensorV3 : PickleNames.RebuildTensor;

    private void TensorArguments(TensorView view)
    {
        var place = storages.Of(view);
        var typed = PickleNames.StorageName(view.DType);
        var (stored, _) = storages.All[place.Storage];
        to.Put(Opcode.Mark);
        PersistentId(typed ?? PickleNames.UntypedStorage, place.Storage, typed is null ? stored.Count : stored.Count / view.DType.Size());
        Place(view, place);
        to.Put(Opcode.NewFalse);
        EmptyOrderedDict();
        if (typed is null)
            to.Name($"torch.{view.DType.Name()}");
        to.Put(Opcode.Tuple);
    }

    private void PersistentId(string type, int storage, long count)
    {
        to.Put(Opcode.Mark);
        to.Text("storage");
        to.Name(type);
        to.Text(storage.ToString(CultureInfo.InvariantCulture));
        to.Text("cpu");
        to.Int(count);
        to.Put(Opcode.Tuple);
        to.Put(Opcode.BinPersId);
    }

    /// <summary>Offset, size and stride.</summary>
    private void Place(TensorView view, Placement place)
    {
        to.Int(place.Offset);
        to.Tuple(view.Shape.Length, i => to.Int(view.Shape[i]));
        to.Tuple(place.Strides.Length, i => to.Int(place.Strides[i]));
    }

    private void EmptyOrderedDict() => to.Call(PickleNames.OrderedDict, 0, _ => { });
}
