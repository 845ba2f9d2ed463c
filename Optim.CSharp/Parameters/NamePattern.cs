using System.Text;
using System.Text.RegularExpressions;

namespace Optim;

/// <summary>
/// A pattern over names of parameters. With <c>*</c> (any text), <c>?</c> (a character), <c>[abc]</c> or <c>[!abc]</c> (one of these, or none of
/// them) it is a glob over the whole name, as in <c>*.bias</c>; any other text is found anywhere in a name. Case counts.
/// </summary>
internal sealed class NamePattern
{
    private readonly Regex? glob;

    public NamePattern(string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        Text = text;
        if (text.AsSpan().IndexOfAny('*', '?', '[') >= 0)
            glob = new(Translate(text), RegexOptions.CultureInvariant | RegexOptions.NonBacktracking | RegexOptions.Singleline);
    }

    public string Text { get; }

    public bool Matches(string name) => glob?.IsMatch(name) ?? name.Contains(Text, StringComparison.Ordinal);

    private static string Translate(string text)
    {
        var pattern = new StringBuilder(@"\A");
        for (var i = 0; i < text.Length; i++)
            if (text[i] == '*')
                pattern.Append(".*");
            else if (text[i] == '?')
                pattern.Append('.');
            // A ] right behind the opening is one of the characters; a [ that nothing closes is a character itself.
            else if (
                text[i] == '['
                && text.IndexOf(']', Math.Min(text.Length, text[(i + 1)..].StartsWith('!') ? i + 3 : i + 2)) is > 0 and var end
            )
            {
                var characters = text[(i + 1)..end];
                var isNot = characters.StartsWith('!');
                pattern.Append(isNot ? "[^" : "[").Append(Class(isNot ? characters[1..] : characters)).Append(']');
                i = end;
            }
            else
                pattern.Append(Regex.Escape(text[i].ToString()));
        return pattern.Append(@"\z").ToString();
    }

    /// <summary>The inside of a class of characters, in which only ranges have a meaning.</summary>
    private static string Class(string characters) =>
        characters
            .Replace(@"\", @"\\", StringComparison.Ordinal)
            .Replace("[", @"\[", StringComparison.Ordinal)
            .Replace("]", @"\]", StringComparison.Ordinal)
            .Replace("^", @"\^", StringComparison.Ordinal);
}
