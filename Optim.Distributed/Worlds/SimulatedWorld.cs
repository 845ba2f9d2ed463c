using System.Runtime.ExceptionServices;

namespace Optim.Distributed;

/// <summary>
/// Ranks as threads of one process: what is written for <see cref="World"/> runs on it unchanged, and gives the same bits as under MPI.
/// <code>
/// World.Simulated(4).Run(world => Train(world));
/// </code>
/// </summary>
public sealed class SimulatedWorld
{
    private readonly TimeSpan timeout;

    internal SimulatedWorld(int ranks, TimeSpan timeout)
    {
        if (ranks < 1)
            throw new ArgumentOutOfRangeException(nameof(ranks), ranks, "there must be at least 1 rank");
        (Size, this.timeout) = (ranks, timeout);
    }

    /// <summary>How many ranks there are.</summary>
    public int Size { get; }

    /// <summary>Runs a function on every rank, each on a thread of its own, and gives what they return by rank.</summary>
    /// <exception cref="Exception">What a rank has thrown: one that failed by itself, and not for want of another's answer, where there is one.</exception>
    public IReadOnlyList<T> Run<T>(Func<World, T> body)
    {
        ArgumentNullException.ThrowIfNull(body);
        var results = new T[Size];
        var errors = Outcomes(world => results[world.Rank] = body(world));
        var first = Array.Find(errors, error => error is not null and not WorldException) ?? Array.Find(errors, error => error is not null);
        if (first is not null)
            ExceptionDispatchInfo.Throw(first);
        return results;
    }

    /// <summary>Runs an action on every rank, each on a thread of its own.</summary>
    /// <inheritdoc cref="Run{T}(Func{World, T})" path="/exception"/>
    public void Run(Action<World> body)
    {
        ArgumentNullException.ThrowIfNull(body);
        Run(world =>
        {
            body(world);
            return true;
        });
    }

    /// <summary>What each rank has thrown; null for nothing.</summary>
    internal Exception?[] Outcomes(Action<World> body)
    {
        var mail = new SharedMail(Size);
        var errors = new Exception?[Size];
        var threads = Enumerable
            .Range(0, Size)
            .Select(rank => new Thread(() =>
            {
                using var world = new World(new SimulatedTransport(mail, rank), timeout);
                try
                {
                    body(world);
                }
                catch (Exception error)
                {
                    errors[rank] = error;
                    world.Close("it has failed", $"it has failed: {error.Message}");
                    mail.Leave(rank, $"it has failed: {error.Message}");
                }
            }))
            .ToList();
        threads.ForEach(thread => thread.Start());
        threads.ForEach(thread => thread.Join());
        return errors;
    }
}
