using System.Collections.Immutable;

namespace Optim.Kernels;

// Arithmetic of elements.
public abstract partial class WholeTensor
{
    /// <summary>Sum.</summary>
    public static WholeTensor operator +(WholeTensor left, WholeTensor right) => Of(WholeOperation.Add, left, right);

    /// <summary>Sum.</summary>
    public static WholeTensor operator +(WholeTensor left, double right) => Of(WholeOperation.Add, left, Given(left).Number(right));

    /// <summary>Sum.</summary>
    public static WholeTensor operator +(double left, WholeTensor right) => Of(WholeOperation.Add, Given(right).Number(left), right);

    /// <summary>Difference.</summary>
    public static WholeTensor operator -(WholeTensor left, WholeTensor right) => Of(WholeOperation.Subtract, left, right);

    /// <summary>Difference.</summary>
    public static WholeTensor operator -(WholeTensor left, double right) => Of(WholeOperation.Subtract, left, Given(left).Number(right));

    /// <summary>Difference.</summary>
    public static WholeTensor operator -(double left, WholeTensor right) => Of(WholeOperation.Subtract, Given(right).Number(left), right);

    /// <summary>Product, element by element.</summary>
    public static WholeTensor operator *(WholeTensor left, WholeTensor right) => Of(WholeOperation.Multiply, left, right);

    /// <summary>Product.</summary>
    public static WholeTensor operator *(WholeTensor left, double right) =>
        right == 1 ? left : Of(WholeOperation.Multiply, left, Given(left).Number(right));

    /// <summary>Product.</summary>
    public static WholeTensor operator *(double left, WholeTensor right) =>
        left == 1 ? right : Of(WholeOperation.Multiply, Given(right).Number(left), right);

    /// <summary>Quotient, element by element.</summary>
    public static WholeTensor operator /(WholeTensor left, WholeTensor right) => Of(WholeOperation.Divide, left, right);

    /// <summary>Quotient.</summary>
    public static WholeTensor operator /(WholeTensor left, double right) => Of(WholeOperation.Divide, left, Given(left).Number(right));

    /// <summary>Quotient.</summary>
    public static WholeTensor operator /(double left, WholeTensor right) => Of(WholeOperation.Divide, Given(right).Number(left), right);

    /// <summary>The other sign.</summary>
    public static WholeTensor operator -(WholeTensor value) => Of(WholeOperation.Negate, value);

    /// <summary>The square root of each element.</summary>
    public static WholeTensor Sqrt(WholeTensor value) => Of(WholeOperation.Sqrt, value);

    /// <summary>The magnitude of each element.</summary>
    public static WholeTensor Abs(WholeTensor value) => Of(WholeOperation.Abs, value);

    /// <summary>1, -1 or 0; 0 for NaN.</summary>
    public static WholeTensor Signs(WholeTensor value) => Of(WholeOperation.Sign, value);

    /// <summary>e to the power of each element.</summary>
    public static WholeTensor Exp(WholeTensor value) => Of(WholeOperation.Exp, value);

    /// <summary>The natural logarithm of each element.</summary>
    public static WholeTensor Log(WholeTensor value) => Of(WholeOperation.Log, value);

    /// <summary>Each element to a power.</summary>
    public static WholeTensor Pow(WholeTensor value, double exponent) => Of(WholeOperation.Power, value, Given(value).Number(exponent));

    /// <summary>The larger ones; NaN where either is.</summary>
    public static WholeTensor Max(WholeTensor a, WholeTensor b) => Of(WholeOperation.Max, a, b);

    /// <summary>The larger ones; NaN where there is one.</summary>
    public static WholeTensor Max(WholeTensor a, double b) => Of(WholeOperation.Max, a, Given(a).Number(b));

    /// <summary>The smaller ones; NaN where either is.</summary>
    public static WholeTensor Min(WholeTensor a, WholeTensor b) => Of(WholeOperation.Min, a, b);

    /// <summary>The smaller ones; NaN where there is one.</summary>
    public static WholeTensor Min(WholeTensor a, double b) => Of(WholeOperation.Min, a, Given(a).Number(b));

    /// <summary>Element by element, <paramref name="yes"/> where a is larger than b, and else <paramref name="no"/>; so for NaN, too.</summary>
    public static WholeTensor WhereGreater(WholeTensor a, WholeTensor b, WholeTensor yes, WholeTensor no) =>
        Of(WholeOperation.Choose, a, b, yes, no);

    /// <summary>Element by element, <paramref name="yes"/> where a is larger than a number, and else <paramref name="no"/>.</summary>
    public static WholeTensor WhereGreater(WholeTensor a, double b, WholeTensor yes, WholeTensor no) =>
        Of(WholeOperation.Choose, a, Given(a).Number(b), yes, no);

    /// <summary>A number that combines with tensors such as this one.</summary>
    public WholeTensor Constant(double value) => Number(value);

    private static WholeTensor Of(
        WholeOperation operation,
        WholeTensor a,
        WholeTensor? b = null,
        WholeTensor? c = null,
        WholeTensor? d = null
    ) => Given(a).Apply(operation, Together(Together(Together(a.Shape, b), c), d), a, b, c, d);

    /// <summary>The shape of both, broadcast.</summary>
    private static ImmutableArray<long> Together(ImmutableArray<long> shape, WholeTensor? other)
    {
        if (other is null || shape.SequenceEqual(other.Shape) || other.Count == 1 && other.Rank <= shape.Length)
            return shape;
        var (longer, shorter) = shape.Length >= other.Rank ? (shape, other.Shape) : (other.Shape, shape);
        var together = longer.ToBuilder();
        for (var i = 1; i <= shorter.Length; i++)
        {
            var (a, b) = (longer[^i], shorter[^i]);
            if (a != b && a != 1 && b != 1)
                throw new ArgumentException($"[{string.Join(", ", shape)}] and [{string.Join(", ", other.Shape)}] do not go together");
            together[^i] = a == 1 ? b : a;
        }
        return together.ToImmutable();
    }
}

/// <summary>What is done with elements of whole tensors.</summary>
internal enum WholeOperation : byte
{
    /// <summary>None: elements in memory.</summary>
    Leaf,

    /// <summary>None: a number.</summary>
    Number,
    Add,
    Subtract,
    Multiply,
    Divide,
    Negate,
    Sqrt,
    Abs,
    Sign,
    Max,
    Min,
    Exp,
    Log,

    /// <summary>To the power of a number.</summary>
    Power,

    /// <summary>c where a is larger than b, and else d.</summary>
    Choose,

    /// <summary>Rounded to bfloat16.</summary>
    Round,
}

/// <summary>What is made of many elements.</summary>
internal enum WholeReduction : byte
{
    Sum,
    SumOfSquares,
    Max,
}
