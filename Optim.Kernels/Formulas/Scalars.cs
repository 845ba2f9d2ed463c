namespace Optim.Kernels;

/// <summary>Numbers that a rule keeps for a parameter as a whole. Compared by content.</summary>
/// <typeparam name="N">The number.</typeparam>
/// <param name="First">The first.</param>
/// <param name="Second">The second, for a rule that keeps two.</param>
public readonly record struct Scalars<N>(N First, N Second = default)
    where N : struct
{
    /// <summary>Those after the second: rules by definition keep any number.</summary>
    private readonly N[]? others;

    /// <summary>Any number of them.</summary>
    public Scalars(ReadOnlySpan<N> numbers)
        : this(numbers.Length > 0 ? numbers[0] : default, numbers.Length > 1 ? numbers[1] : default) =>
        others = numbers.Length > 2 ? numbers[2..].ToArray() : null;

    /// <summary>The number at a place.</summary>
    public N this[int index] =>
        index switch
        {
            0 => First,
            1 => Second,
            _ => others is not null && index - 2 < others.Length ? others[index - 2] : default,
        };

    /// <inheritdoc/>
    public bool Equals(Scalars<N> other) =>
        EqualityComparer<N>.Default.Equals(First, other.First)
        && EqualityComparer<N>.Default.Equals(Second, other.Second)
        && others.AsSpan().SequenceEqual(other.others.AsSpan());

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(First, Second, others?.Length);
}
