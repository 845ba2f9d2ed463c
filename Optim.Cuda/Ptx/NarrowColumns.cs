using Optim.Kernels;

namespace Optim.Cuda;

/// <summary>How the state columns of all slices are kept that a kernel goes over.</summary>
/// <param name="kinds">The kind of each column.</param>
internal sealed class NarrowColumns(params NarrowKind[] kinds) : IEquatable<NarrowColumns>
{
    /// <summary>Words of an entry beside its addresses: the slice's first block in the whole parameter, and where the scales of each column lie.</summary>
    public int Words => 1 + kinds.Length;

    /// <summary>How an array of a slice is kept: the parameter and the gradient are wide, and so are averages.</summary>
    public NarrowKind OfArray(int array) => array >= 2 && array - 2 < kinds.Length ? kinds[array - 2] : NarrowKind.Wide;

    /// <summary>How the columns of some neighbouring slices are kept, which all have them alike.</summary>
    public static unsafe NarrowColumns Of(NarrowTable table, int first, int count)
    {
        var kinds = new NarrowKind[table.Columns];
        for (var slice = 0; slice < count; slice++)
        for (var column = 0; column < kinds.Length; column++)
        {
            var kind = NarrowTable.KindOf(table.Of(first + slice)[2 * column]);
            if (slice > 0 && kind != kinds[column])
                throw new InvalidOperationException(
                    $"column {column} is {kinds[column]} in slice {first} and {kind} in slice {first + slice}"
                );
            kinds[column] = kind;
        }
        return new(kinds);
    }

    public bool Equals(NarrowColumns? other) => other is not null && kinds.AsSpan().SequenceEqual(other.Kinds);

    public override bool Equals(object? other) => Equals(other as NarrowColumns);

    public override int GetHashCode()
    {
        var code = new HashCode();
        foreach (var kind in kinds)
            code.Add(kind);
        return code.ToHashCode();
    }

    private NarrowKind[] Kinds => kinds;
}
