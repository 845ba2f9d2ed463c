using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The passes of a step of Muon on our kernels.</summary>
/// <typeparam name="T">Of the parameter's state: float or double.</typeparam>
/// <typeparam name="W">Of the iteration.</typeparam>
internal unsafe struct MuonKernel<T, W>(MuonPass* pass, IMatrixProducts? products, Executor executor) : IMuonEngine<Lane1<double>>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    private readonly MuonPass* pass = pass;
    private readonly IMatrixProducts? products = products;
    private readonly Executor executor = executor;

    /// <summary>How many threads took part.</summary>
    public int Threads { get; private set; }

    private readonly bool IsNarrow => pass->Numbers.Precision == MuonPrecision.BFloat16;

    public readonly void Momentum() => executor.Run(pass->Tensor.Count, &ElementLoop<T, Moments>.Run, pass);

    public readonly Lane1<double> SumOfSquares()
    {
        var (tensor, direction) = (pass->Tensor, (nint)pass->Direction);
        if (!IsNarrow)
            return Lane1<double>.Of(Reduction.SumOfSquares.Of(direction, tensor.Count, tensor.DType, executor));
        Begin(Lane1<double>.Of(1));
        return Lane1<double>.Of(Reduction.SumOfSquares.Of(pass->X, tensor.Count, pass->Work, executor));
    }

    public readonly Lane1<double> Rounded(Lane1<double> value)
    {
        double number;
        Lane1<double>.Store(value, &number);
        return Lane1<double>.Of(IsNarrow ? Round((float)number) : number);
    }

    public readonly void Begin(Lane1<double> norm)
    {
        Lane1<double>.Store(norm, &pass->Norm);
        executor.Run(pass->Tensor.Count, &Scale, pass);
    }

    public readonly void Square() => Square(pass->X, pass->C, pass->Square, 1, 0, 0);

    public readonly void Polynomial() => Square(pass->Square, pass->R, pass->Polynomial, pass->Numbers.C, pass->Numbers.B, pass->Square);

    /// <summary>result = scale left left' + shift other.</summary>
    private readonly void Square(nint left, nint columns, nint result, double scale, double shift, nint other)
    {
        var (work, r) = (pass->Work, pass->R);
        if (products is null)
            MatrixProduct.Square(work, r, columns, left, result, pass->Panels, executor, scale, shift, other, Depth);
        else
        {
            products.Multiply(View(work, left, r, columns), View(work, left, r, columns), true, View(work, result, r, r));
            Combine(result, r * r, scale, shift, other);
        }
        if (IsNarrow)
            Narrow(result, r * r);
    }

    public readonly void Multiply()
    {
        var (work, r, c, a) = (pass->Work, pass->R, pass->C, pass->Numbers.A);
        if (products is null)
            MatrixProduct.Run(work, r, c, r, pass->Polynomial, pass->X, pass->Next, pass->Panels, executor, 1, a, pass->X, Depth);
        else
        {
            products.Multiply(View(work, pass->Polynomial, r, r), View(work, pass->X, r, c), false, View(work, pass->Next, r, c));
            Combine(pass->Next, r * c, 1, a, pass->X);
        }
        if (IsNarrow)
            Narrow(pass->Next, r * c);
        (pass->X, pass->Next) = (pass->Next, pass->X);
    }

    public void Move()
    {
        if (pass->IsTransposed)
        {
            executor.Run(pass->Tensor.Count, &Back, pass);
            (pass->X, pass->Next) = (pass->Next, pass->X);
        }
        Threads = executor.Run(pass->Tensor.Count, &ElementLoop<T, Moved>.Run, pass);
    }

    /// <summary>What is rounded to bfloat16 is one sum from the first term to the last, as in PyTorch.</summary>
    private readonly nint Depth => IsNarrow ? nint.MaxValue : MatrixProduct.Depth;

    private static TensorView View(DType dtype, nint address, nint rows, nint columns) =>
        new(address, Layout.Contiguous(dtype, rows, columns), null);

    private static void Combine(nint result, nint count, double scale, double shift, nint other)
    {
        if (other == 0)
            return;
        W* x = (W*)result,
            y = (W*)other;
        var (by, with) = (W.CreateTruncating(scale), W.CreateTruncating(shift));
        for (nint i = 0; i < count; i++)
            x[i] = W.FusedMultiplyAdd(with, y[i], by * x[i]);
    }

    private readonly struct Moments : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (MuonPass*)context;
            T* g = (T*)pass->Tensor.Grad,
                buffer = (T*)pass->Tensor.Buffer,
                direction = (T*)pass->Direction;
            var (momentum, nesterov) = (pass->Numbers.Momentum, pass->Numbers.Nesterov);
            var (weight, rest) = (V.Of(1 - momentum), V.Of(momentum));
            for (; i <= end - V.Count; i += V.Count)
            {
                var next = V.Load(buffer + i);
                var along = MuonFormula.Momentum(ref next, V.Load(g + i), momentum, weight, rest, nesterov);
                V.Store(next, buffer + i);
                V.Store(along, direction + i);
            }
            return i;
        }
    }

    /// <summary>X from the direction, over its norm, with no more rows than columns.</summary>
    private static void Scale(nint begin, nint end, void* context)
    {
        var pass = (MuonPass*)context;
        var (direction, x) = ((nint)pass->Direction, pass->X);
        var norm = T.CreateTruncating(pass->Norm);
        var isNarrow = pass->Numbers.Precision == MuonPrecision.BFloat16;
        // Rows of X: columns of the direction when it is transposed.
        for (var at = begin; at < end; )
        {
            var row = at / pass->C;
            var last = Math.Min((row + 1) * pass->C, end);
            for (; at < last; at++)
            {
                var value = ((T*)direction)[pass->IsTransposed ? (at - row * pass->C) * pass->R + row : at];
                ((W*)x)[at] = isNarrow
                    ? W.CreateTruncating(Round(Round(float.CreateTruncating(value)) / (float)pass->Norm))
                    : W.CreateTruncating(value / norm);
            }
        }
    }

    /// <summary>X transposed back.</summary>
    private static void Back(nint begin, nint end, void* context)
    {
        var pass = (MuonPass*)context;
        W* x = (W*)pass->X,
            y = (W*)pass->Next;
        for (var at = begin; at < end; at++)
        {
            var row = at / pass->R;
            y[at] = x[(at - row * pass->R) * pass->C + row];
        }
    }

    private readonly struct Moved : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (MuonPass*)context;
            var p = (T*)pass->Tensor.Param;
            var (keep, rate) = (V.Of(pass->Numbers.Keep), V.Of(pass->Numbers.Rate));
            for (; i <= end - V.Count; i += V.Count)
            {
                var direction = typeof(T) == typeof(W) ? V.Load((W*)pass->X + i) : Widened.Load<V, float>((float*)pass->X + i);
                V.Store(TensorMath.Against(V.Load(p + i), direction, keep, rate), p + i);
            }
            return i;
        }
    }

    private static void Narrow(nint x, nint count)
    {
        for (nint i = 0; i < count; i++)
            ((float*)x)[i] = Round(((float*)x)[i]);
    }

    /// <summary>The nearest bfloat16, of two the even one.</summary>
    private static float Round(float value)
    {
        var bits = BitConverter.SingleToUInt32Bits(value);
        return float.IsNaN(value) ? value : BitConverter.UInt32BitsToSingle((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000);
    }
}
