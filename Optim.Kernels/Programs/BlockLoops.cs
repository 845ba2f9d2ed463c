using System.Runtime.CompilerServices;

namespace Optim.Kernels;

/// <summary>One operation over neighbouring elements: target, and up to three operands, each with 1, or 0 for one that is the same vector for all elements.</summary>
internal readonly unsafe struct BlockLoop(delegate* <byte*, byte*, nint, byte*, nint, byte*, nint, int, void> body)
{
    public readonly delegate* <byte*, byte*, nint, byte*, nint, byte*, nint, int, void> Body = body;
}

/// <summary>The operations over blocks, on lanes of one kind.</summary>
internal abstract unsafe class BlockLoops
{
    /// <summary>Elements of a vector.</summary>
    public abstract int Count { get; }

    /// <summary>An operation; by how far, where that moves bits.</summary>
    public abstract BlockLoop For(Operation operation, int bits);

    /// <summary>Two operations of two operands each, as one of (a, b, c): the first of a and b, the second of it and c, in this order or the other.</summary>
    public abstract BlockLoop? Pair(Operation first, Operation second, bool isLeft);

    /// <summary>c + a (b - c), the product and the sum rounded once.</summary>
    public abstract BlockLoop Move { get; }

    /// <summary>Elements as they are.</summary>
    public abstract BlockLoop Copy { get; }

    /// <summary>Elements to words of 16 bits.</summary>
    public abstract BlockLoop StoreWords { get; }

    /// <summary>A number in every element of a vector.</summary>
    public abstract void Number(byte* number, byte* target);

    /// <summary>A constant, or bits, in every element of a vector.</summary>
    public abstract void Constant(double value, uint bits, bool isBits, byte* target);

    public static BlockLoops Of<V>()
        where V : struct, IVector<V> => Loops<V>.Instance;

    private interface IStep
    {
        static abstract V Run<V>(V a, V b, V c)
            where V : struct, IVector<V>;
    }

    private readonly struct Same : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => a;
    }

    private readonly struct Add : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => a + b;
    }

    private readonly struct Subtract : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => a - b;
    }

    private readonly struct Multiply : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => a * b;
    }

    private readonly struct Divide : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => a / b;
    }

    private readonly struct Negate : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => -a;
    }

    private readonly struct Root : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Sqrt(a);
    }

    private readonly struct Fused : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Fma(a, b, c);
    }

    private readonly struct Magnitude : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Abs(a);
    }

    private readonly struct Greater : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Greater(a, b);
    }

    private readonly struct IsNaN : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.IsNaN(a);
    }

    private readonly struct Select : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Select(a, b, c);
    }

    private readonly struct And : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.And(a, b);
    }

    private readonly struct Or : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Or(a, b);
    }

    private readonly struct AddBits : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.AddBits(a, b);
    }

    private readonly struct GreaterBits : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.GreaterBits(a, b);
    }

    private readonly struct Left13 : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.ShiftLeft(a, 13);
    }

    private readonly struct Left16 : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.ShiftLeft(a, 16);
    }

    private readonly struct Right13 : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.ShiftRight(a, 13);
    }

    private readonly struct Right16 : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.ShiftRight(a, 16);
    }

    private readonly struct Moved : IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => V.Fma(a, b - c, c);
    }

    private readonly struct Left<S1, S2> : IStep
        where S1 : struct, IStep
        where S2 : struct, IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => S2.Run(S1.Run(a, b, default), c, default);
    }

    private readonly struct Right<S1, S2> : IStep
        where S1 : struct, IStep
        where S2 : struct, IStep
    {
        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        public static V Run<V>(V a, V b, V c)
            where V : struct, IVector<V> => S2.Run(c, S1.Run(a, b, default), default);
    }

    private sealed class Loops<V> : BlockLoops
        where V : struct, IVector<V>
    {
        public static Loops<V> Instance { get; } = new();

        public override int Count => V.Count;

        private static int Bytes => Unsafe.SizeOf<V>();

        public override BlockLoop Copy => new(&One<Same>);

        public override BlockLoop Move => new(&Three<Moved>);

        public override BlockLoop? Pair(Operation first, Operation second, bool isLeft) =>
            first switch
            {
                Operation.Add => After<Add>(second, isLeft),
                Operation.Subtract => After<Subtract>(second, isLeft),
                Operation.Multiply => After<Multiply>(second, isLeft),
                Operation.Divide => After<Divide>(second, isLeft),
                _ => null,
            };

        private static BlockLoop? After<S>(Operation second, bool isLeft)
            where S : struct, IStep =>
            second switch
            {
                Operation.Add => new(&Three<Left<S, Add>>),
                Operation.Multiply => new(&Three<Left<S, Multiply>>),
                Operation.Subtract => isLeft ? new(&Three<Left<S, Subtract>>) : new(&Three<Right<S, Subtract>>),
                Operation.Divide => isLeft ? new(&Three<Left<S, Divide>>) : new(&Three<Right<S, Divide>>),
                _ => null,
            };

        public override BlockLoop StoreWords => new(&ToWords);

        public override BlockLoop For(Operation operation, int bits) =>
            operation switch
            {
                Operation.Add => new(&Two<Add>),
                Operation.Subtract => new(&Two<Subtract>),
                Operation.Multiply => new(&Two<Multiply>),
                Operation.Divide => new(&Two<Divide>),
                Operation.Negate => new(&One<Negate>),
                Operation.Sqrt => new(&One<Root>),
                Operation.Fma => new(&Three<Fused>),
                Operation.Abs => new(&One<Magnitude>),
                Operation.Greater => new(&Two<Greater>),
                Operation.IsNaN => new(&One<IsNaN>),
                Operation.Select => new(&Three<Select>),
                Operation.LoadWords => new(&FromWords),
                Operation.And => new(&Two<And>),
                Operation.Or => new(&Two<Or>),
                Operation.AddBits => new(&Two<AddBits>),
                Operation.GreaterBits => new(&Two<GreaterBits>),
                Operation.ShiftLeft when bits == 13 => new(&One<Left13>),
                Operation.ShiftLeft when bits == 16 => new(&One<Left16>),
                Operation.ShiftRight when bits == 13 => new(&One<Right13>),
                Operation.ShiftRight when bits == 16 => new(&One<Right16>),
                _ => throw new NotSupportedException($"{operation} ({bits}) over blocks"),
            };

        public override void Number(byte* number, byte* target) =>
            V.Store(V.Of(Bytes / V.Count == sizeof(double) ? *(double*)number : *(float*)number), target);

        public override void Constant(double value, uint bits, bool isBits, byte* target) =>
            V.Store(isBits ? V.OfBits(bits) : V.Of(value), target);

        // Four vectors at a time: the loads and stores of an operation are what a block costs.

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void One<S>(byte* target, byte* a, nint ofA, byte* b, nint ofB, byte* c, nint ofC, int count)
            where S : struct, IStep
        {
            var i = 0;
            for (; ofA > 0 && i <= count - 4 * V.Count; i += 4 * V.Count, target += 4 * Bytes, a += 4 * Bytes)
            {
                V.Store(S.Run(V.Load(a), default, default), target);
                V.Store(S.Run(V.Load(a + Bytes), default, default), target + Bytes);
                V.Store(S.Run(V.Load(a + 2 * Bytes), default, default), target + 2 * Bytes);
                V.Store(S.Run(V.Load(a + 3 * Bytes), default, default), target + 3 * Bytes);
            }
            for (; i < count; i += V.Count, target += Bytes, a += ofA * Bytes)
                V.Store(S.Run(V.Load(a), default, default), target);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Two<S>(byte* target, byte* a, nint ofA, byte* b, nint ofB, byte* c, nint ofC, int count)
            where S : struct, IStep
        {
            (ofA, ofB) = (ofA * Bytes, ofB * Bytes);
            var i = 0;
            for (; i <= count - 4 * V.Count; i += 4 * V.Count, target += 4 * Bytes, a += 4 * ofA, b += 4 * ofB)
            {
                V.Store(S.Run(V.Load(a), V.Load(b), default), target);
                V.Store(S.Run(V.Load(a + ofA), V.Load(b + ofB), default), target + Bytes);
                V.Store(S.Run(V.Load(a + 2 * ofA), V.Load(b + 2 * ofB), default), target + 2 * Bytes);
                V.Store(S.Run(V.Load(a + 3 * ofA), V.Load(b + 3 * ofB), default), target + 3 * Bytes);
            }
            for (; i < count; i += V.Count, target += Bytes, a += ofA, b += ofB)
                V.Store(S.Run(V.Load(a), V.Load(b), default), target);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Three<S>(byte* target, byte* a, nint ofA, byte* b, nint ofB, byte* c, nint ofC, int count)
            where S : struct, IStep
        {
            (ofA, ofB, ofC) = (ofA * Bytes, ofB * Bytes, ofC * Bytes);
            var i = 0;
            for (; i <= count - 4 * V.Count; i += 4 * V.Count, target += 4 * Bytes, a += 4 * ofA, b += 4 * ofB, c += 4 * ofC)
            {
                V.Store(S.Run(V.Load(a), V.Load(b), V.Load(c)), target);
                V.Store(S.Run(V.Load(a + ofA), V.Load(b + ofB), V.Load(c + ofC)), target + Bytes);
                V.Store(S.Run(V.Load(a + 2 * ofA), V.Load(b + 2 * ofB), V.Load(c + 2 * ofC)), target + 2 * Bytes);
                V.Store(S.Run(V.Load(a + 3 * ofA), V.Load(b + 3 * ofB), V.Load(c + 3 * ofC)), target + 3 * Bytes);
            }
            for (; i < count; i += V.Count, target += Bytes, a += ofA, b += ofB, c += ofC)
                V.Store(S.Run(V.Load(a), V.Load(b), V.Load(c)), target);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void FromWords(byte* target, byte* a, nint ofA, byte* b, nint ofB, byte* c, nint ofC, int count)
        {
            for (var i = 0; i < count; i += V.Count, target += Bytes, a += Bytes / 2)
                V.Store(V.LoadWords(a), target);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void ToWords(byte* target, byte* a, nint ofA, byte* b, nint ofB, byte* c, nint ofC, int count)
        {
            ofA *= Bytes;
            for (var i = 0; i < count; i += V.Count, target += Bytes / 2, a += ofA)
                V.StoreWords(V.Load(a), target);
        }
    }
}
