using System.Numerics;

namespace Optim.Distributed;

/// <summary>A message of a rank in a collective call: what it sends to a peer and receives from it, by the places of ranks in the buffer.</summary>
/// <param name="Peer">The other rank.</param>
/// <param name="SendFrom">The first segment that is sent.</param>
/// <param name="SendTo">One past the last.</param>
/// <param name="ReceiveFrom">The first segment that is received.</param>
/// <param name="ReceiveTo">One past the last.</param>
/// <param name="IsLeft">In sums, whether what is here comes first, as the part of lower ranks.</param>
/// <param name="IsSum">In sums, whether what comes is added, and does not take the place of what is here.</param>
internal readonly record struct Move(
    int Peer,
    int SendFrom,
    int SendTo,
    int ReceiveFrom,
    int ReceiveTo,
    bool IsLeft = true,
    bool IsSum = true
);

/// <summary>
/// The messages of each rank when all of them sum, or gather, a buffer that has a segment for each rank. Neighbours exchange halves first, then neighbours
/// of pairs, and so on: log2 n messages for each rank, of (n - 1) / n of the buffer in all, and the sums are those of one fixed tree over ranks in their order,
/// ((0 + 1) + (2 + 3)) + ... Between nodes of a power of two of neighbouring ranks go only the last messages, which are the smallest.
/// Where n is no power of two, the first pairs of neighbours join before that and part afterwards.
/// </summary>
internal sealed class RankTree
{
    private readonly int levels;
    private readonly int pairs;
    private readonly int[] starts;
    private readonly int[] places;

    public RankTree(int size)
    {
        Size = size;
        levels = BitOperations.Log2((uint)size);
        pairs = size - (1 << levels);
        starts = new int[(1 << levels) + 1];
        Order = new int[size];
        places = new int[size];
        var at = 0;
        for (var place = 0; place < 1 << levels; place++)
        {
            starts[place] = at;
            var rank = RankOf(Reversed(place));
            Order[at++] = rank;
            if (Reversed(place) < pairs)
                Order[at++] = rank + 1;
        }
        starts[^1] = at;
        for (var i = 0; i < size; i++)
            places[Order[i]] = i;
    }

    public int Size { get; }

    /// <summary>The rank whose segment is at each place of the buffer.</summary>
    public int[] Order { get; }

    /// <summary>Where a rank's segment is.</summary>
    public int PlaceOf(int rank) => places[rank];

    /// <summary>Each rank ends with the sum of its own segment over all ranks; what is left in the others means nothing.</summary>
    public IReadOnlyList<Move> ReduceScatter(int rank)
    {
        var moves = new List<Move>();
        var place = places[rank];
        if (rank < 2 * pairs && rank % 2 == 1)
            return [new(rank - 1, 0, Size, 0, 0), new(rank - 1, 0, 0, place, place + 1, IsSum: false)];
        if (rank < 2 * pairs)
            moves.Add(new(rank + 1, 0, 0, 0, Size));
        var number = NumberOf(rank);
        for (int level = 0, first = 0, length = 1 << levels; level < levels; level++)
        {
            length /= 2;
            var isLeft = (number >> level & 1) == 0;
            var (low, middle, high) = (starts[first], starts[first + length], starts[first + 2 * length]);
            var peer = RankOf(number ^ 1 << level);
            moves.Add(isLeft ? new(peer, middle, high, low, middle) : new(peer, low, middle, middle, high, false));
            first += isLeft ? 0 : length;
        }
        if (rank < 2 * pairs)
            moves.Add(new(rank + 1, place + 1, place + 2, 0, 0));
        return moves;
    }

    /// <summary>Each rank has its own segment, and ends with all of them.</summary>
    public IReadOnlyList<Move> AllGather(int rank)
    {
        var moves = new List<Move>();
        var place = places[rank];
        if (rank < 2 * pairs && rank % 2 == 1)
            return [new(rank - 1, place, place + 1, 0, 0), new(rank - 1, 0, 0, 0, Size)];
        if (rank < 2 * pairs)
            moves.Add(new(rank + 1, 0, 0, place + 1, place + 2));
        var number = NumberOf(rank);
        for (int level = levels - 1, first = Reversed(number), length = 1; level >= 0; level--, length *= 2)
        {
            var other = first ^ length;
            moves.Add(new(RankOf(number ^ 1 << level), starts[first], starts[first + length], starts[other], starts[other + length]));
            first = Math.Min(first, other);
        }
        if (rank < 2 * pairs)
            moves.Add(new(rank + 1, 0, Size, 0, 0));
        return moves;
    }

    /// <summary>What parts of all ranks come to, joined as sums are.</summary>
    public T Join<T>(IReadOnlyList<T> parts, Func<T, T, T> join)
    {
        var sums = new T[1 << levels];
        for (var number = 0; number < sums.Length; number++)
            sums[number] = number < pairs ? join(parts[2 * number], parts[2 * number + 1]) : parts[number + pairs];
        for (var apart = 1; apart < sums.Length; apart *= 2)
        for (var i = 0; i < sums.Length; i += 2 * apart)
            sums[i] = join(sums[i], sums[i + apart]);
        return sums[0];
    }

    private int RankOf(int number) => number < pairs ? 2 * number : number + pairs;

    private int NumberOf(int rank) => rank < 2 * pairs ? rank / 2 : rank - pairs;

    private int Reversed(int number)
    {
        var reversed = 0;
        for (var level = 0; level < levels; level++)
            reversed |= (number >> level & 1) << (levels - 1 - level);
        return reversed;
    }
}
