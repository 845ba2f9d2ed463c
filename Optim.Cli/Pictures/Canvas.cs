namespace Optim.Cli.Pictures;

/// <summary>Characters with points of curves in them: 2 x 4 in each with Braille, otherwise one, which is the curve's letter.</summary>
/// <param name="columns">Characters across.</param>
/// <param name="rows">Characters up.</param>
/// <param name="braille">With Braille.</param>
internal sealed class Canvas(int columns, int rows, bool braille)
{
    private const char EmptyBraille = '⠀';

    private readonly (char Character, int Curve)[,] cells = new (char, int)[rows, columns];

    /// <summary>Points across.</summary>
    public int Width => columns * (braille ? 2 : 1);

    /// <summary>Points up.</summary>
    public int Height => rows * (braille ? 4 : 1);

    /// <summary>A straight line between two points, both included; y counts from the bottom.</summary>
    public void Line((int X, int Y) from, (int X, int Y) to, int curve)
    {
        var steps = Math.Max(Math.Max(Math.Abs(to.X - from.X), Math.Abs(to.Y - from.Y)), 1);
        for (var step = 0; step <= steps; step++)
            Point(Between(from.X, to.X, step, steps), Between(from.Y, to.Y, step, steps), curve);
    }

    /// <summary>A line of characters from the top, in pieces of one curve each; -1 for none.</summary>
    public IEnumerable<(string Text, int Curve)> Row(int row)
    {
        for (var start = 0; start < columns; )
        {
            var curve = CurveAt(row, start);
            var end = start + 1;
            while (end < columns && CurveAt(row, end) == curve)
                end++;
            yield return (string.Concat(Enumerable.Range(start, end - start).Select(column => CharacterAt(row, column))), curve);
            start = end;
        }
    }

    private int CurveAt(int row, int column) => cells[row, column].Character == 0 ? -1 : cells[row, column].Curve;

    private char CharacterAt(int row, int column) => cells[row, column].Character is var c and not '\0' ? c : ' ';

    private void Point(int x, int y, int curve)
    {
        y = Height - 1 - y;
        ref var cell = ref braille ? ref cells[y / 4, x / 2] : ref cells[y, x];
        if (braille)
        {
            var bit = (y % 4, x % 2) switch
            {
                (3, var right) => 0x40 << right,
                (var down, var right) => 1 << (down + 3 * right),
            };
            cell.Character = (char)((cell.Character == 0 ? EmptyBraille : cell.Character) | bit);
        }
        else
            cell.Character = TerminalChart.Letter(curve);
        cell.Curve = curve;
    }

    private static int Between(int from, int to, int step, int steps) => from + (int)Math.Round((to - from) * (double)step / steps);
}
