using System.Globalization;
using Optim.Core;
using Optim.Kernels;

namespace Optim.Cli.Inspection;

/// <summary>A tree in lines, indented.</summary>
internal static class TreeText
{
    private const int LongLine = 100;

    public static IEnumerable<string> Lines(Tree tree) => Lines(tree, "", 0);

    private static IEnumerable<string> Lines(Tree tree, string name, int depth)
    {
        var start = new string(' ', 2 * depth) + (name.Length == 0 ? "" : name + ": ");
        if (Children(tree) is not { } children)
        {
            yield return start + Leaf(tree);
            yield break;
        }
        yield return $"{start}{Kind(tree)} of {children.Count}";
        foreach (var (key, value) in children)
        foreach (var line in Lines(value, key, depth + 1))
            yield return line;
    }

    /// <summary>A value in one line.</summary>
    public static string Leaf(Tree tree)
    {
        if (tree is Tree.Tensor { Item: var view })
            return view.Count == 1 && !view.DType.IsComplex() ? $"{view.Layout} = {Number(view.ToDoubles()[0])}"
                : view.Count == 0 ? $"{view.Layout}"
                : $"{view.Layout}  {TensorStatistics.Of(view)}";
        var text = string.Concat(tree.ToString().Select(c => char.IsControl(c) ? '?' : c));
        return text.Length <= LongLine ? text : $"{text.AsSpan(0, LongLine)}... ({Size(tree)})";
    }

    /// <summary>What is under a tree, by name; null for what is said in one line: values, and lists of nothing but plain values.</summary>
    public static IReadOnlyList<(string Key, Tree Value)>? Children(Tree tree) =>
        tree switch
        {
            Tree.Map map => [.. map.Item.Entries.Select(entry => (Name(entry.Key), entry.Value))],
            Tree.List
            or Tree.Tuple when tree.AsItems().Any(item => item.Kind is TreeKind.Tensor or TreeKind.Map || Children(item) is not null) =>
            [
                .. tree.AsItems().Select((item, i) => (string.Create(CultureInfo.InvariantCulture, $"[{i}]"), item)),
            ],
            _ => null,
        };

    private static string Name(TreeKey key) =>
        key.IsText ? string.Concat(key.text.Select(c => char.IsControl(c) ? '?' : c)) : key.ToString();

    private static string Kind(Tree tree) => tree is Tree.Map map ? map.Item.Kind.ToString() : tree.Kind.ToString();

    private static string Size(Tree tree) =>
        tree.Kind == TreeKind.Text
            ? string.Create(CultureInfo.InvariantCulture, $"{tree.ToString().Length - 2} characters")
            : string.Create(CultureInfo.InvariantCulture, $"{tree.AsItems().Length} items");

    private static string Number(double number) => number.ToString("R", CultureInfo.InvariantCulture);
}
