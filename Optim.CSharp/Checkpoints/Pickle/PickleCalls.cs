using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>What the names of a checkpoint do when a pickle calls them, and how it finds its storages.</summary>
/// <param name="entry">The bytes of a storage by its key, and null when there are none.</param>
internal sealed class PickleCalls(Func<string, FileSlice?> entry)
{
    private const int MostDimensions = 64;

    /// <summary>Bytes that repeated elements may add to all storages together when they are written out.</summary>
    private const long MostRepeated = 64 << 20;

    private readonly Dictionary<string, FileSlice> slices = new(StringComparer.Ordinal);
    private long repeated;

    public object? Call(object? function, object? arguments)
    {
        var given = arguments as object?[] ?? throw new PickleException("it calls a name without a tuple of arguments");
        return (function as PickleName)?.Name switch
        {
            PickleNames.OrderedDict when given.Length == 0 => new PickleDict(MapKind.OrderedDict),
            PickleNames.OrderedDict when given is [PickleList items] => Ordered(items),
            PickleNames.Counter when given is [PickleDict counts] => Counted(counts),
            PickleNames.Counter when given.Length == 0 => new PickleDict(MapKind.Counter),
            PickleNames.Size when given is [object?[] lengths] => lengths,
            PickleNames.RebuildTensor when given.Length is 6 or 7 => Tensor(given, null, given.Length == 7 ? given[6] : null),
            PickleNames.RebuildTensorV3 when given.Length is 7 or 8 => Tensor(
                given,
                PickleNames.TensorDType(given[6]),
                given.Length == 8 ? given[7] : null
            ),
            PickleNames.RebuildParameter when given is [Tree.Tensor tensor, bool, _] => tensor,
            null => throw new PickleException("it calls what is no name"),
            var name => throw new PickleException($"it calls '{name}' in a way that no checkpoint needs"),
        };
    }

    public object Storage(object? id)
    {
        if (id is not object?[] { Length: >= 5 } parts || parts is not ["storage", _, string key, string, long count, ..])
            throw new PickleException("it refers to an object outside that is no storage");
        var dtype = PickleNames.StorageDType(parts[1]);
        if (!slices.TryGetValue(key, out var slice))
            slices[key] = slice = entry(key) ?? throw new PickleException($"its storage '{PickleNames.Shown(key)}' is not in the archive");
        var size = dtype is { } known ? known.Size() : 1;
        if (count < 0 || count > slice.Length / size || count * size != slice.Length)
            throw new PickleException($"storage '{key}' has {slice.Length} bytes, and {count} elements of {size} bytes are asked of it");
        return new PickleStorage(slice, dtype, count);
    }

    private Tree Tensor(object?[] given, DType? dtype, object? metadata)
    {
        if (given is not [PickleStorage storage, long offset, object?[] size, object?[] stride, bool, PickleDict, ..])
            throw new PickleException("it makes a tensor of the wrong things");
        if (metadata is not (null or PickleDict { Count: 0 }))
            throw new PickleException(
                "it holds a conjugated or negated view, which is not supported: save a copy of it (resolve_conj, resolve_neg)"
            );
        var type = dtype ?? storage.DType ?? throw new PickleException("a tensor over bytes has no dtype");
        var length = storage.DType is null ? storage.Bytes.Length / type.Size() : storage.Count;
        var (shape, strides) = (Longs(size), Longs(stride));
        if (shape.Length != strides.Length || shape.Length > MostDimensions)
            throw new PickleException($"a tensor has {shape.Length} sizes and {strides.Length} strides");
        if (offset < 0 || shape.Any(n => n < 0) || strides.Any(n => n < 0))
            throw new PickleException("a tensor has a negative size, stride or offset");
        try
        {
            var (count, last) = (1L, offset);
            foreach (var n in shape)
                count = checked(count * n);
            for (var i = 0; count > 0 && i < shape.Length; i++)
                last = checked(last + (shape[i] - 1) * strides[i]);
            if (count > 0 ? last >= length : offset > length)
                throw new PickleException($"a tensor reaches element {last} of a storage of {length}");
            if (count > length && checked(repeated += (count - length) * type.Size()) > MostRepeated)
                throw new PickleException($"its tensors repeat elements to more than {MostRepeated >> 20} MB beyond what is stored");
        }
        catch (OverflowException)
        {
            throw new PickleException("the size of a tensor does not fit into 64 bits");
        }
        return Tree.NewTensor(new TensorView((nint)(offset * type.Size()), Layout.Strided(type, shape, strides), storage.Bytes));
    }

    private static long[] Longs(object?[] items) =>
        Array.ConvertAll(items, item => item as long? ?? throw new PickleException("a size or stride of a tensor is no whole number"));

    private static PickleDict Ordered(PickleList items)
    {
        var dict = new PickleDict(MapKind.OrderedDict);
        foreach (var item in items)
            if (item is object?[] and [var key, var value])
                dict[PickleReader.Key(key)] = value;
            else
                throw new PickleException("an item of an OrderedDict is no pair");
        return dict;
    }

    private static PickleDict Counted(PickleDict counts)
    {
        var counter = new PickleDict(MapKind.Counter);
        foreach (var (key, value) in counts)
            counter[key] = value;
        return counter;
    }
}
