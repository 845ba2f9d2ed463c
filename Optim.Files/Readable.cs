using System.Globalization;
using System.Text;

namespace Optim.Checkpoints;

/// <summary>Texts of files as they are shown: what cannot be seen is escaped as in Python, so that no name looks like another.</summary>
internal static class Readable
{
    /// <summary>A text in one line, cut where it is longer.</summary>
    public static string Text(string text, int most = int.MaxValue)
    {
        var shown = new StringBuilder();
        var at = 0;
        while (at < text.Length && shown.Length < most)
        {
            if (!Rune.TryGetRuneAt(text, at, out var rune))
                Escape(shown, text[at++]);
            else
            {
                if (rune.Value == '\\')
                    shown.Append(@"\\");
                else if (IsVisible(rune))
                    shown.Append(rune);
                else
                    Escape(shown, rune.Value);
                at += rune.Utf16SequenceLength;
            }
        }
        return at < text.Length ? shown.Append("...").ToString() : shown.ToString();
    }

    /// <summary>Only the halves of characters that stand alone are escaped: formats of Unicode text have none.</summary>
    public static string WithoutHalves(string text)
    {
        if (!text.AsSpan().ContainsAnyInRange('\ud800', '\udfff'))
            return text;
        var whole = new StringBuilder(text.Length);
        for (var at = 0; at < text.Length; )
            if (Rune.TryGetRuneAt(text, at, out var rune))
            {
                whole.Append(rune);
                at += rune.Utf16SequenceLength;
            }
            else
                Escape(whole, text[at++]);
        return whole.ToString();
    }

    /// <summary>Whether a character leaves ink, and changes nothing around it. The last ones are letters and marks that are blank.</summary>
    public static bool IsVisible(Rune rune) =>
        rune.Value == ' '
        || Rune.GetUnicodeCategory(rune)
            is not (
                UnicodeCategory.Control
                or UnicodeCategory.Format
                or UnicodeCategory.Surrogate
                or UnicodeCategory.PrivateUse
                or UnicodeCategory.OtherNotAssigned
                or UnicodeCategory.LineSeparator
                or UnicodeCategory.ParagraphSeparator
                or UnicodeCategory.SpaceSeparator
            )
            && rune.Value
                is not (
                    0x034f
                    or 0x115f
                    or 0x1160
                    or 0x17b4
                    or 0x17b5
                    or 0x2800
                    or 0x3164
                    or 0xffa0
                    or (>= 0xfe00 and <= 0xfe0f)
                    or (>= 0xe0100 and <= 0xe01ef)
                );

    private static void Escape(StringBuilder shown, int value) =>
        _ = value switch
        {
            '\n' => shown.Append(@"\n"),
            '\r' => shown.Append(@"\r"),
            '\t' => shown.Append(@"\t"),
            < 0x100 => shown.Append(CultureInfo.InvariantCulture, $"\\x{value:x2}"),
            < 0x10000 => shown.Append(CultureInfo.InvariantCulture, $"\\u{value:x4}"),
            _ => shown.Append(CultureInfo.InvariantCulture, $"\\U{value:x8}"),
        };
}
