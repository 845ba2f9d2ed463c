namespace Optim.Kernels;

/// <summary>
/// What surrounds a step in the same visits of memory, as a program around a program: the gradient is unscaled, clipped and clamped
/// before, an average of the parameter moves and the gradient becomes zero after. The same operations in the same order as passes of
/// their own, rounded as if each had been stored, so the same bits.
/// </summary>
/// <param name="Unscales">Whether gradients are multiplied, to undo a loss scale.</param>
/// <param name="Clips">Whether they are multiplied then, to clip their norm.</param>
/// <param name="Clamps">Whether each is clamped to a magnitude then.</param>
/// <param name="Averages">Whether averages move, an array after the columns.</param>
/// <param name="FromNew">Whether they move from the new value: for weights above a half.</param>
/// <param name="Zeroes">Whether gradients become zero.</param>
internal readonly record struct Surroundings(bool Unscales, bool Clips, bool Clamps, bool Averages, bool FromNew, bool Zeroes)
{
    /// <summary>The array of averages; no column of a rule is called so.</summary>
    public const string Average = "param.average";

    /// <summary>The numbers that are given: by what gradients are multiplied, to what they are clamped, the new value's weight in an average.</summary>
    public const string Unscale = "unscale",
        Clip = "clip",
        Limit = "limit",
        Weight = "weight";

    /// <summary>A step with its surroundings.</summary>
    public StepProgram Around(StepProgram step)
    {
        var gradient = Expression.Input(StepProgram.Gradient);
        if (Unscales)
            gradient = Expression.Rounded(gradient * Given(Unscale));
        if (Clips)
            gradient = Expression.Rounded(gradient * Given(Clip));
        if (Clamps)
        {
            var (upper, lower) = (Given(Limit), -Given(Limit));
            gradient = Expression.Rounded(Expression.Select(gradient > upper, upper, Expression.Select(lower > gradient, lower, gradient)));
        }
        var (assignments, kept) = step.Replacing(StepProgram.Gradient, gradient);
        if (Averages)
        {
            var parameter = assignments.Find(assignment => assignment.Array == StepProgram.Parameter).Value;
            var (value, average) = (Expression.Rounded(parameter ?? Expression.Input(StepProgram.Parameter)), Expression.Input(Average));
            var weight = Given(Weight);
            assignments.Add(
                new(
                    Average,
                    FromNew ? Expression.Fma(1 - weight, average - value, value) : Expression.Fma(weight, value - average, average)
                )
            );
        }
        if (Zeroes)
            assignments.Add(new(StepProgram.Gradient, Expression.Of(0)));
        return new([.. step.Arrays, Average], assignments, kept);
    }

    private static Expression Given(string name) => Expression.Named(Operation.Given, name);
}
