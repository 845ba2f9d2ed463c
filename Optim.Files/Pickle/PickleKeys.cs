using System.Runtime.CompilerServices;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Compares keys of dicts while a pickle is read, as Python does; what that costs is counted.</summary>
internal sealed class PickleKeys(Budget budget) : IEqualityComparer<object>
{
    private const int MostDepth = 1000;

    /// <summary>Stands for None, which is a key as well.</summary>
    private static readonly Tree none = Tree.None;

    /// <summary>A value as a key.</summary>
    /// <exception cref="PickleException">Values of its kind are no keys.</exception>
    public static object Of(object? value) =>
        value switch
        {
            null => none,
            PickleText or PickleTuple or PickleName or PickleObject => value,
            Tree tree and not Tree.Tensor => tree,
            _ => throw new PickleException($"a key of a dict is {Described(value)}, which is none in Python either"),
        };

    public new bool Equals(object? a, object? b)
    {
        if (ReferenceEquals(a, b))
            return true;
        switch (a, b)
        {
            case (PickleText x, PickleText y):
                if (x.Value.Length != y.Value.Length || x.Hash(budget) != y.Hash(budget))
                    return false;
                budget.Hash(x.Value.Length);
                return x.Value == y.Value;
            case (PickleText, _) or (_, PickleText) or (PickleObject, _) or (_, PickleObject):
                return false;
            case (PickleName x, PickleName y):
                return x.Name == y.Name;
            case (PickleName, _) or (_, PickleName):
                return false;
        }
        var (p, q) = (Frozen(a!), Frozen(b!));
        if (p is null || q is null || p.Hash != q.Hash)
            return false;
        budget.Hash(Math.Min(p.Weight, q.Weight));
        return p.Key.Equals(q.Key);
    }

    public int GetHashCode(object key) =>
        key switch
        {
            PickleText text => text.Hash(budget),
            PickleName name => name.Name.GetHashCode(StringComparison.Ordinal),
            _ => Frozen(key)?.Hash ?? RuntimeHelpers.GetHashCode(key),
        };

    /// <summary>A finished value as a key; null for what foreign values are in, which is compared by identity.</summary>
    private FrozenKey? Frozen(object value, int depth = 0)
    {
        if (value is Tree tree)
        {
            var weight = tree is Tree.Bytes { Item.Length: var length } ? length + 1L : 1;
            budget.Hash(weight);
            var own = TreeKey.NewOther(tree);
            return new(own, weight, own.GetHashCode());
        }
        if (value is not PickleTuple tuple)
            return null;
        if (tuple.Frozen is { } known)
            return known;
        if (depth > MostDepth)
            throw new PickleException($"a key in it is nested more than {MostDepth} deep");
        var (items, total, hash) = (new Tree[tuple.Items.Length], 1L, new HashCode());
        for (var i = 0; i < items.Length; i++)
        {
            var item = Of(tuple.Items[i]);
            if (item is PickleText text)
            {
                (items[i], total) = (text.Tree, total + text.Value.Length + 1);
                hash.Add(text.Hash(budget));
            }
            else if (item is PickleName { IsKnown: true, Name: var name })
            {
                (items[i], total) = (Tree.TaggedOf(name, []), total + 1);
                hash.Add(name);
            }
            else if (Frozen(item, depth + 1) is { } inner)
            {
                (items[i], total) = (inner.Key.Tree, Math.Min(total + inner.Weight, long.MaxValue / 2));
                hash.Add(inner.Hash);
            }
            else
                return null;
        }
        budget.Memory(64 + 24 * items.Length);
        budget.Hash(items.Length);
        return tuple.Frozen = new(TreeKey.NewOther(Tree.TupleOf(items)), total, hash.ToHashCode());
    }

    private static string Described(object value) =>
        value switch
        {
            PickleList => "a list",
            PickleDict { IsSet: true } => "a set",
            PickleDict => "a dict",
            Tree => "a tensor",
            _ => "a storage",
        };
}
