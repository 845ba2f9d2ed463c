using System.Globalization;

namespace Optim.Cli.Pictures;

/// <summary>
/// Panels drawn with characters: with Braille a character has 2 x 4 points, and curves are told apart by colour; otherwise each curve has a letter.
/// </summary>
public static class TerminalChart
{
    private const string Letters = "abcdefghijklmnopqrstuvwxyz";

    /// <summary>
    /// The lines of those panels in which something happens, each in pieces; the number of a piece is the <see cref="Curve.Identity"/> of what it
    /// shows, or -1.
    /// </summary>
    /// <param name="picture">What to draw.</param>
    /// <param name="width">Columns in all.</param>
    /// <param name="height">Lines for the curves of a panel, odd; what is on the axes takes three more.</param>
    /// <param name="braille">With Braille; otherwise with letters.</param>
    public static IReadOnlyList<IReadOnlyList<(string Text, int Curve)>> Draw(Picture picture, int width, int height, bool braille)
    {
        var panels = picture.Telling.Select(panel => (panel, LabelsOf(panel, height))).ToList();
        var margin = panels.SelectMany(each => each.Item2.Values).Select(label => label.Length).DefaultIfEmpty().Max();
        return [.. panels.SelectMany(each => Draw(picture, each.panel, each.Item2, margin, width, height, braille))];
    }

    private static Dictionary<int, string> LabelsOf(Panel panel, int height)
    {
        var (least, most) = panel.Span;
        var middle = panel.IsLogarithmic ? Math.Sqrt(least * most) : (least + most) / 2;
        return new()
        {
            [0] = Label(most),
            [height / 2] = Label(middle),
            [height - 1] = Label(least),
        };
    }

    private static List<IReadOnlyList<(string Text, int Curve)>> Draw(
        Picture picture,
        Panel panel,
        Dictionary<int, string> labels,
        int margin,
        int width,
        int height,
        bool braille
    )
    {
        var columns = Math.Max(8, width - margin - 2);
        var canvas = Draw(picture, panel, new Canvas(columns, height, braille));
        var indent = new string(' ', margin + 1);
        var lines = new List<IReadOnlyList<(string, int)>> { Plain($"{indent}{panel.Quantity}") };
        for (var row = 0; row < height; row++)
            lines.Add([
                labels.TryGetValue(row, out var label) ? ($"{label.PadLeft(margin)} ┤", -1) : ($"{indent}│", -1),
                .. canvas.Row(row),
            ]);
        var (first, last) = picture.Span;
        var (left, right) = (Label(first), Label(last));
        var between = columns - left.Length - right.Length;
        lines.Add(Plain($"{indent}└{new string('─', columns)}"));
        lines.Add(
            Plain($"{indent} {left}{picture.Across.PadLeft((between + picture.Across.Length) / 2).PadRight(Math.Max(0, between))}{right}")
        );
        return lines;
    }

    /// <summary>What a curve looks like.</summary>
    public static string Symbol(int curve, bool braille) => braille ? "━━" : Letter(curve).ToString();

    internal static char Letter(int curve) => Letters[curve % Letters.Length];

    private static Canvas Draw(Picture picture, Panel panel, Canvas canvas)
    {
        var (left, right) = picture.Span;
        var (bottom, top) = panel.Span;
        foreach (var curve in panel.Curves)
        {
            (int X, int Y)? before = null;
            foreach (var (x, y) in curve.Points)
            {
                if (!double.IsFinite(y) || (panel.IsLogarithmic && y <= 0))
                {
                    before = null;
                    continue;
                }
                var share = panel.IsLogarithmic ? Math.Log(y / bottom) / Math.Log(top / bottom) : (y - bottom) / (top - bottom);
                var point = (Scaled((x - left) / (right - left), canvas.Width), Scaled(share, canvas.Height));
                canvas.Line(before ?? point, point, curve.Identity);
                before = point;
            }
        }
        return canvas;
    }

    private static int Scaled(double share, int points) => (int)Math.Round(Math.Clamp(share, 0, 1) * (points - 1));

    private static IReadOnlyList<(string, int)> Plain(string text) => [(text.TrimEnd(), -1)];

    private static string Label(double value) =>
        Labels.Tick(double.Parse(value.ToString("g3", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture));
}
