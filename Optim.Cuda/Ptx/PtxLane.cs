using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>The text that <see cref="PtxLane{T}"/> writes to.</summary>
internal static class PtxLane
{
    [ThreadStatic]
    private static PtxText? current;

    /// <summary>The text; what is computed on lanes is written there.</summary>
    public static PtxText Current
    {
        get => current ?? throw new InvalidOperationException("no kernel is being written");
        set => current = value;
    }
}

/// <summary>
/// A register of a kernel as a lane: what is computed on it is written down as instructions. Each rounds by itself (.rn), which keeps the assembler
/// from joining a product and a sum, and none flushes subnormal numbers to 0. Masks are predicates, which only Select reads.
/// </summary>
/// <typeparam name="T">float or double.</typeparam>
internal readonly unsafe struct PtxLane<T>(string register) : IDigits<PtxLane<T>>
    where T : unmanaged
{
    /// <summary>The name of the register.</summary>
    public string Register { get; } = register;

    public static bool IsDouble => typeof(T) == typeof(double);

    public static int Count => 1;

    private static string F => IsDouble ? "f64" : "f32";
    private static string B => IsDouble ? "b64" : "b32";

    public static PtxLane<T> Of(double value) =>
        new(
            PtxLane.Current.Constant(
                IsDouble,
                IsDouble ? BitConverter.DoubleToInt64Bits(value) : BitConverter.SingleToUInt32Bits((float)value)
            )
        );

    public static PtxLane<T> From(Real number) => Of(number.Value);

    /// <summary>What an operation gives on elements as on numbers.</summary>
    public static PtxLane<T> Of(Operation operation, PtxLane<T> a, Func<PtxLane<T>> b, Func<PtxLane<T>> c) =>
        operation switch
        {
            Operation.Add => a + b(),
            Operation.Subtract => a - b(),
            Operation.Multiply => a * b(),
            Operation.Divide => a / b(),
            Operation.Negate => -a,
            Operation.Sqrt => Sqrt(a),
            Operation.Exp => Exp(a),
            Operation.Log => Log(a),
            Operation.Cbrt => Cbrt(a),
            Operation.Power => Pow(a, b()),
            Operation.Fma => Fma(a, b(), c()),
            Operation.Abs => Abs(a),
            Operation.Max => Max(a, b()),
            Operation.Min => Min(a, b()),
            Operation.Sign => Select(Greater(a, Of(0)), Of(1), Select(Greater(Of(0), a), Of(-1), Of(0))),
            Operation.Greater => Greater(a, b()),
            Operation.IsNaN => IsNaN(a),
            _ => throw new NotSupportedException($"{operation} in a kernel"),
        };

    public static PtxLane<T> operator +(PtxLane<T> left, PtxLane<T> right) => Write($"add.rn.{F}", left, right);

    public static PtxLane<T> operator -(PtxLane<T> left, PtxLane<T> right) => Write($"sub.rn.{F}", left, right);

    public static PtxLane<T> operator *(PtxLane<T> left, PtxLane<T> right) => Write($"mul.rn.{F}", left, right);

    public static PtxLane<T> operator /(PtxLane<T> left, PtxLane<T> right) => Write($"div.rn.{F}", left, right);

    public static PtxLane<T> operator -(PtxLane<T> value) => Write($"neg.{F}", value);

    public static PtxLane<T> Sqrt(PtxLane<T> value) => Write($"sqrt.rn.{F}", value);

    public static PtxLane<T> Exp(PtxLane<T> value) => LaneMath.Exp<PtxLane<T>, T>(value);

    public static PtxLane<T> Log(PtxLane<T> value) => LaneMath.Log<PtxLane<T>, T>(value);

    public static PtxLane<T> Cbrt(PtxLane<T> value) => LaneMath.Cbrt<PtxLane<T>, T>(value);

    public static PtxLane<T> Pow(PtxLane<T> value, PtxLane<T> exponent) => LaneMath.Pow<PtxLane<T>, T>(value, exponent);

    public static PtxLane<T> Fma(PtxLane<T> a, PtxLane<T> b, PtxLane<T> c) => Write($"fma.rn.{F}", a, b, c);

    public static PtxLane<T> Abs(PtxLane<T> value) => Write($"abs.{F}", value);

    public static PtxLane<T> Max(PtxLane<T> a, PtxLane<T> b) => Select(Greater(a, b), a, Select(IsNaN(a), a, b));

    public static PtxLane<T> Min(PtxLane<T> a, PtxLane<T> b) => Select(Greater(b, a), a, Select(IsNaN(a), a, b));

    public static PtxLane<T> Greater(PtxLane<T> a, PtxLane<T> b) => Mask($"setp.gt.{F}", a, b);

    public static PtxLane<T> IsNaN(PtxLane<T> value) => Mask($"setp.nan.{F}", value, value);

    public static PtxLane<T> Select(PtxLane<T> mask, PtxLane<T> yes, PtxLane<T> no) => Write($"selp.{B}", yes, no, mask);

    public static PtxLane<T> OfBits(uint bits) => new(PtxLane.Current.Constant(IsDouble, bits));

    public static PtxLane<T> And(PtxLane<T> a, PtxLane<T> b) => Write($"and.{B}", a, b);

    public static PtxLane<T> Or(PtxLane<T> a, PtxLane<T> b) => Write($"or.{B}", a, b);

    public static PtxLane<T> AddBits(PtxLane<T> a, PtxLane<T> b) => Write("add.s32", a, b);

    public static PtxLane<T> ShiftLeft(PtxLane<T> value, int bits) => Shift($"shl.{B}", value, bits);

    public static PtxLane<T> ShiftRight(PtxLane<T> value, int bits) => Shift(IsDouble ? "shr.u64" : "shr.u32", value, bits);

    public static PtxLane<T> GreaterBits(PtxLane<T> a, PtxLane<T> b) => Mask("setp.gt.s32", a, b);

    public static PtxLane<T> Scale(PtxLane<T> value, PtxLane<T> exponent) => LaneMath.Scale<PtxLane<T>, T>(value, exponent);

    public static PtxLane<T> Exponent(PtxLane<T> value) => LaneMath.Exponent<PtxLane<T>, T>(value);

    public static PtxLane<T> Significand(PtxLane<T> value) => LaneMath.Significand<PtxLane<T>, T>(value);

    // As the vectors have it: the sum with a number that has no places for fractions holds the whole number in its last bits.
    public static PtxLane<T> PowerOfTwo(PtxLane<T> exponent) =>
        IsDouble ? ShiftLeft(exponent + Of(6755399441055744.0 + 1023), 52) : ShiftLeft(exponent + Of(12582912 + 127), 23);

    public static PtxLane<T> BiasedExponent(PtxLane<T> value)
    {
        var whole = Of(IsDouble ? 4503599627370496 : 8388608);
        return Or(ShiftRight(value, IsDouble ? 52 : 23), whole) - whole;
    }

    public static PtxLane<T> Digits(PtxLane<T> value) =>
        Or(And(value, new(PtxLane.Current.Constant(IsDouble, IsDouble ? (1L << 52) - 1 : (1L << 23) - 1))), Of(1));

    public static PtxLane<T> Load(void* source) => throw NotOfMemory();

    public static PtxLane<T> LoadWords(void* source) => throw NotOfMemory();

    public static void Store(PtxLane<T> value, void* target) => throw NotOfMemory();

    public static void StoreWords(PtxLane<T> value, void* target) => throw NotOfMemory();

    private static NotSupportedException NotOfMemory() => new("registers of a kernel are loaded and stored by the kernel");

    private static PtxLane<T> Write(string instruction, PtxLane<T> a)
    {
        var target = PtxLane.Current.Value(IsDouble);
        PtxLane.Current.Line($"{instruction} {target}, {a.Register}");
        return new(target);
    }

    private static PtxLane<T> Write(string instruction, PtxLane<T> a, PtxLane<T> b)
    {
        var target = PtxLane.Current.Value(IsDouble);
        PtxLane.Current.Line($"{instruction} {target}, {a.Register}, {b.Register}");
        return new(target);
    }

    private static PtxLane<T> Write(string instruction, PtxLane<T> a, PtxLane<T> b, PtxLane<T> c)
    {
        var target = PtxLane.Current.Value(IsDouble);
        PtxLane.Current.Line($"{instruction} {target}, {a.Register}, {b.Register}, {c.Register}");
        return new(target);
    }

    private static PtxLane<T> Mask(string instruction, PtxLane<T> a, PtxLane<T> b) =>
        new(PtxLane.Current.Into('p', instruction, $"{a.Register}, {b.Register}"));

    private static PtxLane<T> Shift(string instruction, PtxLane<T> value, int bits)
    {
        var target = PtxLane.Current.Value(IsDouble);
        PtxLane.Current.Line($"{instruction} {target}, {value.Register}, {bits}");
        return new(target);
    }
}
