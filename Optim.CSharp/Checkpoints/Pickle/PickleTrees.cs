using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Turns what a pickle has made into a tree: once each, however often it is referred to.</summary>
internal sealed class PickleTrees
{
    private const int MostDepth = 200;

    /// <summary>Nodes of a tree in which what is shared counts each time.</summary>
    private const long MostNodes = 10_000_000;

    private readonly Dictionary<object, (Tree Tree, long Nodes)> done = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<object> open = new(ReferenceEqualityComparer.Instance);
    private long nodes;

    public Tree Convert(object? value, int depth = 0)
    {
        switch (value)
        {
            case null:
                return Count(Tree.None, 1);
            case bool flag:
                return Count(flag, 1);
            case long number:
                return Count(number, 1);
            case double number:
                return Count(number, 1);
            case string text:
                return Count(text, 1);
            case Tree tensor:
                return Count(tensor, 1);
            case PickleName or PickleStorage:
                throw new PickleException(
                    value is PickleName { Name: var name } ? $"'{name}' is a value in it" : "a storage without a tensor is a value in it"
                );
        }
        if (done.TryGetValue(value, out var known))
            return Count(known.Tree, known.Nodes);
        if (depth > MostDepth)
            throw new PickleException($"its values are nested more than {MostDepth} deep, or contain themselves");
        if (!open.Add(value))
            throw new PickleException("a value in it contains itself");
        var before = nodes;
        Tree tree = value switch
        {
            PickleList list => Tree.ListOf(Items(list, depth)),
            object?[] tuple => Tree.TupleOf(Items(tuple, depth)),
            PickleDict dict => Tree.MapOf(
                dict.Kind,
                dict.Select(entry => KeyValuePair.Create(entry.Key, Convert(entry.Value, depth + 1))).ToList()
            ),
            _ => throw new PickleException("a value in it is of no known kind"),
        };
        Count(tree, 1);
        open.Remove(value);
        done[value] = (tree, nodes - before);
        return tree;
    }

    private List<Tree> Items(IEnumerable<object?> items, int depth) => [.. items.Select(item => Convert(item, depth + 1))];

    private Tree Count(Tree tree, long more) =>
        (nodes += more) <= MostNodes
            ? tree
            : throw new PickleException($"it holds more than {MostNodes} values, shared ones counted each time");
}
