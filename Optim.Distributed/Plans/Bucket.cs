using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>Neighbouring elements of a tensor in a bucket.</summary>
/// <param name="Tensor">The number of the tensor.</param>
/// <param name="Offset">The first element.</param>
/// <param name="Length">How many there are.</param>
/// <param name="Owner">The rank for which they are summed, or from which they come.</param>
/// <param name="DType">What they are.</param>
/// <param name="At">Where they begin in the bucket, in bytes.</param>
internal readonly record struct Piece(int Tensor, nint Offset, nint Length, int Owner, DType DType, nint At = 0)
{
    public nint Bytes => Length * DType.Size();

    /// <summary>The elements in a buffer.</summary>
    public TensorView In(TensorView buffer) => new(buffer.Address + At, Layout.Contiguous(DType, Length), buffer.Owner);
}

/// <summary>What is sent together: pieces in the order in which the tree has its segments, and where each rank's segment begins.</summary>
internal sealed class Bucket
{
    private const nint Alignment = 8;

    private readonly RankTree tree;

    private Bucket(int number, IEnumerable<Piece> pieces, RankTree tree)
    {
        Number = number;
        this.tree = tree;
        var placed = new List<Piece>();
        nint at = 0;
        foreach (var group in pieces.GroupBy(piece => tree.PlaceOf(piece.Owner)).OrderBy(group => group.Key))
        {
            foreach (var piece in group.OrderBy(piece => piece.Tensor).ThenBy(piece => piece.Offset))
            {
                placed.Add(piece with { At = at });
                at = (at + piece.Bytes + Alignment - 1) / Alignment * Alignment;
            }
        }
        (Pieces, Bytes, Tensors) = ([.. placed], at, [.. placed.Select(piece => piece.Tensor).Distinct()]);
    }

    public int Number { get; }

    public Piece[] Pieces { get; }

    public nint Bytes { get; }

    /// <summary>Where each segment begins, in bytes, and one past the last. Worked out anew: of many buckets and ranks they are more than all pieces.</summary>
    public nint[] Offsets()
    {
        var offsets = new nint[tree.Size + 1];
        foreach (var piece in Pieces)
            offsets[tree.PlaceOf(piece.Owner) + 1] = (piece.At + piece.Bytes + Alignment - 1) / Alignment * Alignment;
        for (var place = 0; place < tree.Size; place++)
            offsets[place + 1] = Math.Max(offsets[place], offsets[place + 1]);
        return offsets;
    }

    /// <summary>The tensors of which it has pieces.</summary>
    public int[] Tensors { get; }

    /// <summary>The pieces of some bytes, which begin and end with pieces.</summary>
    public IEnumerable<Piece> Between(nint from, nint to) => Pieces.Where(piece => piece.At >= from && piece.At < to && piece.Length > 0);

    /// <summary>
    /// Buckets of about so many bytes over the tensors of a plan, from the last to the first, as backward passes make their gradients: those of
    /// tensors that ranks divide, and those of which every rank needs all. Some tensors only, where it is said which.
    /// </summary>
    public static (IReadOnlyList<Bucket> Divided, IReadOnlyList<Bucket> Replicated) Of(
        ShardPlan plan,
        RankTree tree,
        long bytes,
        Predicate<int>? takes = null
    )
    {
        var (divided, replicated) = (new Filling(tree, bytes), new Filling(tree, bytes));
        for (var i = plan.Tensors.Length - 1; i >= 0; i--)
        {
            if (takes?.Invoke(i) == false)
                continue;
            var tensor = plan.Tensors[i];
            var filling = tensor.Division == Division.Replicated ? replicated : divided;
            // Tensors with gaps go as a whole: each part would need a copy of all.
            filling.Add(i, tensor, isWhole: !tensor.Layout.IsContiguous);
        }
        var owned = divided.Finish(0);
        return (owned, replicated.Finish(owned.Count));
    }

    /// <summary>Buckets of all elements of a plan's tensors, which come from one rank.</summary>
    public static IReadOnlyList<Bucket> From(int rank, ShardPlan plan, RankTree tree, long bytes)
    {
        var filling = new Filling(tree, bytes);
        for (var i = 0; i < plan.Tensors.Length; i++)
            filling.Add(
                i,
                plan.Tensors[i] with
                {
                    Division = Division.Whole,
                    Slices = [new(rank, 0, plan.Tensors[i].Layout.Count)],
                },
                isWhole: !plan.Tensors[i].Layout.IsContiguous
            );
        return filling.Finish(0);
    }

    private sealed class Filling(RankTree tree, long most)
    {
        private readonly List<List<Piece>> done = [];
        private List<Piece> pieces = [];
        private long filled;

        public void Add(int number, PlannedTensor tensor, bool isWhole)
        {
            var size = tensor.Layout.DType.Size();
            for (var end = (long)tensor.Layout.Count; end > 0; )
            {
                if (filled > 0 && filled + (isWhole ? end * size : size) > most)
                    Close();
                var start = isWhole ? 0 : Math.Max(0, end - Math.Max(1, (most - filled) / size));
                if (tensor.Division == Division.Replicated)
                    pieces.Add(new(number, (nint)start, (nint)(end - start), -1, tensor.Layout.DType));
                foreach (var slice in tensor.Slices)
                    if (Math.Max(start, slice.Offset) is var from && Math.Min(end, slice.Offset + slice.Length) is var to && from < to)
                        pieces.Add(new(number, (nint)from, (nint)(to - from), slice.Rank, tensor.Layout.DType));
                filled += (end - start) * size;
                end = start;
            }
        }

        public IReadOnlyList<Bucket> Finish(int first)
        {
            Close();
            return [.. done.Select((pieces, i) => new Bucket(first + i, Owned(pieces), tree))];
        }

        private void Close()
        {
            if (pieces.Count > 0)
                done.Add(pieces);
            (pieces, filled) = ([], 0);
        }

        /// <summary>Each rank sums as much of a bucket of which all need everything.</summary>
        private IEnumerable<Piece> Owned(List<Piece> pieces)
        {
            var total = pieces.Where(piece => piece.Owner < 0).Sum(piece => (long)piece.Bytes);
            var before = 0L;
            foreach (var piece in pieces)
            {
                if (piece.Owner >= 0)
                {
                    yield return piece;
                    continue;
                }
                var size = piece.DType.Size();
                for (nint at = 0; at < piece.Length; )
                {
                    var rank = (int)Math.Min(tree.Size - 1, (long)((Int128)(before + at * size) * tree.Size / total));
                    var end =
                        rank == tree.Size - 1
                            ? piece.Length
                            : (nint)
                                Math.Min(
                                    piece.Length,
                                    Math.Max(at + 1, ((long)((Int128)total * (rank + 1) / tree.Size) - before + size - 1) / size)
                                );
                    yield return piece with
                    {
                        Offset = piece.Offset + at,
                        Length = end - at,
                        Owner = rank,
                    };
                    at = end;
                }
                before += piece.Bytes;
            }
        }
    }
}
