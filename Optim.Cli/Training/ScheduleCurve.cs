using Optim.Core;

namespace Optim.Cli.Training;

/// <summary>The values of a schedule, step by step, on an optimizer that does nothing.</summary>
/// <param name="Name">What it is called.</param>
/// <param name="Rates">The rate that each step uses.</param>
/// <param name="Momenta">The momentum that each step uses.</param>
public sealed record ScheduleCurve(string Name, IReadOnlyList<double> Rates, IReadOnlyList<double> Momenta)
{
    private const double Momentum = 0.9;

    /// <summary>Works them out, on SGD with momentum 0.9. A schedule that goes by a metric sees one that never gets better.</summary>
    /// <param name="name">What it is called.</param>
    /// <param name="schedule">The schedule.</param>
    /// <param name="lr">The rate that it starts from.</param>
    /// <param name="steps">How many steps.</param>
    /// <exception cref="OptionException">The schedule refuses its settings.</exception>
    public static ScheduleCurve Of(string name, Scheduling schedule, double lr, int steps)
    {
        using var parameter = Param.Zeros("w", Kernels.DType.Float32, 1);
        var optimizer = new RuleOptimizer(Rules.Find("SGD"), [parameter], ("lr", lr), ("momentum", Momentum));
        var scheduler = schedule.Create(optimizer, steps);
        var (rates, momenta) = (new double[steps], new double[steps]);
        for (var step = 0; step < steps; step++)
        {
            rates[step] = (double)optimizer.ParamGroups[0]["lr"];
            momenta[step] = (double)optimizer.ParamGroups[0]["momentum"];
            optimizer.Step();
            if (schedule.NeedsMetric)
                scheduler.Step(1.0);
            else
                scheduler.Step();
        }
        return new ScheduleCurve(name, rates, momenta);
    }

    /// <summary>Whether it moves the momentum, too.</summary>
    public bool MovesMomentum => Momenta.Any(momentum => momentum != Momentum);
}
