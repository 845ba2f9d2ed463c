// Long, because it is the language of definitions: an operator or a function in a few lines each.
using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>
/// A value of a rule's definition: a number of the step (made of options and the step count, worked out once a step in double), a
/// number of a tensor (a norm), or a value for each element, in the parameter's arithmetic, where every operation is rounded once.
/// Which of these it is follows from what it is made of. It is immutable, and nothing is computed when it is made.
/// <code>var direction = Expression.Sign(beta1 * momentum + (1 - beta1) * gradient);</code>
/// </summary>
[SuppressMessage("Usage", "CA2225", Justification = "the operators are what definitions are written in")]
public sealed class Expression
{
    private static readonly Expression zero = new(Operation.Constant, Scope.Step, [], 0);
    private readonly Expression[] operands;

    internal Expression(Operation operation, Scope scope, Expression[] operands, double value = 0, string name = "")
    {
        (Operation, Scope, Value, Name) = (operation, scope, value, name);
        this.operands = operands;
    }

    internal Operation Operation { get; }
    internal Scope Scope { get; }

    /// <summary>A constant, the place of an array, bits or how far they are moved.</summary>
    internal double Value { get; }

    /// <summary>The name of an option, a number or an array.</summary>
    internal string Name { get; }
    internal ReadOnlySpan<Expression> Operands => operands;

    /// <summary>A constant.</summary>
    public static Expression Of(double value) => new(Operation.Constant, Scope.Step, [], value);

    /// <summary>A constant.</summary>
    public static implicit operator Expression(double value) => Of(value);

    /// <summary>Sum.</summary>
    public static Expression operator +(Expression left, Expression right) => Combine(Operation.Add, left, right);

    /// <inheritdoc cref="op_Addition(Expression, Expression)"/>
    public static Expression operator +(double left, Expression right) => Of(left) + right;

    /// <inheritdoc cref="op_Addition(Expression, Expression)"/>
    public static Expression operator +(Expression left, double right) => left + Of(right);

    /// <summary>Difference.</summary>
    public static Expression operator -(Expression left, Expression right) => Combine(Operation.Subtract, left, right);

    /// <inheritdoc cref="op_Subtraction(Expression, Expression)"/>
    public static Expression operator -(double left, Expression right) => Of(left) - right;

    /// <inheritdoc cref="op_Subtraction(Expression, Expression)"/>
    public static Expression operator -(Expression left, double right) => left - Of(right);

    /// <summary>Product.</summary>
    public static Expression operator *(Expression left, Expression right) => Combine(Operation.Multiply, left, right);

    /// <inheritdoc cref="op_Multiply(Expression, Expression)"/>
    public static Expression operator *(double left, Expression right) => Of(left) * right;

    /// <inheritdoc cref="op_Multiply(Expression, Expression)"/>
    public static Expression operator *(Expression left, double right) => left * Of(right);

    /// <summary>Quotient.</summary>
    public static Expression operator /(Expression left, Expression right) => Combine(Operation.Divide, left, right);

    /// <inheritdoc cref="op_Division(Expression, Expression)"/>
    public static Expression operator /(double left, Expression right) => Of(left) / right;

    /// <inheritdoc cref="op_Division(Expression, Expression)"/>
    public static Expression operator /(Expression left, double right) => left / Of(right);

    /// <summary>The other sign.</summary>
    public static Expression operator -(Expression value) => Combine(Operation.Negate, value);

    /// <summary>Whether left is larger; false for NaN.</summary>
    public static Condition operator >(Expression left, Expression right) => Condition.Masked(Combine(Operation.Greater, left, right));

    /// <summary>Whether left is smaller; false for NaN.</summary>
    public static Condition operator <(Expression left, Expression right) => Condition.Masked(Combine(Operation.Greater, right, left));

    /// <summary>Whether left is larger or equal; false for NaN.</summary>
    public static Condition operator >=(Expression left, Expression right) => right <= left;

    /// <summary>Whether left is smaller or equal; false for NaN.</summary>
    public static Condition operator <=(Expression left, Expression right) =>
        !(left > right) & !Condition.IsNaN(left) & !Condition.IsNaN(right);

    /// <summary>The square root.</summary>
    public static Expression Sqrt(Expression value) => Combine(Operation.Sqrt, value);

    /// <summary>The absolute value.</summary>
    public static Expression Abs(Expression value) => Combine(Operation.Abs, value);

    /// <summary>1 for positive numbers, -1 for negative ones, 0 for zeros and NaN.</summary>
    public static Expression Sign(Expression value) => Combine(Operation.Sign, value);

    /// <summary>The larger one; NaN when either is.</summary>
    public static Expression Max(Expression a, Expression b) => Combine(Operation.Max, a, b);

    /// <summary>The smaller one; NaN when either is.</summary>
    public static Expression Min(Expression a, Expression b) => Combine(Operation.Min, a, b);

    /// <summary>a b + c, rounded once.</summary>
    public static Expression Fma(Expression a, Expression b, Expression c)
    {
        ArgumentNullException.ThrowIfNull(a);
        ArgumentNullException.ThrowIfNull(b);
        ArgumentNullException.ThrowIfNull(c);
        return Combine(Operation.Fma, [a, b, c]);
    }

    /// <summary>e to the power of a value: in double for numbers, within a few units of the last place for elements.</summary>
    public static Expression Exp(Expression value) => Combine(Operation.Exp, value);

    /// <summary>The natural logarithm: minus infinity of 0, NaN below; in double for numbers, within a few units of the last place for elements.</summary>
    public static Expression Log(Expression value) => Combine(Operation.Log, value);

    /// <summary>The cube root, of either sign: in double for numbers, within a few units of the last place for elements.</summary>
    public static Expression Cbrt(Expression value) => Combine(Operation.Cbrt, value);

    /// <summary>
    /// A power: in double for numbers of the step and of tensors. Of tensors and elements 1, 2, 3, 4, 1/4, 1/2, 3/4 and 3/2 are made of products and
    /// roots; of elements any other one is exp(exponent log(value)), for elements that are not negative, as exact as the last place of that product is.
    /// </summary>
    public static Expression Pow(Expression value, Expression exponent)
    {
        ArgumentNullException.ThrowIfNull(value);
        ArgumentNullException.ThrowIfNull(exponent);
        if (value.Scope < Scope.Tensor && exponent.Scope < Scope.Tensor)
            return Combine(Operation.Power, value, exponent);
        return (exponent.Operation == Operation.Constant ? exponent.Value : double.NaN) switch
        {
            1 => value,
            2 => value * value,
            3 => value * value * value,
            4 => value * value * (value * value),
            0.25 or 0.5 or 0.75 or 1.5 => Pow(Sqrt(value), 2 * exponent.Value),
            _ => Combine(Operation.Power, value, exponent),
        };
    }

    /// <inheritdoc cref="Pow(Expression, Expression)"/>
    public static Expression Pow(Expression value, double exponent) => Pow(value, Of(exponent));

    /// <summary>The largest whole number that is not above a number of the step or of a tensor.</summary>
    /// <exception cref="ArgumentException">It is of elements.</exception>
    public static Expression Floor(Expression value) => OfNumbers(Operation.Floor, value, nameof(Floor));

    /// <summary>One of two, element by element where the condition or they are of elements.</summary>
    public static Expression Select(Condition condition, Expression yes, Expression no)
    {
        ArgumentNullException.ThrowIfNull(condition);
        ArgumentNullException.ThrowIfNull(yes);
        ArgumentNullException.ThrowIfNull(no);
        return condition.Select(yes, no);
    }

    /// <summary>The sum of a tensor's elements, in double.</summary>
    public static Expression Sum(Expression elements) => Reduce(Operation.Sum, elements, Scope.Tensor);

    /// <summary>The mean of a tensor's elements, in double.</summary>
    public static Expression Mean(Expression elements) => Sum(elements) / ElementCount;

    /// <summary>The Euclidean norm of a tensor, in double.</summary>
    public static Expression Norm(Expression elements) => Sqrt(Reduce(Operation.SumOfSquares, elements, Scope.Tensor));

    /// <summary>The largest magnitude of a tensor's elements; NaN where there is one.</summary>
    public static Expression Largest(Expression elements) => Reduce(Operation.LargestMagnitude, elements, Scope.Tensor);

    /// <summary>The sum over the elements of all parameters that step together, which are those of a group.</summary>
    public static Expression SumOverAll(Expression elements) => Reduce(Operation.Sum, elements, Scope.AllTensors);

    /// <summary>The Euclidean norm of all parameters that step together, which are those of a group, as of one vector.</summary>
    public static Expression NormOverAll(Expression elements) => Sqrt(Reduce(Operation.SumOfSquares, elements, Scope.AllTensors));

    /// <summary>The largest magnitude in all parameters that step together, which are those of a group.</summary>
    public static Expression LargestOverAll(Expression elements) => Reduce(Operation.LargestMagnitude, elements, Scope.AllTensors);

    /// <summary>How many elements the tensor has.</summary>
    internal static Expression ElementCount { get; } = new(Operation.ElementCount, Scope.Tensor, []);

    /// <summary>The product of the lengths of the tensor's first dimensions.</summary>
    internal static Expression LeadingCount(int dimensions) => new(Operation.LeadingCount, Scope.Tensor, [], dimensions);

    /// <summary>A reduction over all that programs of several kinds of parameters share, by its name.</summary>
    internal static Expression Shared(Operation operation, Expression elements, string name) =>
        new(operation, Scope.AllTensors, [OfElements(elements)], 1, name);

    /// <summary>What is made of many elements, in each of them.</summary>
    internal static Expression Spread(Operation operation, int dimensions, params Expression[] operands) =>
        new(operation, Scope.Element, operation.IsSum() ? [OfElements(operands[0])] : operands, dimensions);

    /// <summary>The imaginary error function of a number.</summary>
    internal static Expression Erfi(Expression value) => OfNumbers(Operation.Erfi, value, nameof(Erfi));

    /// <summary>The formula, in one line.</summary>
    public override string ToString() => ProgramText.Of(this);

    /// <summary>An array's element.</summary>
    internal static Expression Input(string array) => new(Operation.Input, Scope.Element, [], name: array);

    /// <summary>The only element of an array, as a number of the tensor.</summary>
    internal static Expression TensorNumber(string array) => new(Operation.TensorNumber, Scope.Tensor, [], name: array);

    /// <summary>A number of the step, by its name.</summary>
    internal static Expression Named(Operation operation, string name) => new(operation, Scope.Step, [], name: name);

    /// <summary>The step, counted from 1.</summary>
    internal static Expression StepCount { get; } = new(Operation.StepCount, Scope.Step, []);

    /// <summary>What a load would find after a store to the parameter.</summary>
    internal static Expression Rounded(Expression value) => InElements(Operation.Rounded, value);

    /// <summary>A number of the step in every element, rounded to their type.</summary>
    internal static Expression OfNumber(Expression number) => number.InElements();

    // Errors name the operand that is missing as the caller does.
    private static Expression Combine(Operation operation, Expression a, [CallerArgumentExpression(nameof(a))] string nameOfA = "")
    {
        ArgumentNullException.ThrowIfNull(a, nameOfA);
        return Combine(operation, [a]);
    }

    internal static Expression Combine(
        Operation operation,
        Expression a,
        Expression b,
        [CallerArgumentExpression(nameof(a))] string nameOfA = "",
        [CallerArgumentExpression(nameof(b))] string nameOfB = ""
    )
    {
        ArgumentNullException.ThrowIfNull(a, nameOfA);
        ArgumentNullException.ThrowIfNull(b, nameOfB);
        return Combine(operation, [a, b]);
    }

    /// <summary>An operation of which the result is of the widest scope among its operands.</summary>
    internal static Expression Combine(Operation operation, Expression[] operands)
    {
        var scope = Scope.Step;
        foreach (var operand in operands)
            scope = operand.Scope > scope ? operand.Scope : scope;
        return scope == Scope.Element ? InElements(operation, operands) : Simplified(operation, scope, operands);
    }

    /// <summary>An operation on elements; numbers among the operands are rounded to their type first.</summary>
    internal static Expression InElements(Operation operation, params Expression[] operands)
    {
        for (var i = 0; i < operands.Length; i++)
            operands[i] = operands[i].InElements();
        return Simplified(operation, Scope.Element, operands);
    }

    // A mask of the step is the number 1 or 0 there.
    private Expression InElements() =>
        Scope == Scope.Element || Operation == Operation.Constant ? this
        : Operation.IsMask() ? InElements(Operation.Greater, new Expression(Operation.Number, Scope.Element, [this]), zero)
        : new(Operation.Number, Scope.Element, [this]);

    private static Expression Reduce(Operation operation, Expression elements, Scope scope) =>
        new(operation, scope, [OfElements(elements)], scope == Scope.AllTensors ? 1 : 0);

    private static Expression OfElements(Expression elements)
    {
        ArgumentNullException.ThrowIfNull(elements);
        return elements.Scope == Scope.Element
            ? elements
            : throw new ArgumentException($"{ProgramText.Of(elements)} is one number, and a reduction is of elements", nameof(elements));
    }

    private static Expression OfNumbers(Operation operation, Expression value, string name)
    {
        ArgumentNullException.ThrowIfNull(value);
        return value.Scope < Scope.Element
            ? Combine(operation, [value])
            : throw new ArgumentException(
                $"{ProgramText.Of(value)} is of elements, and {name} is of numbers of the step or of a tensor",
                nameof(value)
            );
    }

    /// <summary>Left out is only what changes no bit of any number: x 1, x / 1, x - 0, -(-x), a choice between equals.</summary>
    private static Expression Simplified(Operation operation, Scope scope, Expression[] operands)
    {
        var (a, b) = (operands[0], operands.Length > 1 ? operands[1] : zero);
        switch (operation)
        {
            case Operation.Multiply when b.IsConstant(1):
            case Operation.Divide when b.IsConstant(1):
            case Operation.Subtract when b.IsConstant(0):
                return a;
            case Operation.Multiply when a.IsConstant(1):
                return b;
            case Operation.Negate when a.Operation == Operation.Negate:
                return a.Operands[0];
            case Operation.Negate when a.Operation == Operation.Constant:
                return Of(-a.Value);
            case Operation.Abs when a.Operation == Operation.Constant:
                return Of(Math.Abs(a.Value));
            case Operation.Select when ReferenceEquals(b, operands[2]):
                return b;
            default:
                return new(operation, scope, operands);
        }
    }

    private bool IsConstant(double value) =>
        Operation == Operation.Constant && Value.Equals(value) && double.IsNegative(Value) == double.IsNegative(value);
}

/// <summary>A question about numbers or elements, for <see cref="Expression.Select"/>.</summary>
public sealed class Condition
{
    private readonly Func<Expression, Expression, Expression> select;

    private Condition(Func<Expression, Expression, Expression> select) => this.select = select;

    /// <summary>Whether a is larger than b; false for NaN.</summary>
    public static Condition Greater(Expression a, Expression b) => Masked(Expression.Combine(Operation.Greater, a, b));

    /// <summary>Whether a value is NaN.</summary>
    public static Condition IsNaN(Expression value)
    {
        ArgumentNullException.ThrowIfNull(value);
        return Masked(Expression.Combine(Operation.IsNaN, [value]));
    }

    /// <summary>Both.</summary>
    public static Condition operator &(Condition left, Condition right)
    {
        ArgumentNullException.ThrowIfNull(left);
        ArgumentNullException.ThrowIfNull(right);
        return new((yes, no) => left.Select(right.Select(yes, no), no));
    }

    /// <summary>Either.</summary>
    public static Condition operator |(Condition left, Condition right)
    {
        ArgumentNullException.ThrowIfNull(left);
        ArgumentNullException.ThrowIfNull(right);
        return new((yes, no) => left.Select(yes, right.Select(yes, no)));
    }

    /// <summary>The opposite.</summary>
    public static Condition operator !(Condition condition)
    {
        ArgumentNullException.ThrowIfNull(condition);
        return new((yes, no) => condition.Select(no, yes));
    }

    internal Expression Select(Expression yes, Expression no) => select(yes, no);

    internal static Condition Masked(Expression mask) => new((yes, no) => Expression.Combine(Operation.Select, [mask, yes, no]));
}
