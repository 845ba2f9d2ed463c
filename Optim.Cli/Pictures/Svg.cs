using OxyPlot;
using OxyPlot.Axes;
using OxyPlot.Legends;
using OxyPlot.Series;

namespace Optim.Cli.Pictures;

/// <summary>Pictures as SVG, with texts as texts.</summary>
public static class Svg
{
    private const double Width = 900;
    private const double PanelHeight = 250;
    private const double Around = 110; // title, and labels of the horizontal axis
    private const double Gap = 0.09; // between panels, as a share of a panel
    private const int LongestTitle = 75; // letters that the width has room for
    private const double LegendLine = 18;

    // Told apart with any kind of sight (Okabe and Ito, 2008, without the yellow, which is pale on white).
    private static readonly OxyColor[] colors =
    [
        OxyColor.Parse("#0072B2"),
        OxyColor.Parse("#D55E00"),
        OxyColor.Parse("#009E73"),
        OxyColor.Parse("#CC79A7"),
        OxyColor.Parse("#000000"),
        OxyColor.Parse("#E69F00"),
        OxyColor.Parse("#56B4E9"),
    ];

    private static readonly LineStyle[] styles = [LineStyle.Solid, LineStyle.Dash, LineStyle.Dot];

    /// <summary>The picture as an SVG document.</summary>
    public static string Of(Picture picture)
    {
        var legend = picture.Legend.ToList();
        var legendHeight = legend.Count > 1 ? LegendLine * (legend.Count + 1) + 10 : 0;
        var model = new PlotModel
        {
            Title = Short(picture.Title),
            TitleFontSize = 17,
            DefaultFont = "Helvetica, Arial, 'DejaVu Sans', sans-serif",
            DefaultFontSize = 13,
            Background = OxyColors.White,
            PlotAreaBorderThickness = new OxyThickness(0),
            Padding = new OxyThickness(16, 14, 28, legend.Count > 1 ? 12 + LegendLine : 12),
            IsLegendVisible = legend.Count > 1,
        };
        model.Legends.Add(
            new Legend
            {
                LegendPlacement = LegendPlacement.Outside,
                LegendPosition = LegendPosition.BottomLeft,
                LegendOrientation = LegendOrientation.Vertical,
                LegendSymbolLength = 34,
                LegendLineSpacing = 4,
                LegendMargin = 10,
                AllowUseFullExtent = true,
            }
        );
        model.Axes.Add(Across(picture));
        var count = picture.Panels.Count;
        for (var i = 0; i < count; i++)
            Add(model, picture.Panels[i], i, (count - 1.0 - i) / count, (count - i - (i == 0 ? 0 : Gap)) / count);
        foreach (var curve in legend)
            model.Series.Add(Line(curve.Identity, curve.Name, [], null)); // in the order of the legend, which shows those with a title
        var height = Around + PanelHeight * count + legendHeight;
        var document = new SvgExporter
        {
            Width = Width,
            Height = height,
            IsDocument = true,
            UseVerticalTextAlignmentWorkaround = true, // not all programs know dominant-baseline
            TextMeasurer = new Measurer(),
        }
            .ExportToString(model)
            .ReplaceLineEndings("\n");
        // With a view box it can be shown in any size; without one it is cut off at the lower and right edge where it is shown smaller.
        return document.Replace("<svg ", FormattableString.Invariant($"<svg viewBox=\"0 0 {Width} {height}\" "), StringComparison.Ordinal);
    }

    private static string Short(string title) => title.Length <= LongestTitle ? title : $"{title[..(LongestTitle - 1)]}…";

    private static void Add(PlotModel model, Panel panel, int number, double bottom, double top)
    {
        var key = FormattableString.Invariant($"panel {number}");
        model.Axes.Add(Up(panel, key, bottom, top));
        foreach (var curve in panel.Curves)
            model.Series.Add(Line(curve.Identity, null, Drawable(curve, panel.IsLogarithmic), key));
    }

    private static LinearAxis Across(Picture picture)
    {
        var (first, last) = picture.Span;
        return Styled(
            new LinearAxis
            {
                Position = AxisPosition.Bottom,
                Title = picture.Across,
                Minimum = first,
                Maximum = last,
                MaximumPadding = 0.01,
                MinimumPadding = 0.01,
            }
        );
    }

    private static Axis Up(Panel panel, string key, double bottom, double top)
    {
        var (least, most) = panel.Span;
        var margin = (most - least) * 0.04;
        Axis axis = panel.IsLogarithmic
            ? new LogarithmicAxis { Minimum = least / 1.2, Maximum = most * 1.2 }
            : new LinearAxis { Minimum = least - margin, Maximum = most + margin };
        (axis.Position, axis.Key, axis.Title) = (AxisPosition.Left, key, panel.Quantity);
        (axis.StartPosition, axis.EndPosition) = (bottom, top);
        return Styled(axis);
    }

    private static T Styled<T>(T axis)
        where T : Axis
    {
        axis.MajorGridlineStyle = LineStyle.Solid;
        axis.MajorGridlineColor = OxyColor.FromRgb(0xE2, 0xE2, 0xE2);
        axis.AxislineStyle = LineStyle.Solid;
        axis.AxislineColor = axis.TicklineColor = OxyColors.Gray;
        axis.MinorTickSize = 0;
        axis.IntervalLength = 45; // pixels between labels, or more
        axis.AxisTitleDistance = 10;
        axis.LabelFormatter = Labels.Tick;
        return axis;
    }

    private static LineSeries Line(int identity, string? title, IEnumerable<DataPoint> points, string? axis)
    {
        var line = new LineSeries
        {
            Title = title,
            Color = colors[identity % colors.Length],
            LineStyle = styles[identity / colors.Length % styles.Length],
            StrokeThickness = 1.8,
            EdgeRenderingMode = EdgeRenderingMode.PreferGeometricAccuracy, // not moved to whole pixels
            YAxisKey = axis,
        };
        line.Points.AddRange(points);
        if (line.Points.Count > 2 * Width) // several fall on a pixel
            line.Decimator = Decimator.Decimate;
        if (line.Points.Count(point => point.IsDefined()) == 1)
            (line.MarkerType, line.MarkerSize, line.MarkerFill) = (MarkerType.Circle, 4, line.Color);
        return line;
    }

    /// <summary>Texts are taken as wider than OxyPlot thinks, as fonts are: labels do not meet, and nothing is clipped.</summary>
    private sealed class Measurer() : PdfRenderContext(Width, PanelHeight, OxyColors.White)
    {
        private const double WidestFont = 0.62; // of the usual ones: the mean width of its letters, in units of its size

        public override OxySize MeasureText(string text, string fontFamily, double fontSize, double fontWeight) =>
            new((text?.Length ?? 0) * fontSize * WidestFont, base.MeasureText(text, fontFamily, fontSize, fontWeight).Height);
    }

    private static IEnumerable<DataPoint> Drawable(Curve curve, bool isLogarithmic) =>
        curve.Points.Select(point =>
            double.IsFinite(point.Y) && (!isLogarithmic || point.Y > 0) ? new DataPoint(point.X, point.Y) : DataPoint.Undefined
        );
}
