using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

/// <summary>Makes the tensors of a pickle: windows of its storages, checked against them.</summary>
/// <param name="bigEndian">Whether the file keeps numbers with the most significant byte first.</param>
/// <param name="budget">Pays for them.</param>
internal sealed class PickleTensors(bool bigEndian, Budget budget)
{
    private const int MostDimensions = 64;

    private readonly Dictionary<(StoredBytes, int, bool, bool), StoredBytes> converted = [];

    /// <summary>A window of a storage.</summary>
    /// <param name="storage">The storage.</param>
    /// <param name="offset">Elements before the first.</param>
    /// <param name="size">The lengths of its dimensions.</param>
    /// <param name="stride">Elements between neighbours.</param>
    /// <param name="dtype">Its dtype; null for that of the storage.</param>
    /// <param name="metadata">Whether it is a conjugated or a negated view: then it is read as what it stands for.</param>
    /// <exception cref="PickleException">It lies outside of the storage.</exception>
    public Tree Of(PickleStorage storage, long offset, object? size, object? stride, DType? dtype = null, object? metadata = null)
    {
        var type = dtype ?? storage.DType ?? throw new PickleException("a tensor over bytes has no dtype");
        if (dtype is not null && storage.Offset > 0)
            throw new PickleException("a tensor has another dtype than the window of a storage that it lies in");
        var length = dtype is null ? storage.Count : storage.Bytes.Length / type.Size();
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
            if (count > length)
                budget.Repeat(checked((count - length) * type.Size()));
            budget.Memory(320 + 32L * shape.Length);
            var bytes = Converted(storage.Bytes, type, metadata);
            var place = checked((storage.Offset + offset) * type.Size());
            return Tree.NewTensor(new TensorView((nint)place, Layout.Strided(type, shape, strides), bytes));
        }
        catch (OverflowException)
        {
            throw new PickleException("the size of a tensor does not fit into 64 bits");
        }
    }

    /// <summary>All elements of a storage.</summary>
    public Tree Whole(PickleStorage storage)
    {
        var type = storage.DType ?? DType.UInt8;
        budget.Memory(320);
        var bytes = Converted(storage.Bytes, type, null);
        return Tree.NewTensor(new TensorView((nint)(storage.Offset * type.Size()), Layout.Contiguous(type, storage.Count), bytes));
    }

    /// <summary>The bytes as this machine keeps numbers, with the signs turned that a conjugated or negated view turns.</summary>
    private StoredBytes Converted(StoredBytes bytes, DType type, object? metadata)
    {
        var (conjugated, negated) = (IsSet(metadata, "conj"), IsSet(metadata, "neg"));
        var isComplex = type.IsComplex() || type == DType.Complex32;
        if (conjugated && !isComplex || negated && !isComplex && !type.IsFloatingPoint())
            throw new PickleException($"a conjugated or negated view in it has elements of {type.Name()}");
        var part = type.Size() / (isComplex ? 2 : 1);
        var swapped = bigEndian && part > 1;
        if (!swapped && !conjugated && !negated)
            return bytes;
        var key = (bytes, isComplex ? -part : part, conjugated, negated);
        if (!converted.TryGetValue(key, out var found))
        {
            budget.Memory(200);
            converted[key] = found = new ConvertedBytes(bytes, part, isComplex ? 2 : 1, swapped, negated, negated != conjugated);
        }
        return found;
    }

    private static bool IsSet(object? metadata, string flag)
    {
        if (metadata is null)
            return false;
        if (metadata is not PickleDict { Entries: var entries })
            throw new PickleException("the metadata of a tensor are no dict");
        foreach (var (key, value) in entries)
            if (key is PickleText { Value: var name } && name == flag)
                return value is Tree.Bool { Item: true };
        return false;
    }

    private static long[] Longs(object? sizes) =>
        sizes switch
        {
            PickleTuple { Items: var items } => Array.ConvertAll(items, Whole),
            PickleList items => [.. items.Select(Whole)],
            PickleObject { Name: PickleNames.Size, Arguments: [var inner] } => Longs(inner),
            _ => throw new PickleException("it makes a tensor of the wrong things"),
        };

    private static long Whole(object? item) =>
        item is Tree.Int { Item: var number } ? number : throw new PickleException("a size or stride of a tensor is no whole number");
}
