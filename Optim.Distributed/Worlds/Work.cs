namespace Optim.Distributed;

/// <summary>A call that all ranks make together, while it is under way.</summary>
internal sealed class Work(string operation, int? bucket, IEnumerable<Request> steps, object? keep)
{
    private readonly IEnumerator<Request> steps = steps.GetEnumerator();
    private Request? current;

    public string Operation => operation;

    public int? Bucket => bucket;

    /// <summary>What must stay in memory.</summary>
    public object? Keep => keep;

    public bool IsDone { get; private set; }

    /// <summary>Goes on as far as it can; whether it has moved at all.</summary>
    public bool Advance()
    {
        var moved = false;
        while (!IsDone && (current is null || current.Test()))
        {
            moved = true;
            if (steps.MoveNext())
                current = steps.Current;
            else
                IsDone = true;
        }
        return moved;
    }
}
