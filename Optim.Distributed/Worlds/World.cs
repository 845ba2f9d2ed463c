using System.Diagnostics;
using Optim.Kernels;

namespace Optim.Distributed;

/// <summary>A call that all ranks make together, as it is recorded.</summary>
internal readonly record struct WorldCall(long Step, string Operation, int? Bucket, long Bytes)
{
    public override string ToString() =>
        FormattableString.Invariant($"step {Step}, {Operation}{(Bucket is { } number ? $", bucket {number}" : "")}, {Bytes} bytes");
}

/// <summary>
/// The processes that train together: this one is <see cref="Rank"/> of <see cref="Size"/>. Under mpirun, mpiexec or srun <see cref="Join"/> finds the
/// others; alone it is a world of one, so that the same program runs with and without a launcher.
/// <code>
/// using var world = World.Join(TimeSpan.FromSeconds(60));
/// var optimizer = Sharded.Over(world, parameters, given => new AdamW(given, lr: 1e-3));
/// </code>
/// All ranks make the same calls in the same order; one that does not is found by the timeout. A world is used by one thread at a time.
/// </summary>
public sealed partial class World : IDisposable
{
    /// <summary>How long answers are waited for where nothing else is said.</summary>
    public static readonly TimeSpan DefaultTimeout = TimeSpan.FromMinutes(5);

    private readonly Transport transport;
    private readonly List<Work> active = [];
    private long calls;
    private string? closed;

    internal World(Transport transport, TimeSpan timeout)
    {
        if (!(timeout > TimeSpan.Zero))
            throw new ArgumentOutOfRangeException(nameof(timeout), timeout, "the timeout must be longer than no time");
        (this.transport, Timeout) = (transport, timeout);
        Tree = new(transport.Size);
    }

    /// <summary>The number of this process, from 0.</summary>
    public int Rank => transport.Rank;

    /// <summary>How many processes there are.</summary>
    public int Size => transport.Size;

    /// <summary>What moves the bytes, and its version, such as <c>Open MPI v4.1.4</c>.</summary>
    public string Engine => transport.Name;

    /// <summary>How long an answer of another rank is waited for.</summary>
    public TimeSpan Timeout { get; }

    /// <summary>The step that is under way or was last, counted from 1 over all that was collected in this world.</summary>
    public long Step { get; internal set; }

    /// <summary>Bytes that this rank has sent.</summary>
    public long BytesSent { get; private set; }

    /// <summary>Messages that this rank has sent.</summary>
    public long MessagesSent { get; private set; }

    /// <summary>Whether it was left, or something has failed: every call that needs other ranks is refused then.</summary>
    public bool IsClosed => closed is not null;

    internal RankTree Tree { get; }

    /// <summary>Called with each call that all ranks make together, before it begins.</summary>
    internal Action<WorldCall>? Calling { get; set; }

    /// <summary>Joins the processes that a launcher has started, or makes a world of this process alone where none has.</summary>
    /// <param name="timeout">How long an answer of another rank is waited for before the world is given up; <see cref="DefaultTimeout"/> when null.</param>
    /// <exception cref="NotSupportedException">There is a launcher, and its MPI library cannot be loaded; the message says which were looked for.</exception>
    /// <exception cref="WorldException">Another rank gives no answer, or has another version of this library.</exception>
    public static World Join(TimeSpan? timeout = null)
    {
        var world = new World(MpiTransport.Find() is { } mpi ? mpi : new Alone(), timeout ?? DefaultTimeout);
        world.Agree("join", "the version of Optim.Distributed", [typeof(World).Assembly.GetName().Version?.ToString() ?? ""]);
        return world;
    }

    /// <summary>So many ranks as threads of this process, which share its memory: for tests, and for a look at what many ranks do.</summary>
    /// <param name="ranks">How many, at least 1.</param>
    /// <param name="timeout">As of <see cref="Join"/>.</param>
    public static SimulatedWorld Simulated(int ranks, TimeSpan? timeout = null) => new(ranks, timeout ?? DefaultTimeout);

    /// <summary>Waits until every rank has come here.</summary>
    /// <exception cref="WorldException">One has not within the timeout.</exception>
    public void Wait() => Exchange("wait", []);

    /// <summary>Leaves the world. The others go on only with what needs no other rank.</summary>
    public void Dispose() => Close("it was left", null);

    /// <summary>Begins to give every rank the segments of all.</summary>
    /// <param name="operation">What it is called.</param>
    /// <param name="bucket">The number of the bucket.</param>
    /// <param name="buffer">Room for all segments, in the order of the tree, with this rank's own.</param>
    /// <param name="offsets">Where each segment begins, in bytes, and one past the last.</param>
    internal Work Gather(string operation, int? bucket, TensorView buffer, nint[] offsets) =>
        Begin(operation, bucket, offsets[^1], buffer.Owner, tag => Steps(Tree.AllGather(Rank), buffer, offsets, null, tag));

    /// <summary>Begins to sum the segments, each for its rank.</summary>
    /// <param name="operation">What it is called.</param>
    /// <param name="bucket">The number of the bucket.</param>
    /// <param name="buffer">All segments, in the order of the tree; afterwards that of this rank has its sum.</param>
    /// <param name="offsets">Where each segment begins, in bytes, and one past the last.</param>
    /// <param name="sum">Adds bytes [from, to) of the buffer and what has come for them, of which the first comes first if the flag is true; the sum goes to the buffer.</param>
    internal Work ReduceScatter(
        string operation,
        int? bucket,
        TensorView buffer,
        nint[] offsets,
        Action<nint, nint, TensorView, bool> sum
    ) => Begin(operation, bucket, offsets[^1], buffer.Owner, tag => Steps(Tree.ReduceScatter(Rank), buffer, offsets, sum, tag));

    /// <summary>Sends bytes to a rank, or receives them from one, at once.</summary>
    internal void SendNow(string operation, int to, TensorView bytes, int channel) =>
        Wait(Direct(operation, bytes, isSent: true, () => transport.Send(to, bytes.Address, bytes.Count * bytes.DType.Size(), channel)));

    /// <inheritdoc cref="SendNow"/>
    internal void ReceiveNow(string operation, int from, TensorView bytes, int channel) =>
        Wait(
            Direct(operation, bytes, isSent: false, () => transport.Receive(from, bytes.Address, bytes.Count * bytes.DType.Size(), channel))
        );

    private Work Direct(string operation, TensorView bytes, bool isSent, Func<Request> begin)
    {
        RefuseClosed(operation, null);
        Calling?.Invoke(new(Step, operation + ", a piece", null, bytes.Count));
        if (isSent)
            Count(bytes.Count * bytes.DType.Size());
        var work = new Work(operation, null, [begin()], bytes.Owner);
        active.Add(work);
        return work;
    }

    private IEnumerable<Request> Steps(
        IReadOnlyList<Move> moves,
        TensorView buffer,
        nint[] offsets,
        Action<nint, nint, TensorView, bool>? sum,
        int tag
    )
    {
        TensorView scratch = default;
        foreach (var move in moves)
        {
            var (sendFrom, sendTo) = (offsets[move.SendFrom], offsets[move.SendTo]);
            var (from, to) = (offsets[move.ReceiveFrom], offsets[move.ReceiveTo]);
            var sums = sum is not null && move.IsSum;
            if (sums && to > from && (scratch.IsAbsent || scratch.Count < to - from))
                scratch = TensorView.Slab([Layout.Contiguous(DType.UInt8, to - from)], cleared: false)[0];
            var receiving =
                to == from ? null : transport.Receive(move.Peer, sums ? scratch.Address : buffer.Address + from, to - from, tag);
            var sending = sendTo == sendFrom ? null : transport.Send(move.Peer, buffer.Address + sendFrom, sendTo - sendFrom, tag);
            if (sending is not null)
                Count(sendTo - sendFrom);
            if (receiving is not null)
            {
                yield return receiving;
                if (sums)
                    sum!(from, to, scratch, move.IsLeft);
            }
            if (sending is not null)
                yield return sending;
        }
        GC.KeepAlive(scratch.Owner);
    }

    private void Count(nint bytes) => (BytesSent, MessagesSent) = (BytesSent + bytes, MessagesSent + 1);

    private Work Begin(string operation, int? bucket, nint bytes, object? keep, Func<int, IEnumerable<Request>> steps)
    {
        RefuseClosed(operation, bucket);
        var call = new WorldCall(Step, operation, bucket, bytes);
        try
        {
            Calling?.Invoke(call);
            transport.Announce(calls, call.ToString());
            var work = new Work(operation, bucket, steps((int)(calls++ % 0x7F00)), keep);
            active.Add(work);
            Poll();
            return work;
        }
        catch (TransportException error)
        {
            throw Fail(operation, bucket, error.Message, error);
        }
    }

    /// <summary>Lets everything that is under way go on as far as it can.</summary>
    internal bool Poll()
    {
        var moved = false;
        for (var i = 0; i < active.Count; i++)
        {
            var work = active[i];
            try
            {
                moved |= work.Advance();
            }
            catch (TransportException error)
            {
                throw Fail(work.Operation, work.Bucket, error.Message, error);
            }
        }
        active.RemoveAll(work => work.IsDone);
        return moved;
    }

    /// <summary>Waits until a work is done; everything else that is under way goes on meanwhile.</summary>
    internal void Wait(Work work)
    {
        var since = Stopwatch.GetTimestamp();
        while (!work.IsDone)
        {
            RefuseClosed(work.Operation, work.Bucket);
            var version = transport.Version;
            if (Poll())
                since = Stopwatch.GetTimestamp();
            else if (Stopwatch.GetElapsedTime(since) is var waited && waited > Timeout)
                throw Fail(
                    work.Operation,
                    work.Bucket,
                    FormattableString.Invariant($"no answer from another rank within {Timeout.TotalSeconds} s")
                );
            else
                transport.Idle(version, waited);
        }
    }

    internal WorldException Fail(string operation, int? bucket, string problem, Exception? inner = null)
    {
        var error = new WorldException(Rank, Size, Step, operation, bucket, problem, inner);
        Close($"it has failed: {error.Message}", error.Message);
        return error;
    }

    internal void Close(string why, string? failure)
    {
        if (closed is not null)
            return;
        closed = why;
        if (failure is not null)
            Abandoned.Keep(active);
        transport.Leave(failure);
    }

    private void RefuseClosed(string operation, int? bucket)
    {
        if (closed is not null)
            throw new WorldException(Rank, Size, Step, operation, bucket, $"the world is closed: {closed}");
    }

    /// <summary>Such as <c>rank 1 of 4 (Open MPI v4.1.4)</c>.</summary>
    public override string ToString() => FormattableString.Invariant($"rank {Rank} of {Size} ({Engine})");

    /// <summary>Buffers of works that were given up: an engine may still write to them.</summary>
    private static class Abandoned
    {
        private static readonly List<Work> works = [];

        public static void Keep(IEnumerable<Work> given)
        {
            lock (works)
                works.AddRange(given);
        }
    }
}
