namespace Optim.Kernels;

/// <summary>
/// The lane that notes what is done to it: a formula that runs on it leaves an <see cref="Expression"/> of elements, and a storage that
/// loads and stores it leaves what that takes. Addresses stand for the places of arrays.
/// </summary>
internal readonly unsafe struct Recorder(Expression expression) : IBinary<Recorder>, ITakes<Recorder, RecordedNumber>
{
    private readonly Expression? expression = expression;

    [ThreadStatic]
    private static (Expression Value, bool IsWords) stored;

    /// <summary>What was noted; a number that was never set is 0.</summary>
    public Expression Expression => expression ?? Expression.Of(0);

    public static int Count => 1;

    public static Recorder Of(double value) => new(Expression.Of(value));

    public static Recorder From(Real number) => Of(number.Value);

    public static Recorder From(RecordedNumber number) => new(Expression.OfNumber(number.Expression));

    /// <summary>What a storage loads from the array at a place.</summary>
    public static Expression Load<P>(int array)
        where P : IStorage => P.Load<Recorder>((void*)(nint)array, 0).Expression;

    /// <summary>What a storage makes of a value before it is stored, and whether that is a word of 16 bits.</summary>
    public static (Expression Value, bool IsWords) Store<P>(Expression value)
        where P : IStorage
    {
        P.Store<Recorder>(new(value), null, 0);
        return stored;
    }

    /// <summary>What a load finds after a store.</summary>
    public static Expression Round<P>(Expression value)
        where P : IStorage => P.Round<Recorder>(new(value)).Expression;

    public static Recorder Load(void* source) => new(new(Operation.Load, Scope.Element, [], (nint)source));

    public static Recorder LoadWords(void* source) => new(new(Operation.LoadWords, Scope.Element, [], (nint)source));

    public static void Store(Recorder value, void* target) => stored = (value.Expression, false);

    public static void StoreWords(Recorder value, void* target) => stored = (value.Expression, true);

    public static Recorder operator +(Recorder left, Recorder right) => Note(Operation.Add, left, right);

    public static Recorder operator -(Recorder left, Recorder right) => Note(Operation.Subtract, left, right);

    public static Recorder operator *(Recorder left, Recorder right) => Note(Operation.Multiply, left, right);

    public static Recorder operator /(Recorder left, Recorder right) => Note(Operation.Divide, left, right);

    public static Recorder operator -(Recorder value) => Note(Operation.Negate, value);

    public static Recorder Sqrt(Recorder value) => Note(Operation.Sqrt, value);

    public static Recorder Exp(Recorder value) => Note(Operation.Exp, value);

    public static Recorder Log(Recorder value) => Note(Operation.Log, value);

    public static Recorder Cbrt(Recorder value) => Note(Operation.Cbrt, value);

    public static Recorder Pow(Recorder value, Recorder exponent) => Note(Operation.Power, value, exponent);

    public static Recorder Fma(Recorder a, Recorder b, Recorder c) => Note(Operation.Fma, a, b, c);

    public static Recorder Abs(Recorder value) => Note(Operation.Abs, value);

    public static Recorder Max(Recorder a, Recorder b) => Note(Operation.Max, a, b);

    public static Recorder Min(Recorder a, Recorder b) => Note(Operation.Min, a, b);

    public static Recorder Greater(Recorder a, Recorder b) => Note(Operation.Greater, a, b);

    public static Recorder IsNaN(Recorder value) => Note(Operation.IsNaN, value);

    public static Recorder Select(Recorder mask, Recorder yes, Recorder no) => Note(Operation.Select, mask, yes, no);

    public static Recorder OfBits(uint bits) => new(new(Operation.Bits, Scope.Element, [], bits));

    public static Recorder And(Recorder a, Recorder b) => Note(Operation.And, a, b);

    public static Recorder Or(Recorder a, Recorder b) => Note(Operation.Or, a, b);

    public static Recorder AddBits(Recorder a, Recorder b) => Note(Operation.AddBits, a, b);

    public static Recorder ShiftLeft(Recorder value, int bits) => Shift(Operation.ShiftLeft, value, bits);

    public static Recorder ShiftRight(Recorder value, int bits) => Shift(Operation.ShiftRight, value, bits);

    public static Recorder GreaterBits(Recorder a, Recorder b) => Note(Operation.GreaterBits, a, b);

    public static Recorder Scale(Recorder value, Recorder exponent) => Note(Operation.Scale, value, exponent);

    public static Recorder Exponent(Recorder value) => Note(Operation.Exponent, value);

    public static Recorder Significand(Recorder value) => Note(Operation.Significand, value);

    private static Recorder Shift(Operation operation, Recorder value, int bits) =>
        new(new(operation, Scope.Element, [value.Expression], bits));

    private static Recorder Note(Operation operation, params ReadOnlySpan<Recorder> operands)
    {
        var expressions = new Expression[operands.Length];
        for (var i = 0; i < operands.Length; i++)
            expressions[i] = operands[i].Expression;
        return new(Expression.InElements(operation, expressions));
    }
}
