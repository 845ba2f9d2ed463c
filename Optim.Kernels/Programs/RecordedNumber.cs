namespace Optim.Kernels;

/// <summary>The number that notes what is done to it: how a rule's coefficients depend on its options and the step.</summary>
internal readonly struct RecordedNumber(Expression expression) : IScalar<RecordedNumber>, ILane<RecordedNumber>
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

    public static RecordedNumber Fma(RecordedNumber a, RecordedNumber b, RecordedNumber c) =>
        new(Expression.Fma(a.Expression, b.Expression, c.Expression));

    public static RecordedNumber Abs(RecordedNumber value) => new(Expression.Abs(value.Expression));

    public static RecordedNumber Max(RecordedNumber a, RecordedNumber b) => new(Expression.Max(a.Expression, b.Expression));

    public static RecordedNumber Min(RecordedNumber a, RecordedNumber b) => new(Expression.Min(a.Expression, b.Expression));

    public static RecordedNumber Greater(RecordedNumber a, RecordedNumber b) =>
        new(Expression.Combine(Operation.Greater, a.Expression, b.Expression));

    public static RecordedNumber IsNaN(RecordedNumber value) => new(Expression.Combine(Operation.IsNaN, [value.Expression]));

    public static RecordedNumber Select(RecordedNumber mask, RecordedNumber yes, RecordedNumber no) =>
        new(Expression.Combine(Operation.Select, [mask.Expression, yes.Expression, no.Expression]));
}
