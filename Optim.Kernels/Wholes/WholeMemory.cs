namespace Optim.Kernels;

/// <summary>
/// Memory for the values of a step of whole tensors: blocks that are used again within a step and in later ones, so that steps of the same shapes
/// make none. The block that was given back last is taken first: it may still be in the cache.
/// </summary>
internal sealed class WholeMemory
{
    private const nint Least = 4 << 10;
    private readonly List<NativeBlock> blocks = [];
    private readonly List<nint> sizes = [];

    /// <summary>Places of blocks that are free, and of those that are not.</summary>
    private readonly List<int> free = [],
        used = [];

    /// <summary>The address of so many bytes, whatever they hold.</summary>
    public nint Take(nint bytes)
    {
        bytes = Math.Max(bytes, Least);
        for (var i = free.Count - 1; i >= 0; i--)
        {
            var place = free[i];
            // A much larger one is kept for a larger value.
            if (sizes[place] < bytes || sizes[place] / 4 > bytes)
                continue;
            free.RemoveAt(i);
            used.Add(place);
            return blocks[place].Address;
        }
        used.Add(blocks.Count);
        blocks.Add(new(bytes, cleared: false));
        sizes.Add(bytes);
        return blocks[^1].Address;
    }

    /// <summary>Gives a block back by its address; nothing else.</summary>
    public void Give(nint address)
    {
        for (var i = used.Count - 1; i >= 0; i--)
            if (blocks[used[i]].Address == address)
            {
                free.Add(used[i]);
                used.RemoveAt(i);
                return;
            }
    }

    /// <summary>Gives all back.</summary>
    public void Reset()
    {
        free.AddRange(used);
        used.Clear();
    }
}
