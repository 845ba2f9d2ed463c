namespace Optim.Bench;

/// <summary>One of the two that are compared: parameters with their gradients, and a way to step them.</summary>
internal abstract class Side : IDisposable
{
    public abstract void Step();

    /// <summary>How often a loss was asked for so far: sides that ask less often do less. Zero where steps ask for none.</summary>
    public virtual long Evaluations => 0;

    /// <summary>Sets gradients and moments to zero, for a step that leaves zeros behind: else moments would fade into numbers too small for full speed.</summary>
    public virtual void Rest() => throw new NotSupportedException();

    /// <summary>Some numbers of the parameters, by which two sides see that they compute the same.</summary>
    public abstract double[] Sample();

    public abstract void Dispose();
}
