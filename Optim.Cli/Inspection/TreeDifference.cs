using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>How two trees differ, leaf by leaf.</summary>
internal static class TreeDifference
{
    /// <summary>A line for each: <c>-</c> what only the first has, <c>+</c> what only the second has, <c>~</c> what both have and is not the same.</summary>
    public static IEnumerable<string> Lines(Tree first, Tree second)
    {
        var (a, b) = (Leaves(first), Leaves(second));
        foreach (var (path, value) in a)
            if (!b.TryGetValue(path, out var other))
                yield return $"- {path}: {TreeText.Leaf(value)}";
            else if (Difference(value, other) is { } difference)
                yield return $"~ {path}: {difference}";
        foreach (var (path, value) in b)
            if (!a.ContainsKey(path))
                yield return $"+ {path}: {TreeText.Leaf(value)}";
    }

    private static OrderedDictionary<string, Tree> Leaves(Tree tree)
    {
        var leaves = new OrderedDictionary<string, Tree>();
        Collect(tree, "");
        return leaves;

        void Collect(Tree tree, string path)
        {
            if (TreeText.Children(tree) is not { Count: > 0 } children)
                leaves.TryAdd(path.Length == 0 ? "(the whole)" : path, tree);
            else
                foreach (var (key, value) in children)
                    Collect(value, path.Length == 0 || key.StartsWith('[') ? path + key : $"{path}.{key}");
        }
    }

    private static string? Difference(Tree a, Tree b)
    {
        if (
            a is not Tree.Tensor { Item: var x }
            || b is not Tree.Tensor { Item: var y }
            || x.DType != y.DType
            || !x.Layout.SameShape(y.Layout)
        )
            return a.Equals(b) ? null : $"{TreeText.Leaf(a)} -> {TreeText.Leaf(b)}";
        var (differing, largest) = (0L, 0.0);
        foreach (var (p, q) in TensorStatistics.Chunks(x).Zip(TensorStatistics.Chunks(y)))
            for (var i = 0; i < p.Length; i++)
                if (!p[i].Equals(q[i]) || double.IsNegative(p[i]) != double.IsNegative(q[i]))
                    (differing, largest) = (differing + 1, Math.Max(largest, Math.Abs(p[i] - q[i])));
        return differing == 0
            ? null
            : string.Create(CultureInfo.InvariantCulture, $"{x.Layout}, {differing} elements differ, by {largest:g6} at most");
    }
}
