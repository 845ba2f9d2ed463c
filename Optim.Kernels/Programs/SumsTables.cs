namespace Optim.Kernels;

/// <summary>
/// Where sums of rows or columns of the slices of a segment lie on a device, as tables that kernels read. The length of a slice there is how many units
/// of work it has, and after the arrays, and two words for each spread that is read, come words of its own.
/// </summary>
internal sealed class SumsTables
{
    /// <summary>
    /// For each row the blocks that it lies in, a warp for each: how long a row is, how many blocks one may lie in, and where what it comes to in these
    /// goes, for each sum. A single column is a row here, as long as the tensor.
    /// </summary>
    public SliceTable Parts { get; } = new();

    /// <summary>
    /// For each band of blocks its running sums of columns, a thread for each: elements of the slice, running sums, elements of a band, and where these
    /// sums go, for each sum.
    /// </summary>
    public SliceTable RunningSums { get; } = new();

    /// <summary>What bands come to, in pairs of neighbours, a thread for each running sum of each: running sums, bands, and where they lie, for each sum.</summary>
    public SliceTable Bands { get; } = new();

    /// <summary>
    /// What rows or columns come to, a thread for each: how long a row is, how many blocks one may lie in or how many running sums a band has, where parts
    /// lie, for each sum, and where totals go, for each sum.
    /// </summary>
    public SliceTable Totals { get; } = new();

    /// <summary>Whether rows are summed; else columns.</summary>
    public bool IsOfRows { get; set; }

    /// <summary>The most bands that a slice has.</summary>
    public nint MostBands { get; set; }
}
