namespace Optim.Kernels;

/// <summary>
/// The ranks that step parameters together, where each has slices of them or some of them as a whole: what a number over all parameters is made of goes
/// over all ranks. Every rank makes the same calls in the same order.
/// </summary>
internal abstract class TotalsAcross
{
    /// <summary>Dtype and shape of a parameter as a whole.</summary>
    public abstract Layout LayoutOf(int row);

    /// <summary>The first element of the whole that this rank has of a parameter.</summary>
    public abstract nint FirstOf(int row);

    /// <summary>For each of some numbers the parts that all ranks have, by the rows of parameters: those of one row in the order of its elements.</summary>
    public abstract IReadOnlyList<IReadOnlyList<(int Row, double[] Parts)>> Gather(
        IReadOnlyList<IEnumerable<(int Row, double[] Parts)>> here
    );

    /// <summary>Whether something holds on any rank.</summary>
    public abstract bool IsOnAny(bool here);
}
