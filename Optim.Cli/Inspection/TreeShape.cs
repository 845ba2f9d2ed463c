using Optim.Checkpoints;
using Optim.Core;

namespace Optim.Cli.Inspection;

/// <summary>How a tree is laid out when it is shown: what has lines of its own, and what is in several places and shown once.</summary>
internal sealed class TreeShape
{
    private const int LongLine = 100;

    private readonly InlineText line = new(LongLine);
    private readonly Dictionary<object, bool> parted = new(ReferenceEqualityComparer.Instance);
    private readonly Dictionary<object, TreePath?> shown = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<object> seen = new(ReferenceEqualityComparer.Instance);
    private readonly HashSet<object> several = new(ReferenceEqualityComparer.Instance);

    public TreeShape(Tree tree) => Look(tree);

    /// <summary>A value in one line.</summary>
    public string Line(Tree tree) => line.Of(tree);

    /// <summary>Where a value that is in several places was shown already; null when it is shown now, or so short that it is repeated.</summary>
    public bool WasShown(Tree tree, TreePath? path, out TreePath? first)
    {
        first = null;
        if (!several.Contains(tree) || !IsParted(tree) && tree is not Tree.Tensor && line.Fits(tree))
            return false;
        if (shown.TryGetValue(tree, out first))
            return true;
        shown[tree] = path;
        return false;
    }

    /// <summary>Whether it has lines of its own: dicts, and whatever has tensors or dicts in it.</summary>
    public bool IsParted(Tree tree)
    {
        if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged))
            return false;
        if (parted.TryGetValue(tree, out var known))
            return known;
        return parted[tree] =
            tree is Tree.Map || SharedNodes.Children(tree).Any(child => child is Tree.Tensor or Tree.Map || IsParted(child));
    }

    private void Look(Tree tree)
    {
        if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged or Tree.Tensor))
            return;
        if (!seen.Add(tree))
            several.Add(tree);
        else if (tree is not Tree.Tensor)
            foreach (var child in SharedNodes.Children(tree))
                Look(child);
    }
}
