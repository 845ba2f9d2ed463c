using System.Collections.Immutable;
using System.Runtime.InteropServices;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Turns what a pickle has made into a tree: once each, however often it is referred to.</summary>
internal sealed class PickleTrees(PickleTensors tensors, Budget budget)
{
    private const int MostDepth = 1000;

    private readonly Dictionary<object, (Tree Tree, long Nodes)> done = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<object> open = new(ReferenceEqualityComparer.Instance);
    private int foreignOpen;
    private long nodes;

    public Tree Convert(object? value, int depth = 0)
    {
        switch (value)
        {
            case null:
                return Count(Tree.None, 1);
            case Tree tree:
                return Count(tree, 1);
            case PickleText text:
                return Count(text.Tree, 1);
        }
        if (done.TryGetValue(value, out var known))
            return Count(known.Tree, known.Nodes);
        if (depth > MostDepth)
            throw new PickleException($"its values are nested more than {MostDepth} deep, or contain themselves");
        if (!open.Add(value))
            return foreignOpen > 0
                ? Count(Tree.TaggedOf(PickleNames.Itself, []), 1)
                : throw new PickleException($"{Kind(value)} in it contains itself");
        var foreign = value is PickleObject { IsKnown: false } ? 1 : 0;
        var before = nodes;
        foreignOpen += foreign;
        var made = value switch
        {
            PickleList list => Tree.NewList(Items(CollectionsMarshal.AsSpan(list), depth)),
            PickleTuple tuple => Tree.NewTuple(Items(tuple.Items, depth)),
            PickleDict { IsSet: true } set => Tree.TaggedOf(PickleNames.Set, [Tree.NewList(Keys(set, depth + 1))]),
            PickleDict dict => Map(dict, depth),
            PickleName name => Tree.TaggedOf(name.Name, []),
            PickleStorage storage => Tree.TaggedOf(storage.Class, [tensors.Whole(storage)]),
            PickleObject { IsKnown: true } called => Known(called, depth),
            PickleObject called => Foreign(called, depth),
            _ => throw new PickleException("a value in it is of no known kind"),
        };
        foreignOpen -= foreign;
        Count(made, 1);
        open.Remove(value);
        done[value] = (made, nodes - before);
        return made;
    }

    private Tree Known(PickleObject called, int depth)
    {
        if (PickleNames.IsTensorClass(called.Name) || called is { Name: PickleNames.Parameter, Arguments: [] })
            return OldTensor(called, depth);
        if (called.State.IsSet || called.Items is not null || called.Entries is not null)
            throw new PickleException($"it changes a value of '{called.Name}', which no checkpoint needs");
        return Tree.NewTagged(called.Name, Items(called.Arguments, depth));
    }

    /// <summary>A tensor that is made empty and then set, as the first versions of PyTorch wrote them.</summary>
    private Tree OldTensor(PickleObject called, int depth) =>
        (called.State.Value as PickleTuple)?.Items switch
        {
            [PickleStorage storage, Tree.Int { Item: var offset }, var size, var stride] => tensors.Of(storage, offset, size, stride),
            [var data, _, _, _, _] when Convert(data, depth + 1) is Tree.Tensor tensor => tensor,
            _ => throw new PickleException($"it makes a '{called.Name}' in a way that no checkpoint needs"),
        };

    /// <summary>What it was called with, its state, what was appended to it and what was set by key, as Python writes objects down.</summary>
    private Tree Foreign(PickleObject called, int depth)
    {
        budget.Memory(200);
        var parts = new List<Tree> { Tree.NewTuple(Items(called.Arguments, depth + 1)) };
        var more =
            called.Entries is not null ? 3
            : called.Items is not null ? 2
            : called.State.IsSet ? 1
            : 0;
        if (more >= 1)
            parts.Add(Convert(called.State.Value, depth + 1));
        if (more >= 2)
            parts.Add(Convert(called.Items, depth + 1));
        if (more >= 3)
            parts.Add(Convert(called.Entries, depth + 1));
        return Tree.TaggedOf(called.Name, parts);
    }

    private Tree Map(PickleDict dict, int depth)
    {
        var entries = new KeyValuePair<TreeKey, Tree>[dict.Entries.Count];
        for (var i = 0; i < entries.Length; i++)
        {
            var (key, value) = dict.Entries[i];
            entries[i] = new(Key(key, depth), Convert(value, depth + 1));
        }
        return Tree.NewMap(TreeMap.OfDistinct(dict.Kind, ImmutableCollectionsMarshal.AsImmutableArray(entries)));
    }

    private TreeKey Key(object key, int depth) =>
        key switch
        {
            PickleText text => text.Value,
            Tree.Int number => number.Item,
            Tree tree => TreeKey.NewOther(tree),
            _ => TreeKey.NewOther(Convert(key, depth + 1)),
        };

    private ImmutableArray<Tree> Keys(PickleDict set, int depth)
    {
        var keys = new Tree[set.Entries.Count];
        for (var i = 0; i < keys.Length; i++)
            keys[i] = Convert(set.Entries[i].Key, depth + 1);
        return ImmutableCollectionsMarshal.AsImmutableArray(keys);
    }

    private ImmutableArray<Tree> Items(ReadOnlySpan<object?> items, int depth)
    {
        var trees = new Tree[items.Length];
        for (var i = 0; i < trees.Length; i++)
            trees[i] = Convert(items[i], depth + 1);
        return ImmutableCollectionsMarshal.AsImmutableArray(trees);
    }

    private Tree Count(Tree tree, long more)
    {
        budget.Unfold(nodes = more > long.MaxValue - nodes ? long.MaxValue : nodes + more);
        return tree;
    }

    private static string Kind(object value) =>
        value switch
        {
            PickleList => "a list",
            PickleDict => "a dict",
            _ => "a value",
        };
}
