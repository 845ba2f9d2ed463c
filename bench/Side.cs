namespace Optim.Bench;

/// <summary>One of the two that are compared: parameters with their gradients, and a way to step them.</summary>
internal abstract class Side : IDisposable
{
    public abstract void Step();

    /// <summary>Some numbers of the parameters, by which two sides see that they compute the same.</summary>
    public abstract double[] Sample();

    public abstract void Dispose();
}
