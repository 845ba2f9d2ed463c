using System.Text;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Finds the storages of a file by their keys.</summary>
internal interface IStorageSource
{
    /// <summary>The bytes of a storage of some elements of a size.</summary>
    /// <exception cref="PickleException">There is none of that key, or it has another length.</exception>
    StoredBytes Find(string key, long count, int size);
}

/// <summary>
/// What the names of a checkpoint do when a pickle calls them. A name that is not known does nothing: the call is kept as a foreign
/// value, and so is a known name that is called with foreign values.
/// </summary>
internal sealed class PickleCalls(IStorageSource storages, PickleTensors tensors, Budget budget)
{
    private readonly PickleKeys keys = new(budget);

    /// <summary>The first name that no checkpoint needs; null when there was none.</summary>
    public string? Foreign { get; set; }

    public PickleDict Dict(MapKind kind, bool isSet = false)
    {
        budget.Memory(256);
        return new(kind, keys, isSet);
    }

    /// <summary>A value of a known name.</summary>
    public PickleObject Made(string name, params object?[] arguments)
    {
        budget.Memory(240 + 24L * arguments.Length);
        return new(name, true, arguments);
    }

    public object? Call(object? function, object? arguments)
    {
        var given = (arguments as PickleTuple)?.Items ?? throw new PickleException("it calls a name without a tuple of arguments");
        if (function is not PickleName { Name: var name, IsKnown: var isKnown })
            return function is PickleObject made
                ? Kept($"{made.Name}(...)", [made, .. given])
                : throw new PickleException("it calls what is no name");
        if (!isKnown)
            return Kept(name, given);
        return Known(name, given)
            ?? (
                Array.Exists(given, value => value is PickleObject { IsKnown: false } or PickleName { IsKnown: false })
                    ? Kept(name, given)
                    : throw new PickleException($"it calls '{name}' in a way that no checkpoint needs")
            );
    }

    /// <summary>A call with named arguments, which only foreign values have.</summary>
    public object CallNamed(object? function, object? arguments, object? named) =>
        function is PickleName { IsKnown: false, Name: var name } && arguments is PickleTuple { Items: var given }
            ? Kept(name, [.. given, named])
            : throw new PickleException("it calls a name with named arguments, in a way that no checkpoint needs");

    /// <summary>Sets the attributes of a value.</summary>
    public void SetState(object? value, object? state)
    {
        switch (value)
        {
            // PyTorch hangs _metadata onto the OrderedDict of a model: versions of its modules, which nothing here needs.
            case PickleDict { Kind: MapKind.OrderedDict }:
                break;
            case PickleObject made:
                made.State = (true, state);
                break;
            default:
                throw new PickleException("it sets the attributes of an object, which only an OrderedDict may have");
        }
    }

    /// <summary>What a pickle refers to outside of it: a storage, or the class of a module in the format before PyTorch 1.6.</summary>
    public object Outside(object? id)
    {
        var parts = (id as PickleTuple)?.Items ?? [];
        if (parts is [PickleText { Value: "module" }, PickleName or PickleObject, ..])
            return parts[1]!;
        if (
            parts is not [PickleText { Value: "storage" }, var type, PickleText { Value: var key }, _, Tree.Int { Item: var count }, ..]
            || parts.Length > 6
        )
            throw new PickleException("it refers to an object outside that is no storage");
        if (type is not PickleName { Name: var name })
            throw new PickleException("the type of a storage is not a name");
        var dtype = PickleNames.StorageDType(name);
        if (count < 0)
            throw new PickleException($"storage '{PickleNames.Shown(key)}' has {count} elements");
        budget.Memory(160);
        var bytes = storages.Find(key, count, dtype?.Size() ?? 1);
        return parts is [.., PickleTuple { Items: var view }] && parts.Length == 6
            ? Window(new(bytes, name, dtype, 0, count), view)
            : new PickleStorage(bytes, name, dtype, 0, count);
    }

    /// <summary>A window of a storage: its key, its first element, its length.</summary>
    private static PickleStorage Window(PickleStorage storage, object?[] view) =>
        view is [PickleText, Tree.Int { Item: var offset }, Tree.Int { Item: var count }]
        && offset >= 0
        && count >= 0
        && offset <= storage.Count - count
            ? storage with
            {
                Offset = offset,
                Count = count,
            }
            : throw new PickleException("a storage in it is a window outside of another one");

    /// <summary>What the call of a known name makes; null when it is called in another way than checkpoints do.</summary>
    private object? Known(string name, object?[] given) =>
        name switch
        {
            PickleNames.OrderedDict when given.Length == 0 => Dict(MapKind.OrderedDict),
            PickleNames.OrderedDict when given is [PickleList items] => Ordered(items),
            PickleNames.OrderedDict when given is [PickleDict { IsSet: false } dict] => Copied(dict, MapKind.OrderedDict),
            PickleNames.Counter when given.Length == 0 => Dict(MapKind.Counter),
            PickleNames.Counter when given is [PickleDict { IsSet: false } counts] => Copied(counts, MapKind.Counter),
            PickleNames.Set when given.Length == 0 => Dict(MapKind.Dict, isSet: true),
            PickleNames.Set when given is [PickleList items] => SetOf(items),
            PickleNames.Set when given is [PickleTuple { Items: var items }] => SetOf(items),
            PickleNames.Complex when given is [var re, var im] && Number(re) is { } x && Number(im) is { } y => Complex(x, y),
            PickleNames.Bytes when given.Length == 0 => Tree.NewBytes([]),
            PickleNames.Bytes when given is [Tree.Bytes bytes] => bytes,
            PickleNames.Encode when given is [PickleText { Value: var text }, PickleText { Value: "latin1" or "latin-1" }] => Encoded(
                text,
                Encoding.Latin1
            ),
            PickleNames.ByteArray when given.Length == 0 => Made(name, Tree.NewBytes([])),
            PickleNames.ByteArray when given is [Tree.Bytes] => Made(name, given),
            PickleNames.ByteArray
                when given is [PickleText { Value: var text }, PickleText { Value: "latin1" or "latin-1" }]
                    && Encoded(text, Encoding.Latin1) is { } bytes => Made(name, bytes),
            PickleNames.Size when given is [PickleTuple or PickleList] => Made(name, given),
            PickleNames.Device when given is [PickleText] or [PickleText, Tree.Int] => Made(name, given),
            PickleNames.GetLayout when given is [PickleText { Value: var layout }] && PickleNames.IsLayout(layout) => Made(layout),
            PickleNames.RebuildTensorV1 when given is [PickleStorage storage, Tree.Int offset, _, _] => tensors.Of(
                storage,
                offset.Item,
                given[2],
                given[3]
            ),
            PickleNames.RebuildTensor
                when given is [PickleStorage storage, Tree.Int offset, _, _, Tree.Bool, null or PickleDict, ..] && given.Length <= 7 =>
                tensors.Of(storage, offset.Item, given[2], given[3], metadata: given.Length == 7 ? given[6] : null),
            PickleNames.RebuildTensorV3
                when given
                    is [PickleStorage storage, Tree.Int offset, _, _, Tree.Bool, null or PickleDict, PickleName { IsKnown: true } type, ..]
                    && given.Length <= 8 => PickleNames.TensorDType(type.Name) is { } dtype
                ? tensors.Of(storage, offset.Item, given[2], given[3], dtype, given.Length == 8 ? given[7] : null)
                : Made(name, given),
            PickleNames.RebuildQuantized
                when given is [PickleStorage storage, Tree.Int offset, _, _, PickleTuple, Tree.Bool, null or PickleDict] =>
                PickleNames.QuantizedDType(storage.Class) is { } quantized
                    ? Made(name, new PickleName(quantized, true), tensors.Of(storage, offset.Item, given[2], given[3]), given[4])
                    : Made(name, given),
            PickleNames.Parameter when given is [Tree.Tensor] or [Tree.Tensor, Tree.Bool] => given[0],
            PickleNames.RebuildParameter when given is [Tree.Tensor tensor, Tree.Bool, _] => tensor,
            PickleNames.RebuildParameter when given is [PickleObject tensor, Tree.Bool, _] => tensor,
            PickleNames.RebuildParameterWithState when given is [Tree.Tensor, Tree.Bool, _, _] => WithAttributes(
                PickleNames.Parameter,
                given[0]!,
                given[3]
            ),
            PickleNames.RebuildFromType
                when given is [PickleName { IsKnown: true } function, PickleName { IsKnown: true } type, PickleTuple inner, _] => Call(
                function,
                inner
            )
                is { } tensor
                ? WithAttributes(type.Name, tensor, given[3])
                : null,
            PickleNames.RebuildFromCpu when given is [Tree.Tensor tensor, PickleName type, _, Tree.Bool] => PickleNames.TensorDType(
                type.Name
            ) == tensor.Item.DType
                ? tensor
                : Made(name, given),
            PickleNames.RebuildSparse when given is [PickleObject, PickleTuple] => Made(name, given),
            PickleNames.RebuildMeta when given.Length == 4 => Made(name, given),
            PickleNames.RebuildWrapper or PickleNames.RebuildFromNumpy => Made(name, given),
            PickleNames.Parameter when given.Length == 0 => Made(name),
            _ when PickleNames.IsTensorClass(name) && given.Length == 0 => Made(name),
            _ => null,
        };

    private PickleObject Kept(string name, object?[] given)
    {
        budget.Memory(240 + 4L * name.Length + 24L * given.Length);
        Foreign ??= name;
        return new(name, false, given);
    }

    /// <summary>A tensor with its attributes; what has none is the tensor itself.</summary>
    private object WithAttributes(string type, object tensor, object? state) =>
        state is null or PickleDict { Entries.Count: 0 }
            ? tensor
            : Made(PickleNames.RebuildFromType, new PickleName(type, true), tensor, state);

    private PickleDict Ordered(PickleList items)
    {
        var dict = Dict(MapKind.OrderedDict);
        foreach (var item in items)
        {
            budget.Node();
            if (item is PickleTuple { Items: [var key, var value] })
                dict.Set(key, value, budget);
            else if (item is PickleList and [var first, var second])
                dict.Set(first, second, budget);
            else
                throw new PickleException("an item of an OrderedDict is no pair");
        }
        return dict;
    }

    private PickleDict Copied(PickleDict entries, MapKind kind)
    {
        var dict = Dict(kind);
        foreach (var (key, value) in entries.Entries)
        {
            budget.Node();
            dict.Set(key, value, budget);
        }
        return dict;
    }

    private PickleDict SetOf(IEnumerable<object?> items)
    {
        var set = Dict(MapKind.Dict, isSet: true);
        foreach (var item in items)
        {
            budget.Node();
            set.Set(item, null, budget);
        }
        return set;
    }

    private Tree Complex(double real, double imaginary)
    {
        budget.Memory(40);
        return Tree.NewComplex(new(real, imaginary));
    }

    private Tree Encoded(string text, Encoding encoding)
    {
        if (text.Any(c => c > 255))
            throw new PickleException("bytes in it are written as a text that is none of bytes");
        budget.Memory(80 + text.Length);
        return Tree.NewBytes([.. encoding.GetBytes(text)]);
    }

    private static double? Number(object? value) =>
        value switch
        {
            Tree.Float { Item: var number } => number,
            Tree.Int { Item: var number } => number,
            _ => null,
        };
}
