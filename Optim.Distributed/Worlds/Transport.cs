namespace Optim.Distributed;

/// <summary>What moves bytes between ranks. What is summed, and in which order, is none of its business.</summary>
internal abstract class Transport
{
    public abstract int Rank { get; }

    public abstract int Size { get; }

    /// <summary>What it is called, and its version.</summary>
    public abstract string Name { get; }

    /// <summary>Begins to send bytes, which must stay as they are until it is done.</summary>
    public abstract Request Send(int to, nint address, nint bytes, int tag);

    /// <summary>Begins to receive just as many bytes.</summary>
    public abstract Request Receive(int from, nint address, nint bytes, int tag);

    /// <summary>Told of each call that all ranks make together, in order: one that can see the others' refuses where they differ.</summary>
    public virtual void Announce(long number, string call) { }

    /// <summary>Counts what may have ended a wait.</summary>
    public virtual long Version => 0;

    /// <summary>Nothing has moved since a version: gives others the processor for a while.</summary>
    /// <param name="version">The version.</param>
    /// <param name="waited">How long nothing has moved.</param>
    public abstract void Idle(long version, TimeSpan waited);

    /// <summary>This rank is done with it.</summary>
    /// <param name="failure">Why, where it has failed.</param>
    public abstract void Leave(string? failure);
}

/// <summary>Bytes on their way.</summary>
internal abstract class Request
{
    /// <summary>Whether they have arrived, or were taken.</summary>
    /// <exception cref="TransportException">They will not.</exception>
    public abstract bool Test();
}

/// <summary>Why bytes do not move.</summary>
internal sealed class TransportException(string message) : Exception(message);

/// <summary>One rank.</summary>
internal sealed class Alone : Transport
{
    public override int Rank => 0;

    public override int Size => 1;

    public override string Name => "one process";

    public override Request Send(int to, nint address, nint bytes, int tag) => throw new TransportException("there is no other rank");

    public override Request Receive(int from, nint address, nint bytes, int tag) => throw new TransportException("there is no other rank");

    public override void Idle(long version, TimeSpan waited) { }

    public override void Leave(string? failure) { }
}
