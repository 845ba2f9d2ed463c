namespace Optim.Cli.Data;

/// <summary>Sequences of batches, each the numbers of the rows that it holds.</summary>
public static class Batches
{
    /// <summary>How many batches an epoch has; the last may be smaller.</summary>
    public static int PerEpoch(int rows, int size) => (rows + size - 1) / size;

    /// <summary>Every row once an epoch, in an order that is drawn anew for each.</summary>
    public static IEnumerable<ArraySegment<int>> Shuffled(int[] rows, int size, int epochs, SplitMix random)
    {
        for (var epoch = 0; epoch < epochs; epoch++)
        {
            var order = rows.ToArray();
            random.Shuffle(order);
            for (var start = 0; start < order.Length; start += size)
                yield return new ArraySegment<int>(order, start, Math.Min(size, order.Length - start));
        }
    }

    /// <summary>Batch k holds the rows size*k, size*k + 1, ... modulo the number of rows: never shuffled.</summary>
    public static IEnumerable<ArraySegment<int>> InOrder(int rows, int size, int count)
    {
        for (var batch = 0; batch < count; batch++)
            yield return Enumerable.Range(0, size).Select(i => (int)(((long)batch * size + i) % rows)).ToArray();
    }
}
