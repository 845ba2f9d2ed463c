namespace Optim.Kernels;

/// <summary>
/// The tensors that a step writes, by their addresses, to hold others against them. Laying n of them out takes n log n comparisons, as
/// long as few of them lie between each other's elements.
/// </summary>
internal sealed class WrittenMemory
{
    private nint[] starts = [];
    private nint[] ends = []; // of all up to this one
    private int[] places = [];
    private TensorView[] written = [];
    private int count;

    // Around the last tensor that was asked about, where nothing is written: the next one mostly lies there, too.
    private nint low,
        high;

    /// <summary>Takes the tensors that are written; absent and empty ones are passed over. They are valid until the next call.</summary>
    /// <returns>The places of two of them that share memory; none if all is well.</returns>
    public (int First, int Second)? Lay(TensorView[] tensors)
    {
        (written, count, low, high) = (tensors, 0, 0, 0);
        if (starts.Length < tensors.Length)
            (starts, ends, places) = (new nint[tensors.Length], new nint[tensors.Length], new int[tensors.Length]);
        for (var i = 0; i < tensors.Length; i++)
            if (Overlap.HasMemory(tensors[i]))
                (starts[count], places[count++]) = (tensors[i].Address, i);
        Array.Sort(starts, places, 0, count);
        for (var i = 0; i < count; i++)
        {
            ref readonly var tensor = ref tensors[places[i]];
            var end = Overlap.End(tensor);
            for (var before = i - 1; before >= 0 && ends[before] > starts[i]; before--)
                if (Overlap.Of(tensors[places[before]], tensor) != Sharing.None)
                {
                    count = 0;
                    var (a, b) = (places[before], places[i]);
                    return (Math.Min(a, b), Math.Max(a, b));
                }
            ends[i] = i > 0 && ends[i - 1] > end ? ends[i - 1] : end;
        }
        return null;
    }

    /// <summary>Whether it is known at once that a tensor shares nothing with those that are written.</summary>
    public bool IsFree(in TensorView tensor) =>
        tensor.IsAbsent || tensor.Layout.Extent == 0 || tensor.Address >= low && Overlap.End(tensor) <= high;

    /// <summary>The place of a written tensor with which this one shares memory, -1 for none. That it is the very same as the one at a certain place counts for nothing.</summary>
    public int Find(in TensorView tensor, int own)
    {
        if (IsFree(tensor) || !Overlap.HasMemory(tensor))
            return -1;
        var end = Overlap.End(tensor);
        var behind = Array.BinarySearch(starts, 0, count, end);
        behind = behind < 0 ? ~behind : behind;
        while (behind > 0 && starts[behind - 1] >= end)
            behind--;
        if (behind == 0 || ends[behind - 1] <= tensor.Address)
            (low, high) = (behind == 0 ? 0 : ends[behind - 1], behind == count ? nint.MaxValue : starts[behind]);
        for (var at = behind - 1; at >= 0 && ends[at] > tensor.Address; at--)
        {
            var sharing = Overlap.Of(written[places[at]], tensor);
            if (sharing == Sharing.Partial || sharing == Sharing.Same && places[at] != own)
                return places[at];
        }
        return -1;
    }
}
