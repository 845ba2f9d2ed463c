using System.Globalization;
using Optim.Core;

namespace Optim.Checkpoints;

/// <summary>Values of names that no checkpoint needs: kept where that is asked for, never run, never written.</summary>
internal static class ForeignValues
{
    /// <summary>The first one and where it is, as Python would get there; null when there is none.</summary>
    public static (string Name, string Place)? Find(Tree tree)
    {
        var seen = new HashSet<object>(ReferenceEqualityComparer.Instance);
        var path = new Stack<string>();
        return Search(tree) is { } name ? (name, string.Concat(path.Reverse())) : null;

        string? Search(Tree tree)
        {
            if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged))
                return null;
            if (tree is Tree.Tagged { Name: var name } && !PickleNames.IsKnown(name))
                return name;
            if (!seen.Add(tree))
                return null;
            if (tree is Tree.Map { Item.Entries: var entries })
            {
                foreach (var (key, value) in entries)
                    if (Inside(key.Tree, () => $"[{Key(key)}]") is { } inKey)
                        return inKey;
                    else if (Inside(value, () => $"[{Key(key)}]") is { } inValue)
                        return inValue;
                return null;
            }
            var items = tree is Tree.Tagged { Arguments: var arguments } ? arguments : tree.AsItems();
            for (var i = 0; i < items.Length; i++)
            {
                var place = i;
                if (Inside(items[i], () => string.Create(CultureInfo.InvariantCulture, $"[{place}]")) is { } found)
                    return found;
            }
            return null;
        }

        string? Inside(Tree tree, Func<string> step)
        {
            if (tree is not (Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged))
                return null;
            path.Push(step());
            var found = Search(tree);
            if (found is null)
                path.Pop();
            return found;
        }
    }

    private static string Key(TreeKey key) =>
        key.IsText ? $"'{Readable.Text(key.text, 60)}'" : Readable.Text(key.Tree.Kind == TreeKind.Tuple ? "(...)" : key.ToString()!, 60);
}
