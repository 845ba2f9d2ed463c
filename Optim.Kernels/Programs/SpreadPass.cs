using System.Collections.Immutable;

namespace Optim.Kernels;

/// <summary>What spreads, and reductions over all parameters, need of a slice.</summary>
/// <param name="Shape">The lengths of the tensor's dimensions.</param>
/// <param name="Stream">What tells its noise from that of other tensors.</param>
/// <param name="Row">The place of the parameter among all that step together: in this order sums over all are formed.</param>
internal readonly record struct SpreadSlice(ImmutableArray<long> Shape, ulong Stream, int Row)
{
    /// <summary>The product of the lengths of the first dimensions.</summary>
    public nint LeadingCount(int dimensions)
    {
        nint count = 1;
        for (var i = 0; i < Math.Min(dimensions, Shape.Length); i++)
            count *= (nint)Shape[i];
        return count;
    }
}

/// <summary>
/// Replaces the elements of a tensor, in row-major order, by what many of them come to, or by noise. Every element is the same whoever works
/// it out: sums are formed row by row, by the fixed tree within a row; noise depends on the element's place alone.
/// </summary>
internal static unsafe class SpreadPass
{
    private struct Context
    {
        public byte* Elements;
        public nint Length,
            Rows,
            Columns;
        public bool IsDouble;
        public Operation Operation;
        public Width Width;
        public ulong Key;
    }

    /// <summary>Runs one over the elements at an address, in the type of the arithmetic.</summary>
    public static void Run(
        Node node,
        nint address,
        nint length,
        bool isDouble,
        SpreadSlice slice,
        (double Seed, double Step) noise,
        Executor executor
    )
    {
        if (length == 0)
            return;
        var context = new Context
        {
            Elements = (byte*)address,
            Length = length,
            Rows = slice.LeadingCount((int)node.Value),
            Columns = length / slice.LeadingCount((int)node.Value),
            IsDouble = isDouble,
            Operation = node.Operation,
            Width = Lanes.Width,
            Key = Mixed(
                Mixed(Mixed(slice.Stream) ^ BitConverter.DoubleToUInt64Bits(noise.Seed)) ^ BitConverter.DoubleToUInt64Bits(noise.Step)
            ),
        };
        switch (node.Operation)
        {
            case Operation.Noise:
                executor.Run(length, &Noise, &context);
                break;
            case Operation.SumOfRow or Operation.SumOfSquaresOfRow:
                executor.Run(length, &Rows, &context);
                break;
            default:
                executor.Run(length, &Columns, &context);
                break;
        }
    }

    /// <summary>The rows that begin in elements [begin, end).</summary>
    private static void Rows(nint begin, nint end, void* at)
    {
        var context = (Context*)at;
        var columns = context->Columns;
        for (var row = (begin + columns - 1) / columns; row < context->Rows && row * columns < end; row++)
        {
            var sum = 0.0;
            for (nint first = 0; first < columns; first += ReductionTable.Block)
            {
                var count = (int)Math.Min(ReductionTable.Block, columns - first);
                var elements = (nint)context->Elements + (row * columns + first) * (context->IsDouble ? sizeof(double) : sizeof(float));
                sum +=
                    context->Operation == Operation.SumOfRow
                        ? ReductionKernel<Sums>.OfBlock(context->Width, elements, count, context->IsDouble)
                        : ReductionKernel<Squares>.OfBlock(context->Width, elements, count, context->IsDouble);
            }
            for (var column = row * columns; column < (row + 1) * columns; column++)
                Set(context, column, sum);
        }
    }

    /// <summary>As many columns as elements [begin, end) are of all: column c begins at element c rows.</summary>
    private static void Columns(nint begin, nint end, void* at)
    {
        var context = (Context*)at;
        for (var column = (begin + context->Rows - 1) / context->Rows; column < context->Columns && column * context->Rows < end; column++)
        {
            var sum = 0.0;
            for (nint row = 0; row < context->Rows; row++)
            {
                var value = Get(context, row * context->Columns + column);
                sum = context->Operation == Operation.SumOfColumn ? sum + value : Math.FusedMultiplyAdd(value, value, sum);
            }
            for (nint row = 0; row < context->Rows; row++)
                Set(context, row * context->Columns + column, sum);
        }
    }

    private static void Noise(nint begin, nint end, void* at)
    {
        var context = (Context*)at;
        for (var i = begin; i < end; i++)
            Set(context, i, Normal(context->Key, (ulong)i));
    }

    /// <summary>A standard normal number, by Box and Muller (1958), of two uniform ones in (0, 1].</summary>
    private static double Normal(ulong key, ulong place)
    {
        var (a, b) = (Uniform(Mixed(key + 2 * place)), Uniform(Mixed(key + 2 * place + 1)));
        return Math.Sqrt(-2 * Math.Log(a)) * Math.Cos(2 * Math.PI * b);
    }

    private static double Uniform(ulong bits) => ((bits >> 11) + 1) / (double)(1UL << 53);

    /// <summary>SplitMix64 (Steele, Lea and Flood 2014): bits that look unrelated for neighbouring numbers.</summary>
    private static ulong Mixed(ulong z)
    {
        z += 0x9E3779B97F4A7C15;
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9;
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB;
        return z ^ (z >> 31);
    }

    private static double Get(Context* context, nint i) =>
        context->IsDouble ? ((double*)context->Elements)[i] : ((float*)context->Elements)[i];

    private static void Set(Context* context, nint i, double value)
    {
        if (context->IsDouble)
            ((double*)context->Elements)[i] = value;
        else
            ((float*)context->Elements)[i] = (float)value;
    }
}
