using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>A tree in lines, indented; a value that is in several places is shown in the first, and named by that place in the others.</summary>
internal sealed class TreeText(TreeShape shape, FileStatistics statistics, Action<string> say)
{
    public static void Write(Tree tree, long fileLength, Action<string> say) =>
        new TreeText(new(tree), new(fileLength), say).Write(tree, null, 0);

    private void Write(Tree tree, TreePath? path, int depth)
    {
        var start = new string(' ', 2 * depth) + (path is null ? "" : path.Step + ": ");
        if (shape.WasShown(tree, path, out var first))
            say($"{start}-> {first}");
        else if (!shape.IsParted(tree))
            say(start + Leaf(tree, shape, statistics));
        else if (tree is Tree.Map { Item: var map })
        {
            say(string.Create(CultureInfo.InvariantCulture, $"{start}{map.Kind} of {map.Count}"));
            foreach (var (key, value) in map.Entries)
                if (key.IsText && NarrowTrees.described(map, key.text) is { IsSome: true, Value: var narrow })
                    say($"{start[..(2 * depth)]}  {new TreePath(path, key, 0).Step}: {narrow}");
                else
                    Write(value, new(path, key, 0), depth + 1);
        }
        else
        {
            var items = tree is Tree.Tagged { Arguments: var arguments } ? arguments : tree.AsItems();
            say(string.Create(CultureInfo.InvariantCulture, $"{start}{Kind(tree)} of {items.Length}"));
            for (var i = 0; i < items.Length; i++)
                Write(items[i], new(path, null, i), depth + 1);
        }
    }

    /// <summary>A value in one line; of a tensor what can be said of its elements.</summary>
    public static string Leaf(Tree tree, TreeShape shape, FileStatistics statistics)
    {
        if (tree is not Tree.Tensor { Item: var view })
            return shape.Line(tree);
        if (view.Count == 0)
            return $"{view.Layout}";
        if (view.Count == 1 && view.DType.Parts() == 1)
            return $"{view.Layout} = {view.ToDoubles()[0].ToString("R", CultureInfo.InvariantCulture)}";
        return statistics.Of(view) is { } found
            ? $"{view.Layout}  {found}"
            : $"{view.Layout}  (no statistics: the tensors are windows of the same memory, many times the size of the file)";
    }

    private static string Kind(Tree tree) =>
        tree is Tree.Tagged { Name: var name } ? Checkpoints.Readable.Text(name, 100) : tree.Kind.ToString();
}
