namespace Optim.Kernels;

/// <summary>
/// The step of a parameter as coefficients take it, counted from 1: a number, its powers, and whether it is the first. So the same arithmetic runs where
/// the count is known, and where it is a number of its own kind: one that is noted, or that lies on a device.
/// </summary>
/// <typeparam name="N">The number.</typeparam>
public readonly struct StepNumber<N> : IEquatable<StepNumber<N>>
    where N : struct, IScalar<N>
{
    private readonly bool isRecorded;

    /// <summary>A step by its count.</summary>
    public StepNumber(long count) => (Count, Number) = (count, N.Of(count));

    /// <summary>A step whose number is made elsewhere.</summary>
    /// <param name="like">The count of a step of the same kind: early or late, the first or another one.</param>
    /// <param name="number">The number.</param>
    internal StepNumber(long like, N number) => (Count, Number, isRecorded) = (like, number, true);

    /// <summary>
    /// The count, or that of a step of the same kind: for questions, such as which formula a step has. What is worked out of it is the same for all
    /// steps of that kind; coefficients are made of <see cref="Number"/> and <see cref="Power"/>.
    /// </summary>
    public long Count { get; }

    /// <summary>The step as a number.</summary>
    public N Number { get; }

    /// <summary>Whether it is the first one.</summary>
    public bool IsFirst => Count == 1;

    /// <summary>The step after it.</summary>
    public StepNumber<N> Next => isRecorded ? new(Count + 1, Number + N.Of(1)) : new(Count + 1);

    /// <summary>A number to the power of the step.</summary>
    public N Power(N value) => isRecorded ? N.Pow(value, Number) : N.Pow(value, Count);

    /// <summary>The count, as it is known.</summary>
    internal double? KnownCount => isRecorded ? null : Count;

    /// <inheritdoc/>
    public bool Equals(StepNumber<N> other) =>
        Count == other.Count && isRecorded == other.isRecorded && EqualityComparer<N>.Default.Equals(Number, other.Number);

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is StepNumber<N> other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Count, Number);

    /// <summary>Whether both are the same step.</summary>
    public static bool operator ==(StepNumber<N> left, StepNumber<N> right) => left.Equals(right);

    /// <summary>Whether they are different ones.</summary>
    public static bool operator !=(StepNumber<N> left, StepNumber<N> right) => !left.Equals(right);
}
