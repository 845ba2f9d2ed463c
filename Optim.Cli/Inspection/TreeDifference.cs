using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>How two trees differ, leaf by leaf; values that are in several places are compared once.</summary>
internal sealed class TreeDifference
{
    private readonly HashSet<(Tree, Tree)> compared = new(new ByReference());
    private readonly Action<string> say;
    private readonly (TreeShape Shape, FileStatistics Statistics) first,
        second;
    private bool differs;

    private TreeDifference((Tree Tree, long Length) a, (Tree Tree, long Length) b, Action<string> say)
    {
        this.say = say;
        first = (new(a.Tree), new(a.Length));
        second = (new(b.Tree), new(b.Length));
    }

    /// <summary>Says a line for each: <c>-</c> what only the first has, <c>+</c> what only the second has, <c>~</c> what both have and is not the same.</summary>
    /// <returns>Whether there was any.</returns>
    public static bool Write((Tree Tree, long Length) a, (Tree Tree, long Length) b, Action<string> say)
    {
        var difference = new TreeDifference(a, b, say);
        difference.Compare(a.Tree, b.Tree, null);
        return difference.differs;
    }

    private void Compare(Tree a, Tree b, TreePath? path)
    {
        if (a is Tree.List or Tree.Tuple or Tree.Map or Tree.Tagged && !compared.Add((a, b)))
            return;
        switch (a, b)
        {
            case (Tree.Map { Item: var x }, Tree.Map { Item: var y }) when x.Kind == y.Kind && (x.Count > 0 || y.Count > 0):
                foreach (var (key, value) in x.Entries)
                    if (Find(y, key) is { } other)
                        Compare(value, other, new(path, key, 0));
                    else
                        Only('-', value, new(path, key, 0), first);
                foreach (var (key, value) in y.Entries)
                    if (Find(x, key) is null)
                        Only('+', value, new(path, key, 0), second);
                break;
            case
            (Tree.List, Tree.List)
            or
            (Tree.Tuple, Tree.Tuple)
            or (Tree.Tagged, Tree.Tagged)
                when (first.Shape.IsParted(a) || second.Shape.IsParted(b))
                    && (a is not Tree.Tagged { Name: var name } || b is Tree.Tagged { Name: var other } && name == other):
                var (p, q) = (Items(a), Items(b));
                for (var i = 0; i < Math.Max(p.Count, q.Count); i++)
                    if (i >= q.Count)
                        Only('-', p[i], new(path, null, i), first);
                    else if (i >= p.Count)
                        Only('+', q[i], new(path, null, i), second);
                    else
                        Compare(p[i], q[i], new(path, null, i));
                break;
            default:
                if (Difference(a, b) is { } difference)
                    Say('~', path, difference);
                break;
        }
    }

    /// <summary>The value of the same key: one of the same kind, not only one that is equal in Python.</summary>
    private static Tree? Find(TreeMap map, TreeKey key) =>
        map.PlaceOf(key) is >= 0 and var place && map.Entries[place].Key.Tree.Equals(key.Tree) ? map.Entries[place].Value : null;

    private static IReadOnlyList<Tree> Items(Tree tree) => tree is Tree.Tagged { Arguments: var arguments } ? arguments : tree.AsItems();

    private void Only(char sign, Tree tree, TreePath path, (TreeShape Shape, FileStatistics Statistics) side) =>
        Say(sign, path, Shown(tree, side));

    private void Say(char sign, TreePath? path, string what)
    {
        differs = true;
        say($"{sign} {path?.ToString() ?? "(the whole)"}: {what}");
    }

    private static string Shown(Tree tree, (TreeShape Shape, FileStatistics Statistics) side) =>
        TreeText.Leaf(tree, side.Shape, side.Statistics);

    private string? Difference(Tree a, Tree b)
    {
        if (
            a is not Tree.Tensor { Item: var x }
            || b is not Tree.Tensor { Item: var y }
            || x.DType != y.DType
            || !x.Layout.SameShape(y.Layout)
        )
            return a.Equals(b) ? null : $"{Shown(a, first)} -> {Shown(b, second)}";
        var (differing, largest) = (0L, 0.0);
        foreach (var (p, q) in TensorStatistics.Chunks(x).Zip(TensorStatistics.Chunks(y)))
            for (var i = 0; i < p.Length; i++)
                if (!p[i].Equals(q[i]) || double.IsNegative(p[i]) != double.IsNegative(q[i]))
                    (differing, largest) = (differing + 1, Math.Max(largest, Math.Abs(p[i] - q[i])));
        return differing == 0
            ? null
            : string.Create(CultureInfo.InvariantCulture, $"{x.Layout}, {differing} elements differ, by {largest:g6} at most");
    }

    private sealed class ByReference : IEqualityComparer<(Tree, Tree)>
    {
        public bool Equals((Tree, Tree) x, (Tree, Tree) y) => ReferenceEquals(x.Item1, y.Item1) && ReferenceEquals(x.Item2, y.Item2);

        public int GetHashCode((Tree, Tree) pair) =>
            HashCode.Combine(
                System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(pair.Item1),
                System.Runtime.CompilerServices.RuntimeHelpers.GetHashCode(pair.Item2)
            );
    }
}
