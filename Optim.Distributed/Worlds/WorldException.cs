namespace Optim.Distributed;

/// <summary>
/// The ranks of a world do not work together any more: one gives no answer, has failed, or wants something else than the others. It says on which
/// rank, in which step and in what it was found. The world is closed from then on; what it was training with is as after the last whole step, or
/// in the middle of one, and the last checkpoint is whole.
/// </summary>
public sealed class WorldException : Exception
{
    /// <summary>An error of a world.</summary>
    internal WorldException(int rank, int size, long step, string operation, int? bucket, string problem, Exception? inner = null)
        : base(
            FormattableString.Invariant(
                $"rank {rank} of {size}, step {step}, {operation}{(bucket is { } number ? FormattableString.Invariant($", bucket {number}") : "")}: {problem}"
            ),
            inner
        ) => (Rank, Step, Operation, Bucket) = (rank, step, operation, bucket);

    /// <summary>The rank that tells of it.</summary>
    public int Rank { get; }

    /// <summary>The step, counted from 1; 0 before the first.</summary>
    public long Step { get; }

    /// <summary>What the ranks were doing together, such as <c>sum of gradients</c>.</summary>
    public string Operation { get; }

    /// <summary>The number of the bucket of gradients or parameters; null where there are none.</summary>
    public int? Bucket { get; }
}
