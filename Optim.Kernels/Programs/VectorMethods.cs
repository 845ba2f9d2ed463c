using System.Reflection;
using System.Runtime.Intrinsics;
using System.Runtime.Intrinsics.X86;

namespace Optim.Kernels;

/// <summary>The methods of a kind of vectors, by which code is emitted: the same ones that the lane of that width is made of.</summary>
internal sealed class VectorMethods
{
    private static readonly VectorMethods?[] known = new VectorMethods?[6];

    private readonly MethodInfo?[] byOperation = new MethodInfo?[(int)Operation.Sum];

    private VectorMethods(Type vector, int count) => (Vector, Count) = (vector, count);

    /// <summary>The type of the vectors.</summary>
    public Type Vector { get; }

    /// <summary>Elements of a vector.</summary>
    public int Count { get; }

    /// <summary>How many vectors that are the same for all elements there are registers for, beside those of values under way.</summary>
    public int Uniforms => Vector512.IsHardwareAccelerated ? 20 : 8;

    /// <summary>A vector of the same number.</summary>
    public required MethodInfo Create { get; init; }

    /// <summary>A vector of the same bits.</summary>
    public required MethodInfo OfBits { get; init; }

    /// <summary>The elements at an address.</summary>
    public required MethodInfo Load { get; init; }

    /// <summary>The words at an address.</summary>
    public required MethodInfo LoadWords { get; init; }

    /// <summary>Elements to an address.</summary>
    public required MethodInfo Store { get; init; }

    /// <summary>Words to an address.</summary>
    public required MethodInfo StoreWords { get; init; }

    /// <summary>The first where it is greater than the second, and else the second, by one instruction; null where there is none.</summary>
    public MethodInfo? Larger { get; private init; }

    /// <summary>The first where the second is greater, and else the second.</summary>
    public MethodInfo? Smaller { get; private init; }

    /// <summary>How a reduction's running sums take the elements of a vector, part by part; none where that is not done in registers.</summary>
    public MethodInfo[] Takes(Operation reduction) =>
        reduction switch
        {
            Operation.Sum => Takes<Sums>(),
            Operation.SumOfSquares => Takes<Squares>(),
            _ => Takes<Largest>(),
        };

    /// <summary>The methods of vectors that hold running sums.</summary>
    public static VectorMethods OfSums(Type vector) =>
        Of(vector == typeof(Vector512<double>) ? Width.Bits512 : Width.Bits256, isDouble: true);

    private MethodInfo[] Takes<R>()
        where R : struct, IReducer =>
        Vector == typeof(Vector512<float>) ? Methods<Vector512<double>, Vector512<float>>(Running512<R>.Lower, Running512<R>.Upper)
        : Vector == typeof(Vector512<double>) ? Methods<Vector512<double>, Vector512<double>>(Running512<R>.All)
        : Vector == typeof(Vector256<float>) ? Methods<Vector256<double>, Vector256<float>>(Running256<R>.Lower, Running256<R>.Upper)
        : [];

    private static MethodInfo[] Methods<S, V>(params Func<S, V, S>[] methods) => Array.ConvertAll(methods, method => method.Method);

    /// <summary>The method of an operation.</summary>
    public MethodInfo For(Operation operation) => byOperation[(int)operation] ?? throw new NotSupportedException($"{operation} of vectors");

    /// <summary>The methods of a width, which is one of vectors.</summary>
    public static VectorMethods Of(Width width, bool isDouble)
    {
        ref var methods = ref known[(int)width / 256 * 2 + (isDouble ? 1 : 0)];
        return methods ??= (width, isDouble) switch
        {
            (Width.Bits512, false) => Of512<float>(Vector512.FusedMultiplyAdd, Vector512.Create),
            (Width.Bits512, true) => Of512<double>(Vector512.FusedMultiplyAdd, Vector512.Create),
            (Width.Bits256, false) => Of256<float>(Vector256.FusedMultiplyAdd, Vector256.Create),
            (Width.Bits256, true) => Of256<double>(Vector256.FusedMultiplyAdd, Vector256.Create),
            (Width.Bits128, false) => Of128<float>(Vector128.FusedMultiplyAdd, Vector128.Create),
            (Width.Bits128, true) => Of128<double>(Vector128.FusedMultiplyAdd, Vector128.Create),
            _ => throw new ArgumentOutOfRangeException(nameof(width), width, "no vectors"),
        };
    }

    private static unsafe VectorMethods Of512<T>(
        Func<Vector512<T>, Vector512<T>, Vector512<T>, Vector512<T>> fma,
        Func<T, Vector512<T>> create
    )
        where T : unmanaged, System.Numerics.IBinaryFloatingPointIeee754<T> =>
        new VectorMethods(typeof(Vector512<T>), Vector512<T>.Count)
        {
            Create = create.Method,
            OfBits = ((Func<uint, Vector512<T>>)Bits512<T>.Of).Method,
            Larger =
                !Avx512F.IsSupported ? null
                : IsDouble<T>() ? Of<Vector512<double>>(Avx512F.Max)
                : Of<Vector512<float>>(Avx512F.Max),
            Smaller =
                !Avx512F.IsSupported ? null
                : IsDouble<T>() ? Of<Vector512<double>>(Avx512F.Min)
                : Of<Vector512<float>>(Avx512F.Min),
            Load = ((Loading<T, Vector512<T>>)Vector512.Load).Method,
            LoadWords = ((LoadingWords<Vector512<T>>)Bits512<T>.Load).Method,
            Store = ((Storing<T, Vector512<T>>)Vector512.Store).Method,
            StoreWords = ((StoringWords<Vector512<T>>)Bits512<T>.Store).Method,
        }.With<Vector512<T>>(
            Vector512.Add,
            Vector512.Subtract,
            Vector512.Multiply,
            Vector512.Divide,
            Vector512.Negate,
            Vector512.Sqrt,
            Vector512.Abs,
            fma,
            Vector512.GreaterThan,
            Vector512.IsNaN,
            Vector512.ConditionalSelect,
            Vector512.BitwiseAnd,
            Vector512.BitwiseOr,
            Bits512<T>.Add,
            Bits512<T>.ShiftLeft,
            Bits512<T>.ShiftRight,
            Bits512<T>.Greater,
            Bits512<T>.Scale,
            Bits512<T>.Exponent,
            Bits512<T>.Significand
        );

    private static unsafe VectorMethods Of256<T>(
        Func<Vector256<T>, Vector256<T>, Vector256<T>, Vector256<T>> fma,
        Func<T, Vector256<T>> create
    )
        where T : unmanaged, System.Numerics.IBinaryFloatingPointIeee754<T> =>
        new VectorMethods(typeof(Vector256<T>), Vector256<T>.Count)
        {
            Create = create.Method,
            OfBits = ((Func<uint, Vector256<T>>)Bits256<T>.Of).Method,
            Larger =
                !Avx.IsSupported ? null
                : IsDouble<T>() ? Of<Vector256<double>>(Avx.Max)
                : Of<Vector256<float>>(Avx.Max),
            Smaller =
                !Avx.IsSupported ? null
                : IsDouble<T>() ? Of<Vector256<double>>(Avx.Min)
                : Of<Vector256<float>>(Avx.Min),
            Load = ((Loading<T, Vector256<T>>)Vector256.Load).Method,
            LoadWords = ((LoadingWords<Vector256<T>>)Bits256<T>.Load).Method,
            Store = ((Storing<T, Vector256<T>>)Vector256.Store).Method,
            StoreWords = ((StoringWords<Vector256<T>>)Bits256<T>.Store).Method,
        }.With<Vector256<T>>(
            Vector256.Add,
            Vector256.Subtract,
            Vector256.Multiply,
            Vector256.Divide,
            Vector256.Negate,
            Vector256.Sqrt,
            Vector256.Abs,
            fma,
            Vector256.GreaterThan,
            Vector256.IsNaN,
            Vector256.ConditionalSelect,
            Vector256.BitwiseAnd,
            Vector256.BitwiseOr,
            Bits256<T>.Add,
            Bits256<T>.ShiftLeft,
            Bits256<T>.ShiftRight,
            Bits256<T>.Greater,
            Bits256<T>.Scale,
            Bits256<T>.Exponent,
            Bits256<T>.Significand
        );

    private static unsafe VectorMethods Of128<T>(
        Func<Vector128<T>, Vector128<T>, Vector128<T>, Vector128<T>> fma,
        Func<T, Vector128<T>> create
    )
        where T : unmanaged, System.Numerics.IBinaryFloatingPointIeee754<T> =>
        new VectorMethods(typeof(Vector128<T>), Vector128<T>.Count)
        {
            Create = create.Method,
            OfBits = ((Func<uint, Vector128<T>>)Bits128<T>.Of).Method,
            Larger =
                !Sse2.IsSupported ? null
                : IsDouble<T>() ? Of<Vector128<double>>(Sse2.Max)
                : Of<Vector128<float>>(Sse.Max),
            Smaller =
                !Sse2.IsSupported ? null
                : IsDouble<T>() ? Of<Vector128<double>>(Sse2.Min)
                : Of<Vector128<float>>(Sse.Min),
            Load = ((Loading<T, Vector128<T>>)Vector128.Load).Method,
            LoadWords = ((LoadingWords<Vector128<T>>)Bits128<T>.Load).Method,
            Store = ((Storing<T, Vector128<T>>)Vector128.Store).Method,
            StoreWords = ((StoringWords<Vector128<T>>)Bits128<T>.Store).Method,
        }.With<Vector128<T>>(
            Vector128.Add,
            Vector128.Subtract,
            Vector128.Multiply,
            Vector128.Divide,
            Vector128.Negate,
            Vector128.Sqrt,
            Vector128.Abs,
            fma,
            Vector128.GreaterThan,
            Vector128.IsNaN,
            Vector128.ConditionalSelect,
            Vector128.BitwiseAnd,
            Vector128.BitwiseOr,
            Bits128<T>.Add,
            Bits128<T>.ShiftLeft,
            Bits128<T>.ShiftRight,
            Bits128<T>.Greater,
            Bits128<T>.Scale,
            Bits128<T>.Exponent,
            Bits128<T>.Significand
        );

    private static bool IsDouble<T>() => typeof(T) == typeof(double);

    private static MethodInfo Of<V>(Func<V, V, V> method) => method.Method;

    private VectorMethods With<V>(
        Func<V, V, V> add,
        Func<V, V, V> subtract,
        Func<V, V, V> multiply,
        Func<V, V, V> divide,
        Func<V, V> negate,
        Func<V, V> sqrt,
        Func<V, V> abs,
        Func<V, V, V, V> fma,
        Func<V, V, V> greater,
        Func<V, V> isNaN,
        Func<V, V, V, V> select,
        Func<V, V, V> and,
        Func<V, V, V> or,
        Func<V, V, V> addBits,
        Func<V, int, V> shiftLeft,
        Func<V, int, V> shiftRight,
        Func<V, V, V> greaterBits,
        Func<V, V, V> scale,
        Func<V, V> exponent,
        Func<V, V> significand
    )
    {
        Set(Operation.Add, add);
        Set(Operation.Subtract, subtract);
        Set(Operation.Multiply, multiply);
        Set(Operation.Divide, divide);
        Set(Operation.Negate, negate);
        Set(Operation.Sqrt, sqrt);
        Set(Operation.Abs, abs);
        Set(Operation.Fma, fma);
        Set(Operation.Greater, greater);
        Set(Operation.IsNaN, isNaN);
        Set(Operation.Select, select);
        Set(Operation.And, and);
        Set(Operation.Or, or);
        Set(Operation.AddBits, addBits);
        Set(Operation.ShiftLeft, shiftLeft);
        Set(Operation.ShiftRight, shiftRight);
        Set(Operation.GreaterBits, greaterBits);
        Set(Operation.Scale, scale);
        Set(Operation.Exponent, exponent);
        Set(Operation.Significand, significand);
        return this;
    }

    private void Set(Operation operation, Delegate method) => byOperation[(int)operation] = method.Method;

    private unsafe delegate V Loading<S, V>(S* source)
        where S : unmanaged;

    private unsafe delegate V LoadingWords<V>(void* source);

    private unsafe delegate void Storing<S, V>(V value, S* target)
        where S : unmanaged;

    private unsafe delegate void StoringWords<V>(V value, void* target);
}
