using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Which lists, dicts and other values are in several places of a tree.</summary>
internal sealed class SharedNodes
{
    private readonly Dictionary<object, bool> shared = new(ReferenceEqualityComparer.Instance);

    /// <summary>Looks through a tree, at each value once.</summary>
    public void Count(Tree tree)
    {
        if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged))
            return;
        if (shared.TryGetValue(tree, out _))
        {
            shared[tree] = true;
            return;
        }
        shared[tree] = false;
        foreach (var child in Children(tree))
            Count(child);
    }

    public bool IsShared(Tree tree) => shared.TryGetValue(tree, out var several) && several;

    /// <summary>The values in a value: keys and values of dicts, items, arguments.</summary>
    public static IEnumerable<Tree> Children(Tree tree) =>
        tree switch
        {
            Tree.Map { Item.Entries: var entries } => entries.SelectMany(entry => new[] { entry.Key.Tree, entry.Value }),
            Tree.Tagged { Arguments: var arguments } => arguments,
            Tree.List or Tree.Tuple => tree.AsItems(),
            _ => [],
        };
}
