namespace Optim.Bench;

/// <summary>One of the two that are compared: parameters with their gradients, and a way to step them.</summary>
internal abstract class Side : IDisposable
{
    public abstract void Step();

    /// <summary>Sets gradients and moments to zero, for a step that leaves zeros behind: else moments would fade into numbers too small for full speed.</summary>
    public virtual void Rest() => throw new NotSupportedException();

    /// <summary>Some numbers of the parameters, by which two sides see that they compute the same.</summary>
    public abstract double[] Sample();

    public abstract void Dispose();
}
