using System.Collections.Immutable;
using System.Numerics;
using System.Runtime.CompilerServices;

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
/// A spread of one slice: what many elements come to, in each of these. It has no array: blocks of elements, counted as those of reductions
/// are, are taken in while they are in the cache, and blocks of what they came to are made there when a later visit reads them.
/// A row's sum is that of its parts in the blocks, each formed by the fixed tree. A column's is formed of running sums, one for each column, or
/// several where there are fewer than 32, which take the elements of a band of blocks in turn; those of the bands are joined in pairs of neighbours.
/// A single column is summed as a whole tensor is.
/// </summary>
internal unsafe struct SpreadSpan
{
    /// <summary>Rows of a band, at least: then the running sums of all bands are few against the elements.</summary>
    public const int BandRows = 32;

    /// <summary>How many blocks make a band of so many columns: a power of two.</summary>
    public static nint BandBlocksOf(nint columns) =>
        (nint)BitOperations.RoundUpToPowerOf2((nuint)((BandRows * columns + ReductionTable.Block - 1) / ReductionTable.Block));

    public Operation Operation;

    /// <summary>The place of the room in which blocks of it are made, or taken from.</summary>
    public int Room;

    /// <summary>Whether elements are taken in; else they are made.</summary>
    public bool IsTaken;
    public bool IsDouble;
    public Width Width;
    public nint Rows,
        Columns;

    /// <summary>How many neighbouring blocks one thread takes in, one after the other.</summary>
    public nint BandBlocks;

    /// <summary>Running sums of a band, where it sums columns.</summary>
    public int RunningSums;

    /// <summary>What the rows that begin in each block come to in it, or the running sums of one band after the other.</summary>
    public double* Parts;

    /// <summary>Of each block, what a row that began before it comes to in it.</summary>
    public double* Begun;

    /// <summary>What each row or column comes to, in the type of the arithmetic.</summary>
    public byte* Totals;

    /// <summary>Of noise.</summary>
    public ulong Key;

    private readonly bool IsOfRows => Operation.IsOfRows();
    private readonly bool IsOfSquares => Operation is Operation.SumOfSquaresOfRow or Operation.SumOfSquaresOfColumn;

    /// <summary>How many rows or columns have a total.</summary>
    public readonly nint TotalCount => IsOfRows ? Rows : Columns;

    /// <summary>Whether all whole blocks of it are the same.</summary>
    public readonly bool IsRepeated => Operation.IsSum() && (IsOfRows ? Rows == 1 : ReductionTable.Block % Columns == 0);

    private readonly int Size => IsDouble ? sizeof(double) : sizeof(float);

    /// <summary>Takes a block in.</summary>
    public readonly void Take(nint block, byte* elements, int count)
    {
        if (IsOfRows)
            TakeRows(block, elements, count);
        else
            TakeColumns(block, elements, count);
    }

    private readonly void TakeRows(nint block, byte* elements, int count)
    {
        var (row, at) = Math.DivRem(block * ReductionTable.Block, Columns);
        for (var i = 0; i < count; row++, at = 0)
        {
            var length = (int)Math.Min(Columns - at, count - i);
            var sum = OfBlock((nint)(elements + i * (nint)Size), length);
            if (at == 0)
                Parts[row] = sum;
            else
                Begun[block] = sum;
            i += length;
        }
    }

    private readonly double OfBlock(nint elements, int count) =>
        IsOfSquares
            ? ReductionKernel<Squares>.OfBlock(Width, elements, count, IsDouble)
            : ReductionKernel<Sums>.OfBlock(Width, elements, count, IsDouble);

    private readonly void TakeColumns(nint block, byte* elements, int count)
    {
        var (band, inBand) = Math.DivRem(block, BandBlocks);
        var sums = Parts + band * RunningSums;
        if (Columns == 1)
        {
            *sums = OfBlock((nint)elements, count);
            return;
        }
        if (inBand == 0)
            new Span<double>(sums, RunningSums).Clear();
        // Running sums are as many as so many whole rows have elements, and a band begins with the sum of the column that it begins in.
        var at = (int)(block * ReductionTable.Block % RunningSums);
        if (IsOfSquares)
            ReductionKernel<Squares>.InTurn(Width, (nint)elements, count, IsDouble, sums, RunningSums, at);
        else
            ReductionKernel<Sums>.InTurn(Width, (nint)elements, count, IsDouble, sums, RunningSums, at);
    }

    /// <summary>Works out what rows or columns come to, when all blocks have been taken in.</summary>
    public readonly void Join(nint blocks)
    {
        if (IsOfRows)
            JoinRows(blocks);
        else
            JoinColumns((blocks + BandBlocks - 1) / BandBlocks);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void JoinRows(nint blocks)
    {
        for (nint block = 1; block < blocks; block++)
        {
            var (row, at) = Math.DivRem(block * ReductionTable.Block, Columns);
            if (at != 0)
                Parts[row] += Begun[block];
        }
        for (nint row = 0; row < Rows; row++)
            Set(row, Parts[row]);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void JoinColumns(nint bands)
    {
        for (nint apart = 1; apart < bands; apart *= 2)
        for (nint band = 0; band + apart < bands; band += 2 * apart)
        {
            var sums = Parts + band * RunningSums;
            var more = sums + apart * RunningSums;
            for (var i = 0; i < RunningSums; i++)
                sums[i] += more[i];
        }
        for (nint column = 0; column < Columns; column++)
        {
            var sum = Parts[column];
            for (var i = column + Columns; i < RunningSums; i += Columns)
                sum += Parts[i];
            Set(column, sum);
        }
    }

    private readonly void Set(nint place, double total)
    {
        if (IsDouble)
            ((double*)Totals)[place] = total;
        else
            ((float*)Totals)[place] = (float)total;
    }

    /// <summary>Makes what lies in the places of neighbouring elements.</summary>
    public readonly void Make(nint first, byte* target, int count)
    {
        if (Operation == Operation.Noise)
            Noise.Fill(Key, first, target, count, IsDouble);
        else if (IsDouble)
            Make(first, (double*)Totals, (double*)target, count);
        else
            Make(first, (float*)Totals, (float*)target, count);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private readonly void Make<S>(nint first, S* totals, S* target, int count)
        where S : unmanaged
    {
        var (row, at) = Math.DivRem(first, Columns);
        if (IsOfRows || Columns == 1)
            for (var i = 0; i < count; row++, at = 0)
            {
                var length = IsOfRows ? (int)Math.Min(Columns - at, count - i) : count;
                new Span<S>(target + i, length).Fill(totals[IsOfRows ? row : 0]);
                i += length;
            }
        else
        {
            var begun = (int)Math.Min(count, at == 0 ? 0 : Columns - at);
            new ReadOnlySpan<S>(totals + at, begun).CopyTo(new(target, begun));
            for (var made = begun; made < count; )
            {
                // A row, and then what was made of whole rows: twice as much each time.
                var length = (int)Math.Min(made == begun ? Columns : made - begun, count - made);
                new ReadOnlySpan<S>(made == begun ? totals : target + begun, length).CopyTo(new(target + made, length));
                made += length;
            }
        }
    }
}
