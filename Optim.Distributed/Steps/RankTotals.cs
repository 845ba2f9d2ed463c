using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>Numbers over all parameters that rules make, such as the distance of Prodigy: every rank has parts of slices, or of whole parameters.</summary>
internal sealed class RankTotals(World world, IReadOnlyList<SharedTensor> tensors) : TotalsAcross
{
    private const string Operation = "number over all parameters";

    public override Layout LayoutOf(int row) => tensors[row].Plan!.Layout;

    public override nint FirstOf(int row) => (nint)tensors[row].Slice.Offset;

    public override IReadOnlyList<IReadOnlyList<(int Row, double[] Parts)>> Gather(
        IReadOnlyList<IEnumerable<(int Row, double[] Parts)>> here
    )
    {
        // Of each number: how many parameters have parts here; of each of these its row, how many parts, and the parts.
        var mine = new List<double>();
        foreach (var rows in here.Select(each => each.ToList()))
        {
            mine.Add(rows.Count);
            foreach (var (row, parts) in rows)
                mine.AddRange([row, parts.Length, .. parts]);
        }
        var all = world.GatherNumbers(Operation, [.. mine]);
        var (found, next) = (new List<IReadOnlyList<(int, double[])>>(), new int[world.Size]);
        for (var number = 0; number < here.Count; number++)
        {
            var rows = new SortedDictionary<int, List<double>>();
            // Ranks have slices in their order.
            for (var rank = 0; rank < world.Size; rank++)
            for (var left = (int)all[rank][next[rank]++]; left > 0; left--)
            {
                var (row, count) = ((int)all[rank][next[rank]], (int)all[rank][next[rank] + 1]);
                if (!rows.TryGetValue(row, out var parts))
                    rows.Add(row, parts = []);
                parts.AddRange(all[rank].AsSpan(next[rank] + 2, count));
                next[rank] += 2 + count;
            }
            found.Add([.. rows.Select(each => (each.Key, each.Value.ToArray()))]);
        }
        return found;
    }

    public override bool IsOnAny(bool here) => world.AnyOf(Operation, [here])[0];
}
