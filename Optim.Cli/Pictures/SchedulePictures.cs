using Optim.Cli.Training;

namespace Optim.Cli.Pictures;

/// <summary>Pictures of schedules.</summary>
public static class SchedulePictures
{
    /// <summary>The rates of each step, and the momenta if a schedule moves them.</summary>
    public static Picture Of(IReadOnlyList<ScheduleCurve> curves)
    {
        var panels = new List<Panel>
        {
            new("learning rate", [.. curves.Select((curve, i) => Line(curve.Name, curve.Rates, i))], Range: (0, 0)),
        };
        if (curves.Any(curve => curve.MovesMomentum))
            panels.Add(
                new Panel(
                    "momentum",
                    [
                        .. curves
                            .Select((curve, i) => (curve, i))
                            .Where(each => each.curve.MovesMomentum)
                            .Select(each => Line(each.curve.Name, each.curve.Momenta, each.i)),
                    ]
                )
            );
        return new Picture(curves.Count == 1 ? curves[0].Name : $"{curves.Count} schedules", "step", panels);
    }

    private static Curve Line(string name, IReadOnlyList<double> values, int number) =>
        new(name, [.. values.Select((value, step) => ((double)step, value))], number);
}
