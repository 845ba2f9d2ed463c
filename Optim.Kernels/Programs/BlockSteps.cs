// Long, because every operation has its few lines.
using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>An operation of up to four operands, on lanes of any kind; those that it does not have are not loaded.</summary>
internal interface IBlockStep
{
    /// <summary>How many operands it has.</summary>
    static abstract int Operands { get; }

    /// <summary>Whether it works out something of its third and fourth operands.</summary>
    static virtual bool IsTree => false;

    static abstract V Run<V>(V a, V b, V c, V d)
        where V : struct, IVector<V>;
}

/// <summary>The operations that blocks are worked out by.</summary>
internal static class BlockSteps
{
    /// <summary>Elements as they are.</summary>
    public readonly struct Same : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a;
    }

    public readonly struct Add : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a + b;
    }

    public readonly struct Subtract : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a - b;
    }

    public readonly struct Multiply : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a * b;
    }

    public readonly struct Divide : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a / b;
    }

    public readonly struct Negate : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => -a;
    }

    public readonly struct Root : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Sqrt(a);
    }

    public readonly struct Exponential : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Exp(a);
    }

    public readonly struct Logarithm : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Log(a);
    }

    public readonly struct CubeRoot : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Cbrt(a);
    }

    public readonly struct Exponentiation : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Pow(a, b);
    }

    public readonly struct Fused : IBlockStep
    {
        public static int Operands => 3;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Fma(a, b, c);
    }

    public readonly struct Magnitude : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Abs(a);
    }

    public readonly struct Larger : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Max(a, b);
    }

    public readonly struct Smaller : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Min(a, b);
    }

    public readonly struct Signs : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Select(V.Greater(a, V.Of(0)), V.Of(1), V.Select(V.Greater(V.Of(0), a), V.Of(-1), V.Of(0)));
    }

    public readonly struct Greater : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Greater(a, b);
    }

    public readonly struct IsNaN : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.IsNaN(a);
    }

    public readonly struct Select : IBlockStep
    {
        public static int Operands => 3;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Select(a, b, c);
    }

    public readonly struct And : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.And(a, b);
    }

    public readonly struct Or : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Or(a, b);
    }

    public readonly struct AddBits : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.AddBits(a, b);
    }

    public readonly struct GreaterBits : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.GreaterBits(a, b);
    }

    public readonly struct Left13 : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.ShiftLeft(a, 13);
    }

    public readonly struct Left16 : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.ShiftLeft(a, 16);
    }

    public readonly struct Right13 : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.ShiftRight(a, 13);
    }

    public readonly struct Right16 : IBlockStep
    {
        public static int Operands => 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.ShiftRight(a, 16);
    }

    /// <summary>c + a (b - c), the product and the sum rounded once.</summary>
    public readonly struct Moved : IBlockStep
    {
        public static int Operands => 3;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Fma(a, b - c, c);
    }

    /// <summary>The square of b, times a from the left.</summary>
    public readonly struct ScaledSquare : IBlockStep
    {
        public static int Operands => 2;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => a * b * b;
    }

    /// <summary>c d + (a b) b, the last product and the sum rounded once.</summary>
    public readonly struct MovedSquare : IBlockStep
    {
        public static int Operands => 4;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Fma(a * b, b, c * d);
    }

    /// <summary>c where a is greater than b, and else d.</summary>
    public readonly struct Choice : IBlockStep
    {
        public static int Operands => 4;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => V.Select(V.Greater(a, b), c, d);
    }

    /// <summary>An operation on what another one gives, and one operand more.</summary>
    public readonly struct Left<S, T> : IBlockStep
        where S : struct, IBlockStep
        where T : struct, IBlockStep
    {
        public static int Operands => S.Operands + 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> =>
            T.Run(
                S.Run(a, b, c, d),
                S.Operands == 1 ? b
                    : S.Operands == 2 ? c
                    : d,
                default,
                default
            );
    }

    /// <summary>The same, with what the other one gives as the second operand.</summary>
    public readonly struct Right<S, T> : IBlockStep
        where S : struct, IBlockStep
        where T : struct, IBlockStep
    {
        public static int Operands => S.Operands + 1;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> =>
            T.Run(
                S.Operands == 1 ? b
                    : S.Operands == 2 ? c
                    : d,
                S.Run(a, b, c, d),
                default,
                default
            );
    }

    /// <summary>An operation on what two others give.</summary>
    public readonly struct Both<S, T, U> : IBlockStep
        where S : struct, IBlockStep
        where T : struct, IBlockStep
        where U : struct, IBlockStep
    {
        public static int Operands => 4;

        public static bool IsTree => true;

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c, V d)
            where V : struct, IVector<V> => T.Run(S.Run(a, b, c, d), U.Run(c, d, a, b), default, default);
    }
}
