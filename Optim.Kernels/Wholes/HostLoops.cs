using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Optim.Kernels;

/// <summary>The operations of whole tensors over blocks: those of programs, and some beside them.</summary>
internal static unsafe class HostLoops
{
    /// <summary>Those of the widest lanes in use.</summary>
    public static BlockLoops Of(DType work) => work == DType.Float64 ? Of<double>() : Of<float>();

    private static BlockLoops Of<T>()
        where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        Lanes.Width switch
        {
            Width.Bits512 when Lanes.IsCompiled(Width.Bits512) => BlockLoops.Of<Lane512<T>>(),
            Width.Bits256 when Lanes.IsCompiled(Width.Bits256) => BlockLoops.Of<Lane256<T>>(),
            Width.Bits128 when Lanes.IsCompiled(Width.Bits128) => BlockLoops.Of<Lane128<T>>(),
            _ => BlockLoops.Of<Lane1<T>>(),
        };

    /// <summary>The loop of an operation.</summary>
    public static delegate* <BlockArguments*, void> BodyOf(BlockLoops loops, DType work, WholeOperation operation) =>
        operation switch
        {
            WholeOperation.Add => loops.For(Operation.Add, 0).Body,
            WholeOperation.Subtract => loops.For(Operation.Subtract, 0).Body,
            WholeOperation.Multiply => loops.For(Operation.Multiply, 0).Body,
            WholeOperation.Divide => loops.For(Operation.Divide, 0).Body,
            WholeOperation.Negate => loops.For(Operation.Negate, 0).Body,
            WholeOperation.Sqrt => loops.For(Operation.Sqrt, 0).Body,
            WholeOperation.Abs => loops.For(Operation.Abs, 0).Body,
            WholeOperation.Sign => loops.For(Operation.Sign, 0).Body,
            WholeOperation.Max => loops.For(Operation.Max, 0).Body,
            WholeOperation.Min => loops.For(Operation.Min, 0).Body,
            WholeOperation.Exp => loops.For(Operation.Exp, 0).Body,
            WholeOperation.Log => loops.For(Operation.Log, 0).Body,
            WholeOperation.Choose => loops.Choose.Body,
            _ => work == DType.Float64 ? BodyOf<double>(operation) : BodyOf<float>(operation),
        };

    private static delegate* <BlockArguments*, void> BodyOf<T>(WholeOperation operation)
        where T : unmanaged, IBinaryFloatingPointIeee754<T> =>
        operation switch
        {
            WholeOperation.Power => &Each<T, Power>,
            WholeOperation.Round => &Each<T, Rounded>,
            _ => throw new NotSupportedException($"{operation} over blocks"),
        };

    private interface INumbers
    {
        static abstract double Run(double a, double b);
    }

    private readonly struct Power : INumbers
    {
        public static double Run(double a, double b) => Math.Pow(a, b);
    }

    private readonly struct Rounded : INumbers
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static double Run(double a, double b) => ToBFloat16((float)a);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Each<T, O>(BlockArguments* arguments)
        where T : unmanaged, IBinaryFloatingPointIeee754<T>
        where O : struct, INumbers
    {
        T* target = (T*)arguments->Target,
            a = (T*)arguments->A,
            b = (T*)arguments->B;
        var (ofA, ofB, i) = (arguments->OfA, arguments->OfB, 0);
        if (typeof(O) == typeof(Rounded) && typeof(T) == typeof(float) && ofA == 1 && Vector256.IsHardwareAccelerated)
            for (; i <= arguments->Count - Vector256<uint>.Count; i += Vector256<uint>.Count)
                ToBFloat16(Vector256.Load((float*)a + i)).Store((float*)target + i);
        for (; i < arguments->Count; i++)
            target[i] = T.CreateTruncating(O.Run(double.CreateTruncating(a[i * ofA]), double.CreateTruncating(b[i * ofB])));
    }

    /// <summary>The nearest bfloat16, of two the even one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static float ToBFloat16(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? value : BitConverter.UInt32BitsToSingle((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static Vector256<float> ToBFloat16(Vector256<float> value)
    {
        var bits = value.AsUInt32();
        var rounded = (bits + Vector256.Create(0x7FFFu) + (bits >>> 16 & Vector256<uint>.One)) & Vector256.Create(0xFFFF0000u);
        return Vector256.ConditionalSelect(Vector256.IsNaN(value), value, rounded.AsSingle());
    }

    /// <summary>Rounds elements in memory to bfloat16.</summary>
    public static void Round(nint begin, nint end, void* address)
    {
        BlockArguments arguments = default;
        arguments.Target = arguments.A = (byte*)address + begin * sizeof(float);
        arguments.B = arguments.A;
        arguments.OfA = 1;
        while (begin < end)
        {
            arguments.Count = (int)Math.Min(1 << 20, end - begin);
            Each<float, Rounded>(&arguments);
            begin += arguments.Count;
            arguments.Target = arguments.A = arguments.B = arguments.Target + arguments.Count * sizeof(float);
        }
    }
}

/// <summary>Sums of blocks, in double.</summary>
internal static unsafe class HostSums<T>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
{
    /// <summary>Element i goes to running sum i modulo 16.</summary>
    public static void Along(WholeReduction reduction, T* values, int length, double* sums)
    {
        var whole = length / 16 * 16;
        for (var i = 0; i < whole; i += 16)
            Add(reduction, values + i, sums, 16);
        Add(reduction, values + whole, sums, length - whole);
    }

    /// <summary>Element i goes to sum i.</summary>
    public static void Across(WholeReduction reduction, T* values, int length, double* sums) => Add(reduction, values, sums, length);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void Add(WholeReduction reduction, T* values, double* sums, int length)
    {
        var i = 0;
        if (Vector256.IsHardwareAccelerated)
            for (; i <= length - 4; i += 4)
            {
                var value =
                    typeof(T) == typeof(double)
                        ? Vector256.Load((double*)values + i)
                        : Vector256.WidenLower(Vector128.Load((float*)values + i).ToVector256Unsafe());
                var sum = Vector256.Load(sums + i);
                (
                    reduction switch
                    {
                        WholeReduction.Sum => sum + value,
                        WholeReduction.SumOfSquares => sum + value * value,
                        _ => Vector256.Max(sum, value),
                    }
                ).Store(sums + i);
            }
        for (; i < length; i++)
        {
            var value = double.CreateTruncating(values[i]);
            sums[i] = reduction switch
            {
                WholeReduction.Sum => sums[i] + value,
                WholeReduction.SumOfSquares => sums[i] + value * value,
                _ => Math.Max(sums[i], value),
            };
        }
    }
}
