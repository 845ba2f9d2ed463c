using System.Globalization;
using System.Text;
using Optim.Checkpoints;
using Optim.Core;

namespace Optim.Cli.Inspection;

/// <summary>Values in one line, as Python prints them, cut where the line is full: no more of a value is looked at than is shown.</summary>
/// <param name="limit">Characters of a line.</param>
internal sealed class InlineText(int limit)
{
    private readonly StringBuilder text = new();

    /// <summary>The value, and how long it is where it is cut.</summary>
    public string Of(Tree tree)
    {
        text.Clear();
        Add(tree);
        if (text.Length <= limit)
            return text.ToString();
        text.Length = limit;
        return text.Append(CultureInfo.InvariantCulture, $"... ({Size(tree)})").ToString();
    }

    /// <summary>Whether it fits.</summary>
    public bool Fits(Tree tree)
    {
        text.Clear();
        Add(tree);
        return text.Length <= limit;
    }

    private void Add(Tree tree)
    {
        switch (tree)
        {
            case Tree.Text { Item: var value }:
                text.Append('\'').Append(Readable.Text(value, limit + 1)).Append('\'');
                break;
            case Tree.List { Item: var items }:
                Add("[", items, items.Length, "]");
                break;
            case Tree.Tuple { Item: var items }:
                Add("(", items, items.Length, items.Length == 1 ? ",)" : ")");
                break;
            case Tree.Bytes { Item: var bytes }:
                text.Append("bytes('").Append(Convert.ToHexStringLower(bytes.AsSpan()[..Math.Min(bytes.Length, limit)])).Append("')");
                break;
            case Tree.Tagged { Name: var name, Arguments: var arguments }:
                text.Append(Readable.Text(name, limit + 1));
                if (!arguments.IsEmpty)
                    Add("(", arguments, arguments.Length, ")");
                break;
            case Tree.Map { Item: var map }:
                text.Append('{');
                for (var i = 0; i < map.Count && text.Length <= limit; i++)
                {
                    text.Append(i > 0 ? ", " : "");
                    Add(map.Entries[i].Key.Tree);
                    text.Append(": ");
                    Add(map.Entries[i].Value);
                }
                text.Append('}');
                break;
            default:
                text.Append(tree);
                break;
        }
    }

    private void Add(string open, IEnumerable<Tree> items, int count, string close)
    {
        text.Append(open);
        var first = true;
        foreach (var item in items)
        {
            if (text.Length > limit)
                return;
            text.Append(first ? "" : ", ");
            first = false;
            Add(item);
        }
        text.Append(close);
    }

    private static string Size(Tree tree) =>
        tree switch
        {
            Tree.Text { Item: var text } => string.Create(CultureInfo.InvariantCulture, $"{text.Length} characters"),
            Tree.Bytes { Item: var bytes } => string.Create(CultureInfo.InvariantCulture, $"{bytes.Length} bytes"),
            Tree.List or Tree.Tuple => string.Create(CultureInfo.InvariantCulture, $"{tree.AsItems().Length} items"),
            Tree.Map { Item: var map } => string.Create(CultureInfo.InvariantCulture, $"{map.Count} entries"),
            Tree.BigInt { Item: var number } => string.Create(CultureInfo.InvariantCulture, $"{number.GetByteCount()} bytes"),
            _ => "cut",
        };
}
