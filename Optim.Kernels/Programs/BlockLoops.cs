using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics.X86;
using static Optim.Kernels.BlockSteps;

namespace Optim.Kernels;

/// <summary>Where a loop over neighbouring elements finds its operands and leaves its result.</summary>
internal unsafe struct BlockArguments
{
    public byte* Target,
        A,
        B,
        C,
        D;

    /// <summary>1, or 0 for an operand that is the same vector for all elements.</summary>
    public nint OfA,
        OfB,
        OfC,
        OfD;

    /// <summary>Elements; whole vectors.</summary>
    public int Count;

    /// <summary>What a later block needs, and how many bytes of it are fetched with each four vectors.</summary>
    public byte* Ahead;
    public nint Lead;
}

/// <summary>One operation over neighbouring elements.</summary>
internal readonly unsafe struct BlockLoop(delegate* <BlockArguments*, void> body)
{
    public readonly delegate* <BlockArguments*, void> Body = body;
}

/// <summary>
/// Some operations as one, since what a block costs is what it loads and stores: ((a First b) Second c) Third d, where what there is so
/// far is the left or the right operand; or (a First b) Second (c Third d).
/// </summary>
/// <param name="First">Of two operands, or the square root of one.</param>
/// <param name="Second">Then.</param>
/// <param name="IsLeft">Whether what there is so far is its left operand.</param>
/// <param name="Third">Then; none where it is Input.</param>
/// <param name="IsThirdLeft">Whether what there is so far is its left operand.</param>
/// <param name="IsTree">Whether the third makes the other operand of the second.</param>
/// <param name="IsSquare">Whether the first is a product that is multiplied by its second operand again: a b b.</param>
/// <param name="IsThirdSquare">Whether the third of a tree is.</param>
internal readonly record struct Fusion(
    Operation First,
    Operation Second = Operation.Input,
    bool IsLeft = true,
    Operation Third = Operation.Input,
    bool IsThirdLeft = true,
    bool IsTree = false,
    bool IsSquare = false,
    bool IsThirdSquare = false
)
{
    /// <summary>How many operations.</summary>
    public int Length =>
        Second == Operation.Input ? 1
        : Third == Operation.Input ? 2
        : 3;

    /// <summary>With one operation more; only where there are less than three.</summary>
    public Fusion Then(Operation operation, bool isLeft) =>
        Length == 1 ? this with { Second = operation, IsLeft = isLeft } : this with { Third = operation, IsThirdLeft = isLeft };
}

/// <summary>Which operands of a loop are the same vector for all elements.</summary>
internal interface IUniform
{
    /// <summary>The first one, and the third of a tree; the others may be, too.</summary>
    static abstract bool First { get; }
}

/// <summary>Those are.</summary>
internal readonly struct Uniform : IUniform
{
    public static bool First => true;
}

/// <summary>Those are not.</summary>
internal readonly struct Neighbours : IUniform
{
    public static bool First => false;
}

/// <summary>The operations over blocks, on lanes of one kind.</summary>
internal abstract unsafe class BlockLoops
{
    /// <summary>Elements of a vector.</summary>
    public abstract int Count { get; }

    /// <summary>An operation; by how far, where that moves bits.</summary>
    public abstract BlockLoop For(Operation operation, int bits);

    /// <summary>Two or three operations as one.</summary>
    /// <param name="fusion">Which.</param>
    /// <param name="isUniform">Whether the first operand is the same vector for all elements; of a tree, also the third.</param>
    public abstract BlockLoop For(Fusion fusion, bool isUniform);

    /// <summary>c + a (b - c), the product and the sum rounded once.</summary>
    public abstract BlockLoop Move { get; }

    /// <summary>c d + (a b) b, the last product and the sum rounded once.</summary>
    public abstract BlockLoop MoveSquare { get; }

    /// <summary>c where a is greater than b, and else d.</summary>
    public abstract BlockLoop Choose { get; }

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

    private sealed class Loops<V> : BlockLoops
        where V : struct, IVector<V>
    {
        public static Loops<V> Instance { get; } = new();

        public override int Count => V.Count;

        private static int Bytes => Unsafe.SizeOf<V>();

        public override BlockLoop Copy => new(&Run<Same, Neighbours>);

        public override BlockLoop Move => new(&Run<Moved, Neighbours>);

        public override BlockLoop MoveSquare => new(&Run<MovedSquare, Neighbours>);

        public override BlockLoop Choose => new(&Run<Choice, Neighbours>);

        public override BlockLoop StoreWords => new(&ToWords);

        public override BlockLoop For(Operation operation, int bits) =>
            operation switch
            {
                Operation.Add => new(&Run<Add, Neighbours>),
                Operation.Subtract => new(&Run<Subtract, Neighbours>),
                Operation.Multiply => new(&Run<Multiply, Neighbours>),
                Operation.Divide => new(&Run<Divide, Neighbours>),
                Operation.Negate => new(&Run<Negate, Neighbours>),
                Operation.Sqrt => new(&Run<Root, Neighbours>),
                Operation.Exp => new(&Run<Exponential, Neighbours>),
                Operation.Log => new(&Run<Logarithm, Neighbours>),
                Operation.Cbrt => new(&Run<CubeRoot, Neighbours>),
                Operation.Power => new(&Run<Exponentiation, Neighbours>),
                Operation.Fma => new(&Run<Fused, Neighbours>),
                Operation.Abs => new(&Run<Magnitude, Neighbours>),
                Operation.Max => new(&Run<Larger, Neighbours>),
                Operation.Min => new(&Run<Smaller, Neighbours>),
                Operation.Sign => new(&Run<Signs, Neighbours>),
                Operation.Greater => new(&Run<Greater, Neighbours>),
                Operation.IsNaN => new(&Run<IsNaN, Neighbours>),
                Operation.Select => new(&Run<Select, Neighbours>),
                Operation.LoadWords => new(&FromWords),
                Operation.And => new(&Run<And, Neighbours>),
                Operation.Or => new(&Run<Or, Neighbours>),
                Operation.AddBits => new(&Run<AddBits, Neighbours>),
                Operation.GreaterBits => new(&Run<GreaterBits, Neighbours>),
                Operation.ShiftLeft when bits == 13 => new(&Run<Left13, Neighbours>),
                Operation.ShiftLeft when bits == 16 => new(&Run<Left16, Neighbours>),
                Operation.ShiftRight when bits == 13 => new(&Run<Right13, Neighbours>),
                Operation.ShiftRight when bits == 16 => new(&Run<Right16, Neighbours>),
                _ => throw new NotSupportedException($"{operation} ({bits}) over blocks"),
            };

        public override BlockLoop For(Fusion fusion, bool isUniform) =>
            (fusion.First, fusion.IsTree) switch
            {
                (Operation.Multiply, false) when fusion.IsSquare => Second<ScaledSquare>(fusion, isUniform),
                (Operation.Multiply, true) when fusion.IsSquare => Tree<ScaledSquare>(fusion, isUniform),
                (Operation.Add, false) => Second<Add>(fusion, isUniform),
                (Operation.Subtract, false) => Second<Subtract>(fusion, isUniform),
                (Operation.Multiply, false) => Second<Multiply>(fusion, isUniform),
                (Operation.Divide, false) => Second<Divide>(fusion, isUniform),
                (Operation.Sqrt, false) => Second<Root>(fusion, isUniform),
                (Operation.Add, true) => Tree<Add>(fusion, isUniform),
                (Operation.Subtract, true) => Tree<Subtract>(fusion, isUniform),
                (Operation.Multiply, true) => Tree<Multiply>(fusion, isUniform),
                (Operation.Divide, true) => Tree<Divide>(fusion, isUniform),
                _ => throw new NotSupportedException($"{fusion} over blocks"),
            };

        private static BlockLoop Second<S>(Fusion fusion, bool isUniform)
            where S : struct, IBlockStep =>
            (fusion.Second, fusion.IsLeft) switch
            {
                (Operation.Input, _) => One<S>(isUniform),
                (Operation.Add, _) => Third<Left<S, Add>>(fusion, isUniform),
                (Operation.Multiply, _) => Third<Left<S, Multiply>>(fusion, isUniform),
                (Operation.Subtract, true) => Third<Left<S, Subtract>>(fusion, isUniform),
                (Operation.Subtract, false) => Third<Right<S, Subtract>>(fusion, isUniform),
                (Operation.Divide, true) => Third<Left<S, Divide>>(fusion, isUniform),
                (Operation.Divide, false) => Third<Right<S, Divide>>(fusion, isUniform),
                _ => throw new NotSupportedException($"{fusion} over blocks"),
            };

        private static BlockLoop Third<S>(Fusion fusion, bool isUniform)
            where S : struct, IBlockStep =>
            (fusion.Third, fusion.IsThirdLeft) switch
            {
                (Operation.Input, _) => One<S>(isUniform),
                (Operation.Add, _) => One<Left<S, Add>>(isUniform),
                (Operation.Multiply, _) => One<Left<S, Multiply>>(isUniform),
                (Operation.Subtract, true) => One<Left<S, Subtract>>(isUniform),
                (Operation.Subtract, false) => One<Right<S, Subtract>>(isUniform),
                (Operation.Divide, true) => One<Left<S, Divide>>(isUniform),
                (Operation.Divide, false) => One<Right<S, Divide>>(isUniform),
                _ => throw new NotSupportedException($"{fusion} over blocks"),
            };

        private static BlockLoop Tree<S>(Fusion fusion, bool isUniform)
            where S : struct, IBlockStep =>
            fusion.Second switch
            {
                Operation.Add => Tree<S, Add>(fusion, isUniform),
                Operation.Subtract => Tree<S, Subtract>(fusion, isUniform),
                Operation.Multiply => Tree<S, Multiply>(fusion, isUniform),
                Operation.Divide => Tree<S, Divide>(fusion, isUniform),
                _ => throw new NotSupportedException($"{fusion} over blocks"),
            };

        private static BlockLoop Tree<S, T>(Fusion fusion, bool isUniform)
            where S : struct, IBlockStep
            where T : struct, IBlockStep =>
            fusion.Third switch
            {
                Operation.Multiply when fusion.IsThirdSquare => One<Both<S, T, ScaledSquare>>(isUniform),
                Operation.Add => One<Both<S, T, Add>>(isUniform),
                Operation.Subtract => One<Both<S, T, Subtract>>(isUniform),
                Operation.Multiply => One<Both<S, T, Multiply>>(isUniform),
                Operation.Divide => One<Both<S, T, Divide>>(isUniform),
                _ => throw new NotSupportedException($"{fusion} over blocks"),
            };

        private static BlockLoop One<S>(bool isUniform)
            where S : struct, IBlockStep => isUniform ? new(&Run<S, Uniform>) : new(&Run<S, Neighbours>);

        public override void Number(byte* number, byte* target) =>
            V.Store(V.Of(Bytes / V.Count == sizeof(double) ? *(double*)number : *(float*)number), target);

        public override void Constant(double value, uint bits, bool isBits, byte* target) =>
            V.Store(isBits ? V.OfBits(bits) : V.Of(value), target);

        // Four vectors at a time: the loads and stores of an operation are what a block costs.
        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void Run<S, U>(BlockArguments* arguments)
            where S : struct, IBlockStep
            where U : struct, IUniform
        {
            byte* target = arguments->Target,
                a = arguments->A,
                b = arguments->B,
                c = arguments->C,
                d = arguments->D,
                ahead = arguments->Ahead;
            nint ofA = arguments->OfA * Bytes,
                ofB = arguments->OfB * Bytes,
                ofC = arguments->OfC * Bytes,
                ofD = arguments->OfD * Bytes,
                lead = arguments->Lead;
            // In registers, which saves loads.
            V first = U.First ? V.Load(a) : default,
                third = U.First && S.IsTree ? V.Load(c) : default;
            var left = arguments->Count;
            for (; left >= 4 * V.Count; left -= 4 * V.Count)
            {
                // A block is too short for the processor to see where it goes on.
                if (Sse.IsSupported)
                    for (nint i = 0; i < lead; i += 64)
                        Sse.Prefetch0(ahead + i);
                ahead += lead;
                V.Store(At<S, U>(first, third, a, b, c, d), target);
                V.Store(At<S, U>(first, third, a + ofA, b + ofB, c + ofC, d + ofD), target + Bytes);
                V.Store(At<S, U>(first, third, a + 2 * ofA, b + 2 * ofB, c + 2 * ofC, d + 2 * ofD), target + 2 * Bytes);
                V.Store(At<S, U>(first, third, a + 3 * ofA, b + 3 * ofB, c + 3 * ofC, d + 3 * ofD), target + 3 * Bytes);
                target += 4 * Bytes;
                a += 4 * ofA;
                b += 4 * ofB;
                c += 4 * ofC;
                d += 4 * ofD;
            }
            for (; left > 0; left -= V.Count)
            {
                V.Store(At<S, U>(first, third, a, b, c, d), target);
                target += Bytes;
                a += ofA;
                b += ofB;
                c += ofC;
                d += ofD;
            }
        }

        [MethodImpl(MethodImplOptions.AggressiveInlining)]
        private static V At<S, U>(V first, V third, byte* a, byte* b, byte* c, byte* d)
            where S : struct, IBlockStep
            where U : struct, IUniform =>
            S.Run(
                U.First ? first : V.Load(a),
                S.Operands > 1 ? V.Load(b) : default,
                S.Operands <= 2 ? default
                    : U.First && S.IsTree ? third
                    : V.Load(c),
                S.Operands > 3 ? V.Load(d) : default
            );

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void FromWords(BlockArguments* arguments)
        {
            var (target, words) = ((nint)arguments->Target, (nint)arguments->A);
            for (var i = 0; i < arguments->Count; i += V.Count, target += Bytes, words += Bytes / 2)
                V.Store(V.LoadWords((void*)words), (void*)target);
        }

        [MethodImpl(MethodImplOptions.AggressiveOptimization)]
        private static void ToWords(BlockArguments* arguments)
        {
            var (target, values, of) = ((nint)arguments->Target, (nint)arguments->A, arguments->OfA * Bytes);
            for (var i = 0; i < arguments->Count; i += V.Count, target += Bytes / 2, values += of)
                V.StoreWords(V.Load((void*)values), (void*)target);
        }
    }
}
