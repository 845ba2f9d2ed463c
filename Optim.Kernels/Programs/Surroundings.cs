namespace Optim.Kernels;

/// <summary>How an average moves in a step.</summary>
internal enum AverageMove : byte
{
    /// <summary>Not at all.</summary>
    None,

    /// <summary>From where it is: for weights up to a half.</summary>
    FromOld,

    /// <summary>From the new value: for weights above a half.</summary>
    FromNew,

    /// <summary>It becomes the new value, bit for bit: for a weight of 1.</summary>
    Copy,
}

/// <summary>
/// What surrounds a step in the same visits of memory, as a program around a program: the gradient is unscaled, clipped and clamped
/// before (the prologue), averages of the parameter move and the gradient becomes zero after (the epilogue). The same operations in the
/// same order as passes of their own, rounded as if each had been stored, so the same bits. Numbers are no part of it.
/// </summary>
/// <param name="Unscales">Whether gradients are multiplied, to undo a loss scale.</param>
/// <param name="Clips">Whether they are multiplied then, to clip their norm.</param>
/// <param name="Clamps">Whether each is clamped to a magnitude then.</param>
/// <param name="Zeroes">Whether gradients become zero.</param>
/// <param name="Accumulates">Whether gradients are added to a sum first, and the sum divided by the number of calls.</param>
/// <param name="Averages">How many averages there are: arrays after the columns.</param>
/// <param name="Moves">How each of them moves, in two bits.</param>
internal readonly record struct Surroundings(
    bool Unscales,
    bool Clips,
    bool Clamps,
    bool Zeroes,
    bool Accumulates = false,
    int Averages = 0,
    ulong Moves = 0
)
{
    /// <summary>Averages that may go along with a step.</summary>
    public const int MostAverages = 32;

    /// <summary>The numbers of the prologue.</summary>
    public const string Unscale = "unscale",
        Clip = "clip",
        Limit = "limit",
        Calls = "calls";

    /// <summary>Where each number stands among those that are given: those of the prologue, and then the weights of the averages.</summary>
    public const int UnscaleAt = 0,
        ClipAt = 1,
        LimitAt = 2,
        CallsAt = 3,
        WeightsAt = 4;

    private const string WeightName = "weight";

    /// <summary>Whether there is nothing to do.</summary>
    public bool IsNothing => !(ChangesGradients || HasEpilogue);

    /// <summary>Whether a step takes other gradients than those that are given.</summary>
    public bool ChangesGradients => Accumulates || Unscales || Clips || Clamps;

    /// <summary>Whether something happens after the step.</summary>
    public bool HasEpilogue => Zeroes || Moves != 0;

    /// <summary>The part before the step.</summary>
    public Surroundings Prologue => new(Unscales, Clips, Clamps, false, Accumulates);

    /// <summary>How an average moves towards a parameter of which it takes so much, in [0, 1].</summary>
    public static AverageMove MoveOf(double weight) =>
        weight == 1 ? AverageMove.Copy
        : AverageFormula.Switches(weight) != 0 ? AverageMove.FromNew
        : AverageMove.FromOld;

    /// <summary>With one more average.</summary>
    public Surroundings With(AverageMove move) => this with { Averages = Averages + 1, Moves = Moves | (ulong)move << (2 * Averages) };

    /// <summary>The name of an array of averages; no column of a rule is called so.</summary>
    public static string AverageName(int index) => FormattableString.Invariant($"param.average{index}");

    /// <summary>The name of an average's weight.</summary>
    public static string WeightOf(int index) => FormattableString.Invariant($"{WeightName}{index}");

    /// <summary>Where a number of this name stands among those that are given; -1 for a number of the step itself.</summary>
    public static int PlaceOf(string name) =>
        name switch
        {
            Unscale => UnscaleAt,
            Clip => ClipAt,
            Limit => LimitAt,
            Calls => CallsAt,
            _ => name.StartsWith(WeightName, StringComparison.Ordinal) && int.TryParse(name.AsSpan(WeightName.Length), out var index)
                ? WeightsAt + index
                : -1,
        };

    /// <summary>What there is: <c>unscale, clip, 2 averages</c>.</summary>
    // A record would print its prologue, which has one, too, without end.
    public override string ToString()
    {
        (bool Is, string Word)[] parts =
        [
            (Accumulates, "accumulate"),
            (Unscales, "unscale"),
            (Clips, "clip"),
            (Clamps, "clamp"),
            (Moves != 0, FormattableString.Invariant($"{Averages} averages")),
            (Zeroes, "zero"),
        ];
        return IsNothing ? "nothing" : string.Join(", ", parts.Where(part => part.Is).Select(part => part.Word));
    }

    /// <summary>A step with its surroundings.</summary>
    public StepProgram Around(StepProgram step)
    {
        var (assignments, kept) = ChangesGradients ? step.Replacing(StepProgram.Gradient, Changed) : step.Replacing("", Changed);
        var parameter = assignments.Find(assignment => assignment.Array == StepProgram.Parameter)?.Value;
        return Around(new(step.Arrays), assignments, kept, parameter);
    }

    /// <summary>
    /// The prologue alone, as a program: the first array becomes what a step takes for the second, the gradient. The third is what
    /// gradients were added up to, where they are.
    /// </summary>
    public StepProgram Before() =>
        new(
            Accumulates
                ? [StepProgram.Parameter, StepProgram.Gradient, StepProgram.GradientSum]
                : [StepProgram.Parameter, StepProgram.Gradient],
            [new Assignment(StepProgram.Parameter, Changed)]
        );

    /// <summary>The epilogue alone, over the arrays of a step that was made.</summary>
    /// <param name="columns">How many columns lie between gradient and averages.</param>
    public StepProgram After(int columns)
    {
        var arrays = new List<string> { StepProgram.Parameter, StepProgram.Gradient };
        for (var i = 0; i < columns; i++)
            arrays.Add(FormattableString.Invariant($"column{i}"));
        return Around(arrays, [], [], null);
    }

    /// <summary>The gradient that the step takes.</summary>
    private Expression Changed
    {
        get
        {
            var gradient = Expression.Input(StepProgram.Gradient);
            if (Accumulates)
                gradient = Expression.Rounded(Expression.Rounded(Expression.Input(StepProgram.GradientSum) + gradient) / Given(Calls));
            if (Unscales)
                gradient = Expression.Rounded(gradient * Given(Unscale));
            if (Clips)
                gradient = Expression.Rounded(gradient * Given(Clip));
            if (!Clamps)
                return gradient;
            var (upper, lower) = (Given(Limit), -Given(Limit));
            return Expression.Rounded(Expression.Select(gradient > upper, upper, Expression.Select(lower > gradient, lower, gradient)));
        }
    }

    private StepProgram Around(List<string> arrays, List<Assignment> assignments, List<KeptNumber> kept, Expression? parameter)
    {
        var value = Expression.Rounded(parameter ?? Expression.Input(StepProgram.Parameter));
        for (var i = 0; i < Averages; i++)
        {
            arrays.Add(AverageName(i));
            var (average, weight) = (Expression.Input(AverageName(i)), Given(WeightOf(i)));
            var moved = (AverageMove)(Moves >> (2 * i) & 3) switch
            {
                AverageMove.FromOld => Expression.Fma(weight, value - average, average),
                AverageMove.FromNew => Expression.Fma(1 - weight, average - value, value),
                AverageMove.Copy => value,
                _ => null,
            };
            if (moved is not null)
                assignments.Add(new(AverageName(i), moved));
        }
        if (Zeroes)
            assignments.Add(new(StepProgram.Gradient, Expression.Of(0)));
        return new(arrays, assignments, kept);
    }

    private static Expression Given(string name) => Expression.Named(Operation.Given, name);
}
