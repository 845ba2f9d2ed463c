using System.Diagnostics;

namespace Optim.Kernels;

/// <summary>
/// The calling thread and workers that wait for it: spinning for a while after a pass, then parked. A share is static, so
/// that each core finds its part of the state in its own cache; while a worker is still waking up, the caller takes pieces of its share.
/// A second caller finds the team busy and runs alone.
/// </summary>
internal sealed unsafe class Team : Executor
{
    /// <summary>Elements below which the hand-over costs more than it gains, with workers awake.</summary>
    private const nint WorthSharing = 6 << 10;

    /// <summary>Elements from which it pays to wake a parked worker, which takes 20 to 50 microseconds.</summary>
    private const nint WorthWaking = 400_000;

    /// <summary>Pieces of a share whose worker was parked, for the caller to begin on.</summary>
    private const int PiecesWhileWaking = 16;

    /// <summary>Calls as close together as this wake the workers, for the next of them.</summary>
    private static readonly long Close = Stopwatch.Frequency / 10_000;

    private const int CloseCalls = 4;

    /// <summary>The most close calls without a wake, after many wakes of which no help came: the other cores are busy.</summary>
    private const int MostCalls = 1 << 8;

    private readonly Lock busy = new();
    private Worker[] workers = [];
    private long lastCall;
    private int closeCalls;
    private int callsBeforeWake = CloseCalls;

    public override string Name => "team";

    public override int Run(nint length, delegate* <nint, nint, void*, void> body, void* context)
    {
        var threads = (int)Math.Min(Optim.Threads.Count, length / (WorthSharing / 2));
        if (threads < 2 || length < WorthSharing || !busy.TryEnter())
            return Caller.Run(length, body, context);
        try
        {
            return Share(threads, length, body, context);
        }
        finally
        {
            lastCall = Stopwatch.GetTimestamp();
            busy.Exit();
        }
    }

    private int Share(int threads, nint length, delegate* <nint, nint, void*, void> body, void* context)
    {
        // Shares begin at whole cache lines of either dtype, counted from the start of the pass; so the last ones may be left without any.
        var share = Lines((length + threads - 1) / threads);
        threads = (int)((length + share - 1) / share);
        if (workers.Length < threads - 1)
            workers = [.. workers, .. Enumerable.Range(workers.Length, threads - 1 - workers.Length).Select(i => new Worker(i))];
        closeCalls = Stopwatch.GetTimestamp() - lastCall < Close ? closeCalls + 1 : 0;
        var helpers = workers.AsSpan(0, threads - 1);
        var processor = Processors.Current;
        var awake = true;
        foreach (var worker in helpers)
            awake &= worker.IsAwake;
        if (!awake && length < WorthWaking)
        {
            if (closeCalls >= callsBeforeWake)
            {
                foreach (var worker in helpers)
                    worker.Wake(processor);
                (closeCalls, callsBeforeWake) = (0, Math.Min(2 * callsBeforeWake, MostCalls));
            }
            return Caller.Run(length, body, context);
        }
        for (var i = 0; i < helpers.Length; i++)
            helpers[i].Offer((i + 1) * share, Math.Min((i + 2) * share, length), awake ? 1 : PiecesWhileWaking, processor, body, context);
        body(0, share, context);
        var helped = false;
        foreach (var worker in helpers)
            helped |= worker.TakeRest() < worker.Pieces;
        foreach (var worker in helpers)
            worker.Await();
        if (helped)
            callsBeforeWake = CloseCalls;
        return threads;
    }

    /// <summary>Rounded up to whole cache lines of floats.</summary>
    private static nint Lines(nint elements) => (elements + 15) & ~(nint)15;

    /// <summary>One thread, and the share that is offered to it.</summary>
    private sealed class Worker
    {
        /// <summary>How long a worker spins before it parks.</summary>
        private static readonly long Patience = Stopwatch.Frequency / 5_000;

        private readonly AutoResetEvent wake = new(false);
        private volatile bool awake = true;
        private volatile int callersProcessor = -1;
        private nint begin,
            end,
            piece;
        private delegate* <nint, nint, void*, void> body;
        private void* context;

        // The offer's number in the upper half and the pieces left in the lower: one word, so that a worker that comes late
        // to an offer finds none left, and cannot take a piece of the next offer before it is whole.
        private long left;
        private int pieces;
        private int done;

        public Worker(int index)
        {
            var thread = new Thread(Work, 256 << 10) { IsBackground = true, Name = FormattableString.Invariant($"Optim {index + 1}") };
            thread.Start();
        }

        public bool IsAwake => awake;

        /// <summary>Wakes it when it is parked, to run elsewhere than on the caller's processor.</summary>
        public void Wake(int processor)
        {
            if (awake)
                return;
            callersProcessor = processor;
            wake.Set();
        }

        public void Offer(nint begin, nint end, int pieces, int processor, delegate* <nint, nint, void*, void> body, void* context)
        {
            this.begin = begin;
            this.end = end;
            this.body = body;
            this.context = context;
            piece = Lines((end - begin + pieces - 1) / pieces);
            this.pieces = (int)((end - begin + piece - 1) / piece);
            done = 0;
            Volatile.Write(ref left, ((left >> 32) + 1 << 32) + this.pieces);
            // The worker parks by clearing the flag and then looks for an offer once more: one of the two sees the other.
            Interlocked.MemoryBarrier();
            Wake(processor);
        }

        /// <summary>The pieces of the share.</summary>
        public int Pieces => pieces;

        /// <summary>Takes pieces of the share until none is left; says how many.</summary>
        public int TakeRest()
        {
            for (var taken = 0; ; taken++)
            {
                var seen = Volatile.Read(ref left);
                var index = (int)(uint)seen - 1;
                if (index < 0)
                    return taken;
                if (Interlocked.CompareExchange(ref left, seen - 1, seen) != seen)
                {
                    taken--;
                    continue;
                }
                var from = begin + index * piece;
                body(from, Math.Min(from + piece, end), context);
                Interlocked.Increment(ref done);
            }
        }

        /// <summary>Returns when all pieces are done.</summary>
        public void Await()
        {
            for (var spins = 0; Volatile.Read(ref done) < pieces; spins++)
                if (spins < 2000)
                    Thread.SpinWait(1);
                else
                    Thread.Yield();
        }

        private void Work()
        {
            var offer = 0L;
            while (true)
            {
                var since = Stopwatch.GetTimestamp();
                while (Volatile.Read(ref left) >> 32 == offer && Stopwatch.GetTimestamp() - since < Patience)
                    Thread.SpinWait(1);
                if (Volatile.Read(ref left) >> 32 == offer)
                {
                    awake = false;
                    Interlocked.MemoryBarrier();
                    if (Volatile.Read(ref left) >> 32 == offer)
                    {
                        wake.WaitOne();
                        Processors.Leave(callersProcessor);
                    }
                    awake = true;
                }
                offer = Volatile.Read(ref left) >> 32;
                TakeRest();
            }
        }
    }
}
