using System.Numerics;
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>The passes of a step of Muon.</summary>
/// <typeparam name="T">Of the parameter's state: float or double.</typeparam>
/// <typeparam name="W">Of the iteration.</typeparam>
internal static unsafe class MuonKernel<T, W>
    where T : unmanaged, IBinaryFloatingPointIeee754<T>
    where W : unmanaged, IBinaryFloatingPointIeee754<W>
{
    public static int Run(ref MuonPass given, IMatrixProducts? products, Executor executor)
    {
        var pass = given;
        var (tensor, numbers, dtype) = (pass.Tensor, pass.Numbers, pass.Work);
        var isNarrow = numbers.Precision == MuonPrecision.BFloat16;
        executor.Run(tensor.Count, &ElementLoop<T, Momentum>.Run, &pass);
        pass.Norm = 1;
        if (isNarrow)
            executor.Run(tensor.Count, &Scale, &pass);
        var norm = Math.Sqrt(
            isNarrow
                ? Reduction.SumOfSquares.Of(pass.X, tensor.Count, dtype, executor)
                : Reduction.SumOfSquares.Of((nint)pass.Direction, tensor.Count, tensor.DType, executor)
        );
        pass.Norm = isNarrow ? Largest(Round((float)norm), Round((float)numbers.Eps)) : Largest(norm, numbers.Eps);
        executor.Run(tensor.Count, &Scale, &pass);
        for (var step = 0; step < numbers.Steps; step++)
        {
            Square(ref pass, pass.X, pass.C, pass.Square, 1, 0, 0, products, executor);
            Square(ref pass, pass.Square, pass.R, pass.Polynomial, numbers.C, numbers.B, pass.Square, products, executor);
            Times(ref pass, numbers.A, products, executor);
            (pass.X, pass.Next) = (pass.Next, pass.X);
        }
        if (pass.IsTransposed)
        {
            executor.Run(tensor.Count, &Back, &pass);
            (pass.X, pass.Next) = (pass.Next, pass.X);
        }
        return executor.Run(tensor.Count, &ElementLoop<T, Move>.Run, &pass);
    }

    /// <summary>result = scale left left' + shift other.</summary>
    private static void Square(
        ref MuonPass given,
        nint left,
        nint columns,
        nint result,
        double scale,
        double shift,
        nint other,
        IMatrixProducts? products,
        Executor executor
    )
    {
        var pass = given;
        if (products is null)
            MatrixProduct.Square(pass.Work, pass.R, columns, left, result, pass.Panels, executor, scale, shift, other, Depth(pass));
        else
        {
            products.Multiply(
                View(pass.Work, left, pass.R, columns),
                View(pass.Work, left, pass.R, columns),
                true,
                View(pass.Work, result, pass.R, pass.R)
            );
            Combine(result, pass.R * pass.R, scale, shift, other);
        }
        if (pass.Numbers.Precision == MuonPrecision.BFloat16)
            Narrow(result, pass.R * pass.R);
    }

    /// <summary>next = polynomial x + shift x.</summary>
    private static void Times(ref MuonPass given, double shift, IMatrixProducts? products, Executor executor)
    {
        var pass = given;
        var (r, c) = (pass.R, pass.C);
        if (products is null)
            MatrixProduct.Run(pass.Work, r, c, r, pass.Polynomial, pass.X, pass.Next, pass.Panels, executor, 1, shift, pass.X, Depth(pass));
        else
        {
            products.Multiply(
                View(pass.Work, pass.Polynomial, r, r),
                View(pass.Work, pass.X, r, c),
                false,
                View(pass.Work, pass.Next, r, c)
            );
            Combine(pass.Next, r * c, 1, shift, pass.X);
        }
        if (pass.Numbers.Precision == MuonPrecision.BFloat16)
            Narrow(pass.Next, r * c);
    }

    /// <summary>What is rounded to bfloat16 is one sum from the first term to the last, as in PyTorch.</summary>
    private static nint Depth(in MuonPass pass) => pass.Numbers.Precision == MuonPrecision.BFloat16 ? nint.MaxValue : MatrixProduct.Depth;

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

    private readonly struct Momentum : IElementLoop
    {
        [MethodImpl(MethodImplOptions.AggressiveOptimization | MethodImplOptions.NoInlining)]
        public static nint Run<V>(void* context, nint i, nint end)
            where V : struct, IVector<V>
        {
            var pass = (MuonPass*)context;
            T* g = (T*)pass->Tensor.Grad,
                buffer = (T*)pass->Tensor.Buffer,
                direction = (T*)pass->Direction;
            var momentum = pass->Numbers.Momentum;
            var (weight, rest, isNear) = (V.Of(1 - momentum), V.Of(momentum), 1 - momentum < 0.5);
            for (; i <= end - V.Count; i += V.Count)
            {
                var grad = V.Load(g + i);
                var next = Moves.Between(V.Load(buffer + i), grad, weight, rest, isNear);
                V.Store(next, buffer + i);
                V.Store(pass->Numbers.Nesterov ? Moves.Between(grad, next, rest, weight, momentum < 0.5) : next, direction + i);
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

    private readonly struct Move : IElementLoop
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
                V.Store(Moves.Against(V.Load(p + i), direction, keep, rate), p + i);
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

    private static double Largest(double value, double bound) => value > bound || double.IsNaN(value) ? value : bound;
}
