using System.Globalization;
using System.Text;
using Optim.Checkpoints;
using Optim.Core;

namespace Optim.Cli.Inspection;

/// <summary>Where a value is in a tree: shares what it has in common with its neighbours, and is a text only when it is printed.</summary>
/// <param name="Parent">Where the value is in; null for the tree as a whole.</param>
/// <param name="Key">Its key; null for an item of a list.</param>
/// <param name="Index">Its place in a list.</param>
internal sealed record TreePath(TreePath? Parent, TreeKey? Key, int Index)
{
    private const int Longest = 1000;
    private const int LongestStep = 200;

    /// <summary>The step itself: a name, or a place in brackets.</summary>
    public string Step => Key is { } key ? Name(key) : string.Create(CultureInfo.InvariantCulture, $"[{Index}]");

    /// <summary>Such as <c>state.0.exp_avg</c> or <c>param_groups[0].lr</c>; of a long one its end.</summary>
    public override string ToString()
    {
        var steps = new List<string>();
        var (length, path) = (0, this);
        for (; path is not null && length <= Longest; path = path.Parent)
        {
            steps.Add(path.Step);
            length += steps[^1].Length + 1;
        }
        var text = new StringBuilder(path is null ? "" : "...");
        for (var i = steps.Count - 1; i >= 0; i--)
            text.Append(text.Length > 0 && steps[i][0] != '[' ? "." : "").Append(steps[i]);
        return text.ToString();
    }

    /// <summary>A key as it is shown: a text without quotes where it looks like no other key.</summary>
    public static string Name(TreeKey key) =>
        !key.IsText || key.text.Length == 0 || key.text.Length > LongestStep || LooksLikeAnotherKey(key.text)
            ? new InlineText(LongestStep).Of(key.Tree)
            : Readable.Text(key.text);

    private static bool LooksLikeAnotherKey(string text) =>
        char.IsAsciiDigit(text[0]) || text[0] is '-' or '\'' or '(' or '[' || text is "None" or "True" or "False" or "nan" or "inf";
}
