using System.Runtime.CompilerServices;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Checkpoints;

// What a pickle is made of while it is read, beside trees: those are numbers, flags, bytes, tensors, and null for None.

/// <summary>A name, as <c>torch._utils._rebuild_tensor_v2</c>; one that is not known stands for a value that is kept and never run.</summary>
internal sealed record PickleName(string Name, bool IsKnown);

/// <summary>A text; its hash is worked out once.</summary>
internal sealed class PickleText(string value)
{
    private int? hash;
    private Tree? tree;

    public string Value => value;

    public Tree Tree => tree ??= Tree.NewText(value);

    public int Hash(Budget budget)
    {
        if (hash is { } known)
            return known;
        budget.Hash(value.Length);
        return (hash = value.GetHashCode(StringComparison.Ordinal)).Value;
    }
}

/// <summary>A tuple.</summary>
internal sealed class PickleTuple(object?[] items)
{
    public object?[] Items => items;

    /// <summary>What it is as a key, when it was asked for.</summary>
    public FrozenKey? Frozen { get; set; }
}

/// <summary>A key that is finished.</summary>
/// <param name="Key">The key.</param>
/// <param name="Weight">The characters and values in it, shared ones counted each time.</param>
/// <param name="Hash">Its hash.</param>
internal sealed record FrozenKey(TreeKey Key, long Weight, int Hash);

/// <summary>A list that is still being filled.</summary>
internal sealed class PickleList : List<object?>;

/// <summary>A dict that is still being filled, or a set, of which only the keys count.</summary>
internal sealed class PickleDict(MapKind kind, PickleKeys keys, bool isSet = false)
{
    private const int Few = 8;
    private Dictionary<object, int>? places;

    public MapKind Kind => kind;

    public bool IsSet => isSet;

    public List<(object Key, object? Value)> Entries { get; } = [];

    /// <summary>Sets the value of a key; the key that was there first stays, as in Python.</summary>
    public void Set(object? given, object? value, Budget budget)
    {
        var key = PickleKeys.Of(given);
        var place = Find(key);
        if (place >= 0)
        {
            Entries[place] = (Entries[place].Key, value);
            return;
        }
        budget.Memory(200);
        Entries.Add((key, value));
        places?.Add(key, Entries.Count - 1);
    }

    private int Find(object key)
    {
        if (Entries.Count > Few && places is null)
        {
            places = new(keys);
            for (var i = 0; i < Entries.Count; i++)
                places.Add(Entries[i].Key, i);
        }
        if (places is not null)
            return places.TryGetValue(key, out var place) ? place : -1;
        for (var i = Entries.Count - 1; i >= 0; i--)
            if (keys.Equals(Entries[i].Key, key))
                return i;
        return -1;
    }
}

/// <summary>A storage: its bytes in the file, and as what its class reads them (null: bytes).</summary>
/// <param name="Bytes">Its bytes.</param>
/// <param name="Class">Its class, as that of the processor.</param>
/// <param name="DType">The dtype of its elements.</param>
/// <param name="Offset">Elements before its first: storages of old files may be windows of others.</param>
/// <param name="Count">The number of its elements.</param>
internal sealed record PickleStorage(StoredBytes Bytes, string Class, DType? DType, long Offset, long Count)
{
    public bool Equals(PickleStorage? other) => ReferenceEquals(this, other);

    public override int GetHashCode() => RuntimeHelpers.GetHashCode(this);
}

/// <summary>What a call of a name would make: kept as what it was called with and what was done to it, never made.</summary>
internal sealed class PickleObject(string name, bool isKnown, object?[] arguments)
{
    public string Name => name;

    /// <summary>Whether checkpoints have such values.</summary>
    public bool IsKnown => isKnown;

    public object?[] Arguments => arguments;

    /// <summary>Whether its attributes were set, and to what.</summary>
    public (bool IsSet, object? Value) State { get; set; }

    /// <summary>What was appended to it.</summary>
    public PickleList? Items { get; set; }

    /// <summary>What was set by key.</summary>
    public PickleDict? Entries { get; set; }
}
