namespace Optim.Cli.Pictures;

/// <summary>A curve: its points from left to right; a y that is not finite is a gap.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Points">Its points.</param>
/// <param name="Identity">Curves of the same number, from 0, look alike in all panels and stand once in the legend.</param>
public sealed record Curve(string Name, IReadOnlyList<(double X, double Y)> Points, int Identity);

/// <summary>Axes with curves between them.</summary>
/// <param name="Quantity">What is on the vertical axis, with its unit.</param>
/// <param name="Curves">The curves.</param>
/// <param name="MayBeLogarithmic">The vertical axis may be logarithmic where the values span several powers of ten.</param>
/// <param name="Range">The least range of the vertical axis; null: as the values are.</param>
public sealed record Panel(
    string Quantity,
    IReadOnlyList<Curve> Curves,
    bool MayBeLogarithmic = false,
    (double Least, double Most)? Range = null
)
{
    private const double ManyTimes = 20;

    /// <summary>Whether no curve goes up or down.</summary>
    public bool IsFlat => Curves.All(curve => curve.Points.Select(point => point.Y).Where(double.IsFinite).Distinct().Take(2).Count() < 2);

    private IEnumerable<double> Values => Curves.SelectMany(curve => curve.Points, (_, point) => point.Y).Where(double.IsFinite);

    /// <summary>Whether its vertical axis is logarithmic.</summary>
    public bool IsLogarithmic => MayBeLogarithmic && Values.Any() && Values.Min() > 0 && Values.Max() / Values.Min() >= ManyTimes;

    /// <summary>What its vertical axis spans, never empty.</summary>
    public (double Least, double Most) Span
    {
        get
        {
            var (least, most) = Range ?? (double.PositiveInfinity, double.NegativeInfinity);
            foreach (var value in Values)
                (least, most) = (Math.Min(least, value), Math.Max(most, value));
            if (!(least <= most))
                return (0, 1); // no value
            var room =
                most > least ? 0
                : most == 0 ? 1
                : Math.Abs(most) / 10; // for a constant
            return (least - room, most + room);
        }
    }
}

/// <summary>Panels under each other over the same horizontal axis.</summary>
/// <param name="Title">What is to be seen.</param>
/// <param name="Across">What is on the horizontal axis.</param>
/// <param name="Panels">From top to bottom.</param>
public sealed record Picture(string Title, string Across, IReadOnlyList<Panel> Panels)
{
    /// <summary>What the horizontal axis spans, never empty.</summary>
    public (double Least, double Most) Span
    {
        get
        {
            var all = Panels.SelectMany(panel => panel.Curves).SelectMany(curve => curve.Points, (_, point) => point.X).DefaultIfEmpty();
            var (least, most) = (all.Min(), all.Max());
            return most > least ? (least, most) : (least - 1, most + 1);
        }
    }

    /// <summary>The panels in which something happens; all with curves if there are none such.</summary>
    public IReadOnlyList<Panel> Telling
    {
        get
        {
            var drawn = Panels.Where(panel => panel.Curves.Count > 0).ToList();
            var telling = drawn.Where(panel => !panel.IsFlat).ToList();
            return telling.Count > 0 ? telling : drawn;
        }
    }

    /// <summary>One curve of each kind, for the legend.</summary>
    public IEnumerable<Curve> Legend =>
        Panels.SelectMany(panel => panel.Curves).DistinctBy(curve => curve.Identity).OrderBy(curve => curve.Identity);
}
