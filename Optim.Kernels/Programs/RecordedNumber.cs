namespace Optim.Kernels;

/// <summary>The number that notes what is done to it: how a rule's coefficients depend on its options and the step.</summary>
internal readonly struct RecordedNumber(Expression expression) : IScalar<RecordedNumber>
{
    private readonly Expression? expression = expression;

    /// <summary>What was noted; a number that was never set is 0.</summary>
    public Expression Expression => expression ?? Expression.Of(0);

    public static RecordedNumber Of(double value) => new(Expression.Of(value));

    public static RecordedNumber operator +(RecordedNumber left, RecordedNumber right) => new(left.Expression + right.Expression);

    public static RecordedNumber operator -(RecordedNumber left, RecordedNumber right) => new(left.Expression - right.Expression);

    public static RecordedNumber operator *(RecordedNumber left, RecordedNumber right) => new(left.Expression * right.Expression);

    public static RecordedNumber operator /(RecordedNumber left, RecordedNumber right) => new(left.Expression / right.Expression);

    public static RecordedNumber operator -(RecordedNumber value) => new(-value.Expression);

    public static RecordedNumber Sqrt(RecordedNumber value) => new(Expression.Sqrt(value.Expression));

    public static RecordedNumber Exp(RecordedNumber value) => new(Expression.Exp(value.Expression));

    public static RecordedNumber Log(RecordedNumber value) => new(Expression.Log(value.Expression));

    public static RecordedNumber Cbrt(RecordedNumber value) => new(Expression.Cbrt(value.Expression));

    public static RecordedNumber Pow(RecordedNumber value, long exponent) => new(Expression.Pow(value.Expression, exponent));

    public static RecordedNumber Pow(RecordedNumber value, RecordedNumber exponent) =>
        new(Expression.Pow(value.Expression, exponent.Expression));

    /// <summary>
    /// What two recordings of steps with other counts have in common: constants that differ by a multiple of the steps between them are
    /// that multiple of the step, and a rest. What is built differently stays as the first has it.
    /// </summary>
    public static Expression Merge(Expression first, Expression second, double firstStep, double secondStep)
    {
        var known = new Dictionary<Expression, Expression>(ReferenceEqualityComparer.Instance);
        return Merge(first, second);

        Expression Merge(Expression a, Expression b)
        {
            if (known.TryGetValue(a, out var merged))
                return merged;
            known.Add(a, merged = Make(a, b));
            return merged;
        }

        Expression Make(Expression a, Expression b)
        {
            if (a.Operation != b.Operation || a.Operands.Length != b.Operands.Length)
                return a;
            if (a.Operation == Operation.Constant)
            {
                var slope = (b.Value - a.Value) / (secondStep - firstStep);
                if (slope == 0 || double.IsNaN(slope))
                    return a;
                var rest = a.Value - slope * firstStep;
                var steps = slope * Expression.StepCount;
                return rest > 0 ? steps + rest
                    : rest < 0 ? steps - -rest
                    : steps;
            }
            var operands = new Expression[a.Operands.Length];
            for (var i = 0; i < operands.Length; i++)
                operands[i] = Merge(a.Operands[i], b.Operands[i]);
            return new(a.Operation, a.Scope, operands, a.Value, a.Name);
        }
    }
}
